"""boto3: objects, their metadata, and conditions on reading and writing them."""

import datetime
import io

import pytest
from botocore.exceptions import ClientError

from support import raw
from support.clients import boto, session
from support.data import KIB, MIB, etag, noise


def refused(error):
    """Status and code of an answer that was an error."""
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"], error.value.response["Error"]["Code"]


def read(s3, bucket, key, **options):
    """An object's bytes."""
    return s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()


@pytest.mark.parametrize("size", [0, 1, 5, 1000, 64 * KIB, MIB - 1, MIB, MIB + 1, 6 * MIB + 7, 20 * MIB])
def test_what_is_put_is_got(s3, bucket, size):
    content = noise(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=content)
    assert put["ETag"] == etag(content)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == content
    assert (got["ContentLength"], got["ETag"], got["AcceptRanges"]) == (size, etag(content), "bytes")
    assert got["ContentType"] == "binary/octet-stream"
    age = datetime.datetime.now(datetime.timezone.utc) - got["LastModified"]
    assert datetime.timedelta(seconds=-2) < age < datetime.timedelta(minutes=5)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], head["ETag"], head["LastModified"]) == (size, etag(content), got["LastModified"])


def test_overwriting_replaces_everything(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=noise(3 * MIB), Metadata={"old": "1"}, ContentType="text/old")
    s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (b"new", {}, "binary/octet-stream")
    assert [item["Size"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [3]


def test_resources(server, bucket):
    resource = session(server.access_key, server.secret_key).resource("s3", endpoint_url=server.endpoint)
    whole = resource.Bucket(bucket)
    whole.put_object(Key="a/1", Body=b"one")
    whole.upload_fileobj(io.BytesIO(b"two"), "a/2")
    assert [(item.key, item.size) for item in whole.objects.filter(Prefix="a/")] == [("a/1", 3), ("a/2", 3)]
    assert resource.Object(bucket, "a/2").get()["Body"].read() == b"two"
    assert whole in list(resource.buckets.all())
    whole.objects.all().delete()
    assert list(whole.objects.all()) == []


def test_headers_come_back_as_they_were_given(s3, bucket):
    given = {
        "ContentType": "text/html; charset=utf-8",
        "CacheControl": "no-cache",
        "ContentDisposition": 'attachment; filename="a b.html"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de, en",
    }
    expires = datetime.datetime(2031, 5, 4, 3, 2, 1, tzinfo=datetime.timezone.utc)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Expires=expires, **given)
    for answer in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        assert {name: answer[name] for name in given} == given
        assert answer["ExpiresString"] == "Sun, 04 May 2031 03:02:01 GMT"


def test_headers_of_an_answer_can_be_overridden(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain")
    got = s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseContentType="a/b",
        ResponseCacheControl="max-age=1",
        ResponseContentLanguage="fr",
        ResponseContentDisposition="inline",
        ResponseContentEncoding="identity",
        ResponseExpires=datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc),
    )
    assert got["ContentType"] == "a/b"
    assert got["CacheControl"] == "max-age=1"
    assert got["ContentLanguage"] == "fr"
    assert got["ContentDisposition"] == "inline"
    assert got["ContentEncoding"] == "identity"
    assert got["ExpiresString"] == "Tue, 01 Jan 2030 00:00:00 GMT"
    assert s3.head_object(Bucket=bucket, Key="k")["ContentType"] == "text/plain"


def test_user_metadata_up_to_2_kib(s3, bucket):
    full = {"name-of-10": "x" * (2 * KIB - 10)}
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata=full)
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == full
    many = {f"key-{number:02}": f"value {number}" for number in range(50)}
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata=many | {"Mixed-Case": "Kept As It Is"})
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == many | {"mixed-case": "Kept As It Is"}
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"name-of-10": "x" * (2 * KIB - 9)})
    assert refused(error) == (400, "MetadataTooLarge")


