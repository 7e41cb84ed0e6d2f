"""Listening to events, with MinIO's SDK for Python, whose extension of S3 it is; appending and renaming, whose events are told, too."""

import json
import threading
import time
import urllib.parse
import urllib.request

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from minio import Minio
from minio.error import S3Error
from support import raw

PATIENCE = 30


@pytest.fixture
def minio(server):
    host = urllib.parse.urlsplit(server.endpoint).netloc
    return Minio(host, access_key=server.access_key, secret_key=server.secret_key, secure=False, region="us-east-1")


class Ear(threading.Thread):
    """Listens until it has heard of a key."""

    def __init__(self, iterable, last):
        super().__init__(daemon=True)
        self.iterable, self.last, self.records = iterable, last, []
        self.start()

    def run(self):
        with self.iterable as events:
            for event in events:
                self.records += event["Records"]
                if any(record["s3"]["object"]["key"] == self.last for record in event["Records"]):
                    return

    def heard(self):
        """The events, as their names and keys."""
        self.join(PATIENCE)
        assert not self.is_alive(), self.records
        return [(record["eventName"], record["s3"]["object"]["key"]) for record in self.records]


def until_heard(ears, act):
    """A listener hears what happens once its request has arrived: something is done until all have heard of it."""
    deadline = time.monotonic() + PATIENCE
    while any(not ear.records for ear in ears):
        assert time.monotonic() < deadline
        act()
        time.sleep(0.05)


def test_whoever_may_no_more_is_sent_away(server, s3, name):
    """A name may become another's bucket, and rules change: who listens is asked again who he is."""
    for change in (
        lambda: s3.delete_bucket(Bucket=name),
        lambda: s3.delete_public_access_block(Bucket=name),
    ):
        s3.create_bucket(Bucket=name)
        asked = AWSRequest("GET", f"{server.endpoint}/{name}?events=s3:ObjectCreated:*")
        S3SigV4QueryAuth(Credentials(server.access_key, server.secret_key), "s3", "us-east-1").add_auth(asked)
        with urllib.request.urlopen(asked.url, timeout=PATIENCE) as answer:
            assert answer.read(3) == b"   ", "blanks, while nothing happens"
            change()
            # Without an end it would go on for ever, a blank at a time.
            assert answer.read(100).strip() == b"" and answer.read() == b""
    s3.delete_bucket(Bucket=name)


def test_what_happens_is_heard(s3, minio, bucket):
    ear = Ear(minio.listen_bucket_notification(bucket), "last")
    until_heard([ear], lambda: s3.put_object(Bucket=bucket, Key="first", Body=b""))
    put = s3.put_object(Bucket=bucket, Key="a ü/1", Body=b"123")
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a ü/1"})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="c", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="c", UploadId=upload, MultipartUpload=parts)
    s3.get_object(Bucket=bucket, Key="b")["Body"].read()
    s3.head_object(Bucket=bucket, Key="b")
    s3.put_object_tagging(Bucket=bucket, Key="b", Tagging={"TagSet": []})  # not listened to
    with pytest.raises(ClientError):
        s3.put_object(Bucket=bucket, Key="b", Body=b"", IfNoneMatch="*")
    s3.put_object(Bucket=bucket, Key="b", Body=b"more", WriteOffsetBytes=3)
    s3.rename_object(Bucket=bucket, Key="d", RenameSource=f"/{bucket}/b")
    s3.delete_object(Bucket=bucket, Key="d")
    s3.put_object(Bucket=bucket, Key="last", Body=b"")
    heard = [event for event in ear.heard() if event[1] != "first"]
    assert heard == [
        ("s3:ObjectCreated:Put", "a ü/1"),
        ("s3:ObjectCreated:Copy", "b"),
        ("s3:ObjectCreated:CompleteMultipartUpload", "c"),
        ("s3:ObjectAccessed:Get", "b"),
        ("s3:ObjectAccessed:Head", "b"),
        ("s3:ObjectCreated:Put", "b"),
        ("s3:ObjectCreated:Copy", "d"),
        ("s3:ObjectRemoved:Delete", "b"),
        ("s3:ObjectRemoved:Delete", "d"),
        ("s3:ObjectCreated:Put", "last"),
    ]
    record = next(record for record in ear.records if record["s3"]["object"]["key"] == "a ü/1")
    assert record["eventVersion"] == "2.1" and record["s3"]["bucket"]["name"] == bucket
    assert record["s3"]["object"]["size"] == 3 and record["s3"]["object"]["eTag"] == put["ETag"].strip('"')
    assert record["responseElements"]["x-amz-request-id"] == put["ResponseMetadata"]["RequestId"]
    assert record["requestParameters"]["sourceIPAddress"] == "127.0.0.1" and record["userIdentity"]["principalId"]
    sequence = [record["s3"]["object"]["sequencer"] for record in ear.records]
    assert sequence == sorted(set(sequence))


