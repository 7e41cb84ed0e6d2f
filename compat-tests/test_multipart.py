"""boto3: multipart uploads, by hand and by the transfer manager."""

import hashlib
import io

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from support.data import MIB, Stream, etag, multipart_etag, noise
from test_objects import read, refused


@pytest.fixture
def upload(s3, bucket):
    """An open upload of the key `k`: its three names as keyword arguments."""
    here = {"Bucket": bucket, "Key": "k"}
    return here | {"UploadId": s3.create_multipart_upload(**here)["UploadId"]}


def put_parts(s3, upload, parts, first=1):
    """Uploads parts; answers what completing them takes."""
    return {
        "Parts": [
            {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=part)["ETag"]}
            for number, part in enumerate(parts, first)
        ]
    }


def test_the_transfer_manager_with_many_threads(s3, bucket, tmp_path):
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=6)
    content = noise(41 * MIB + 321)
    s3.upload_fileobj(io.BytesIO(content), bucket, "k", Config=config, ExtraArgs={"Metadata": {"a": "b"}})
    head = s3.head_object(Bucket=bucket, Key="k")
    parts = [content[start : start + 5 * MIB] for start in range(0, len(content), 5 * MIB)]
    assert (head["ETag"], head["Metadata"]) == (multipart_etag(parts), {"a": "b"})
    s3.download_file(bucket, "k", str(tmp_path / "down"), Config=config)
    assert hashlib.sha256((tmp_path / "down").read_bytes()).digest() == hashlib.sha256(content).digest()
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=config)
    down = io.BytesIO()
    s3.download_fileobj(bucket, "copy", down, Config=config)
    assert down.getvalue() == content


def test_parts_of_a_completed_object(s3, bucket, upload):
    parts = [noise(5 * MIB, 1), noise(6 * MIB + 1, 2), noise(99, 3)]
    s3.complete_multipart_upload(**upload, MultipartUpload=put_parts(s3, upload, parts))
    whole = b"".join(parts)
    assert read(s3, bucket, "k") == whole
    start = 0
    for number, part in enumerate(parts, 1):
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert got["Body"].read() == part
        assert (got["ResponseMetadata"]["HTTPStatusCode"], got["PartsCount"]) == (206, 3)
        assert got["ContentRange"] == f"bytes {start}-{start + len(part) - 1}/{len(whole)}"
        head = s3.head_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (head["ContentLength"], head["PartsCount"]) == (len(part), 3)
        start += len(part)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", PartNumber=4)
    assert refused(error) == (416, "InvalidPartNumber")
    # Ranges that cross the parts' borders.
    for first, last in (
        (5 * MIB - 1, 5 * MIB),
        (0, len(whole) - 1),
        (11 * MIB - 5, len(whole) - 1),
        (3, 11 * MIB + 50),
    ):
        assert read(s3, bucket, "k", Range=f"bytes={first}-{last}") == whole[first : last + 1]


def test_any_ascending_part_numbers_will_do(s3, bucket, upload):
    parts = {2: noise(5 * MIB, 1), 77: noise(5 * MIB, 2), 10_000: b"end"}
    tags = {n: s3.upload_part(**upload, PartNumber=n, Body=part)["ETag"] for n, part in reversed(parts.items())}
    wanted = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(tags.items())]
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": wanted})
    assert done["ETag"] == multipart_etag(list(parts.values()))
    assert read(s3, bucket, "k") == b"".join(parts.values())


def test_parts_left_out_are_dropped_and_a_replaced_part_counts_once(s3, bucket, upload):
    s3.upload_part(**upload, PartNumber=1, Body=noise(5 * MIB, "old"))
    parts = [noise(5 * MIB, 1), noise(5 * MIB, 2), b"last"]
    wanted = put_parts(s3, upload, parts)
    del wanted["Parts"][1]
    s3.complete_multipart_upload(**upload, MultipartUpload=wanted)
    assert read(s3, bucket, "k") == parts[0] + parts[2]


def test_one_small_part_is_enough(s3, bucket, upload):
    s3.complete_multipart_upload(**upload, MultipartUpload=put_parts(s3, upload, [b"x"]))
    assert s3.head_object(Bucket=bucket, Key="k")["ETag"] == multipart_etag([b"x"])


class TestCompleting:
    """What CompleteMultipartUpload refuses, and that the upload is still there afterwards."""

    def refused(self, s3, upload, parts, status, code):
        with pytest.raises(ClientError) as error:
            s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        assert refused(error) == (status, code)
        s3.list_parts(**upload)

    def test_small_parts(self, s3, upload):
        self.refused(s3, upload, put_parts(s3, upload, [b"small", b"last"])["Parts"], 400, "EntityTooSmall")

    def test_wrong_order(self, s3, upload):
        parts = put_parts(s3, upload, [noise(5 * MIB), b"last"])["Parts"]
        self.refused(s3, upload, parts[::-1], 400, "InvalidPartOrder")
        self.refused(s3, upload, [parts[0], parts[0]], 400, "InvalidPartOrder")

    def test_parts_that_are_not_there(self, s3, upload):
        parts = put_parts(s3, upload, [b"x"])["Parts"]
        self.refused(s3, upload, [{"PartNumber": 2, "ETag": parts[0]["ETag"]}], 400, "InvalidPart")
        self.refused(s3, upload, [{"PartNumber": 1, "ETag": etag(b"other")}], 400, "InvalidPart")

    def test_nothing(self, s3, upload):
        self.refused(s3, upload, [], 400, "MalformedXML")

    def test_an_unknown_upload(self, s3, bucket):
        with pytest.raises(ClientError) as error:
            s3.complete_multipart_upload(
                Bucket=bucket,
                Key="k",
                UploadId="nonsense",
                MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"x"'}]},
            )
        assert refused(error) == (404, "NoSuchUpload")

    def test_twice_is_once(self, s3, bucket, upload):
        wanted = put_parts(s3, upload, [b"x"])
        first = s3.complete_multipart_upload(**upload, MultipartUpload=wanted)
        again = s3.complete_multipart_upload(**upload, MultipartUpload=wanted)
        assert again["ETag"] == first["ETag"]
        assert read(s3, bucket, "k") == b"x"