@pytest.mark.parametrize(
    ("asked", "first", "length"),
    [
        ("bytes=0-", 0, 3 * MIB + 11),
        ("bytes=0-0", 0, 1),
        (f"bytes={MIB - 1}-{MIB}", MIB - 1, 2),
        (f"bytes={MIB}-{2 * MIB - 1}", MIB, MIB),
        (f"bytes=170000-{2 * MIB + 5}", 170000, 2 * MIB + 6 - 170000),
        ("bytes=-11", 3 * MIB, 11),
        (f"bytes={3 * MIB + 10}-", 3 * MIB + 10, 1),
        ("bytes=-999999999", 0, 3 * MIB + 11),
    ],
)
def test_ranges_are_slices(s3, bucket, asked, first, length):
    content = noise(3 * MIB + 11)
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    got = s3.get_object(Bucket=bucket, Key="k", Range=asked)
    assert got["Body"].read() == content[first : first + length]
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == f"bytes {first}-{first + length - 1}/{len(content)}"
    head = s3.head_object(Bucket=bucket, Key="k", Range=asked)
    assert head["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert head["ContentLength"] == length


@pytest.mark.parametrize(("size", "asked"), [(10, "bytes=10-"), (10, "bytes=11-20"), (10, "bytes=-0"), (0, "bytes=0-0")])
def test_a_range_beyond_the_end(s3, bucket, size, asked):
    s3.put_object(Bucket=bucket, Key="k", Body=noise(size))
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", Range=asked)
    assert refused(error) == (416, "InvalidRange")


def test_a_part_of_an_object_that_has_none(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert (got["Body"].read(), got["ResponseMetadata"]["HTTPStatusCode"]) == (b"content", 206)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert refused(error) == (416, "InvalidPartNumber")
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1")
    assert refused(error) == (400, "InvalidRequest")


class TestConditionalReads:
    """Each header alone, and the precedence that RFC 9110 gives pairs of them."""

    @pytest.fixture(autouse=True)
    def stored(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"content")
        self.here = {"Bucket": bucket, "Key": "k"}
        self.s3 = s3
        self.at = s3.head_object(**self.here)["LastModified"]
        self.before = self.at - datetime.timedelta(hours=1)
        self.tag = etag(b"content")

    def status(self, operation, **conditions):
        try:
            return operation(**self.here, **conditions)["ResponseMetadata"]["HTTPStatusCode"]
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]

    def both(self, **conditions):
        """The status of GET, which must be that of HEAD."""
        got, head = self.status(self.s3.get_object, **conditions), self.status(self.s3.head_object, **conditions)
        assert got == head
        return got

    def test_if_match(self):
        assert self.both(IfMatch=self.tag) == 200
        assert self.both(IfMatch=self.tag.strip('"')) == 200
        assert self.both(IfMatch="*") == 200
        assert self.both(IfMatch=etag(b"other")) == 412

    def test_if_none_match(self):
        assert self.both(IfNoneMatch=self.tag) == 304
        assert self.both(IfNoneMatch="*") == 304
        assert self.both(IfNoneMatch=etag(b"other")) == 200

    def test_dates(self):
        assert self.both(IfModifiedSince=self.before) == 200
        assert self.both(IfModifiedSince=self.at) == 304
        assert self.both(IfUnmodifiedSince=self.at) == 200
        assert self.both(IfUnmodifiedSince=self.before) == 412

    def test_tags_go_before_dates(self):
        assert self.both(IfMatch=self.tag, IfUnmodifiedSince=self.before) == 200
        assert self.both(IfNoneMatch=self.tag, IfModifiedSince=self.before) == 304
        assert self.both(IfNoneMatch=etag(b"other"), IfModifiedSince=self.at) == 200

    def test_not_modified_still_names_what_is_there(self):
        with pytest.raises(ClientError) as error:
            self.s3.get_object(**self.here, IfNoneMatch=self.tag)
        headers = error.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["etag"] == self.tag
        assert "last-modified" in headers


def test_what_cannot_be_read_of_a_condition_or_a_range_is_ignored(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    target, old = f"/{bucket}/k", "Sunday, 06-Nov-94 08:49:37 GMT"
    for headers in [{"Range": "bytes=5-2"}, {"Range": "bytes=0-1,3-4"}, {"If-Modified-Since": "yesterday"}, {"If-Modified-Since": old}]:
        for answer in [
            raw.signed(server, "GET", target, headers=headers),
            raw.signed(server, "GET", target, unsigned=headers),
            raw.send(server, "GET", raw.presign(server, "GET", target), headers),
        ]:
            assert (answer.status, answer.body) == (200, b"content"), headers
    assert raw.signed(server, "GET", target, headers={"If-Unmodified-Since": old}).status == 412, "it is a date"
    never = {"x-amz-copy-source": target, "x-amz-copy-source-if-unmodified-since": "Invalid Date"}
    assert raw.signed(server, "PUT", f"/{bucket}/copy", headers=never).status == 200
    # What is not signed counts for nothing, and a wrong signature stays wrong.
    forged = raw.sign(server, "GET", target, {"Range": "bytes=5-2"}, b"")
    forged["Authorization"] = forged["Authorization"][:-4] + "0000"
    assert raw.send(server, "GET", target, forged).status in (400, 403)
    assert raw.signed(server, "PUT", f"/{bucket}/c", headers={"x-amz-copy-source": target}, unsigned={
        "x-amz-copy-source-if-unmodified-since": "Invalid Date"}).status in (200, 403)


class TestConditionalWrites:
    """If-None-Match and If-Match on put, complete and delete."""

    def test_create_only(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
        assert refused(error) == (412, "PreconditionFailed")
        assert read(s3, bucket, "k") == b"1"
        s3.delete_object(Bucket=bucket, Key="k")
        s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfNoneMatch="*")
        assert read(s3, bucket, "k") == b"3"

    def test_if_none_match_takes_etags(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch=etag(b"1"))
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch=etag(b"1"))
        assert refused(error) == (412, "PreconditionFailed")
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch=f"{etag(b'0')}, {etag(b'3')}")
        assert read(s3, bucket, "k") == b"2"

    def test_replace_only_what_was_seen(self, s3, bucket):
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfMatch=etag(b"0"))
        assert refused(error) == (404, "NoSuchKey")
        s3.put_object(Bucket=bucket, Key="k", Body=b"1")
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag(b"1"))
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=etag(b"1"))
        assert refused(error) == (412, "PreconditionFailed")
        assert read(s3, bucket, "k") == b"2"

    def test_complete(self, s3, bucket):
        def upload(content, **conditions):
            here = {"Bucket": bucket, "Key": "k"}
            started = s3.create_multipart_upload(**here)["UploadId"]
            tag = s3.upload_part(**here, UploadId=started, PartNumber=1, Body=content)["ETag"]
            parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
            return s3.complete_multipart_upload(**here, UploadId=started, MultipartUpload=parts, **conditions)["ETag"]

        first = upload(b"1", IfNoneMatch="*")
        with pytest.raises(ClientError) as error:
            upload(b"2", IfNoneMatch="*")
        assert refused(error) == (412, "PreconditionFailed")
        upload(b"3", IfMatch=first)
        with pytest.raises(ClientError) as error:
            upload(b"4", IfMatch=first)
        assert refused(error) == (412, "PreconditionFailed")
        assert read(s3, bucket, "k") == b"3"

    def test_delete(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"1")
        with pytest.raises(ClientError) as error:
            s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag(b"2"))
        assert refused(error) == (412, "PreconditionFailed")
        assert s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag(b"1"))["ResponseMetadata"]["HTTPStatusCode"] == 204
        with pytest.raises(ClientError) as error:
            s3.head_object(Bucket=bucket, Key="k")
        assert refused(error)[0] == 404

    def test_of_many_creators_one_wins(self, server, s3, bucket):
        from concurrent.futures import ThreadPoolExecutor

        def create(number):
            try:
                s3.put_object(Bucket=bucket, Key="k", Body=str(number).encode() * 1000, IfNoneMatch="*")
                return number
            except ClientError as error:
                assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
                return None

        with ThreadPoolExecutor(8) as pool:
            winners = [number for number in pool.map(create, range(24)) if number is not None]
        assert len(winners) == 1
        assert read(s3, bucket, "k") == str(winners[0]).encode() * 1000


