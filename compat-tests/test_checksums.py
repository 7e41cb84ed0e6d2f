"""Checksums: what SDKs send by default, every algorithm, and that a wrong one stores nothing."""

import base64
import hashlib
import io
import zlib

import pytest
from awscrt import checksums as crt
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from support import raw
from support.clients import boto
from support.data import MIB, md5, noise
from test_objects import read, refused

ALGORITHMS = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: crt.crc32c(data).to_bytes(4, "big"),
    "CRC64NVME": lambda data: crt.crc64nvme(data).to_bytes(8, "big"),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
    "SHA512": lambda data: hashlib.sha512(data).digest(),
    "MD5": lambda data: hashlib.md5(data).digest(),
    "XXHASH64": crt.XXHash.compute_xxhash64,
    "XXHASH3": crt.XXHash.compute_xxhash3_64,
    "XXHASH128": crt.XXHash.compute_xxhash3_128,
}
EACH = pytest.mark.parametrize("algorithm", ALGORITHMS)
# botocore sends an MD5 that it is given, and computes none.
EACH_COMPUTED = pytest.mark.parametrize("algorithm", [algorithm for algorithm in ALGORITHMS if algorithm != "MD5"])
WHOLE = ["CRC32", "CRC32C", "CRC64NVME"]
COMPOSITE = [algorithm for algorithm in ALGORITHMS if algorithm != "CRC64NVME"]


def checksum(algorithm, data):
    """The value of a checksum header."""
    return base64.b64encode(ALGORITHMS[algorithm](data)).decode()


def composite(algorithm, parts):
    """The checksum of the parts' checksums."""
    joined = ALGORITHMS[algorithm](b"".join(ALGORITHMS[algorithm](part) for part in parts))
    return f"{base64.b64encode(joined).decode()}-{len(parts)}"


@pytest.mark.parametrize("when", ["when_supported", "when_required"])
def test_the_sdks_two_modes(server, bucket, when):
    s3 = boto(server, request_checksum_calculation=when, response_checksum_validation=when)
    for size in (0, 100, 3 * MIB):
        content = noise(size)
        s3.put_object(Bucket=bucket, Key="k", Body=content)
        s3.put_object(Bucket=bucket, Key="stream", Body=io.BytesIO(content))
        for key in ("k", "stream"):
            assert read(s3, bucket, key) == content
    content = noise(11 * MIB)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_fileobj(io.BytesIO(content), bucket, "large", Config=config)
    assert read(s3, bucket, "large") == content
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "large"})
    assert s3.head_object(Bucket=bucket, Key="copy")["ContentLength"] == len(content)


@EACH
def test_a_given_checksum_is_kept(s3, bucket, algorithm):
    content = noise(1000)
    field = f"Checksum{algorithm}"
    put = s3.put_object(Bucket=bucket, Key="k", Body=content, **{field: checksum(algorithm, content)})
    assert put[field] == checksum(algorithm, content)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[field], head["ChecksumType"]) == (checksum(algorithm, content), "FULL_OBJECT")
    assert field not in s3.head_object(Bucket=bucket, Key="k")
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (got[field], got["Body"].read()) == (checksum(algorithm, content), content)
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == ([algorithm], "FULL_OBJECT")


@EACH_COMPUTED
def test_a_trailing_checksum_is_verified_and_kept(s3, bucket, algorithm):
    content = noise(2 * MIB + 1)
    # A body that cannot be rewound to be hashed first is sent in chunks, with the checksum behind it.
    s3.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(content), ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == checksum(algorithm, content)
    assert "ContentEncoding" not in head
    assert read(s3, bucket, "k") == content


@EACH
def test_a_wrong_checksum_stores_nothing(s3, bucket, algorithm):
    field = f"Checksum{algorithm}"
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"content", **{field: checksum(algorithm, b"other")})
    assert refused(error) == (400, "BadDigest")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"content", **{field: "nonsense"})
    assert refused(error) == (400, "InvalidRequest")
    assert read(s3, bucket, "k") == b"before"


@EACH
def test_a_trailer_by_hand(s3, server, bucket, algorithm):
    name = f"x-amz-checksum-{algorithm.lower()}"
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    for content, status in ((b"other", 400), (b"content", 200)):
        request = raw.Chunked(server, f"/{bucket}/k", len(b"content"), kind=kind, trailer=name)
        body = [request.chunk(b"content"), request.chunk(b""), request.trailers({name: checksum(algorithm, content)})]
        answer = request.send(*body)
        assert (answer.status, answer.code) == (status, "BadDigest" if status == 400 else None), answer
    assert answer.headers[name] == checksum(algorithm, b"content")
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[f"Checksum{algorithm}"] == answer.headers[name]


