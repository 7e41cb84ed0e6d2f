"""Uploads by HTML form: what boto3 presigns, posted as browsers post it."""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest
from urllib3.filepost import encode_multipart_formdata

from support import raw
from support.clients import boto
from support.data import MIB, etag, noise
from test_objects import read


def post(server, target, fields, file, name="a.txt", headers=None):
    """Posts a form with these fields, and behind them the file."""
    parts = [*fields.items(), ("file", (name, file))] if name is not None else [*fields.items(), ("file", file)]
    body, content_type = encode_multipart_formdata(parts)
    return raw.send(server, "POST", target, {"Content-Type": content_type} | (headers or {}), body)


@pytest.fixture
def presigned(server, s3, bucket):
    """Posts a file by a form that boto3 presigned; `fields` are covered by conditions of their own."""

    def run(file=b"content", key="k", fields=None, conditions=(), name="a.txt", expires=600, added=None):
        fields = dict(fields or {})
        form = s3.generate_presigned_post(
            bucket, key, Fields=fields, Conditions=[*({n: v} for n, v in fields.items()), *conditions], ExpiresIn=expires
        )
        return post(server, urlsplit(form["url"]).path, form["fields"] | (added or {}), file, name)

    return run


class TestAnUpload:
    """What comes of a form that is as its policy says."""

    @pytest.mark.parametrize("size", [0, 1, 1000, 70_000, 3 * MIB + 17])
    def test_is_an_object(self, s3, bucket, presigned, size):
        data = noise(size)
        answer = presigned(data)
        assert (answer.status, answer.body) == (204, b""), answer
        assert answer.headers["etag"] == etag(data)
        assert "x-amz-checksum-crc64nvme" in answer.headers
        assert read(s3, bucket, "k") == data
        head = s3.head_object(Bucket=bucket, Key="k")
        assert (head["ContentType"], head["ETag"]) == ("binary/octet-stream", etag(data))

    def test_has_what_the_fields_say(self, s3, bucket, presigned):
        tagging = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2=3</Value></Tag></TagSet></Tagging>"
        sha = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
        answer = presigned(
            fields={
                "acl": "bucket-owner-full-control",
                "Content-Type": "text/plain",
                "Content-Disposition": "attachment",
                "Cache-Control": "no-cache",
                "Content-Encoding": "br",
                "Expires": "Tue, 14 Nov 2023 22:13:20 GMT",
                "Content-MD5": base64.b64encode(hashlib.md5(b"content").digest()).decode(),
                "x-amz-meta-Colour": "gr\u00fcn",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "x-amz-website-redirect-location": "/elsewhere",
                "x-amz-checksum-sha256": sha,
                "tagging": tagging,
            }
        )
        assert (answer.status, answer.headers.get("x-amz-checksum-sha256")) == (204, sha), answer.body
        got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert got["Body"].read() == b"content"
        named = ("ContentType", "ContentDisposition", "CacheControl", "ContentEncoding", "WebsiteRedirectLocation")
        assert [got[name] for name in named] == ["text/plain", "attachment", "no-cache", "br", "/elsewhere"]
        assert got["ChecksumSHA256"] == sha
        assert list(got["Metadata"]) == ["colour"]
        assert got["TagCount"] == 1
        tags = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
        assert tags == [{"Key": "a b", "Value": "1+2=3"}]

    @pytest.mark.parametrize(("algorithm", "digest"), [("MD5", hashlib.md5), ("SHA512", hashlib.sha512)])
    def test_has_the_checksum_that_a_field_says(self, s3, bucket, presigned, algorithm, digest):
        name = f"x-amz-checksum-{algorithm.lower()}"

        def said(data):
            return {name: base64.b64encode(digest(data).digest()).decode(), "x-amz-checksum-algorithm": algorithm}

        assert presigned(fields=said(b"other")).code == "BadDigest"
        answer = presigned(fields=said(b"content"))
        assert (answer.status, answer.headers[name]) == (204, said(b"content")[name]), answer
        head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert head[f"Checksum{algorithm}"] == answer.headers[name]

    @pytest.mark.parametrize(
        ("file_name", "key"),
        [("photo.jpg", "up/photo.jpg"), ("C:\\dir\\photo.jpg", "up/photo.jpg"), ("\u00fc.txt", "up/\u00fc.txt")],
    )
    def test_is_named_after_its_file(self, s3, bucket, presigned, file_name, key):
        answer = presigned(key="up/${filename}", name=file_name, fields={"success_action_status": "201"})
        assert (answer.status, answer.field("Key"), answer.field("Bucket")) == (201, key, bucket)
        assert (answer.field("ETag"), answer.field("Location")) == (etag(b"content"), answer.headers["location"])
        assert read(s3, bucket, key) == b"content"

    def test_sends_its_browser_on(self, bucket, presigned):
        answer = presigned(key="a/b c", fields={"success_action_redirect": "http://example.test/done?x=1"})
        assert (answer.status, answer.body) == (303, b"")
        url = urlsplit(answer.headers["location"])
        assert (url.netloc, url.path) == ("example.test", "/done")
        assert parse_qs(url.query) == {"x": ["1"], "bucket": [bucket], "key": ["a/b c"], "etag": [etag(b"content")]}

    def test_says_where_it_is(self, server, bucket, presigned):
        location = urlsplit(presigned(key="a b/c+d").headers["location"])
        assert (location.netloc, location.path) == (f"127.0.0.1:{server.port}", f"/{bucket}/a%20b%2Fc%2Bd")

    def test_replaces_and_is_listed(self, s3, bucket, presigned):
        for data in (b"one", b"two"):
            assert presigned(data).status == 204
        assert read(s3, bucket, "k") == b"two"
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1

    def test_goes_to_a_bucket_by_its_host(self, server, s3, bucket):
        form = boto(server, endpoint=f"http://localhost:{server.port}", style="virtual").generate_presigned_post(bucket, "k")
        url = urlsplit(form["url"])
        assert (url.hostname, url.path) == (f"{bucket}.localhost", "/")
        answer = post(server, "/", form["fields"], b"content", headers={"Host": url.netloc})
        assert (answer.status, answer.headers["location"]) == (204, f"http://{url.netloc}/k"), answer
        assert read(s3, bucket, "k") == b"content"