class TestCopies:
    """CopyObject."""

    @pytest.fixture(autouse=True)
    def stored(self, s3, bucket):
        self.content = noise(2 * MIB + 3)
        s3.put_object(Bucket=bucket, Key="from", Body=self.content, Metadata={"a": "1"}, ContentType="text/x-a")
        self.s3, self.bucket = s3, bucket

    def copy(self, key="to", **options):
        source = {"Bucket": self.bucket, "Key": "from"}
        return self.s3.copy_object(**{"Bucket": self.bucket, "Key": key, "CopySource": source} | options)

    def test_bytes_and_metadata_come_along(self):
        done = self.copy()["CopyObjectResult"]
        assert done["ETag"] == etag(self.content)
        assert done["LastModified"]
        got = self.s3.get_object(Bucket=self.bucket, Key="to")
        assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (self.content, {"a": "1"}, "text/x-a")

    def test_the_copy_outlives_its_source(self):
        self.copy()
        self.s3.delete_object(Bucket=self.bucket, Key="from")
        assert read(self.s3, self.bucket, "to") == self.content

    def test_metadata_can_be_replaced(self):
        self.copy(MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="text/x-b")
        head = self.s3.head_object(Bucket=self.bucket, Key="to")
        assert (head["Metadata"], head["ContentType"]) == ({"b": "2"}, "text/x-b")

    def test_onto_itself_something_must_change(self):
        with pytest.raises(ClientError) as error:
            self.copy("from")
        assert refused(error) == (400, "InvalidRequest")
        self.copy("from", MetadataDirective="REPLACE", Metadata={"c": "3"})
        assert self.s3.head_object(Bucket=self.bucket, Key="from")["Metadata"] == {"c": "3"}
        assert read(self.s3, self.bucket, "from") == self.content

    def test_conditions_on_the_source(self):
        at = self.s3.head_object(Bucket=self.bucket, Key="from")["LastModified"]
        before = at - datetime.timedelta(hours=1)
        self.copy(CopySourceIfMatch=etag(self.content))
        self.copy(CopySourceIfNoneMatch=etag(b"other"))
        self.copy(CopySourceIfModifiedSince=before)
        self.copy(CopySourceIfUnmodifiedSince=at)
        for condition in (
            {"CopySourceIfMatch": etag(b"other")},
            {"CopySourceIfNoneMatch": etag(self.content)},
            {"CopySourceIfModifiedSince": at},
            {"CopySourceIfUnmodifiedSince": before},
        ):
            with pytest.raises(ClientError) as error:
                self.copy("never", **condition)
            assert refused(error) == (412, "PreconditionFailed"), condition
        with pytest.raises(ClientError) as error:
            self.s3.head_object(Bucket=self.bucket, Key="never")
        assert refused(error)[0] == 404

    def test_missing_sources(self):
        for source, code in (
            ({"Bucket": self.bucket, "Key": "x"}, "NoSuchKey"),
            ({"Bucket": "no-such", "Key": "x"}, "NoSuchBucket"),
        ):
            with pytest.raises(ClientError) as error:
                self.copy(CopySource=source)
            assert refused(error) == (404, code)

    def test_between_buckets(self, name):
        other = f"{name}-other"
        self.s3.create_bucket(Bucket=other)
        self.copy(Bucket=other)
        assert read(self.s3, other, "to") == self.content
        self.s3.delete_object(Bucket=other, Key="to")
        self.s3.delete_bucket(Bucket=other)