@EACH
def test_a_presigned_header(server, bucket, algorithm):
    headers = {f"x-amz-checksum-{algorithm.lower()}": checksum(algorithm, b"content")}
    target = raw.presign(server, "PUT", f"/{bucket}/k", headers)
    assert raw.send(server, "PUT", target, headers, body=b"other").code == "BadDigest"
    assert raw.send(server, "PUT", target, headers, body=b"content").status == 200


@EACH_COMPUTED
def test_a_document_has_one(s3, bucket, algorithm):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}, ChecksumAlgorithm=algorithm)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("header", ["x-amz-checksum-md4", "x-amz-checksum-xxhash32"])
def test_an_unknown_checksum_is_not_ignored(s3, server, bucket, header):
    answer = raw.signed(server, "PUT", f"/{bucket}/k", headers={header: "AAAA"}, body=b"1")
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_without_any_checksum_crc64nvme_is_kept(server, bucket):
    s3 = boto(server, request_checksum_calculation="when_required")
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == (checksum("CRC64NVME", b"content"), "FULL_OBJECT")


class TestContentMd5:
    """The oldest of the checksums."""

    @pytest.fixture
    def put(self, server, bucket):
        s3 = boto(server, request_checksum_calculation="when_required")

        def put(**options):
            return s3.put_object(Bucket=bucket, Key="k", Body=b"content", **options)

        return put

    def test_right(self, put):
        put(ContentMD5=base64.b64encode(bytes.fromhex(md5(b"content"))).decode())

    def test_wrong(self, put, s3, bucket):
        with pytest.raises(ClientError) as error:
            put(ContentMD5=base64.b64encode(bytes.fromhex(md5(b"other"))).decode())
        assert refused(error) == (400, "BadDigest")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    @pytest.mark.parametrize("value", ["nonsense", "AAAA", md5(b"content")])
    def test_not_an_md5(self, put, value):
        with pytest.raises(ClientError) as error:
            put(ContentMD5=value)
        assert refused(error) == (400, "InvalidDigest")


