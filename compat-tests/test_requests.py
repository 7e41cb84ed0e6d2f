"""Who is let in and what is let through: signatures, presigned URLs, framing, and requests that no SDK sends."""

import base64
import datetime
import http.client
import zlib

import pytest
from botocore.exceptions import ClientError

from support import raw
from support.clients import boto
from support.data import MIB, etag, noise
from test_objects import read, refused


def crc32(data):
    """The value of x-amz-checksum-crc32."""
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class TestSignatures:
    """SigV4 in the Authorization header."""

    def test_a_wrong_secret(self, server):
        with pytest.raises(ClientError) as error:
            boto(server, secret_key="wrong").list_buckets()
        assert refused(error) == (403, "SignatureDoesNotMatch")

    def test_an_unknown_access_key(self, server):
        with pytest.raises(ClientError) as error:
            boto(server, access_key="nobody").list_buckets()
        assert refused(error) == (403, "InvalidAccessKeyId")

    def test_no_signature_at_all(self, server, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"private")
        for method, target in (
            ("GET", f"/{bucket}/k"),
            ("GET", f"/{bucket}"),
            ("PUT", f"/{bucket}/new"),
            ("DELETE", f"/{bucket}/k"),
        ):
            answer = raw.send(server, method, target)
            assert (answer.status, answer.code) == (403, "AccessDenied"), (method, target)
        assert read(s3, bucket, "k") == b"private"
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1

    def test_another_region(self, server):
        with pytest.raises(ClientError) as error:
            boto(server, region="eu-west-9").list_buckets()
        assert refused(error) == (400, "AuthorizationHeaderMalformed")
        assert error.value.response["Error"]["Region"] == "us-east-1"

    @pytest.mark.parametrize("minutes", [-20, 20])
    def test_a_clock_that_is_off(self, server, monkeypatch, minutes):
        class Off(datetime.datetime):
            @classmethod
            def utcnow(cls):
                return datetime.datetime.utcnow() + datetime.timedelta(minutes=minutes)

            @classmethod
            def now(cls, tz=None):
                return datetime.datetime.now(tz) + datetime.timedelta(minutes=minutes)

        import botocore.auth
        import botocore.compat

        if hasattr(botocore.auth, "get_current_datetime"):
            monkeypatch.setattr(
                botocore.auth,
                "get_current_datetime",
                lambda remove_tzinfo=True: Off.utcnow() if remove_tzinfo else Off.now(datetime.timezone.utc),
            )
        else:
            monkeypatch.setattr(botocore.auth.datetime, "datetime", Off)
        answer = raw.signed(server, "GET", "/")
        assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")

    def test_a_body_that_is_not_what_was_signed(self, server, s3, bucket):
        headers = raw.sign(server, "PUT", f"/{bucket}/k", body=b"signed")
        answer = raw.send(server, "PUT", f"/{bucket}/k", headers, b"sent!!")
        assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def test_an_amz_header_that_was_not_signed(self, server, s3, bucket):
        s3.put_object(Bucket=bucket, Key="secret", Body=b"secret")
        answer = raw.signed(server, "PUT", f"/{bucket}/k", unsigned={"x-amz-copy-source": f"/{bucket}/secret"})
        assert (answer.status, answer.code) == (403, "AccessDenied")
        with pytest.raises(ClientError) as error:
            s3.head_object(Bucket=bucket, Key="k")
        assert refused(error)[0] == 404