class TestDeleteObjects:
    """The multi-object delete."""

    def test_a_thousand_at_once(self, s3, bucket):
        from concurrent.futures import ThreadPoolExecutor

        keys = [f"k{number:04}" for number in range(1000)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key), keys[::10]))
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        assert sorted(item["Key"] for item in answer["Deleted"]) == keys
        assert not answer.get("Errors")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def test_more_than_a_thousand_are_refused(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k0")
        with pytest.raises(ClientError) as error:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"k{number}"} for number in range(1001)]})
        assert refused(error) == (400, "MalformedXML")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1

    def test_quiet_tells_only_errors(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k")
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": "x"}], "Quiet": True})
        assert "Deleted" not in answer and "Errors" not in answer
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def test_a_condition_of_one_key_stops_only_that_key(self, s3, bucket):
        for key in ("a", "b"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"1")
        objects = [{"Key": "a", "ETag": etag(b"other")}, {"Key": "b", "ETag": etag(b"1")}]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
        assert [item["Key"] for item in answer["Deleted"]] == ["b"]
        assert [(item["Key"], item["Code"]) for item in answer["Errors"]] == [("a", "PreconditionFailed")]
        assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a"]

    def test_no_keys_are_malformed(self, s3, bucket):
        with pytest.raises(ClientError) as error:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": []})
        assert refused(error) == (400, "MalformedXML")


def test_attributes(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    wanted = ["ETag", "Checksum", "ObjectParts", "ObjectSize", "StorageClass"]
    answer = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=wanted)
    assert answer["ETag"] == etag(b"content").strip('"')
    assert answer["ObjectSize"] == 7
    assert answer["StorageClass"] == "STANDARD"
    assert "ObjectParts" not in answer
    assert answer["LastModified"]
    only = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])
    assert only["ObjectSize"] == 7 and "ETag" not in only
    with pytest.raises(ClientError) as error:
        s3.get_object_attributes(Bucket=bucket, Key="x", ObjectAttributes=["ETag"])
    assert refused(error) == (404, "NoSuchKey")


