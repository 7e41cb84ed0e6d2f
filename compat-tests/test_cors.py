"""Pages of other origins: a bucket's rules, preflights, and the headers by which a browser lets a page have an answer."""

import pytest
from botocore.exceptions import ClientError

from support import raw
from test_objects import refused

VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


def put(s3, bucket, *rules):
    """Gives a bucket these rules."""
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(rules)})


def rule(origins, methods, **more):
    """A rule."""
    return {"AllowedOrigins": origins, "AllowedMethods": methods, **more}


def granted(answer):
    """What an answer says to a browser: whom it is for and what that one may do."""
    return answer.headers.get("access-control-allow-origin"), answer.headers.get("access-control-allow-methods")


class TestConfiguration:
    """PutBucketCors, GetBucketCors, DeleteBucketCors."""

    def test_put_get_delete(self, s3, bucket):
        with pytest.raises(ClientError) as error:
            s3.get_bucket_cors(Bucket=bucket)
        assert refused(error) == (404, "NoSuchCORSConfiguration")
        assert error.value.response["Error"]["Message"] == "The CORS configuration does not exist"
        rules = [
            rule(
                ["http://www.example.com", "https://*.example.org"],
                ["PUT", "POST", "DELETE"],
                ID="writers",
                AllowedHeaders=["*"],
                ExposeHeaders=["x-amz-request-id"],
                MaxAgeSeconds=3000,
            ),
            rule(["*"], ["GET"]),
        ]
        put(s3, bucket, *rules)
        assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules
        s3.delete_bucket_cors(Bucket=bucket)
        with pytest.raises(ClientError) as error:
            s3.get_bucket_cors(Bucket=bucket)
        assert refused(error) == (404, "NoSuchCORSConfiguration")
        s3.delete_bucket_cors(Bucket=bucket)

    @pytest.mark.parametrize(
        ("bad", "code", "message"),
        [
            (
                rule(["*"], ["PATCH"]),
                "InvalidRequest",
                "Found unsupported HTTP method in CORS config. Unsupported method is PATCH",
            ),
            (
                rule(["http://*.*"], ["GET"]),
                "InvalidRequest",
                'AllowedOrigin "http://*.*" can not have more than one wildcard.',
            ),
            (
                rule(["*"], ["GET"], ExposeHeaders=["*"]),
                "InvalidRequest",
                'ExposeHeader "*" contains wildcard. We currently do not support wildcard for ExposeHeader.',
            ),
            (rule([], ["GET"]), "MalformedXML", None),
            (rule(["*"], []), "MalformedXML", None),
            (rule(["*"], ["GET"], ID="a" * 256), "MalformedXML", None),
        ],
    )
    def test_what_cannot_be(self, s3, bucket, bad, code, message):
        kept = rule(["http://kept.test"], ["GET"])
        put(s3, bucket, kept)
        with pytest.raises(ClientError) as error:
            put(s3, bucket, kept, bad)
        assert refused(error) == (400, code)
        assert message in (None, error.value.response["Error"]["Message"])
        assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [kept]

    def test_a_document_that_is_none(self, server, s3, bucket):
        for body in (b"", b"<CORSConfiguration/>", b"<CORSConfiguration><CORSRule>", b"<Other/>"):
            answer = raw.signed(server, "PUT", f"/{bucket}?cors=", body=body)
            assert (answer.status, answer.code) in ((400, "MalformedXML"), (400, "MissingRequestBodyError")), answer
        with pytest.raises(ClientError) as error:
            s3.get_bucket_cors(Bucket=bucket)
        assert refused(error) == (404, "NoSuchCORSConfiguration")


