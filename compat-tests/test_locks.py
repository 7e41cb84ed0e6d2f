"""boto3: Object Lock. What is locked stays, whoever deletes it and however."""

import datetime
import time

import pytest
from botocore.exceptions import ClientError

from support import raw
from support.data import MIB, noise

from conftest import empty


def refused(error):
    """Status and code of an answer that was an error."""
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"], error.value.response["Error"]["Code"]


def ahead(**amount):
    """A moment to come, in whole seconds."""
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**amount)).replace(microsecond=0)


@pytest.fixture
def locking(s3, name):
    """A bucket that locks its objects."""
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    yield name
    for version in s3.list_object_versions(Bucket=name).get("Versions", []):
        head = s3.head_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
        if head.get("ObjectLockLegalHoldStatus") == "ON":
            s3.put_object_legal_hold(Bucket=name, Key=version["Key"], VersionId=version["VersionId"], LegalHold={"Status": "OFF"})
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def delete(s3, bucket, key, version, **options):
    return s3.delete_object(Bucket=bucket, Key=key, VersionId=version, **options)


class TestConfiguration:
    """PutObjectLockConfiguration and GetObjectLockConfiguration."""

    def test_a_bucket_made_to_lock(self, s3, locking):
        assert s3.get_bucket_versioning(Bucket=locking)["Status"] == "Enabled"
        assert s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
        with pytest.raises(ClientError) as error:
            s3.put_bucket_versioning(Bucket=locking, VersioningConfiguration={"Status": "Suspended"})
        assert refused(error) == (409, "InvalidBucketState")
        for default in [{"Mode": "GOVERNANCE", "Days": 1}, {"Mode": "COMPLIANCE", "Years": 1}]:
            configuration = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}
            s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=configuration)
            assert s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"] == configuration

    def test_a_bucket_that_comes_to_lock(self, s3, bucket):
        with pytest.raises(ClientError) as error:
            s3.get_object_lock_configuration(Bucket=bucket)
        assert refused(error) == (404, "ObjectLockConfigurationNotFoundError")
        enable = {"Bucket": bucket, "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}
        with pytest.raises(ClientError) as error:
            s3.put_object_lock_configuration(**enable)
        assert refused(error) == (409, "InvalidBucketState")
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object_lock_configuration(**enable)
        assert "Rule" not in s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]

    @pytest.mark.parametrize("rule, answer", [
        ("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>", (400, "MalformedXML")),
        ("<Mode>GOVERNANCE</Mode>", (400, "MalformedXML")),
        ("<Mode>governance</Mode><Days>1</Days>", (400, "MalformedXML")),
        ("<Days>1</Days>", (400, "MalformedXML")),
        ("<Mode>GOVERNANCE</Mode><Days>0</Days>", (400, "InvalidArgument")),
        ("<Mode>GOVERNANCE</Mode><Years>-1</Years>", (400, "InvalidArgument")),
        ("<Mode>GOVERNANCE</Mode><Years>101</Years>", (400, "InvalidArgument")),
        ("<Mode>GOVERNANCE</Mode><Days>36501</Days>", (400, "InvalidArgument")),
    ])
    def test_what_is_refused(self, s3, server, locking, rule, answer):
        document = ("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
                    f"{rule}</DefaultRetention></Rule></ObjectLockConfiguration>")
        got = raw.signed(server, "PUT", f"/{locking}?object-lock", body=document.encode())
        assert (got.status, got.code) == answer
        assert "Rule" not in s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"]

    def test_enabled_is_all_it_can_be(self, server, locking):
        document = b"<ObjectLockConfiguration><ObjectLockEnabled>Disabled</ObjectLockEnabled></ObjectLockConfiguration>"
        got = raw.signed(server, "PUT", f"/{locking}?object-lock", body=document)
        assert (got.status, got.code) == (400, "MalformedXML")