class TestTheBucketsOwner:
    """x-amz-expected-bucket-owner: the right one passes, any other is refused."""

    def test_it_is_compared(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"1")
        for operation in (s3.get_object, s3.put_object, s3.delete_object):
            with pytest.raises(ClientError) as error:
                operation(Bucket=bucket, Key="k", ExpectedBucketOwner="000000000000")
            assert refused(error) == (403, "AccessDenied")
        assert read(s3, bucket, "k") == b"1"


def test_a_head_without_a_body_tells_the_status(server, s3, bucket):
    for operation in (
        lambda: s3.head_object(Bucket=bucket, Key="missing"),
        lambda: s3.head_bucket(Bucket="there-is-no-such-bucket"),
    ):
        with pytest.raises(ClientError) as error:
            operation()
        assert refused(error) == (404, "404")
    answer = s3.head_bucket(Bucket=bucket)
    assert answer["BucketRegion"] == "us-east-1"


def test_many_clients_at_once_see_whole_objects(server, bucket):
    """Readers see one of the versions that were written, never a mixture."""
    from concurrent.futures import ThreadPoolExecutor

    s3 = boto(server, max_pool_connections=16)
    versions = [noise(2 * MIB, seed) for seed in range(4)]
    s3.put_object(Bucket=bucket, Key="k", Body=versions[0])

    def work(number):
        if number % 2:
            s3.put_object(Bucket=bucket, Key="k", Body=versions[number // 2 % 4])
            return True
        got = s3.get_object(Bucket=bucket, Key="k")
        content = got["Body"].read()
        return content in versions and got["ETag"] == etag(content)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))
