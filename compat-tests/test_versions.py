"""boto3: versions, delete markers, and what a bucket's versioning does to every operation."""

import re

import pytest
from botocore.exceptions import ClientError

from support import raw
from support.data import KIB, MIB, etag, noise


def refused(error):
    """Status and code of an answer that was an error."""
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"], error.value.response["Error"]["Code"]


def headers_of(error):
    """The headers of an answer that was an error."""
    return error.value.response["ResponseMetadata"]["HTTPHeaders"]


def set_versioning(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


@pytest.fixture
def versioned(s3, bucket):
    """A bucket with versioning enabled."""
    set_versioning(s3, bucket, "Enabled")
    return bucket


def put(s3, bucket, key, body, **options):
    """Puts an object; answers its version."""
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **options).get("VersionId")


def read(s3, bucket, key, **options):
    return s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()


def listed(s3, bucket, **options):
    """Key, version, whether latest, size; None for a delete marker's size. Of each key the versions are in order, as is each of S3's lists."""
    answer = s3.list_object_versions(Bucket=bucket, **options)
    rows = [(v["Key"], v["VersionId"], v["IsLatest"], v["Size"]) for v in answer.get("Versions", [])]
    return rows + [(m["Key"], m["VersionId"], m["IsLatest"], None) for m in answer.get("DeleteMarkers", [])]


class TestConfiguration:
    """PutBucketVersioning and GetBucketVersioning."""

    def test_states(self, s3, bucket):
        assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
        for status in ["Suspended", "Enabled", "Enabled", "Suspended"]:
            set_versioning(s3, bucket, status)
            assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status

    @pytest.mark.parametrize("document, answer", [
        ("<VersioningConfiguration/>", (400, "IllegalVersioningConfigurationException")),
        ("<VersioningConfiguration><Status>enabled</Status></VersioningConfiguration>", (400, "MalformedXML")),
        ("<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>",
         (501, "NotImplemented")),
        ("<Versioning/>", (400, "MalformedXML")),
            ("", (400, "MissingRequestBodyError")),
    ])
    def test_what_is_refused(self, s3, server, bucket, document, answer):
        got = raw.signed(server, "PUT", f"/{bucket}?versioning", body=document.encode())
        assert (got.status, got.code) == answer
        assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)

    def test_no_bucket(self, s3, name):
        for call in [lambda: set_versioning(s3, name, "Enabled"), lambda: s3.get_bucket_versioning(Bucket=name),
                     lambda: s3.list_object_versions(Bucket=name)]:
            with pytest.raises(ClientError) as error:
                call()
            assert refused(error) == (404, "NoSuchBucket")


class TestUnversioned:
    """Where versions were never kept there is only the null version."""

    def test_the_null_version(self, s3, bucket):
        answer = s3.put_object(Bucket=bucket, Key="k", Body=b"1")
        assert "VersionId" not in answer
        assert "VersionId" not in s3.get_object(Bucket=bucket, Key="k")
        assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["VersionId"] == "null"
        assert listed(s3, bucket) == [("k", "null", True, 1)]
        s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
        assert listed(s3, bucket) == []
        answer = s3.delete_object(Bucket=bucket, Key="k")
        assert "VersionId" not in answer and "DeleteMarker" not in answer

    @pytest.mark.parametrize("version, answer", [
        ("0000000000000001ffffffffffffffff", (404, "NoSuchVersion")),
        ("3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY", (400, "InvalidArgument")),
    ])
    def test_others(self, s3, bucket, version, answer):
        put(s3, bucket, "k", b"1")
        for call in [s3.get_object, s3.get_object_tagging]:
            with pytest.raises(ClientError) as error:
                call(Bucket=bucket, Key="k", VersionId=version)
            assert refused(error) == answer
        with pytest.raises(ClientError) as error:
            s3.head_object(Bucket=bucket, Key="k", VersionId=version)
        assert refused(error)[0] == answer[0]

    def test_an_empty_version(self, server, bucket):
        got = raw.signed(server, "GET", f"/{bucket}/k?versionId=")
        assert (got.status, got.code) == (400, "InvalidArgument")


