"""Requests made by hand, for what no client would send."""

import datetime
import hashlib
import hmac
import http.client
from urllib.parse import urlsplit
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .server import REGION


class Answer:
    """A response, read to its end."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def field(self, name):
        """The text of an XML body's first element with this name, whatever its namespace; None if there is none."""
        for element in ElementTree.fromstring(self.body).iter():
            if element.tag.rpartition("}")[2] == name:
                return element.text or ""
        return None

    @property
    def code(self):
        """The S3 error code; None if there is no body."""
        return self.field("Code") if self.body else None

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:600]!r}>"


def send(server, method, target, headers=None, body=None, timeout=60):
    """Sends a request as it is, signed or not."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request(method, target, body=body, headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def begin(server, target, timeout=60):
    """Sends a signed GET, and answers its connection and response, whose body is still to be read."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    connection.request("GET", target, headers=sign(server, "GET", target))
    return connection, connection.getresponse()


class _Signer(S3SigV4Auth):
    """Signs what the request says of its payload, where it says something."""

    def payload(self, request):
        return self.said or super().payload(request)

    def add_auth(self, request):
        self.said = request.headers.get("x-amz-content-sha256")
        super().add_auth(request)


def sign(server, method, target, headers=None, body=b"", *, region=REGION, access_key=None, secret_key=None):
    """The headers, these and the signature's, of a request signed with SigV4."""
    request = AWSRequest(method, server.endpoint + target, headers=dict(headers or {}), data=body)
    keys = Credentials(access_key or server.access_key, secret_key or server.secret_key)
    _Signer(keys, "s3", region).add_auth(request)
    return dict(request.headers.items())


def signed(server, method, target, headers=None, body=b"", unsigned=None, **options):
    """Sends a request signed with SigV4; `unsigned` headers are added behind the signature's back."""
    all_headers = sign(server, method, target, headers, body, **options) | (unsigned or {})
    return send(server, method, target, all_headers, body or None)


def presign(server, method, target, headers=None, expires=300):
    """A presigned target: path and query."""
    request = AWSRequest(method, server.endpoint + target, headers=dict(headers or {}))
    S3SigV4QueryAuth(Credentials(server.access_key, server.secret_key), "s3", REGION, expires=expires).add_auth(request)
    url = urlsplit(request.prepare().url)
    return f"{url.path}?{url.query}"


class Chunked:
    """A PUT in aws-chunked framing, signed chunk by chunk; what is wrong with it is up to the caller."""

    def __init__(self, server, target, length, headers=None, kind="STREAMING-AWS4-HMAC-SHA256-PAYLOAD", trailer=None):
        self.server, self.target = server, target
        self.headers = {
            "content-encoding": "aws-chunked",
            "x-amz-content-sha256": kind,
            "x-amz-decoded-content-length": str(length),
        } | (headers or {})
        if trailer:
            self.headers["x-amz-trailer"] = trailer
        now = datetime.datetime.now(datetime.timezone.utc)
        self.stamp, self.day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        self.scope = f"{self.day}/{REGION}/s3/aws4_request"
        self.headers["x-amz-date"] = self.stamp
        self.headers["host"] = f"127.0.0.1:{server.port}"
        self._sign_seed(kind)

    def _hmac(self, key, text):
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    def _key(self):
        key = f"AWS4{self.server.secret_key}".encode()
        for step in (self.day, REGION, "s3", "aws4_request"):
            key = self._hmac(key, step)
        return key

    def _sign_seed(self, kind):
        names = sorted(self.headers)
        canonical = "\n".join(
            ["PUT", self.target, "", *(f"{name}:{self.headers[name]}" for name in names), "", ";".join(names), kind]
        )
        text = "\n".join(["AWS4-HMAC-SHA256", self.stamp, self.scope, hashlib.sha256(canonical.encode()).hexdigest()])
        self.signature = self._hmac(self._key(), text).hex()
        self.headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.server.access_key}/{self.scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={self.signature}"
        )

    def chunk(self, data):
        """A signed chunk; an empty one ends the body."""
        empty = hashlib.sha256(b"").hexdigest()
        text = "\n".join(
            [
                "AWS4-HMAC-SHA256-PAYLOAD",
                self.stamp,
                self.scope,
                self.signature,
                empty,
                hashlib.sha256(data).hexdigest(),
            ]
        )
        self.signature = self._hmac(self._key(), text).hex()
        return f"{len(data):x};chunk-signature={self.signature}\r\n".encode() + data + (b"\r\n" if data else b"")

    def trailers(self, fields):
        """Signed trailers, to follow the empty chunk."""
        lines = "".join(f"{name}:{value}\n" for name, value in fields.items())
        text = "\n".join(
            [
                "AWS4-HMAC-SHA256-TRAILER",
                self.stamp,
                self.scope,
                self.signature,
                hashlib.sha256(lines.encode()).hexdigest(),
            ]
        )
        self.signature = self._hmac(self._key(), text).hex()
        body = "".join(f"{name}:{value}\r\n" for name, value in fields.items())
        return (body + f"x-amz-trailer-signature:{self.signature}\r\n").encode()

    def send(self, *pieces):
        """Sends the request with these pieces of body and the CR LF that ends it."""
        return send(self.server, "PUT", self.target, self.headers, b"".join(pieces) + b"\r\n")