class TestARefusal:
    """What comes of one that is not, and that nothing is stored."""

    @pytest.fixture(autouse=True)
    def nothing_is_stored(self, s3, bucket):
        yield
        assert "Contents" not in s3.list_objects_v2(Bucket=bucket)

    def test_of_another_key(self, presigned):
        answer = presigned(added={"key": "other"})
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert answer.field("Message") == 'Invalid according to Policy: Policy Condition failed: ["eq", "$key", "k"]'

    def test_of_another_prefix(self, presigned):
        assert presigned(key="${filename}", conditions=[["starts-with", "$key", "user/"]]).status == 403

    def test_of_a_field_that_nobody_allowed(self, presigned):
        answer = presigned(added={"x-amz-meta-a": "b"})
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert answer.field("Message") == "Invalid according to Policy: Extra input fields: x-amz-meta-a"

    def test_of_a_policy_that_is_over(self, presigned):
        answer = presigned(expires=-5)
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert answer.field("Message") == "Invalid according to Policy: Policy expired."

    @pytest.mark.parametrize(
        ("size", "code"),
        [(0, "EntityTooSmall"), (4, "EntityTooSmall"), (11, "EntityTooLarge"), (MIB, "EntityTooLarge")],
    )
    def test_of_other_lengths(self, presigned, size, code):
        answer = presigned(b"x" * size, conditions=[["content-length-range", 5, 10]])
        assert (answer.status, answer.code) == (400, code)

    @pytest.mark.parametrize(
        ("fields", "status", "code"),
        [
            ({"Content-MD5": "XrY7u+Ae7tCTyyK7j1rNww=="}, 400, "BadDigest"),
            ({"Content-MD5": "no digest"}, 400, "InvalidDigest"),
            ({"x-amz-checksum-crc32": "AAAAAA=="}, 400, "BadDigest"),
            ({"x-amz-checksum-crc32": "sailorjerry"}, 400, "InvalidRequest"),
            ({"x-amz-checksum-algorithm": "SHA256"}, 400, "InvalidRequest"),
            ({"acl": "public-read"}, 400, "AccessControlListNotSupported"),
            ({"x-amz-storage-class": "GLACIER"}, 501, "NotImplemented"),
            ({"x-amz-storage-class": "FakeClass"}, 400, "InvalidStorageClass"),
            ({"x-amz-server-side-encryption": "AES256"}, 501, "NotImplemented"),
            ({"x-amz-website-redirect-location": "elsewhere"}, 400, "InvalidRedirectLocation"),
            ({"x-amz-meta-a": "a" * 2048}, 400, "MetadataTooLarge"),
            ({"tagging": "not-xml"}, 400, "MalformedXML"),
            ({"tagging": "<Tagging><TagSet><Tag><Key></Key><Value/></Tag></TagSet></Tagging>"}, 400, "InvalidTag"),
        ],
    )
    def test_of_what_put_object_refuses(self, presigned, fields, status, code):
        for size in (7, 100_000):
            answer = presigned(b"x" * size, fields=fields)
            assert (answer.status, answer.code) == (status, code), answer

    def test_of_another_signature(self, server, s3, bucket):
        form = boto(server, secret_key="wrong").generate_presigned_post(bucket, "k")
        answer = post(server, f"/{bucket}", form["fields"], b"content")
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
        form = boto(server, access_key="nobody").generate_presigned_post(bucket, "k")
        answer = post(server, f"/{bucket}", form["fields"], b"content")
        assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")
        answer = post(server, f"/{bucket}", {"key": "k"}, b"content")
        assert (answer.status, answer.code) == (403, "AccessDenied")

    def test_of_a_bucket_that_is_not_there(self, server, s3, bucket):
        form = s3.generate_presigned_post(f"{bucket}-none", "k")
        for size in (7, 100_000):
            answer = post(server, f"/{bucket}-none", form["fields"], b"x" * size)
            assert (answer.status, answer.code) == (404, "NoSuchBucket"), answer

    def test_of_the_old_signature(self, server, s3, bucket):
        answer = post(server, f"/{bucket}", version_2(server, bucket), b"content")
        assert (answer.status, answer.code) == (400, "InvalidRequest")
        assert "Please use AWS4-HMAC-SHA256" in answer.field("Message")