@pytest.mark.parametrize("size", [0, 100, 64 * KIB, 3 * MIB], ids=["empty", "packed", "64KiB", "3MiB"])
def test_every_version_is_kept(s3, versioned, size):
    bodies = [noise(size, seed) for seed in range(4)]
    made = [put(s3, versioned, "k", body, Metadata={"n": str(n)}) for n, body in enumerate(bodies)]
    assert len(set(made)) == 4 and "null" not in made
    assert listed(s3, versioned) == [("k", v, n == 0, size) for n, v in enumerate(reversed(made))]
    assert read(s3, versioned, "k") == bodies[3]
    for n, (version, body) in enumerate(zip(made, bodies)):
        got = s3.get_object(Bucket=versioned, Key="k", VersionId=version)
        assert (got["Body"].read(), got["VersionId"], got["ETag"]) == (body, version, etag(body))
        head = s3.head_object(Bucket=versioned, Key="k", VersionId=version)
        assert (head["VersionId"], head["Metadata"], head["ContentLength"]) == (version, {"n": str(n)}, size)
    if size:
        assert read(s3, versioned, "k", VersionId=made[1], Range="bytes=1-9") == bodies[1][1:10]
    # The newest gone, the one before is what is got.
    answer = s3.delete_object(Bucket=versioned, Key="k", VersionId=made[3])
    assert answer["VersionId"] == made[3] and "DeleteMarker" not in answer
    assert read(s3, versioned, "k") == bodies[2]
    s3.delete_object(Bucket=versioned, Key="k", VersionId=made[1])
    assert [row[1] for row in listed(s3, versioned)] == [made[2], made[0]]
    # Deleting what is gone succeeds.
    s3.delete_object(Bucket=versioned, Key="k", VersionId=made[1])


class TestDeleteMarkers:
    """DELETE without a version, and what it leaves."""

    def test_hides_and_shows_again(self, s3, versioned):
        version = put(s3, versioned, "k", b"1")
        answer = s3.delete_object(Bucket=versioned, Key="k")
        marker = answer["VersionId"]
        assert answer["DeleteMarker"] is True and marker != version
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=versioned, Key="k")
        assert refused(error) == (404, "NoSuchKey")
        assert headers_of(error)["x-amz-delete-marker"] == "true"
        assert headers_of(error)["x-amz-version-id"] == marker
        with pytest.raises(ClientError) as error:
            s3.head_object(Bucket=versioned, Key="k")
        assert refused(error)[0] == 404 and headers_of(error)["x-amz-delete-marker"] == "true"
        assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 0
        assert listed(s3, versioned) == [("k", version, False, 1), ("k", marker, True, None)]
        assert read(s3, versioned, "k", VersionId=version) == b"1"
        answer = s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
        assert (answer["DeleteMarker"], answer["VersionId"]) == (True, marker)
        assert read(s3, versioned, "k") == b"1"

    def test_is_no_object(self, s3, versioned):
        put(s3, versioned, "k", b"1")
        marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
        calls = [
            lambda: s3.get_object(Bucket=versioned, Key="k", VersionId=marker),
            lambda: s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=marker),
            lambda: s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=marker, Tagging={"TagSet": []}),
        ]
        for call in calls:
            with pytest.raises(ClientError) as error:
                call()
            assert refused(error) == (405, "MethodNotAllowed")
            assert headers_of(error)["x-amz-delete-marker"] == "true"
        with pytest.raises(ClientError) as error:
            s3.head_object(Bucket=versioned, Key="k", VersionId=marker)
        assert refused(error)[0] == 405
        assert headers_of(error)["allow"] == "DELETE" and "last-modified" in headers_of(error)
        with pytest.raises(ClientError) as error:
            s3.copy_object(Bucket=versioned, Key="c", CopySource={"Bucket": versioned, "Key": "k", "VersionId": marker})
        assert refused(error) == (400, "InvalidRequest")
        with pytest.raises(ClientError) as error:
            s3.copy_object(Bucket=versioned, Key="c", CopySource={"Bucket": versioned, "Key": "k"})
        assert refused(error) == (404, "NoSuchKey")

    def test_of_what_was_never_there(self, s3, versioned):
        first = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
        second = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
        assert listed(s3, versioned) == [("k", second, True, None), ("k", first, False, None)]

    def test_a_bucket_with_one_is_not_empty(self, s3, versioned):
        put(s3, versioned, "k", b"1")
        s3.delete_object(Bucket=versioned, Key="k")
        with pytest.raises(ClientError) as error:
            s3.delete_bucket(Bucket=versioned)
        assert refused(error) == (409, "BucketNotEmpty")

    def test_many_at_once(self, s3, versioned):
        versions = {key: put(s3, versioned, key, b"1") for key in "abc"}
        answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": [
            {"Key": "a"}, {"Key": "b", "VersionId": versions["b"]}, {"Key": "c"}, {"Key": "c", "VersionId": versions["c"]},
            {"Key": "d", "VersionId": "nonsense"}, {"Key": "a"},
        ]})
        deleted = answer["Deleted"]
        assert [(item["Key"], item.get("VersionId"), item.get("DeleteMarker")) for item in deleted] == [
            ("a", None, True), ("b", versions["b"], None), ("c", None, True), ("c", versions["c"], None), ("a", None, True)]
        assert all(item["DeleteMarkerVersionId"] for item in deleted if item.get("DeleteMarker"))
        assert [(item["Key"], item["VersionId"], item["Code"]) for item in answer["Errors"]] == [("d", "nonsense", "InvalidArgument")]
        marker = deleted[2]["DeleteMarkerVersionId"]
        answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "c", "VersionId": marker}]})
        assert answer["Deleted"] == [{"Key": "c", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker}]
        left = [(key, size) for key, _, _, size in listed(s3, versioned)]
        assert left == [("a", 1), ("a", None), ("a", None)]


