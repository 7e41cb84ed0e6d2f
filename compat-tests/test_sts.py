"""STS: sessions of roles and of oneself, by boto3."""

import json
import urllib.error
import urllib.request

import pytest

from support import clients
from test_iam import S3_ONLY, error, iam, policy, user  # noqa: F401 (fixtures)

ASSUME = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}


def trust(arn):
    """The document of a role that trusts somebody."""
    return policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": arn}})


def within(server, service, answer):
    """A client with a session's credentials."""
    keys = answer["Credentials"]
    return clients.service(server, service, (keys["AccessKeyId"], keys["SecretAccessKey"]), keys["SessionToken"])


@pytest.fixture
def role(iam, user, name):  # noqa: F811
    """A role that the user may take and that may do everything with S3."""
    who = iam.get_user(UserName=user[0])["User"]["Arn"]
    made = iam.create_role(RoleName=name, Path="/r/", AssumeRolePolicyDocument=trust(who), MaxSessionDuration=7200)["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy(S3_ONLY))
    yield made["Arn"]
    try:
        iam.delete_role_policy(RoleName=name, PolicyName="all")
        iam.delete_role(RoleName=name)
    except iam.exceptions.NoSuchEntityException:
        pass


def test_everybody_learns_who_he_is(server, user):  # noqa: F811
    root = clients.service(server, "sts").get_caller_identity()
    assert root["Arn"] == f"arn:aws:iam::{root['Account']}:root"
    who = clients.service(server, "sts", user[1]).get_caller_identity()
    assert who["Arn"] == f"arn:aws:iam::{root['Account']}:user/team/{user[0]}"
    key = clients.service(server, "sts").get_access_key_info(AccessKeyId=user[1][0])
    assert key["Account"] == root["Account"]
    url = clients.service(server, "sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
    with urllib.request.urlopen(url) as answer:
        assert f"<Account>{root['Account']}</Account>" in answer.read().decode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.endpoint}/?Action=GetCallerIdentity&Version=2011-06-15")
    assert caught.value.code == 403 and b"MissingAuthenticationToken" in caught.value.read()


class TestOneself:
    def test_may_the_same(self, server, iam, user, name):  # noqa: F811
        who, keys = user
        iam.put_user_policy(UserName=who, PolicyName="all", PolicyDocument=policy(S3_ONLY))
        session = clients.service(server, "sts", keys).get_session_token(DurationSeconds=900)
        s3 = within(server, "s3", session)
        s3.create_bucket(Bucket=name)
        url = s3.generate_presigned_url("list_objects_v2", Params={"Bucket": name})
        assert urllib.request.urlopen(url).status == 200
        form = s3.generate_presigned_post(name, "key")
        assert form["fields"]["x-amz-security-token"]
        s3.delete_bucket(Bucket=name)
        sts = within(server, "sts", session)
        assert sts.get_caller_identity()["Arn"].endswith(f":user/team/{who}")
        assert error(sts.get_session_token) == (403, "AccessDenied")
        assert error(within(server, "iam", session).get_user) == (403, "AccessDenied")

    def test_ends_with_the_key_that_asked(self, server, iam, user):  # noqa: F811
        who, keys = user
        iam.put_user_policy(UserName=who, PolicyName="all", PolicyDocument=policy(S3_ONLY))
        session = clients.service(server, "sts", keys).get_session_token()
        s3 = within(server, "s3", session)
        s3.list_buckets()
        iam.delete_user_policy(UserName=who, PolicyName="all")
        assert error(s3.list_buckets) == (403, "AccessDenied")
        iam.delete_access_key(UserName=who, AccessKeyId=keys[0])
        assert error(s3.list_buckets) == (400, "InvalidToken")

    def test_is_nobody_without_its_token(self, server, user):  # noqa: F811
        one = clients.service(server, "sts", user[1]).get_session_token()["Credentials"]
        other = clients.service(server, "sts", user[1]).get_session_token()["Credentials"]
        keys = (one["AccessKeyId"], one["SecretAccessKey"])
        assert error(clients.service(server, "s3", keys).list_buckets) == (403, "InvalidAccessKeyId")
        assert error(clients.service(server, "s3", keys, other["SessionToken"]).list_buckets) == (400, "InvalidToken")
        assert error(clients.service(server, "sts", keys, "x").get_caller_identity) == (403, "InvalidClientTokenId")
        assert error(clients.service(server, "s3", user[1], one["SessionToken"]).list_buckets) == (400, "InvalidToken")


class TestRoles:
    def test_are_taken_by_whom_they_trust(self, server, iam, user, role, name):  # noqa: F811
        sts = clients.service(server, "sts", user[1])
        session = sts.assume_role(RoleArn=role, RoleSessionName="session")
        account = sts.get_caller_identity()["Account"]
        arn = f"arn:aws:sts::{account}:assumed-role/{name}/session"
        assert session["AssumedRoleUser"]["Arn"] == arn
        assert within(server, "sts", session).get_caller_identity()["Arn"] == arn
        s3 = within(server, "s3", session)
        s3.create_bucket(Bucket=name)
        s3.delete_bucket(Bucket=name)
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust(f"arn:aws:iam::{account}:root"))
        assert error(sts.assume_role, RoleArn=role, RoleSessionName="session") == (403, "AccessDenied")
        iam.put_user_policy(UserName=user[0], PolicyName="assume", PolicyDocument=policy(ASSUME))
        sts.assume_role(RoleArn=role, RoleSessionName="session")
        assert error(sts.assume_role, RoleArn=f"{role}x", RoleSessionName="session") == (403, "AccessDenied")

    def test_are_limited_by_the_session(self, server, user, role, name):
        sts = clients.service(server, "sts", user[1])
        listing = policy({"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"})
        session = sts.assume_role(RoleArn=role, RoleSessionName="session", Policy=listing)
        s3 = within(server, "s3", session)
        s3.list_buckets()
        assert error(s3.create_bucket, Bucket=name) == (403, "AccessDenied")
        one = {"RoleArn": role, "RoleSessionName": "session"}
        assert error(sts.assume_role, **one, Policy="{}") == (400, "MalformedPolicyDocument")
        long = json.dumps({"Version": "2012-10-17", "Statement": [{**S3_ONLY, "Sid": "x" * 2048}]})
        assert error(sts.assume_role, **one, Policy=long) == (400, "PackedPolicyTooLarge")

    def test_have_policies_of_the_session_by_name(self, server, iam, user, role, name):  # noqa: F811
        listing = policy({"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"})
        arn = iam.create_policy(PolicyName=name, PolicyDocument=listing)["Policy"]["Arn"]
        sts = clients.service(server, "sts", user[1])
        session = sts.assume_role(RoleArn=role, RoleSessionName="session", PolicyArns=[{"arn": arn}])
        s3 = within(server, "s3", session)
        s3.list_buckets()
        assert error(s3.create_bucket, Bucket=name) == (403, "AccessDenied")
        iam.delete_policy(PolicyArn=arn)
        assert error(s3.list_buckets) == (400, "InvalidToken")

    def test_last_as_long_as_they_may(self, server, user, role):
        sts = clients.service(server, "sts", user[1])
        one = {"RoleArn": role, "RoleSessionName": "session"}
        sts.assume_role(**one, DurationSeconds=7200)
        assert error(sts.assume_role, **one, DurationSeconds=7201) == (400, "ValidationError")
        assert error(sts.assume_role, **one, DurationSeconds=43201) == (400, "ValidationError")

    def test_end_with_the_role(self, server, iam, user, role, name):  # noqa: F811
        session = clients.service(server, "sts", user[1]).assume_role(RoleArn=role, RoleSessionName="session")
        s3 = within(server, "s3", session)
        s3.list_buckets()
        iam.delete_role_policy(RoleName=name, PolicyName="all")
        iam.delete_role(RoleName=name)
        assert error(s3.list_buckets) == (400, "InvalidToken")


def test_what_is_not_built(server):
    sts = clients.service(server, "sts")
    assert error(sts.get_federation_token, Name="somebody") == (501, "NotImplemented")
    web = {"RoleArn": "arn:aws:iam::123456789012:role/x", "RoleSessionName": "session", "WebIdentityToken": "token"}
    assert error(sts.assume_role_with_web_identity, **web) == (400, "InvalidIdentityToken")