class TestPresigned:
    """SigV4 in the query."""

    def test_get_and_put(self, server, s3, bucket):
        content = noise(70_000)
        target = raw.presign(server, "PUT", f"/{bucket}/a%20b")
        assert raw.send(server, "PUT", target, body=content).status == 200
        assert read(s3, bucket, "a b") == content
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b", "ResponseContentType": "a/b"})
        answer = raw.send(server, "GET", url.removeprefix(server.endpoint))
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, content, "a/b")

    def test_parameters_stand_for_headers(self, server, s3, bucket):
        """The SDK for JavaScript moves all x-amz-* headers to the query, with the checksum of a body that it lacks."""
        query = "x-amz-meta-a=b&x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32&x-amz-tagging=c%3Dd"
        target = raw.presign(server, "PUT", f"/{bucket}/k?{query}")
        assert raw.send(server, "PUT", target, body=b"content").status == 200
        kept = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (kept["Body"].read(), kept["Metadata"], kept["TagCount"]) == (b"content", {"a": "b"}, 1)
        assert "ChecksumCRC32" not in kept, "what nobody computed is not kept"
        # In a header that is signed, the checksum holds.
        headers = {"x-amz-checksum-crc32": "AAAAAA=="}
        target = raw.presign(server, "PUT", f"/{bucket}/k", headers)
        assert raw.send(server, "PUT", target, headers, body=b"content").code == "BadDigest"
        # What says how to do it, and is no checksum, still stands for its header.
        query = "uploads&x-amz-checksum-algorithm=SHA256&x-amz-checksum-type=COMPOSITE"
        assert raw.send(server, "POST", raw.presign(server, "POST", f"/{bucket}/k?{query}")).status == 200
        (upload,) = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
        assert (upload["ChecksumAlgorithm"], upload["ChecksumType"]) == ("SHA256", "COMPOSITE")

    def test_expired(self, server, s3, bucket, monkeypatch):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        target = raw.presign(server, "GET", f"/{bucket}/k", expires=1)
        assert raw.send(server, "GET", target).status in (200, 403)
        stamp = target.split("X-Amz-Date=")[1][:16]
        then = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        while datetime.datetime.now(datetime.timezone.utc) - then <= datetime.timedelta(seconds=2):
            pass
        answer = raw.send(server, "GET", target)
        assert (answer.status, answer.code) == (403, "AccessDenied")

    @pytest.mark.parametrize("expires", [604801, 99999999])
    def test_longer_than_a_week(self, server, bucket, expires):
        answer = raw.send(server, "GET", raw.presign(server, "GET", f"/{bucket}", expires=expires))
        assert 400 <= answer.status <= 403, answer
        assert answer.code in ("AccessDenied", "AuthorizationQueryParametersError")

    def test_tampered_with(self, server, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        s3.put_object(Bucket=bucket, Key="other", Body=b"x")
        target = raw.presign(server, "GET", f"/{bucket}/k")
        for changed in (target.replace(f"/{bucket}/k", f"/{bucket}/other"), target + "&response-content-type=a/b"):
            answer = raw.send(server, "GET", changed)
            assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch"), changed
        assert raw.send(server, "DELETE", target).code == "SignatureDoesNotMatch"

    def test_a_put_is_no_copy(self, server, s3, bucket):
        """Who may put one object must not, by an added header, read another."""
        s3.put_object(Bucket=bucket, Key="secret", Body=b"secret")
        target = raw.presign(server, "PUT", f"/{bucket}/k")
        answer = raw.send(server, "PUT", target, {"x-amz-copy-source": f"/{bucket}/secret"})
        assert (answer.status, answer.code) == (403, "AccessDenied")
        with pytest.raises(ClientError) as error:
            s3.head_object(Bucket=bucket, Key="k")
        assert refused(error)[0] == 404


class TestFraming:
    """aws-chunked bodies: signatures, lengths and trailers are all verified before anything is stored."""

    def nothing(self, s3, bucket):
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def test_signed_chunks(self, server, s3, bucket):
        content = noise(200_000)
        request = raw.Chunked(server, f"/{bucket}/k", len(content))
        pieces = [request.chunk(content[start : start + 65536]) for start in range(0, len(content), 65536)]
        answer = request.send(*pieces, request.chunk(b""))
        assert answer.status == 200, answer
        got = s3.get_object(Bucket=bucket, Key="k")
        assert got["Body"].read() == content and "ContentEncoding" not in got

    def test_a_wrong_chunk_signature(self, server, s3, bucket):
        request = raw.Chunked(server, f"/{bucket}/k", 8)
        piece = request.chunk(b"contents").replace(b"contents", b"CONTENTS")
        answer = request.send(piece, request.chunk(b""))
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
        self.nothing(s3, bucket)

    def test_too_few_bytes(self, server, s3, bucket):
        request = raw.Chunked(server, f"/{bucket}/k", 100)
        answer = request.send(request.chunk(b"contents"), request.chunk(b""))
        assert (answer.status, answer.code) == (400, "IncompleteBody")
        self.nothing(s3, bucket)

    def test_too_many_bytes(self, server, s3, bucket):
        request = raw.Chunked(server, f"/{bucket}/k", 3)
        answer = request.send(request.chunk(b"contents"), request.chunk(b""))
        assert answer.status == 400, answer
        self.nothing(s3, bucket)

    def test_no_last_chunk(self, server, s3, bucket):
        request = raw.Chunked(server, f"/{bucket}/k", 8)
        answer = raw.send(server, "PUT", request.target, request.headers, request.chunk(b"contents"))
        assert (answer.status, answer.code) == (400, "IncompleteBody")
        self.nothing(s3, bucket)

    def test_signed_trailers(self, server, s3, bucket):
        content = b"contents"
        kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
        request = raw.Chunked(server, f"/{bucket}/k", len(content), kind=kind, trailer="x-amz-checksum-crc32")
        body = [request.chunk(content), request.chunk(b"")]
        answer = request.send(*body, request.trailers({"x-amz-checksum-crc32": crc32(content)}))
        assert answer.status == 200, answer
        assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc32(content)

    def unsigned(self, server, bucket, content, trailer, length=None):
        headers = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(content) if length is None else length),
            "x-amz-trailer": "x-amz-checksum-crc32",
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        }
        headers = raw.sign(server, "PUT", f"/{bucket}/k", headers)
        body = f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\n" + trailer + b"\r\n"
        return raw.send(server, "PUT", f"/{bucket}/k", headers, body)

    def test_unsigned_trailers(self, server, s3, bucket):
        answer = self.unsigned(server, bucket, b"contents", f"x-amz-checksum-crc32:{crc32(b'contents')}\r\n".encode())
        assert answer.status == 200, answer
        assert read(s3, bucket, "k") == b"contents"

    def test_a_wrong_trailer(self, server, s3, bucket):
        answer = self.unsigned(server, bucket, b"contents", f"x-amz-checksum-crc32:{crc32(b'other')}\r\n".encode())
        assert (answer.status, answer.code) == (400, "BadDigest")
        self.nothing(s3, bucket)

    def test_a_trailer_that_never_came(self, server, s3, bucket):
        answer = self.unsigned(server, bucket, b"contents", b"")
        assert answer.status == 400, answer
        self.nothing(s3, bucket)

    def test_a_length_that_is_not_so(self, server, s3, bucket):
        trailer = f"x-amz-checksum-crc32:{crc32(b'contents')}\r\n".encode()
        answer = self.unsigned(server, bucket, b"contents", trailer, length=9)
        assert (answer.status, answer.code) == (400, "IncompleteBody")
        self.nothing(s3, bucket)

    def test_a_body_cut_off(self, server, s3, bucket):
        headers = raw.sign(server, "PUT", f"/{bucket}/k", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.putrequest("PUT", f"/{bucket}/k")
        for header, value in (headers | {"content-length": str(3 * MIB)}).items():
            connection.putheader(header, value)
        connection.endheaders(noise(2 * MIB))
        connection.close()
        self.nothing(s3, bucket)

    def test_expect_100_continue_is_answered_before_the_body(self, server, bucket):
        import socket

        target = f"/{bucket}/k"
        body = b"contents"
        headers = raw.sign(server, "PUT", target, body=body)
        lines = [
            f"PUT {target} HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            "Expect: 100-continue",
            f"Content-Length: {len(body)}",
        ]
        lines += [
            f"{header}: {value}" for header, value in headers.items() if header.lower() not in ("host", "content-length")
        ]
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")
            connection.sendall(body)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")


class TestSubresources:
    """A sub-resource that is unknown, or does not go with the verb, is never taken for the bare verb."""

    @pytest.fixture(autouse=True)
    def stored(self, server, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"before")
        yield
        assert read(s3, bucket, "k") == b"before"

    @pytest.mark.parametrize("query", ["renameObject", "encryption", "foo", "uploadId=x", "partNumber=1", "acl=", "torrent"])
    def test_put_of_an_object(self, server, bucket, query):
        answer = raw.signed(server, "PUT", f"/{bucket}/k?{query}" + ("" if "=" in query else "="), body=b"after")
        assert answer.status >= 400, answer

    @pytest.mark.parametrize("query", ["acl", "tagging", "foo", "legal-hold"])
    def test_delete_of_an_object(self, server, bucket, query):
        answer = raw.signed(server, "DELETE", f"/{bucket}/k?{query}=")
        assert answer.status >= 400 or query == "tagging", answer  # DeleteObjectTagging is an operation of its own

    @pytest.mark.parametrize("query", ["versioning", "notification", "acl", "logging", "foo", "cors", "policy"])
    def test_delete_of_a_bucket(self, server, s3, name, query):
        other = f"{name}-other"
        s3.create_bucket(Bucket=other)
        raw.signed(server, "DELETE", f"/{other}?{query}=")
        s3.head_bucket(Bucket=other)
        s3.delete_bucket(Bucket=other)

    @pytest.mark.parametrize("query", ["foo", "accelerate", "partNumber=1"])
    def test_get_of_a_bucket(self, server, bucket, query):
        answer = raw.signed(server, "GET", f"/{bucket}?{query}" + ("" if "=" in query else "="))
        assert answer.status >= 400, answer

    def test_what_a_form_sends_browsers_back_with(self, server, bucket):
        answer = raw.signed(server, "GET", f"/{bucket}?bucket={bucket}&etag=%22e%22&key=k")
        assert answer.status == 200 and b"ListBucketResult" in answer.body


class TestAnswers:
    """What every answer carries."""

    def test_ids(self, server, bucket):
        ok = raw.signed(server, "GET", f"/{bucket}")
        failed = raw.signed(server, "GET", f"/{bucket}/missing")
        assert ok.headers["x-amz-request-id"] != failed.headers["x-amz-request-id"]
        assert failed.field("RequestId") == failed.headers["x-amz-request-id"]
        assert failed.headers["x-amz-id-2"] == failed.field("HostId")

    def test_the_xml_of_an_error(self, server, bucket):
        failed = raw.signed(server, "GET", f"/{bucket}/a%26b")
        assert (failed.status, failed.code) == (404, "NoSuchKey")
        assert failed.headers["content-type"] == "application/xml"
        assert failed.field("Key") == "a&b" or failed.field("Resource") == f"/{bucket}/a&b", failed
        assert failed.field("Message")

    def test_a_request_that_is_no_http(self, server):
        import socket

        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 400") or connection.recv(1000) == b""
        assert server.health("ready") == 200

    def test_options_and_unknown_methods(self, server, bucket):
        for method in ("PATCH", "TRACE", "BREW"):
            answer = raw.send(server, method, f"/{bucket}/k")
            assert 400 <= answer.status <= 501, answer


class TestHosts:
    """The bucket in the host's name."""

    def test_path_style_by_any_address(self, server, s3, bucket):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        assert read(boto(server, endpoint=f"http://localhost:{server.port}"), bucket, "k") == b"x"

    def test_virtual_hosted(self, server, bucket, monkeypatch):
        import socket

        original = socket.getaddrinfo

        def resolve(host, *rest, **more):
            name = host.decode() if isinstance(host, bytes) else host
            return original("127.0.0.1" if name.endswith(".localhost") else host, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        virtual = boto(server, endpoint=f"http://localhost:{server.port}", style="virtual")
        virtual.put_object(Bucket=bucket, Key="a/b", Body=b"content")
        assert read(virtual, bucket, "a/b") == b"content"
        assert [item["Key"] for item in virtual.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/b"]
        virtual.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "a/b"})
        url = virtual.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "c"})
        assert url.startswith(f"http://{bucket}.localhost:{server.port}/c?")
        target = url.split(f":{server.port}", 1)[1]
        answer = raw.send(server, "GET", target, {"host": f"{bucket}.localhost:{server.port}"})
        assert (answer.status, answer.body) == (200, b"content")
        virtual.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/b"}, {"Key": "c"}]})


def test_the_same_upload_over_many_connections_ends_as_one_object(server, s3, bucket):
    """Last writer wins, whole."""
    from concurrent.futures import ThreadPoolExecutor

    bodies = [noise(300_000, seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda body: raw.signed(server, "PUT", f"/{bucket}/k", body=body), bodies))
    assert [answer.status for answer in answers] == [200] * 6
    assert [answer.headers["etag"] for answer in answers] == [etag(body) for body in bodies]
    assert read(s3, bucket, "k") in bodies