class TestSuspended:
    """Suspended: what is written is the null version, of which there is one."""

    def test_overwrites_only_the_null_version(self, s3, bucket):
        put(s3, bucket, "k", b"before")
        set_versioning(s3, bucket, "Enabled")
        kept = put(s3, bucket, "k", b"kept")
        assert read(s3, bucket, "k", VersionId="null") == b"before"
        set_versioning(s3, bucket, "Suspended")
        assert put(s3, bucket, "k", b"one") == "null"
        assert listed(s3, bucket) == [("k", "null", True, 3), ("k", kept, False, 4)]
        assert put(s3, bucket, "k", noise(2 * MIB)) == "null"
        assert listed(s3, bucket) == [("k", "null", True, 2 * MIB), ("k", kept, False, 4)]
        assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == "null"
        answer = s3.delete_object(Bucket=bucket, Key="k")
        assert (answer["VersionId"], answer["DeleteMarker"]) == ("null", True)
        assert listed(s3, bucket) == [("k", kept, False, 4), ("k", "null", True, None)]
        answer = s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
        assert (answer["VersionId"], answer["DeleteMarker"]) == ("null", True)
        assert read(s3, bucket, "k") == b"kept"
        # The null version may lie under others.
        put(s3, bucket, "k", b"null")
        set_versioning(s3, bucket, "Enabled")
        newest = put(s3, bucket, "k", b"newest")
        set_versioning(s3, bucket, "Suspended")
        put(s3, bucket, "k", b"x")
        assert listed(s3, bucket) == [("k", "null", True, 1), ("k", newest, False, 6), ("k", kept, False, 4)]


class TestEveryWrite:
    """Each way of writing makes a version, and says so."""

    def test_multipart(self, s3, versioned):
        first = put(s3, versioned, "k", b"1")
        upload = s3.create_multipart_upload(Bucket=versioned, Key="k")["UploadId"]
        parts = [{"PartNumber": 1, "ETag": s3.upload_part(Bucket=versioned, Key="k", UploadId=upload, PartNumber=1, Body=b"22")["ETag"]}]
        done = s3.complete_multipart_upload(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
        again = s3.complete_multipart_upload(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
        assert done["VersionId"] == again["VersionId"] != first
        assert listed(s3, versioned) == [("k", done["VersionId"], True, 2), ("k", first, False, 1)]
        assert read(s3, versioned, "k", VersionId=first) == b"1"
        attributes = s3.get_object_attributes(Bucket=versioned, Key="k", VersionId=done["VersionId"], ObjectAttributes=["ObjectSize"])
        assert (attributes["ObjectSize"], attributes["VersionId"]) == (2, done["VersionId"])

    @pytest.mark.parametrize("size", [10, 2 * MIB])
    def test_copies(self, s3, versioned, size):
        old, new = noise(size, 1), noise(size, 2)
        first = put(s3, versioned, "k", old, Tagging="a=1")
        second = put(s3, versioned, "k", new)
        copied = s3.copy_object(Bucket=versioned, Key="copy", CopySource={"Bucket": versioned, "Key": "k", "VersionId": first})
        assert copied["CopySourceVersionId"] == first and copied["VersionId"] not in (first, second)
        assert read(s3, versioned, "copy") == old
        # A version becomes the current one again by being copied onto its key.
        restored = s3.copy_object(Bucket=versioned, Key="k", CopySource={"Bucket": versioned, "Key": "k", "VersionId": first})
        assert read(s3, versioned, "k") == old
        assert [row[1] for row in listed(s3, versioned, Prefix="k")] == [restored["VersionId"], second, first]
        upload = s3.create_multipart_upload(Bucket=versioned, Key="m")["UploadId"]
        part = s3.upload_part_copy(Bucket=versioned, Key="m", UploadId=upload, PartNumber=1,
                                   CopySource={"Bucket": versioned, "Key": "k", "VersionId": second})
        assert part["CopySourceVersionId"] == second
        s3.complete_multipart_upload(Bucket=versioned, Key="m", UploadId=upload,
                                     MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]})
        assert read(s3, versioned, "m") == new
        # What was copied lives without its source.
        for version in [first, second]:
            s3.delete_object(Bucket=versioned, Key="k", VersionId=version)
        assert (read(s3, versioned, "copy"), read(s3, versioned, "m"), read(s3, versioned, "k")) == (old, new, old)

    def test_conditions_are_on_the_current_object(self, s3, versioned):
        put(s3, versioned, "k", b"1")
        with pytest.raises(ClientError) as error:
            put(s3, versioned, "k", b"2", IfNoneMatch="*")
        assert refused(error) == (412, "PreconditionFailed")
        s3.delete_object(Bucket=versioned, Key="k")
        put(s3, versioned, "k", b"3", IfNoneMatch="*")
        put(s3, versioned, "k", b"4", IfMatch=etag(b"3"))
        assert len(listed(s3, versioned)) == 4

    def test_tags_are_a_versions(self, s3, versioned):
        first = put(s3, versioned, "k", b"1", Tagging="a=1")
        second = put(s3, versioned, "k", b"2")
        answer = s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=first, Tagging={"TagSet": [{"Key": "b", "Value": "2"}]})
        assert answer["VersionId"] == first
        assert s3.put_object_tagging(Bucket=versioned, Key="k", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})["VersionId"] == second
        got = s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)
        assert (got["TagSet"], got["VersionId"]) == ([{"Key": "b", "Value": "2"}], first)
        assert s3.get_object_tagging(Bucket=versioned, Key="k")["TagSet"] == [{"Key": "c", "Value": "3"}]
        s3.delete_object_tagging(Bucket=versioned, Key="k", VersionId=first)
        assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"] == []