class TestAnswers:
    """What browsers see."""

    @pytest.fixture
    def shared(self, s3, bucket):
        """A bucket with rules like those of ceph's s3-tests, and an object."""
        put(
            s3,
            bucket,
            rule(["*suffix"], ["GET"]),
            rule(["start*end"], ["GET"]),
            rule(["prefix*"], ["GET"]),
            rule(["*.put"], ["PUT"]),
        )
        s3.put_object(Bucket=bucket, Key="k", Body=b"content")
        return bucket

    @pytest.mark.parametrize(
        ("origin", "fits"),
        [
            ("foo.suffix", True),
            ("foo.bar", False),
            ("foo.suffix.get", False),
            ("startend", True),
            ("start1end", True),
            ("start12end", True),
            ("0start12end", False),
            ("prefix", True),
            ("prefix.suffix", True),
            ("bla.prefix", False),
        ],
    )
    def test_origins(self, server, shared, origin, fits):
        expected = (origin, "GET") if fits else (None, None)
        target = raw.presign(server, "GET", f"/{shared}/k")
        answer = raw.send(server, "GET", target, {"Origin": origin})
        assert (answer.status, answer.body, granted(answer)) == (200, b"content", expected)
        absent = raw.send(server, "GET", raw.presign(server, "GET", f"/{shared}/absent"), {"Origin": origin})
        assert (absent.status, absent.code, granted(absent)) == (404, "NoSuchKey", expected)
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        answer = raw.send(server, "OPTIONS", f"/{shared}", asked)
        assert (answer.status, granted(answer)) == (200 if fits else 403, expected)

    def test_methods(self, server, shared):
        target = f"/{shared}/k"
        for headers, expected in (
            ({"Origin": "foo.suffix", "Access-Control-Request-Method": "GET"}, ("foo.suffix", "GET")),
            ({"Origin": "foo.suffix", "Access-Control-Request-Method": "PUT"}, (None, None)),
            ({"Origin": "foo.suffix", "Access-Control-Request-Method": "DELETE"}, (None, None)),
            ({"Origin": "foo.suffix"}, (None, None)),
            ({"Origin": "foo.put"}, ("foo.put", "PUT")),
        ):
            answer = raw.send(server, "PUT", target, headers | {"content-length": "0"})
            assert (answer.status, answer.code, granted(answer)) == (403, "AccessDenied", expected), headers
        for headers, status, expected in (
            ({}, 400, (None, None)),
            ({"Origin": "foo.suffix"}, 400, (None, None)),
            ({"Origin": "foo.put", "Access-Control-Request-Method": "GET"}, 403, (None, None)),
            ({"Origin": "foo.put", "Access-Control-Request-Method": "PUT"}, 200, ("foo.put", "PUT")),
        ):
            answer = raw.send(server, "OPTIONS", target, headers)
            assert (answer.status, granted(answer)) == (status, expected), headers

    def test_any_origin(self, server, s3, bucket):
        put(s3, bucket, rule(["*"], ["GET"], ExposeHeaders=["x-amz-meta-header1"]))
        target = raw.presign(server, "GET", f"/{bucket}?list-type=2")
        answer = raw.send(server, "GET", target)
        assert (answer.status, granted(answer), answer.headers.get("vary")) == (200, (None, None), None)
        answer = raw.send(server, "GET", target, {"Origin": "example.origin"})
        assert (answer.status, granted(answer), answer.headers["vary"]) == (200, ("*", "GET"), VARY)
        assert answer.headers["access-control-expose-headers"] == "x-amz-meta-header1"
        assert "access-control-allow-credentials" not in answer.headers
        asked = {"Origin": "example.origin", "Access-Control-Request-Method": "GET"}
        answer = raw.send(
            server, "OPTIONS", f"/{bucket}/bar", asked | {"Access-Control-Request-Headers": "x-amz-meta-header2"}
        )
        assert (answer.status, answer.code, granted(answer)) == (403, "AccessForbidden", (None, None))

    @pytest.mark.parametrize("operation", ["get_object", "put_object"])
    def test_presigned(self, server, s3, bucket, operation):
        """A page uploads and downloads with presigned URLs."""
        method = operation[:3].upper()
        s3.put_object(Bucket=bucket, Key="foo", Body=b"x")
        url = s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "foo"})
        target = url.removeprefix(server.endpoint)
        assert raw.send(server, "OPTIONS", target).status == 400
        asked = {"Origin": "example", "Access-Control-Request-Method": method}
        answer = raw.send(server, "OPTIONS", target, asked)
        assert (answer.status, answer.field("Message")) == (403, "CORSResponse: CORS is not enabled for this bucket.")
        put(s3, bucket, rule(["example"], [method], AllowedHeaders=["content-*"], MaxAgeSeconds=60))
        answer = raw.send(server, "OPTIONS", target, asked | {"Access-Control-Request-Headers": "Content-Type"})
        assert (answer.status, answer.body, granted(answer)) == (200, b"", ("example", method))
        assert answer.headers["access-control-allow-headers"] == "content-type"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert (answer.headers["access-control-max-age"], answer.headers["vary"]) == ("60", VARY)
        answer = raw.send(server, method, target, {"Origin": "example"}, b"y" if method == "PUT" else None)
        assert (answer.status, granted(answer)) == (200, ("example", method))

    def test_virtual_hosted(self, server, shared):
        headers = {"host": f"{shared}.localhost:{server.port}", "Origin": "foo.suffix"}
        answer = raw.send(server, "OPTIONS", "/k", headers | {"Access-Control-Request-Method": "GET"})
        assert (answer.status, granted(answer)) == (200, ("foo.suffix", "GET"))
        absent = headers | {"host": f"absent.localhost:{server.port}", "Access-Control-Request-Method": "GET"}
        answer = raw.send(server, "OPTIONS", "/k", absent)
        assert (answer.status, answer.field("Message")) == (403, "CORSResponse: Bucket not found")
