"""IAM: boto3 and the aws cli; what is made counts for S3 at once."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from support import clients
from test_objects import refused

S3_ONLY = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


def policy(*statements):
    """A policy's document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def error(call, **arguments):
    """Status and code of a call that is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return refused(caught)


@pytest.fixture
def iam(server):
    """IAM, as root."""
    return clients.service(server, "iam")


@pytest.fixture
def user(iam, name):
    """A user with an access key; all of it must be removable at the end."""
    iam.create_user(UserName=name, Path="/team/")
    key = iam.create_access_key(UserName=name)["AccessKey"]
    yield name, (key["AccessKeyId"], key["SecretAccessKey"])
    for each in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=each["AccessKeyId"])
    for each in iam.list_user_policies(UserName=name)["PolicyNames"]:
        iam.delete_user_policy(UserName=name, PolicyName=each)
    for each in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=name, PolicyArn=each["PolicyArn"])
    for each in iam.list_groups_for_user(UserName=name)["Groups"]:
        iam.remove_user_from_group(UserName=name, GroupName=each["GroupName"])
    iam.delete_user(UserName=name)


class TestUsers:
    def test_are_told_as_they_are(self, iam, name):
        made = iam.create_user(UserName=name, Path="/a/", Tags=[{"Key": "k", "Value": "v"}])["User"]
        assert made["Arn"].endswith(f":user/a/{name}") and made["UserId"].startswith("AIDA")
        assert iam.get_user(UserName=name)["User"] == made
        assert error(iam.create_user, UserName=name.upper()) == (409, "EntityAlreadyExists")
        iam.tag_user(UserName=name, Tags=[{"Key": "z", "Value": ""}])
        iam.untag_user(UserName=name, TagKeys=["k"])
        assert iam.list_user_tags(UserName=name)["Tags"] == [{"Key": "z", "Value": ""}]
        iam.update_user(UserName=name, NewUserName=f"{name}-2", NewPath="/b/")
        assert error(iam.get_user, UserName=name) == (404, "NoSuchEntity")
        assert iam.get_user(UserName=f"{name}-2")["User"]["Path"] == "/b/"
        iam.delete_user(UserName=f"{name}-2")
        assert error(iam.delete_user, UserName=name) == (404, "NoSuchEntity")

    def test_are_listed_by_the_page(self, iam, name):
        names = [f"{name}-{letter}" for letter in "abcde"]
        for each in names:
            iam.create_user(UserName=each, Path=f"/{name}/")
        pages = list(iam.get_paginator("list_users").paginate(PathPrefix=f"/{name}/", PaginationConfig={"PageSize": 2}))
        assert [len(page["Users"]) for page in pages] == [2, 2, 1]
        assert [user["UserName"] for page in pages for user in page["Users"]] == names
        assert error(iam.list_users, Marker="?") == (400, "ValidationError")
        for each in names:
            iam.delete_user(UserName=each)

    def test_cannot_have_any_name(self, iam):
        assert error(iam.create_user, UserName="a b") == (400, "ValidationError")
        assert error(iam.create_user, UserName="x", Path="/a b/") == (400, "ValidationError")

    def test_may_what_their_policies_say_at_once(self, server, iam, user, name):
        who, keys = user
        s3 = clients.service(server, "s3", keys)
        assert error(s3.list_buckets)[0] == 403
        iam.put_user_policy(UserName=who, PolicyName="all", PolicyDocument=policy(S3_ONLY))
        s3.create_bucket(Bucket=name)
        s3.delete_bucket(Bucket=name)
        assert iam.get_user_policy(UserName=who, PolicyName="all")["PolicyDocument"]["Statement"] == [S3_ONLY]
        iam.delete_user_policy(UserName=who, PolicyName="all")
        assert error(s3.list_buckets)[0] == 403
        assert error(iam.put_user_policy, UserName=who, PolicyName="bad", PolicyDocument="{}") == (400, "MalformedPolicyDocument")
        long = policy({**S3_ONLY, "Resource": [f"arn:aws:s3:::{number:0500}" for number in range(5)]})
        assert error(iam.put_user_policy, UserName=who, PolicyName="long", PolicyDocument=long) == (409, "LimitExceeded")

    def test_administer_what_they_are_let(self, server, iam, user):
        who, keys = user
        own = clients.service(server, "iam", keys)
        assert error(own.get_user) == (403, "AccessDenied")
        itself = {"Effect": "Allow", "Action": "iam:*", "Resource": f"arn:aws:iam::*:user/team/{who}"}
        iam.put_user_policy(UserName=who, PolicyName="self", PolicyDocument=policy(itself))
        assert own.get_user()["User"]["UserName"] == who
        assert error(own.create_user, UserName=f"{who}-x") == (403, "AccessDenied")
        assert error(own.get_user, UserName="nobody") == (403, "AccessDenied")


class TestKeys:
    def test_are_switched_off_and_removed_at_once(self, server, iam, user):
        who, keys = user
        sts = clients.service(server, "sts", keys)
        sts.get_caller_identity()
        iam.update_access_key(UserName=who, AccessKeyId=keys[0], Status="Inactive")
        assert error(sts.get_caller_identity) == (403, "InvalidClientTokenId")
        iam.update_access_key(UserName=who, AccessKeyId=keys[0], Status="Active")
        sts.get_caller_identity()
        assert iam.get_access_key_last_used(AccessKeyId=keys[0])["UserName"] == who
        iam.create_access_key(UserName=who)
        assert error(iam.create_access_key, UserName=who) == (409, "LimitExceeded")
        assert error(iam.delete_user, UserName=who) == (409, "DeleteConflict")

    def test_of_others_are_none(self, iam, user, name):
        iam.create_user(UserName=f"{name}-o")
        assert error(iam.delete_access_key, UserName=f"{name}-o", AccessKeyId=user[1][0]) == (404, "NoSuchEntity")
        iam.delete_user(UserName=f"{name}-o")


class TestPolicies:
    def test_have_versions(self, iam, name):
        arn = iam.create_policy(PolicyName=name, PolicyDocument=policy(S3_ONLY), Description="d")["Policy"]["Arn"]
        assert iam.get_policy(PolicyArn=arn)["Policy"]["Description"] == "d"
        second = iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(S3_ONLY), SetAsDefault=True)
        assert second["PolicyVersion"]["VersionId"] == "v2"
        for _ in range(3):
            iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(S3_ONLY))
        assert error(iam.create_policy_version, PolicyArn=arn, PolicyDocument=policy(S3_ONLY)) == (409, "LimitExceeded")
        assert error(iam.delete_policy_version, PolicyArn=arn, VersionId="v2") == (409, "DeleteConflict")
        assert error(iam.delete_policy, PolicyArn=arn) == (409, "DeleteConflict")
        iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
        for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
        document = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
        assert document["Statement"] == [S3_ONLY]
        iam.delete_policy(PolicyArn=arn)
        assert error(iam.get_policy, PolicyArn=arn) == (404, "NoSuchEntity")

    def test_count_through_groups(self, server, iam, user, name):
        who, keys = user
        s3 = clients.service(server, "s3", keys)
        iam.create_group(GroupName=name)
        iam.add_user_to_group(GroupName=name, UserName=who)
        assert [each["UserName"] for each in iam.get_group(GroupName=name)["Users"]] == [who]
        arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
        iam.attach_group_policy(GroupName=name, PolicyArn=arn)
        s3.list_buckets()
        assert error(s3.create_bucket, Bucket=name)[0] == 403
        assert [each["PolicyArn"] for each in iam.list_attached_group_policies(GroupName=name)["AttachedPolicies"]] == [arn]
        assert name in [each["GroupName"] for each in iam.list_entities_for_policy(PolicyArn=arn)["PolicyGroups"]]
        assert error(iam.delete_group, GroupName=name) == (409, "DeleteConflict")
        iam.detach_group_policy(GroupName=name, PolicyArn=arn)
        assert error(iam.detach_group_policy, GroupName=name, PolicyArn=arn) == (404, "NoSuchEntity")
        iam.remove_user_from_group(GroupName=name, UserName=who)
        iam.delete_group(GroupName=name)


def test_what_is_changed_counts_at_once_while_others_change_theirs(server, iam, name):
    reads = {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
    root = clients.service(server, "s3")
    root.create_bucket(Bucket=name)
    root.put_object(Bucket=name, Key="k", Body=b"x")

    def toggle(number):
        """What a user may at each step, and should."""
        who = f"{name}-{number}"
        iam.create_user(UserName=who)
        key = iam.create_access_key(UserName=who)["AccessKey"]
        own = clients.service(server, "s3", (key["AccessKeyId"], key["SecretAccessKey"]))
        seen = []
        for effect in ["Allow", "Deny"] * 3:
            iam.put_user_policy(UserName=who, PolicyName="p", PolicyDocument=policy({"Effect": effect, **reads}))
            try:
                own.get_object(Bucket=name, Key="k")["Body"].read()
                seen.append("Allow")
            except ClientError as denied:
                seen.append("Deny" if denied.response["Error"]["Code"] == "AccessDenied" else str(denied))
        iam.delete_user_policy(UserName=who, PolicyName="p")
        iam.delete_access_key(UserName=who, AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName=who)
        return seen

    with ThreadPoolExecutor(8) as workers:
        assert list(workers.map(toggle, range(12))) == [["Allow", "Deny"] * 3] * 12
    root.delete_object(Bucket=name, Key="k")
    root.delete_bucket(Bucket=name)


def test_what_is_unknown_or_not_built(iam, server):
    assert error(iam.create_virtual_mfa_device, VirtualMFADeviceName="x") == (501, "NotImplemented")
    assert error(iam.list_ssh_public_keys, UserName="x") == (400, "InvalidAction")
    assert error(clients.service(server, "iam", (server.access_key, "wrong-secret")).list_users) == (403, "SignatureDoesNotMatch")
    assert error(clients.service(server, "iam", ("nobody", "wrong-secret")).list_users) == (403, "InvalidClientTokenId")


def test_the_aws_cli(aws, name):
    made = aws.json("iam", "create-user", "--user-name", name)["User"]
    assert aws.json("iam", "get-user", "--user-name", name)["User"] == made
    assert aws.json("sts", "get-caller-identity")["Arn"].endswith(":root")
    aws("iam", "delete-user", "--user-name", name)
    assert "NoSuchEntity" in aws.fails("iam", "get-user", "--user-name", name)


def test_conditions_are_about_what_is_asked(server, iam, user, name):
    who, keys = user
    arn = "arn:aws:iam::aws:policy/AdministratorAccess"
    everything = {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}
    but = {"Effect": "Deny", "Action": "iam:Attach*", "Resource": "*", "Condition": {"ArnEquals": {"iam:PolicyARN": arn}}}
    tagged = {"Effect": "Deny", "Action": "iam:*", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/keep": "yes"}}}
    iam.put_user_policy(UserName=who, PolicyName="most", PolicyDocument=policy(everything, but, tagged))
    own = clients.service(server, "iam", keys)
    assert error(own.attach_user_policy, UserName=who, PolicyArn=arn) == (403, "AccessDenied")
    own.attach_user_policy(UserName=who, PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    own.create_user(UserName=f"{name}-k", Tags=[{"Key": "keep", "Value": "yes"}])
    assert error(own.delete_user, UserName=f"{name}-k") == (403, "AccessDenied")
    iam.delete_user(UserName=f"{name}-k")