@pytest.mark.parametrize("number", [0, 10_001])
def test_part_numbers_have_bounds(s3, upload, number):
    with pytest.raises(ClientError) as error:
        s3.upload_part(**upload, PartNumber=number, Body=b"x")
    assert refused(error) == (400, "InvalidArgument")


def test_nothing_is_seen_before_it_is_complete_or_after_it_is_aborted(s3, bucket, upload):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    s3.upload_part(**upload, PartNumber=1, Body=noise(5 * MIB))
    assert read(s3, bucket, "k") == b"before"
    assert s3.abort_multipart_upload(**upload)["ResponseMetadata"]["HTTPStatusCode"] == 204
    for operation in (
        lambda: s3.upload_part(**upload, PartNumber=2, Body=b"x"),
        lambda: s3.list_parts(**upload),
        lambda: s3.abort_multipart_upload(**upload),
    ):
        with pytest.raises(ClientError) as error:
            operation()
        assert refused(error) == (404, "NoSuchUpload")
    assert read(s3, bucket, "k") == b"before"


def test_parts_in_pages(s3, upload):
    for number in (1, 2, 3, 5, 8):
        s3.upload_part(**upload, PartNumber=number, Body=b"x" * number)
    page = s3.list_parts(**upload, MaxParts=2)
    assert [part["PartNumber"] for part in page["Parts"]] == [1, 2]
    assert (page["IsTruncated"], page["NextPartNumberMarker"], page["MaxParts"]) == (True, 2, 2)
    assert page["StorageClass"] == "STANDARD" and page["Owner"]["ID"] and page["Initiator"]["ID"]
    page = s3.list_parts(**upload, PartNumberMarker=3)
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in page["Parts"]] == [
        (5, 5, etag(b"x" * 5)),
        (8, 8, etag(b"x" * 8)),
    ]
    assert page["IsTruncated"] is False


def test_uploads_in_pages_and_by_prefix(s3, bucket):
    started = []
    for key in ("a", "b", "b", "d/1", "d/2", "e"):
        started.append((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]))

    def pages(**options):
        found, marker = [], {}
        while True:
            page = s3.list_multipart_uploads(Bucket=bucket, **options, **marker)
            found += [(each["Key"], each["UploadId"]) for each in page.get("Uploads", [])]
            if not page["IsTruncated"]:
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    assert pages() == started, "by key, then by age"
    assert pages(MaxUploads=1) == started
    assert pages(MaxUploads=2) == started
    assert pages(Prefix="d/") == started[3:5]
    folded = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [item["Prefix"] for item in folded["CommonPrefixes"]] == ["d/"]
    assert [each["Key"] for each in folded["Uploads"]] == ["a", "b", "b", "e"]


def test_part_copies(s3, bucket, upload):
    source = noise(12 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=source)
    origin = {"Bucket": bucket, "Key": "source"}
    ranges = [(1, 5 * MIB + 7), (0, 5 * MIB - 1), (12 * MIB - 5, 12 * MIB - 1)]
    wanted = []
    for number, (first, last) in enumerate(ranges, 1):
        done = s3.upload_part_copy(**upload, PartNumber=number, CopySource=origin, CopySourceRange=f"bytes={first}-{last}")[
            "CopyPartResult"
        ]
        assert done["ETag"] == etag(source[first : last + 1])
        wanted.append({"PartNumber": number, "ETag": done["ETag"]})
    whole = s3.upload_part_copy(**upload, PartNumber=4, CopySource=origin)["CopyPartResult"]
    assert whole["ETag"] == etag(source)
    s3.delete_object(Bucket=bucket, Key="source")
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": wanted[:2] + wanted[2:]})
    assert read(s3, bucket, "k") == b"".join(source[first : last + 1] for first, last in ranges)


def test_part_copies_that_cannot_be(s3, bucket, upload):
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    origin = {"Bucket": bucket, "Key": "source"}
    for options, status, code in (
        ({"CopySourceRange": "bytes=5-10"}, 400, "InvalidArgument"),
        ({"CopySourceRange": "bytes=5-"}, 400, "InvalidArgument"),
        ({"CopySourceRange": "bytes=7-5"}, 400, "InvalidArgument"),
        ({"CopySourceIfMatch": etag(b"other")}, 412, "PreconditionFailed"),
        ({"CopySource": {"Bucket": bucket, "Key": "nothing"}}, 404, "NoSuchKey"),
    ):
        with pytest.raises(ClientError) as error:
            s3.upload_part_copy(**upload | {"PartNumber": 1, "CopySource": origin} | options)
        assert refused(error) == (status, code), options


def test_an_upload_streamed_without_a_file(s3, bucket):
    """The transfer manager reads a source that cannot tell its end by anything but reading."""

    class Pipe(io.RawIOBase):
        def __init__(self, source):
            self.source = source

        def readable(self):
            return True

        def readinto(self, buffer):
            piece = self.source.read(len(buffer))
            buffer[: len(piece)] = piece
            return len(piece)

    size = 17 * MIB + 5
    s3.upload_fileobj(Pipe(Stream(size)), bucket, "k", Config=TransferConfig(multipart_chunksize=5 * MIB))
    assert read(s3, bucket, "k") == Stream(size).read()