class TestRetention:
    """Retention of a version."""

    def test_governance(self, s3, locking):
        until = ahead(hours=1)
        version = s3.put_object(Bucket=locking, Key="k", Body=b"1", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)["VersionId"]
        head = s3.head_object(Bucket=locking, Key="k")
        assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
        assert s3.get_object_retention(Bucket=locking, Key="k")["Retention"] == {"Mode": "GOVERNANCE", "RetainUntilDate": until}
        with pytest.raises(ClientError) as error:
            delete(s3, locking, "k", version)
        assert refused(error) == (403, "AccessDenied")
        answer = s3.delete_objects(Bucket=locking, Delete={"Objects": [{"Key": "k", "VersionId": version}]})
        assert [(item["Key"], item["VersionId"], item["Code"]) for item in answer["Errors"]] == [("k", version, "AccessDenied")]
        # Hidden, but there.
        s3.delete_object(Bucket=locking, Key="k")
        assert s3.get_object(Bucket=locking, Key="k", VersionId=version)["Body"].read() == b"1"

        def retain(mode, until, **options):
            retention = {"Mode": mode, "RetainUntilDate": until} if mode else {}
            s3.put_object_retention(Bucket=locking, Key="k", VersionId=version, Retention=retention, **options)

        retain("GOVERNANCE", ahead(hours=2))
        for mode, moment in [("GOVERNANCE", ahead(minutes=5)), ("COMPLIANCE", ahead(hours=3)), (None, None)]:
            with pytest.raises(ClientError) as error:
                retain(mode, moment)
            assert refused(error) == (403, "AccessDenied")
        retain("GOVERNANCE", ahead(minutes=5), BypassGovernanceRetention=True)
        retain(None, None, BypassGovernanceRetention=True)
        with pytest.raises(ClientError) as error:
            s3.get_object_retention(Bucket=locking, Key="k", VersionId=version)
        assert refused(error) == (404, "NoSuchObjectLockConfiguration")
        delete(s3, locking, "k", version)

    def test_compliance_is_for_everyone_and_ends(self, s3, locking):
        until = ahead(seconds=6)
        version = s3.put_object(Bucket=locking, Key="k", Body=noise(2 * MIB), ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)["VersionId"]
        with pytest.raises(ClientError) as error:
            delete(s3, locking, "k", version, BypassGovernanceRetention=True)
        assert refused(error) == (403, "AccessDenied")
        for retention in [{}, {"Mode": "GOVERNANCE", "RetainUntilDate": ahead(hours=1)}, {"Mode": "COMPLIANCE", "RetainUntilDate": ahead(seconds=1)}]:
            with pytest.raises(ClientError) as error:
                s3.put_object_retention(Bucket=locking, Key="k", VersionId=version, Retention=retention, BypassGovernanceRetention=True)
            assert refused(error) == (403, "AccessDenied")
        while datetime.datetime.now(datetime.timezone.utc) < until:
            time.sleep(0.2)
        delete(s3, locking, "k", version)
        assert s3.list_object_versions(Bucket=locking).get("Versions") is None

    def test_by_default(self, s3, locking):
        s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}})
        s3.put_object(Bucket=locking, Key="small", Body=b"1")
        s3.put_object(Bucket=locking, Key="large", Body=noise(2 * MIB))
        s3.copy_object(Bucket=locking, Key="copy", CopySource=f"{locking}/large")
        upload = s3.create_multipart_upload(Bucket=locking, Key="parts")["UploadId"]
        part = s3.upload_part(Bucket=locking, Key="parts", UploadId=upload, PartNumber=1, Body=b"1")["ETag"]
        s3.complete_multipart_upload(Bucket=locking, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
        for key in ["small", "large", "copy", "parts"]:
            head = s3.head_object(Bucket=locking, Key=key)
            assert head["ObjectLockMode"] == "GOVERNANCE"
            assert abs(head["ObjectLockRetainUntilDate"] - ahead(days=3)) < datetime.timedelta(minutes=2)
        # Its writer's word counts more.
        until = ahead(hours=1)
        s3.put_object(Bucket=locking, Key="own", Body=b"1", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
        assert s3.head_object(Bucket=locking, Key="own")["ObjectLockRetainUntilDate"] == until

    def test_with_every_write(self, s3, locking):
        until = ahead(hours=1)
        lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until, "ObjectLockLegalHoldStatus": "ON"}
        s3.put_object(Bucket=locking, Key="source", Body=b"1")
        s3.copy_object(Bucket=locking, Key="copy", CopySource=f"{locking}/source", **lock)
        upload = s3.create_multipart_upload(Bucket=locking, Key="parts", **lock)["UploadId"]
        part = s3.upload_part(Bucket=locking, Key="parts", UploadId=upload, PartNumber=1, Body=b"1")["ETag"]
        s3.complete_multipart_upload(Bucket=locking, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
        for key in ["copy", "parts"]:
            got = s3.get_object(Bucket=locking, Key=key)
            assert {name: got[name] for name in lock} == lock

    @pytest.mark.parametrize("lock", [
        {"ObjectLockMode": "GOVERNANCE"},
        {"ObjectLockRetainUntilDate": datetime.datetime(2100, 1, 1)},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.datetime(2020, 1, 1)},
        {"ObjectLockMode": "abc", "ObjectLockRetainUntilDate": datetime.datetime(2100, 1, 1)},
        {"ObjectLockLegalHoldStatus": "on"},
    ])
    def test_what_is_refused(self, s3, locking, lock):
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=locking, Key="k", Body=b"1", **lock)
        assert refused(error) == (400, "InvalidArgument")
        assert s3.list_object_versions(Bucket=locking).get("Versions") is None

    @pytest.mark.parametrize("document, answer", [
        ("<Retention><Mode>governance</Mode><RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>", (400, "MalformedXML")),
        ("<Retention><Mode>GOVERNANCE</Mode></Retention>", (400, "MalformedXML")),
        ("<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2020-01-01T00:00:00Z</RetainUntilDate></Retention>", (400, "InvalidArgument")),
        ("", (400, "MalformedXML")),
    ])
    def test_documents_that_are_refused(self, s3, server, locking, document, answer):
        s3.put_object(Bucket=locking, Key="k", Body=b"1")
        got = raw.signed(server, "PUT", f"/{locking}/k?retention", body=document.encode())
        assert (got.status, got.code) == answer