def version_2(server, bucket):
    """The fields of a form signed with version 2."""
    expires = datetime.now(timezone.utc) + timedelta(minutes=10)
    document = {"expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"), "conditions": [{"bucket": bucket}, {"key": "k"}]}
    policy = base64.b64encode(json.dumps(document).encode())
    signature = base64.b64encode(hmac.new(server.secret_key.encode(), policy, hashlib.sha1).digest())
    fields = {"key": "k", "AWSAccessKeyId": server.access_key, "policy": policy.decode(), "signature": signature.decode()}
    return fields


def test_the_old_signature_where_it_is_allowed(database, new_server):
    server = new_server(database_url=database(), args=["--allow-sigv2"]).start()
    s3 = boto(server)
    s3.create_bucket(Bucket="bkt")
    assert post(server, "/bkt", version_2(server, "bkt"), b"content").status == 204
    assert read(s3, "bkt", "k") == b"content"
    old = boto(server, signature_version="s3")
    form = old.generate_presigned_post("bkt", "k2")
    assert "AWSAccessKeyId" in form["fields"]
    assert post(server, "/bkt", form["fields"], b"content").status == 204


def test_a_client_that_leaves_leaves_nothing(database, new_server):
    """Cut off at any place, an upload has made no object and, once the server has noticed, no file."""
    server = new_server(database_url=database()).start()
    s3 = boto(server)
    s3.create_bucket(Bucket="bkt")
    form = s3.generate_presigned_post("bkt", "k")
    body, content_type = encode_multipart_formdata([*form["fields"].items(), ("file", ("a", noise(3 * MIB)))])
    for sent in (100, 2000, 50_000, MIB, len(body) - 40, len(body) - 1):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.putrequest("POST", "/bkt")
        connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:sent])
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
    # Bodies that end in the middle of a form, as far as HTTP can tell.
    for sent in (2000, MIB, len(body) - 40):
        answer = raw.send(server, "POST", "/bkt", {"Content-Type": content_type}, body[:sent])
        assert (answer.status, answer.code) == (400, "MalformedPOSTRequest")
    deadline = time.monotonic() + 30
    while server.shard_files() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not server.shard_files()
    assert "Contents" not in s3.list_objects_v2(Bucket="bkt")
    assert raw.send(server, "POST", "/bkt", {"Content-Type": content_type}, body).status == 204
    assert read(s3, "bkt", "k") == noise(3 * MIB)
