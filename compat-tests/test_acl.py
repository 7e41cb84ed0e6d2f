"""boto3: what buckets and objects say about access, as one account sees it, and how objects are said to be kept."""

import json

import pytest
from botocore.exceptions import ClientError

from conftest import empty
from support import clients, raw
from test_objects import refused
from test_versions import set_versioning

GROUPS = "http://acs.amazonaws.com/groups/"
EVERYBODY = f"{GROUPS}global/AllUsers"
OWNER = ("owner", "FULL_CONTROL")
READ = ("AllUsers", "READ")
CANNED = {
    "private": [],
    "public-read": [READ],
    "public-read-write": [READ, ("AllUsers", "WRITE")],
    "authenticated-read": [("AuthenticatedUsers", "READ")],
}
BLOCK = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
ENFORCED, PREFERRED, WRITER = "BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"
NOT_SUPPORTED = (400, "AccessControlListNotSupported")


def error(call, **arguments):
    """Status and code of a call that is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return refused(caught)


def own(s3, bucket, ownership):
    """Says who owns what is written into a bucket."""
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]})


def block(s3, bucket, *names):
    """Blocks this of public access to a bucket, and nothing else."""
    wanted = {name: name in names for name in BLOCK}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=wanted)
    return wanted


def shown(answer):
    """The grants of an answer, as (who, what); groups by the last part of their address."""
    grants = []
    for grant in answer["Grants"]:
        to = grant["Grantee"]
        if to["Type"] == "Group":
            assert to["URI"].startswith(GROUPS)
            who = to["URI"].rpartition("/")[2]
        else:
            assert (to["Type"], to["ID"], to["DisplayName"]) == ("CanonicalUser", answer["Owner"]["ID"], answer["Owner"]["DisplayName"])
            who = "owner"
        grants.append((who, grant["Permission"]))
    return grants


def of_object(s3, bucket, key, **version):
    return shown(s3.get_object_acl(Bucket=bucket, Key=key, **version))


@pytest.fixture(params=[PREFERRED, WRITER])
def acls(request, s3, bucket):
    """A bucket where ACLs count, public ones too."""
    own(s3, bucket, request.param)
    s3.delete_public_access_block(Bucket=bucket)
    return bucket


class TestNewBuckets:
    """What nobody says of them is as at Amazon, or as the server was told."""

    def test_are_closed(self, s3, bucket):
        controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
        assert controls == {"Rules": [{"ObjectOwnership": ENFORCED}]}
        found = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        assert found == dict.fromkeys(BLOCK, True)
        assert shown(s3.get_bucket_acl(Bucket=bucket)) == [OWNER]

    def test_say_what_they_are(self, s3, name):
        create = {"Bucket": name, "ACL": "public-read"}
        assert error(s3.create_bucket, **create) == (400, "InvalidBucketAclWithObjectOwnership")
        answer = error(s3.create_bucket, **create, ObjectOwnership=WRITER)
        assert answer == (400, "InvalidBucketAclWithBlockPublicAccessError")
        assert error(s3.create_bucket, Bucket=name, ACL="open") == (400, "InvalidArgument")
        assert error(s3.create_bucket, Bucket=name, ObjectOwnership="Mine") == (400, "InvalidArgument")
        assert error(s3.create_bucket, Bucket=name, ACL="private", GrantRead="id=x") == (400, "InvalidArgument")
        assert error(s3.head_bucket, Bucket=name)[0] == 404
        s3.create_bucket(Bucket=name, ACL="private", ObjectOwnership=PREFERRED)
        controls = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]
        assert controls["Rules"] == [{"ObjectOwnership": PREFERRED}]
        s3.delete_bucket(Bucket=name)

    def test_are_as_the_server_was_told(self, database, new_server):
        told = ["--default-object-ownership", WRITER, "--default-public-access-block=false", "--bucket", "first"]
        s3 = clients.boto(new_server(database_url=database(), args=told).start())
        s3.create_bucket(Bucket="second", ACL="public-read")
        assert shown(s3.get_bucket_acl(Bucket="second")) == [OWNER, READ]
        s3.create_bucket(Bucket="third", GrantWrite=f"uri={GROUPS}s3/LogDelivery", GrantReadACP=f'uri="{GROUPS}s3/LogDelivery"')
        assert shown(s3.get_bucket_acl(Bucket="third")) == [("LogDelivery", "WRITE"), ("LogDelivery", "READ_ACP")]
        for bucket in ("first", "second", "third"):
            controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
            assert controls == {"Rules": [{"ObjectOwnership": WRITER}]}
            answer = error(s3.get_public_access_block, Bucket=bucket)
            assert answer == (404, "NoSuchPublicAccessBlockConfiguration")
        s3.create_bucket(Bucket="fourth", ObjectOwnership=ENFORCED)
        assert error(s3.put_bucket_acl, Bucket="fourth", ACL="public-read") == NOT_SUPPORTED


class TestOwnership:
    """PutBucketOwnershipControls, GetBucketOwnershipControls, DeleteBucketOwnershipControls."""

    def test_put_get_delete(self, s3, bucket):
        for ownership in (WRITER, PREFERRED, ENFORCED):
            own(s3, bucket, ownership)
            controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
            assert controls == {"Rules": [{"ObjectOwnership": ownership}]}
        for _ in range(2):
            answer = s3.delete_bucket_ownership_controls(Bucket=bucket)
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
        answer = error(s3.get_bucket_ownership_controls, Bucket=bucket)
        assert answer == (404, "OwnershipControlsNotFoundError")
        rules = {"Rules": [{"ObjectOwnership": "Mine"}]}
        answer = error(s3.put_bucket_ownership_controls, Bucket=bucket, OwnershipControls=rules)
        assert answer == (400, "MalformedXML")

    def test_enforced_takes_no_acls(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        named = {"Bucket": bucket, "Key": "k"}
        for acl in ("public-read", "public-read-write", "authenticated-read"):
            assert error(s3.put_object, **named, ACL=acl) == NOT_SUPPORTED
            assert error(s3.create_multipart_upload, **named, ACL=acl) == NOT_SUPPORTED
            assert error(s3.copy_object, **named, ACL=acl, CopySource=f"{bucket}/k") == NOT_SUPPORTED
            assert error(s3.put_object_acl, **named, ACL=acl) == NOT_SUPPORTED
        assert error(s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == NOT_SUPPORTED
        assert error(s3.put_object, **named, GrantRead=f"uri={EVERYBODY}") == NOT_SUPPORTED
        # Of the owner's own objects these say what is so anyway; rclone sends the second with every one.
        for acl in ("bucket-owner-full-control", "private"):
            s3.put_object(**named, ACL=acl)
            s3.put_object_acl(**named, ACL=acl)
        s3.put_bucket_acl(Bucket=bucket, ACL="private")
        answer = s3.get_object_acl(**named)
        assert shown(answer) == [OWNER]
        policy = {"Owner": answer["Owner"], "Grants": answer["Grants"]}
        s3.put_object_acl(**named, AccessControlPolicy=policy)
        s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy)

    def test_enforced_waits_for_the_bucket_s_acl(self, s3, acls):
        s3.put_bucket_acl(Bucket=acls, ACL="public-read")
        controls = {"Rules": [{"ObjectOwnership": ENFORCED}]}
        answer = error(s3.put_bucket_ownership_controls, Bucket=acls, OwnershipControls=controls)
        assert answer == (400, "InvalidBucketAclWithObjectOwnership")
        s3.put_object(Bucket=acls, Key="k", ACL="public-read")
        s3.put_bucket_acl(Bucket=acls, ACL="private")
        own(s3, acls, ENFORCED)
        assert of_object(s3, acls, "k") == [OWNER]
        own(s3, acls, WRITER)
        assert of_object(s3, acls, "k") == [OWNER, READ]


class TestAcls:
    """GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl, and what says an ACL with a write."""

    @pytest.mark.parametrize("acl", [*CANNED, "bucket-owner-read", "bucket-owner-full-control"])
    def test_canned(self, s3, acls, acl):
        # A bucket's owner has all of that already.
        expected = [OWNER, *CANNED.get(acl, [])]
        s3.put_object(Bucket=acls, Key="put", ACL=acl)
        s3.put_object(Bucket=acls, Key="changed")
        assert of_object(s3, acls, "changed") == [OWNER]
        s3.put_object_acl(Bucket=acls, Key="changed", ACL=acl)
        s3.copy_object(Bucket=acls, Key="copy", CopySource=f"{acls}/put", ACL=acl)
        s3.copy_object(Bucket=acls, Key="plain", CopySource=f"{acls}/put")
        assert of_object(s3, acls, "plain") == [OWNER], "an ACL is not copied"
        upload = s3.create_multipart_upload(Bucket=acls, Key="parts", ACL=acl)["UploadId"]
        part = s3.upload_part(Bucket=acls, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket=acls, Key="parts", UploadId=upload, MultipartUpload=parts)
        for key in ("put", "changed", "copy", "parts"):
            assert of_object(s3, acls, key) == expected, key
        s3.put_object(Bucket=acls, Key="changed")
        assert of_object(s3, acls, "changed") == [OWNER], "what is written anew has a new ACL"
        if acl in CANNED:
            s3.put_bucket_acl(Bucket=acls, ACL=acl)
            assert shown(s3.get_bucket_acl(Bucket=acls)) == expected

    def test_grants(self, server, s3, acls):
        owner = s3.get_bucket_acl(Bucket=acls)["Owner"]["ID"]
        s3.put_object(Bucket=acls, Key="k", GrantFullControl=f'id="{owner}"', GrantRead=f'uri="{EVERYBODY}", id={owner}')
        assert of_object(s3, acls, "k") == [OWNER, READ, ("owner", "READ")]
        s3.put_object_acl(Bucket=acls, Key="k", GrantReadACP=f"id={owner}", GrantWriteACP=f"id={owner}")
        assert of_object(s3, acls, "k") == [("owner", "READ_ACP"), ("owner", "WRITE_ACP")]
        s3.put_bucket_acl(Bucket=acls, GrantWrite=f"uri={GROUPS}s3/LogDelivery")
        assert shown(s3.get_bucket_acl(Bucket=acls)) == [("LogDelivery", "WRITE")]
        for grant, answer in [
            ("id=nobody", (400, "InvalidArgument")),
            ("emailAddress=nobody@example.com", (400, "UnresolvableGrantByEmailAddress")),
            ("uri=http://example.com/", (400, "InvalidArgument")),
            ("nobody", (400, "InvalidArgument")),
            (",".join([f"id={owner}"] * 101), (400, "MalformedACLError")),
        ]:
            assert error(s3.put_object_acl, Bucket=acls, Key="k", GrantRead=grant) == answer, grant
            assert error(s3.put_object, Bucket=acls, Key="other", GrantRead=grant) == answer, grant
        both = {"ACL": "private", "GrantRead": f"id={owner}"}
        assert error(s3.put_object, Bucket=acls, Key="other", **both) == (400, "InvalidRequest")
        assert error(s3.put_bucket_acl, Bucket=acls, **both) == (400, "InvalidRequest")
        assert error(s3.put_object, Bucket=acls, Key="other", ACL="aws-exec-read") == (501, "NotImplemented")
        assert error(s3.put_object, Bucket=acls, Key="other", ACL="log-delivery-write") == (400, "InvalidArgument")
        answer = raw.signed(server, "PUT", f"/{acls}/k?acl")
        assert (answer.status, answer.code) == (400, "MissingSecurityHeader")
        assert error(s3.head_object, Bucket=acls, Key="other")[0] == 404

    def test_documents(self, s3, acls):
        s3.put_object(Bucket=acls, Key="k")
        answer = s3.get_object_acl(Bucket=acls, Key="k")
        owner, named = answer["Owner"], {"Bucket": acls, "Key": "k"}
        me = {"Type": "CanonicalUser", "ID": owner["ID"]}
        grants = [{"Grantee": me, "Permission": "READ"}, {"Grantee": {"Type": "Group", "URI": EVERYBODY}, "Permission": "READ_ACP"}]
        expected = [("owner", "READ"), ("AllUsers", "READ_ACP")]
        s3.put_object_acl(**named, AccessControlPolicy={"Owner": owner, "Grants": grants})
        assert of_object(s3, acls, "k") == expected
        s3.put_bucket_acl(Bucket=acls, AccessControlPolicy={"Owner": owner, "Grants": grants})
        assert shown(s3.get_bucket_acl(Bucket=acls)) == expected
        s3.put_object_acl(**named, AccessControlPolicy={"Owner": owner, "Grants": []})
        assert of_object(s3, acls, "k") == []
        by_mail = {"Type": "AmazonCustomerByEmail", "EmailAddress": "nobody@example.com"}
        for document, answer in [
            ({"Owner": {"ID": "somebody"}, "Grants": grants}, (403, "AccessDenied")),
            ({"Grants": grants}, (400, "MalformedACLError")),
            ({"Owner": owner, "Grants": grants * 51}, (400, "MalformedACLError")),
            ({"Owner": owner, "Grants": [{"Grantee": me, "Permission": "LIST"}]}, (400, "MalformedACLError")),
            ({"Owner": owner, "Grants": [{"Grantee": {**me, "ID": "x"}, "Permission": "READ"}]}, (400, "InvalidArgument")),
            ({"Owner": owner, "Grants": [{"Grantee": by_mail, "Permission": "READ"}]}, (400, "UnresolvableGrantByEmailAddress")),
        ]:
            assert error(s3.put_object_acl, **named, AccessControlPolicy=document) == answer, document
        both = {"AccessControlPolicy": {"Owner": owner, "Grants": grants}, "ACL": "private"}
        assert error(s3.put_object_acl, **named, **both) == (400, "UnexpectedContent")
        assert of_object(s3, acls, "k") == []

    def test_of_versions(self, s3, acls):
        set_versioning(s3, acls, "Enabled")
        first = s3.put_object(Bucket=acls, Key="k", ACL="public-read")["VersionId"]
        second = s3.put_object(Bucket=acls, Key="k")["VersionId"]
        answer = s3.get_object_acl(Bucket=acls, Key="k", VersionId=first)
        assert shown(answer) == [OWNER, READ]
        assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-version-id"] == first
        assert of_object(s3, acls, "k") == [OWNER]
        s3.put_object_acl(Bucket=acls, Key="k", VersionId=first, ACL="private")
        s3.put_object_acl(Bucket=acls, Key="k", ACL="authenticated-read")
        assert of_object(s3, acls, "k", VersionId=first) == [OWNER]
        assert of_object(s3, acls, "k", VersionId=second) == [OWNER, ("AuthenticatedUsers", "READ")]
        marker = s3.delete_object(Bucket=acls, Key="k")["VersionId"]
        for call, acl in ((s3.get_object_acl, {}), (s3.put_object_acl, {"ACL": "private"})):
            assert error(call, Bucket=acls, Key="k", **acl) == (404, "NoSuchKey")
            assert error(call, Bucket=acls, Key="k", VersionId=marker, **acl) == (405, "MethodNotAllowed")
            assert error(call, Bucket=acls, Key="none", **acl) == (404, "NoSuchKey")
        empty(s3, acls)

    def test_are_part_of_what_is_signed(self, server, s3, acls):
        target = raw.presign(server, "PUT", f"/{acls}/k")
        answer = raw.send(server, "PUT", target, {"x-amz-acl": "public-read"}, b"x")
        assert (answer.status, answer.code) == (403, "AccessDenied")
        url = s3.generate_presigned_url("put_object", Params={"Bucket": acls, "Key": "k", "ACL": "public-read"})
        target = url[url.index("/", len("http://")) :]
        assert raw.send(server, "PUT", target, {"x-amz-acl": "public-read"}, b"x").status == 200
        assert of_object(s3, acls, "k") == [OWNER, READ]


class TestPublicAccessBlock:
    """PutPublicAccessBlock, GetPublicAccessBlock, DeletePublicAccessBlock."""

    def test_put_get_delete(self, s3, bucket):
        for names in ((), BLOCK[:1], BLOCK[1:]):
            wanted = block(s3, bucket, *names)
            assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == wanted
        for _ in range(2):
            answer = s3.delete_public_access_block(Bucket=bucket)
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
        answer = error(s3.get_public_access_block, Bucket=bucket)
        assert answer == (404, "NoSuchPublicAccessBlockConfiguration")

    def test_of_acls(self, s3, acls):
        s3.put_object(Bucket=acls, Key="k")
        block(s3, acls, "BlockPublicAcls")
        denied = (403, "AccessDenied")
        for acl in ("public-read", "public-read-write", "authenticated-read"):
            assert error(s3.put_object, Bucket=acls, Key="k", ACL=acl) == denied
            assert error(s3.put_object_acl, Bucket=acls, Key="k", ACL=acl) == denied
            assert error(s3.put_bucket_acl, Bucket=acls, ACL=acl) == denied
            assert error(s3.create_multipart_upload, Bucket=acls, Key="k", ACL=acl) == denied
        assert error(s3.put_bucket_acl, Bucket=acls, GrantReadACP=f"uri={EVERYBODY}") == denied
        s3.put_object(Bucket=acls, Key="k", ACL="private")
        block(s3, acls, *BLOCK[1:])
        s3.put_object(Bucket=acls, Key="k", ACL="public-read")
        assert of_object(s3, acls, "k") == [OWNER, READ]


class TestPolicies:
    """PutBucketPolicy, GetBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus."""

    @staticmethod
    def text(bucket, effect, **more):
        statement = {"Effect": effect, "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, **more}]}, indent=3)

    def test_put_get_delete(self, s3, bucket):
        for call in (s3.get_bucket_policy, s3.get_bucket_policy_status):
            assert error(call, Bucket=bucket) == (404, "NoSuchBucketPolicy")
        text = self.text(bucket, "Deny", Sid="ü")
        answer = s3.put_bucket_policy(Bucket=bucket, Policy=text)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
        answer = s3.get_bucket_policy(Bucket=bucket)
        assert answer["Policy"] == text
        assert answer["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/json"
        assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
        for _ in range(2):
            answer = s3.delete_bucket_policy(Bucket=bucket)
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert error(s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")

    def test_public(self, s3, bucket):
        public = self.text(bucket, "Allow")
        assert error(s3.put_bucket_policy, Bucket=bucket, Policy=public) == (403, "AccessDenied")
        within = self.text(bucket, "Allow", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/24"}})
        s3.put_bucket_policy(Bucket=bucket, Policy=within)
        assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
        block(s3, bucket, *(name for name in BLOCK if name != "BlockPublicPolicy"))
        s3.put_bucket_policy(Bucket=bucket, Policy=public)
        assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": True}

    def test_refused(self, s3, bucket):
        good = self.text(bucket, "Deny")
        for bad in ("{}", "policy", self.text("another", "Deny"), self.text(bucket, "Maybe"), good + " " * 20480):
            assert error(s3.put_bucket_policy, Bucket=bucket, Policy=bad) == (400, "MalformedPolicy"), bad[:200]
        assert error(s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")


class TestStorageClasses:
    """What says how objects are kept; both classes are kept alike."""

    def test_are_kept_and_shown(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="reduced", StorageClass="REDUCED_REDUNDANCY")
        s3.put_object(Bucket=bucket, Key="standard", StorageClass="STANDARD")
        assert s3.head_object(Bucket=bucket, Key="reduced")["StorageClass"] == "REDUCED_REDUNDANCY"
        assert s3.get_object(Bucket=bucket, Key="reduced")["StorageClass"] == "REDUCED_REDUNDANCY"
        assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="standard")
        for listed in (s3.list_objects(Bucket=bucket), s3.list_objects_v2(Bucket=bucket)):
            assert [item["StorageClass"] for item in listed["Contents"]] == ["REDUCED_REDUNDANCY", "STANDARD"]
        upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", StorageClass="REDUCED_REDUNDANCY")["UploadId"]
        listed = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
        assert [item["StorageClass"] for item in listed] == ["REDUCED_REDUNDANCY"]
        s3.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload)

    def test_are_a_reason_to_copy_an_object_onto_itself(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Metadata={"a": "b"})
        onto_itself = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k"}
        assert error(s3.copy_object, **onto_itself) == (400, "InvalidRequest")
        s3.copy_object(**onto_itself, StorageClass="REDUCED_REDUNDANCY")
        head = s3.head_object(Bucket=bucket, Key="k")
        assert (head["StorageClass"], head["Metadata"]) == ("REDUCED_REDUNDANCY", {"a": "b"})

    def test_that_are_none(self, s3, bucket):
        for name, answer in [("GLACIER", (501, "NotImplemented")), ("COLD", (400, "InvalidStorageClass"))]:
            assert error(s3.put_object, Bucket=bucket, Key="k", StorageClass=name) == answer
            assert error(s3.create_multipart_upload, Bucket=bucket, Key="k", StorageClass=name) == answer


def test_nobody_pays_for_requests(s3, bucket):
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    answer = error(s3.put_bucket_request_payment, Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert answer == (501, "NotImplemented")