class TestLegalHold:
    """A legal hold, which has no end and no bypass."""

    def test_on_and_off(self, s3, locking):
        version = s3.put_object(Bucket=locking, Key="k", Body=b"1", ObjectLockLegalHoldStatus="ON")["VersionId"]
        assert s3.get_object_legal_hold(Bucket=locking, Key="k")["LegalHold"] == {"Status": "ON"}
        with pytest.raises(ClientError) as error:
            delete(s3, locking, "k", version, BypassGovernanceRetention=True)
        assert refused(error) == (403, "AccessDenied")
        s3.put_object_legal_hold(Bucket=locking, Key="k", LegalHold={"Status": "OFF"})
        assert s3.head_object(Bucket=locking, Key="k")["ObjectLockLegalHoldStatus"] == "OFF"
        delete(s3, locking, "k", version)

    def test_never_said(self, s3, locking):
        s3.put_object(Bucket=locking, Key="k", Body=b"1")
        with pytest.raises(ClientError) as error:
            s3.get_object_legal_hold(Bucket=locking, Key="k")
        assert refused(error) == (404, "NoSuchObjectLockConfiguration")
        with pytest.raises(ClientError) as error:
            s3.put_object_legal_hold(Bucket=locking, Key="k", LegalHold={"Status": "on"})
        assert refused(error) == (400, "MalformedXML")


def test_where_nothing_is_locked(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    calls = [
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"2", ObjectLockLegalHoldStatus="ON"),
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=noise(2 * MIB), ObjectLockLegalHoldStatus="ON"),
        lambda: s3.create_multipart_upload(Bucket=bucket, Key="k", ObjectLockLegalHoldStatus="ON"),
        lambda: s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", ObjectLockLegalHoldStatus="ON"),
        lambda: s3.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": "ON"}),
        lambda: s3.get_object_legal_hold(Bucket=bucket, Key="k"),
        lambda: s3.put_object_retention(Bucket=bucket, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": ahead(hours=1)}),
        lambda: s3.get_object_retention(Bucket=bucket, Key="k"),
    ]
    for call in calls:
        with pytest.raises(ClientError) as error:
            call()
        assert refused(error) == (400, "InvalidRequest")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