class TestMultipart:
    """Composite and full-object checksums."""

    def upload(self, s3, bucket, algorithm, parts, kind=None, complete=None):
        here = {"Bucket": bucket, "Key": "k"}
        kinds = {"ChecksumType": kind} if kind else {}
        started = s3.create_multipart_upload(**here, ChecksumAlgorithm=algorithm, **kinds)
        assert started["ChecksumAlgorithm"] == algorithm
        upload, field, wanted = here | {"UploadId": started["UploadId"]}, f"Checksum{algorithm}", []
        for number, part in enumerate(parts, 1):
            done = s3.upload_part(**upload, PartNumber=number, Body=part, **{field: checksum(algorithm, part)})
            assert done[field] == checksum(algorithm, part)
            wanted.append({"PartNumber": number, "ETag": done["ETag"], field: done[field]})
        listed = s3.list_parts(**upload)
        assert listed["ChecksumAlgorithm"] == algorithm
        assert [part[field] for part in listed["Parts"]] == [checksum(algorithm, part) for part in parts]
        return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": wanted}, **kinds, **(complete or {}))

    PARTS = [noise(5 * MIB, 1), noise(5 * MIB, 2), noise(1000, 3)]

    @pytest.mark.parametrize("algorithm", COMPOSITE)
    def test_composite(self, s3, bucket, algorithm):
        done = self.upload(s3, bucket, algorithm, self.PARTS)
        wanted = composite(algorithm, self.PARTS)
        assert (done[f"Checksum{algorithm}"], done["ChecksumType"]) == (wanted, "COMPOSITE")
        head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (wanted, "COMPOSITE")
        asked = ["Checksum", "ETag", "ObjectParts"]
        attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=asked, MaxParts=2)
        assert attributes["Checksum"] == {f"Checksum{algorithm}": wanted.removesuffix("-3"), "ChecksumType": "COMPOSITE"}
        assert attributes["ETag"] == done["ETag"].strip('"')
        parts = attributes["ObjectParts"]
        assert (parts["TotalPartsCount"], parts["IsTruncated"], parts["NextPartNumberMarker"]) == (3, True, 2)
        assert [(part["PartNumber"], part["Size"], part[f"Checksum{algorithm}"]) for part in parts["Parts"]] == [
            (number, len(part), checksum(algorithm, part)) for number, part in enumerate(self.PARTS[:2], 1)
        ]

    @pytest.mark.parametrize("algorithm", WHOLE)
    def test_full_object(self, s3, bucket, algorithm):
        done = self.upload(s3, bucket, algorithm, self.PARTS, kind="FULL_OBJECT")
        wanted = checksum(algorithm, b"".join(self.PARTS))
        assert (done[f"Checksum{algorithm}"], done["ChecksumType"]) == (wanted, "FULL_OBJECT")
        assert read(s3, bucket, "k", ChecksumMode="ENABLED") == b"".join(self.PARTS)

    def test_the_whole_is_compared_at_completion(self, s3, bucket):
        with pytest.raises(ClientError) as error:
            wrong = {"ChecksumCRC64NVME": checksum("CRC64NVME", b"other")}
            self.upload(s3, bucket, "CRC64NVME", self.PARTS, kind="FULL_OBJECT", complete=wrong)
        assert refused(error) == (400, "BadDigest")

    @pytest.mark.parametrize("algorithm", [algorithm for algorithm in ALGORITHMS if algorithm not in WHOLE])
    def test_no_full_object_of_what_is_no_crc(self, s3, bucket, algorithm):
        with pytest.raises(ClientError) as error:
            s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
        assert refused(error) == (400, "InvalidRequest")

    @EACH
    def test_a_wrong_part(self, s3, bucket, algorithm):
        here, field = {"Bucket": bucket, "Key": "k"}, f"Checksum{algorithm}"
        upload = here | {"UploadId": s3.create_multipart_upload(**here, ChecksumAlgorithm=algorithm)["UploadId"]}
        with pytest.raises(ClientError) as error:
            s3.upload_part(**upload, PartNumber=1, Body=b"x", **{field: checksum(algorithm, b"y")})
        assert refused(error) == (400, "BadDigest")
        assert "Parts" not in s3.list_parts(**upload)
        etag = s3.upload_part(**upload, PartNumber=1, Body=b"x", **{field: checksum(algorithm, b"x")})["ETag"]
        with pytest.raises(ClientError) as error:
            part = {"PartNumber": 1, "ETag": etag, field: checksum(algorithm, b"y")}
            s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})
        assert refused(error) == (400, "InvalidPart")

    @EACH
    def test_a_copied_part(self, s3, bucket, algorithm):
        content, here = noise(70_000), {"Bucket": bucket, "Key": "k"}
        s3.put_object(Bucket=bucket, Key="from", Body=content)
        upload = here | {"UploadId": s3.create_multipart_upload(**here, ChecksumAlgorithm=algorithm)["UploadId"]}
        copied = s3.upload_part_copy(**upload, PartNumber=1, CopySource={"Bucket": bucket, "Key": "from"})
        assert copied["CopyPartResult"][f"Checksum{algorithm}"] == checksum(algorithm, content)


@EACH
def test_a_copy_can_be_given_another_checksum(s3, bucket, algorithm):
    content = noise(70_000)
    s3.put_object(Bucket=bucket, Key="from", Body=content, ChecksumAlgorithm="SHA1")
    source = {"Bucket": bucket, "Key": "from"}
    done = s3.copy_object(Bucket=bucket, Key="to", CopySource=source, ChecksumAlgorithm=algorithm)["CopyObjectResult"]
    assert (done[f"Checksum{algorithm}"], done["ChecksumType"]) == (checksum(algorithm, content), "FULL_OBJECT")
    listed = {entry["Key"]: entry["ChecksumAlgorithm"] for entry in s3.list_object_versions(Bucket=bucket)["Versions"]}
    assert listed == {"from": ["SHA1"], "to": [algorithm]}
    attributes = s3.get_object_attributes(Bucket=bucket, Key="to", ObjectAttributes=["Checksum"])
    assert attributes["Checksum"] == {f"Checksum{algorithm}": checksum(algorithm, content), "ChecksumType": "FULL_OBJECT"}
    assert read(s3, bucket, "to", ChecksumMode="ENABLED") == content
    s3.copy_object(Bucket=bucket, Key="same", CopySource=source)
    assert s3.head_object(Bucket=bucket, Key="same", ChecksumMode="ENABLED")["ChecksumSHA1"] == checksum("SHA1", content)