def test_listeners_choose(s3, minio, server, bucket, name):
    chosen = Ear(minio.listen_bucket_notification(bucket, prefix="logs/", suffix=".txt", events=["s3:ObjectRemoved:*"]), "logs/end.txt")
    everywhere = Ear(raw_events(server, "/?events=s3%3ABucketCreated%3A%2A&events=s3%3AObjectCreated%3APut"), "logs/end.txt")

    def make_and_remove(key):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        s3.delete_object(Bucket=bucket, Key=key)

    until_heard([chosen, everywhere], lambda: make_and_remove("logs/begin.txt"))
    s3.create_bucket(Bucket=f"{name}-other")
    s3.delete_bucket(Bucket=f"{name}-other")
    for key in ["logs/a.txt", "logs/a.csv", "a.txt", "logs/end.txt"]:
        make_and_remove(key)
    assert [key for _, key in chosen.heard() if key != "logs/begin.txt"] == ["logs/a.txt", "logs/end.txt"]
    heard = everywhere.heard()
    assert {event for event, _ in heard} == {"s3:BucketCreated:*", "s3:ObjectCreated:Put"}
    assert {record["s3"]["bucket"]["name"] for record in everywhere.records} >= {bucket, f"{name}-other"}


class raw_events:
    """What a plain client hears, line by line."""

    def __init__(self, server, target):
        self.connection, self.response = raw.begin(server, target)

    def __enter__(self):
        assert self.response.status == 200
        return (json.loads(line) for line in self.response if line.strip())

    def __exit__(self, *_):
        self.connection.close()


def test_what_cannot_be_listened_to(minio, server, bucket, name):
    for bucket_name, events, code in [
        (bucket, ["s3:ObjectCreated:Pat"], "InvalidArgument"),
        (bucket, ["s3:Replication:*"], "NotImplemented"),
        (f"{name}-nowhere", ["s3:ObjectCreated:*"], "NoSuchBucket"),
    ]:
        with pytest.raises(S3Error) as refused, minio.listen_bucket_notification(bucket_name, events=events) as listening:
            next(iter(listening))
        assert refused.value.code == code
    for query, status in [
        ("events=s3%3AObjectCreated%3APut&ping=0", 400),
        ("events=s3%3AObjectCreated%3APut&max-keys=1", 501),
        ("prefix=a&prefix=b", 400),
    ]:
        assert raw.signed(server, "GET", f"/{bucket}?{query}").status == status, query
    assert raw.signed(server, "GET", f"/{bucket}/key?events=s3%3AObjectCreated%3APut").status == 501
    assert raw.send(server, "GET", f"/{bucket}?events=s3%3AObjectCreated%3APut").status == 403


def test_a_server_that_stops_does_not_wait_for_listeners(own_server):
    listening = raw_events(own_server, "/?events=s3%3AObjectCreated%3APut&ping=1")
    with listening as events:
        assert next(events) == {"Records": None}
        began = time.monotonic()
        assert own_server.stop() == 0
        assert time.monotonic() - began < 25, "the time that requests have to be done is 30 seconds"
        assert list(events) == []
