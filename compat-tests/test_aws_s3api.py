"""`aws s3api`: what scripts use, an operation at a time, and how errors look there."""

import json

import pytest

from support.data import MIB, etag, md5, multipart_etag, noise


@pytest.fixture
def api(aws):
    """`aws s3api`, with its JSON."""

    def call(operation, *arguments, **options):
        return aws.json("s3api", operation, *arguments, **options)

    call.fails = lambda operation, *arguments: aws.fails("s3api", operation, *arguments)
    call.text = lambda operation, *arguments: aws("s3api", operation, *arguments)
    return call


@pytest.fixture
def file(tmp_path):
    """Writes bytes to a file; answers its path."""

    def write(content, name="body"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_buckets(api, name):
    assert api("create-bucket", "--bucket", name)["Location"] == f"/{name}"
    api("head-bucket", "--bucket", name)
    # us-east-1 is spelt as no constraint at all.
    assert api("get-bucket-location", "--bucket", name) == {"LocationConstraint": None}
    listed = api("list-buckets")
    assert name in [bucket["Name"] for bucket in listed["Buckets"]]
    assert listed["Owner"]["ID"]
    api("delete-bucket", "--bucket", name)
    assert "404" in api.fails("head-bucket", "--bucket", name)
    assert "NoSuchBucket" in api.fails("delete-bucket", "--bucket", name)
    assert "NoSuchBucket" in api.fails("get-bucket-location", "--bucket", name)


def test_buckets_are_listed_in_pages(api, name):
    names = [f"{name}-{letter}" for letter in "abc"]
    for each in names:
        api("create-bucket", "--bucket", each)
    first = api("list-buckets", "--prefix", name, "--max-items", "2", "--page-size", "1")
    assert [bucket["Name"] for bucket in first["Buckets"]] == names[:2]
    rest = api("list-buckets", "--prefix", name, "--starting-token", first["NextToken"])
    assert [bucket["Name"] for bucket in rest["Buckets"]] == names[2:]
    for each in names:
        api("delete-bucket", "--bucket", each)


def test_an_object(api, bucket, file, tmp_path):
    content = noise(100_000)
    put = api("put-object", "--bucket", bucket, "--key", "k", "--body", file(content), "--metadata", "a=1,b=2")
    assert put["ETag"] == etag(content)
    head = api("head-object", "--bucket", bucket, "--key", "k")
    assert (head["ContentLength"], head["ETag"], head["Metadata"]) == (
        len(content),
        etag(content),
        {"a": "1", "b": "2"},
    )
    assert head["AcceptRanges"] == "bytes"
    api("get-object", "--bucket", bucket, "--key", "k", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == content
    api("delete-object", "--bucket", bucket, "--key", "k")
    assert "404" in api.fails("head-object", "--bucket", bucket, "--key", "k")
    assert "NoSuchKey" in api.fails("get-object", "--bucket", bucket, "--key", "k", tmp_path / "gone")
    api("delete-object", "--bucket", bucket, "--key", "k")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("0-0", 0, 0), ("0-99", 0, 99), ("500-", 500, 999), ("-1", 999, 999), ("-5000", 0, 999), ("990-5000", 990, 999)],
)
def test_ranges(api, bucket, file, tmp_path, asked, first, last):
    content = noise(1000)
    api("put-object", "--bucket", bucket, "--key", "k", "--body", file(content))
    got = api("get-object", "--bucket", bucket, "--key", "k", "--range", f"bytes={asked}", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == content[first : last + 1]
    assert got["ContentRange"] == f"bytes {first}-{last}/1000"
    assert got["ContentLength"] == last - first + 1


def test_conditions_on_reading(api, bucket, file, tmp_path):
    content = b"content"
    api("put-object", "--bucket", bucket, "--key", "k", "--body", file(content))
    here = ["--bucket", bucket, "--key", "k"]
    out = tmp_path / "got"
    api("get-object", *here, "--if-match", etag(content), out)
    assert "PreconditionFailed" in api.fails("get-object", *here, "--if-match", etag(b"other"), out)
    assert "304" in api.fails("get-object", *here, "--if-none-match", etag(content), out)
    stored = api("head-object", *here)["LastModified"]
    assert "304" in api.fails("get-object", *here, "--if-modified-since", stored, out)
    api("get-object", *here, "--if-unmodified-since", stored, out)
    assert "PreconditionFailed" in api.fails("get-object", *here, "--if-unmodified-since", "2001-01-01T00:00:00Z", out)
    assert "412" in api.fails("head-object", *here, "--if-match", etag(b"other"))


def test_conditions_on_writing(api, bucket, file):
    here = ["--bucket", bucket, "--key", "k"]
    assert "NoSuchKey" in api.fails("put-object", *here, "--if-match", etag(b"1"), "--body", file(b"2", "2"))
    api("put-object", *here, "--if-none-match", "*", "--body", file(b"1", "1"))
    assert "PreconditionFailed" in api.fails("put-object", *here, "--if-none-match", "*", "--body", file(b"2", "2"))
    assert "PreconditionFailed" in api.fails("put-object", *here, "--if-match", etag(b"x"), "--body", file(b"2", "2"))
    api("put-object", *here, "--if-match", etag(b"1"), "--body", file(b"2", "2"))
    assert "PreconditionFailed" in api.fails("delete-object", *here, "--if-match", etag(b"1"))
    api("delete-object", *here, "--if-match", etag(b"2"))


@pytest.mark.parametrize("operation", ["list-objects", "list-objects-v2"])
def test_listing_in_pages(api, bucket, s3, operation):
    wanted = [f"p/{number:03}" for number in range(25)]
    for key in [*wanted, "other"]:
        s3.put_object(Bucket=bucket, Key=key)
    first = api(operation, "--bucket", bucket, "--prefix", "p/", "--max-items", "12", "--page-size", "5")
    rest = api(operation, "--bucket", bucket, "--prefix", "p/", "--page-size", "5", "--starting-token", first["NextToken"])
    assert [item["Key"] for item in first["Contents"]] == wanted[:12]
    assert [item["Key"] for item in rest["Contents"]] == wanted[12:]
    folded = api(operation, "--bucket", bucket, "--delimiter", "/")
    assert [item["Key"] for item in folded["Contents"]] == ["other"]
    assert folded["CommonPrefixes"] == [{"Prefix": "p/"}]


def test_delete_objects(api, bucket, s3):
    for key in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=key)
    request = {"Objects": [{"Key": "a"}, {"Key": "b"}, {"Key": "never was"}]}
    answer = api("delete-objects", "--bucket", bucket, "--delete", json.dumps(request))
    assert sorted(item["Key"] for item in answer["Deleted"]) == ["a", "b", "never was"]
    assert "Errors" not in answer
    assert (
        api("delete-objects", "--bucket", bucket, "--delete", json.dumps({"Objects": [{"Key": "c"}], "Quiet": True})) == {}
    )
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_copy_object(api, bucket, file, tmp_path):
    content = noise(3000)
    api("put-object", "--bucket", bucket, "--key", "from", "--body", file(content), "--metadata", "a=1")
    source = f"{bucket}/from"
    done = api("copy-object", "--bucket", bucket, "--key", "to", "--copy-source", source)
    assert done["CopyObjectResult"]["ETag"] == etag(content)
    api("get-object", "--bucket", bucket, "--key", "to", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == content
    conditions = ["--copy-source", source, "--copy-source-if-match", etag(b"other")]
    assert "PreconditionFailed" in api.fails("copy-object", "--bucket", bucket, "--key", "x", *conditions)
    assert "InvalidRequest" in api.fails("copy-object", "--bucket", bucket, "--key", "from", "--copy-source", source)
    replace = ["--metadata-directive", "REPLACE", "--metadata", "b=2"]
    api("copy-object", "--bucket", bucket, "--key", "from", "--copy-source", source, *replace)
    assert api("head-object", "--bucket", bucket, "--key", "from")["Metadata"] == {"b": "2"}
    missing = ["--copy-source", f"{bucket}/nothing"]
    assert "NoSuchKey" in api.fails("copy-object", "--bucket", bucket, "--key", "x", *missing)


def test_multipart_by_hand(api, bucket, s3, file, tmp_path):
    parts = [noise(5 * MIB, 1), noise(5 * MIB, 2), noise(1000, 3)]
    s3.put_object(Bucket=bucket, Key="source", Body=noise(6 * MIB, 4))
    here = ["--bucket", bucket, "--key", "big"]
    upload = api("create-multipart-upload", *here, "--content-type", "text/x-big", "--metadata", "a=b")["UploadId"]
    here += ["--upload-id", upload]
    for number, part in enumerate(parts, 1):
        done = api("upload-part", *here, "--part-number", str(number), "--body", file(part))
        assert done["ETag"] == etag(part)
    copied = noise(6 * MIB, 4)[100 : 100 + 5 * MIB]
    source = ["--copy-source", f"{bucket}/source", "--copy-source-range", f"bytes=100-{99 + 5 * MIB}"]
    done = api("upload-part-copy", *here, "--part-number", "2", *source)
    assert done["CopyPartResult"]["ETag"] == etag(copied)
    parts[1] = copied

    uploads = api("list-multipart-uploads", "--bucket", bucket)["Uploads"]
    assert [(each["Key"], each["UploadId"]) for each in uploads] == [("big", upload)]
    listed = api("list-parts", *here, "--page-size", "2")["Parts"]
    assert [(each["PartNumber"], each["Size"], each["ETag"]) for each in listed] == [
        (number, len(part), etag(part)) for number, part in enumerate(parts, 1)
    ]
    wanted = {"Parts": [{"PartNumber": number, "ETag": etag(part)} for number, part in enumerate(parts, 1)]}
    done = api("complete-multipart-upload", *here, "--multipart-upload", json.dumps(wanted))
    assert done["ETag"] == multipart_etag(parts)
    api("get-object", "--bucket", bucket, "--key", "big", tmp_path / "got")
    assert md5((tmp_path / "got").read_bytes()) == md5(b"".join(parts))
    head = api("head-object", "--bucket", bucket, "--key", "big")
    assert (head["ContentType"], head["Metadata"], head["ETag"]) == ("text/x-big", {"a": "b"}, multipart_etag(parts))
    assert "NoSuchUpload" in api.fails("list-parts", *here)
    assert "NoSuchUpload" in api.fails("abort-multipart-upload", *here)

    aborted = api("create-multipart-upload", "--bucket", bucket, "--key", "never")["UploadId"]
    api("abort-multipart-upload", "--bucket", bucket, "--key", "never", "--upload-id", aborted)
    assert "Uploads" not in api("list-multipart-uploads", "--bucket", bucket)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(api, bucket, file, tmp_path, algorithm):
    content = noise(12345)
    put = api("put-object", "--bucket", bucket, "--key", "k", "--body", file(content), "--checksum-algorithm", algorithm)
    field = f"Checksum{algorithm}"
    assert put[field] and put["ChecksumType"] == "FULL_OBJECT"
    head = api("head-object", "--bucket", bucket, "--key", "k", "--checksum-mode", "ENABLED")
    assert head[field] == put[field]
    # The cli verifies the checksum of what it receives.
    got = api("get-object", "--bucket", bucket, "--key", "k", "--checksum-mode", "ENABLED", tmp_path / "got")
    assert got[field] == put[field] and (tmp_path / "got").read_bytes() == content
    asked = ["--object-attributes", "ETag", "Checksum", "ObjectSize", "StorageClass"]
    attributes = api("get-object-attributes", "--bucket", bucket, "--key", "k", *asked)
    assert attributes["Checksum"] == {field: put[field], "ChecksumType": "FULL_OBJECT"}
    assert (attributes["ETag"], attributes["ObjectSize"]) == (md5(content), len(content))
    assert attributes["StorageClass"] == "STANDARD"


def test_a_wrong_checksum_stores_nothing(api, bucket, file):
    wrong = ["--checksum-crc32", "AAAAAA=="]
    assert "BadDigest" in api.fails("put-object", "--bucket", bucket, "--key", "k", "--body", file(b"x"), *wrong)
    assert "Contents" not in api("list-objects-v2", "--bucket", bucket)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["create-bucket", "--bucket", "Not_A_Name"], "InvalidBucketName"),
        (["list-objects-v2", "--bucket", "there-is-no-such-bucket"], "NoSuchBucket"),
        (["put-object", "--bucket", "there-is-no-such-bucket", "--key", "k"], "NoSuchBucket"),
        (["list-parts", "--bucket", "BUCKET", "--key", "k", "--upload-id", "nonsense"], "NoSuchUpload"),
        (["put-object", "--bucket", "BUCKET", "--key", "k", "--content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="], "BadDigest"),
        (["list-objects-v2", "--bucket", "BUCKET", "--continuation-token", "nonsense"], "InvalidArgument"),
        (["list-objects-v2", "--bucket", "BUCKET", "--expected-bucket-owner", "000000000000"], "AccessDenied"),
        (["put-object", "--bucket", "BUCKET", "--key", "k" * 1025], "KeyTooLongError"),
    ],
)
def test_errors_carry_the_documented_code(api, bucket, file, arguments, code):
    arguments = [bucket if argument == "BUCKET" else argument for argument in arguments]
    if "--content-md5" in arguments:
        arguments += ["--body", str(file(b"not empty"))]
    assert code in api.fails(*arguments)