class TestListing:
    """ListObjectVersions: order, pages, delimiters."""

    KEYS = ["a", "a/1", "a/2", "b", "c/x/1", "c/y", "ü", "z z"]

    @pytest.fixture
    def filled(self, s3, versioned):
        for key in self.KEYS:
            for body in [b"1", b"22"]:
                put(s3, versioned, key, body)
        s3.delete_object(Bucket=versioned, Key="b")
        return versioned

    @staticmethod
    def pages(s3, bucket, size, **options):
        rows, prefixes = [], []
        paginator = s3.get_paginator("list_object_versions")
        for page in paginator.paginate(Bucket=bucket, PaginationConfig={"PageSize": size}, **options):
            found = page.get("Versions", []) + page.get("DeleteMarkers", [])
            assert len(found) + len(page.get("CommonPrefixes", [])) <= size
            rows += [(item["Key"], item["VersionId"]) for item in found]
            prefixes += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
        return rows, prefixes

    @pytest.mark.parametrize("size", [1, 2, 3, 1000])
    def test_pages(self, s3, filled, size):
        rows, prefixes = self.pages(s3, filled, size)
        assert prefixes == []
        assert sorted(key for key, _ in rows) == sorted(self.KEYS * 2 + ["b"])
        assert len(set(rows)) == len(rows)
        rows, prefixes = self.pages(s3, filled, size, Delimiter="/")
        assert prefixes == ["a/", "c/"]
        assert sorted(key for key, _ in rows) == sorted(["a", "b", "ü", "z z"] * 2 + ["b"])
        rows, prefixes = self.pages(s3, filled, size, Delimiter="/", Prefix="c/")
        assert ([key for key, _ in rows], prefixes) == (["c/y"] * 2, ["c/x/"])

    def test_fields(self, s3, filled):
        answer = s3.list_object_versions(Bucket=filled, Prefix="a", MaxKeys=3)
        assert (answer["IsTruncated"], answer["MaxKeys"], answer["Prefix"]) == (True, 3, "a")
        last = answer["Versions"][-1]
        assert (answer["NextKeyMarker"], answer["NextVersionIdMarker"]) == (last["Key"], last["VersionId"])
        assert [v["Size"] for v in answer["Versions"]] == [2, 1, 2]
        assert {v["StorageClass"] for v in answer["Versions"]} == {"STANDARD"}
        rest = s3.list_object_versions(Bucket=filled, Prefix="a", KeyMarker=last["Key"], VersionIdMarker=last["VersionId"])
        assert [(v["Key"], v["IsLatest"]) for v in rest["Versions"]] == [("a/1", False), ("a/2", True), ("a/2", False)]
        assert "NextKeyMarker" not in rest and rest["KeyMarker"] == last["Key"]
        assert s3.list_object_versions(Bucket=filled, MaxKeys=0).get("Versions") is None

    def test_versions_and_markers_are_one_row(self, server, filled):
        body = raw.signed(server, "GET", f"/{filled}?versions&prefix=b").body.decode()
        assert re.findall(r"<(Version|DeleteMarker)>", body) == ["DeleteMarker", "Version", "Version"]

    def test_what_is_refused(self, s3, server, filled):
        with pytest.raises(ClientError) as error:
            s3.list_object_versions(Bucket=filled, VersionIdMarker="null")
        assert refused(error) == (400, "InvalidArgument")
        for query in ["key-marker=a&version-id-marker=x", "max-keys=-1", "encoding-type=base64"]:
            got = raw.signed(server, "GET", f"/{filled}?versions&{query}")
            assert (got.status, got.code) == (400, "InvalidArgument"), query
