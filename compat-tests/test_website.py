"""Buckets as websites: how they are made so, and what a browser gets."""

import re
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from support import raw
from support.clients import boto, publish
from support.data import noise
from support.server import Server
from test_objects import refused

DOMAIN = "web.localhost"
OWN_HOST = "www.example.test"


@pytest.fixture(scope="module")
def sites(database, tmp_path_factory):
    """A server with websites under a domain and at an address of their own; `public` and `www.example.test` are public."""
    arguments = ["--website-domain", DOMAIN, "--website-listen", "127.0.0.1:0"]
    running = Server(tmp_path_factory.mktemp("sites"), database_url=database(), args=arguments).start()
    client = boto(running)
    for bucket in ("public", "private", OWN_HOST):
        client.create_bucket(Bucket=bucket)
    for bucket in ("public", OWN_HOST):
        publish(client, bucket)
    yield running, client
    assert running.stop() == 0, running.output[-4000:]


@pytest.fixture
def pages(sites):
    """Makes `public` a website of this configuration."""

    def put(index="index.html", **configuration):
        configuration = {"IndexDocument": {"Suffix": index}} | configuration
        sites[1].put_bucket_website(Bucket="public", WebsiteConfiguration=configuration)

    return put


@pytest.fixture
def get(sites):
    """Asks a website, without a signature."""

    def ask(path, method="GET", bucket="public", **headers):
        host = {"host": f"{bucket}.{DOMAIN}:{sites[0].port}"}
        return raw.send(sites[0], method, path, host | {name.replace("_", "-"): value for name, value in headers.items()})

    return ask


def said(answer):
    """What an error's page lists."""
    return dict(re.findall(r"<li>(\w+): (.*)</li>", answer.body.decode()))


class TestConfiguration:
    """PutBucketWebsite, GetBucketWebsite, DeleteBucketWebsite."""

    def test_put_get_delete(self, s3, bucket):
        with pytest.raises(ClientError) as error:
            s3.get_bucket_website(Bucket=bucket)
        assert refused(error) == (404, "NoSuchWebsiteConfiguration")
        message = "The specified bucket does not have a website configuration"
        assert error.value.response["Error"]["Message"] == message
        for configuration in (
            {
                "IndexDocument": {"Suffix": "index.html"},
                "ErrorDocument": {"Key": "errors/404.html"},
                "RoutingRules": [
                    {
                        "Condition": {"KeyPrefixEquals": "docs/", "HttpErrorCodeReturnedEquals": "404"},
                        "Redirect": {"HostName": "a.test", "Protocol": "https", "HttpRedirectCode": "302"},
                    },
                    {"Redirect": {"ReplaceKeyWith": "moved.html"}},
                ],
            },
            {"RedirectAllRequestsTo": {"HostName": "www.example.com", "Protocol": "https"}},
            {"IndexDocument": {"Suffix": "start"}},
        ):
            s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=configuration)
            stored = s3.get_bucket_website(Bucket=bucket)
            stored.pop("ResponseMetadata")
            assert stored == configuration
        s3.delete_bucket_website(Bucket=bucket)
        s3.delete_bucket_website(Bucket=bucket)
        with pytest.raises(ClientError) as error:
            s3.get_bucket_website(Bucket=bucket)
        assert refused(error) == (404, "NoSuchWebsiteConfiguration")

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            ({}, "InvalidArgument"),
            ({"IndexDocument": {"Suffix": "a/b"}}, "InvalidArgument"),
            (
                {"IndexDocument": {"Suffix": "i"}, "RedirectAllRequestsTo": {"HostName": "a.test"}},
                "InvalidArgument",
            ),
            ({"RedirectAllRequestsTo": {"HostName": "a.test", "Protocol": "http2"}}, "InvalidRequest"),
            (
                {"IndexDocument": {"Suffix": "i"}, "RoutingRules": [{"Redirect": {"HttpRedirectCode": "300"}}]},
                "InvalidRequest",
            ),
            (
                {"IndexDocument": {"Suffix": "i"}, "RoutingRules": [{"Redirect": {"HostName": "a"}}] * 51},
                "InvalidRequest",
            ),
        ],
    )
    def test_what_cannot_be(self, s3, bucket, bad, code):
        with pytest.raises(ClientError) as error:
            s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=bad)
        assert refused(error) == (400, code)
        with pytest.raises(ClientError) as error:
            s3.get_bucket_website(Bucket=bucket)
        assert refused(error) == (404, "NoSuchWebsiteConfiguration")

    def test_with_the_aws_cli(self, aws, s3, bucket):
        aws("s3", "website", f"s3://{bucket}", "--index-document", "index.html", "--error-document", "error.html")
        stored = s3.get_bucket_website(Bucket=bucket)
        assert (stored["IndexDocument"], stored["ErrorDocument"]) == ({"Suffix": "index.html"}, {"Key": "error.html"})

    def test_unlike_the_website_the_api_asks_for_a_signature(self, server, s3, bucket):
        s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
        s3.put_object(Bucket=bucket, Key="index.html", Body=b"page")
        answer = raw.send(server, "GET", f"/{bucket}/index.html")
        assert (answer.status, answer.code) == (403, "AccessDenied")


class TestPages:
    """What a browser gets."""

    def test_pages_and_directories(self, sites, pages, get):
        pages()
        content = noise(3_000_000)
        for key, body in (("index.html", b"root"), ("dir/index.html", b"dir"), ("a b/ü.bin", content)):
            sites[1].put_object(Bucket="public", Key=key, Body=body, ContentType="text/x-test", Metadata={"a": "b"})
        answer = get("/")
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"root", "text/x-test")
        assert answer.headers["x-amz-meta-a"] == "b" and "x-amz-request-id" in answer.headers
        assert get("/dir/").body == b"dir"
        assert get("/a%20b/%C3%BC.bin").body == content
        assert get("/a%20b/%C3%BC.bin", range="bytes=5-9").body == content[5:10]
        assert get("/", if_none_match=answer.headers["etag"]).status == 304
        head = get("/dir/", "HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "3")
        moved = get("/dir")
        assert (moved.status, moved.headers["location"], said(moved)["Code"]) == (302, "/dir/", "Found")
        answer = get("/none", "PUT")
        assert (answer.status, said(answer)["Code"]) == (405, "MethodNotAllowed")

    def test_errors(self, sites, pages, get):
        pages()
        answer = get("/none")
        assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        expected = {"Code": "NoSuchKey", "Message": "The specified key does not exist.", "Key": "none"}
        ids = {"RequestId": answer.headers["x-amz-request-id"], "HostId": answer.headers["x-amz-id-2"]}
        assert said(answer) == expected | ids
        assert answer.headers["x-amz-error-code"] == "NoSuchKey"
        assert answer.headers["x-amz-error-detail-key"] == "none"
        pages(ErrorDocument={"Key": "errors/404.html"})
        answer = get("/none")
        assert answer.status == 404
        assert b"An Error Occurred While Attempting to Retrieve a Custom Error Document" in answer.body
        sites[1].put_object(Bucket="public", Key="errors/404.html", Body=b"nothing here", ContentType="text/x-error")
        answer = get("/none")
        assert (answer.status, answer.body, answer.headers["content-type"]) == (404, b"nothing here", "text/x-error")
        assert answer.headers["x-amz-error-code"] == "NoSuchKey"
        sites[1].delete_bucket_website(Bucket="public")
        answer = get("/")
        assert (answer.status, said(answer)["Code"]) == (404, "NoSuchWebsiteConfiguration")
        assert said(answer)["BucketName"] == "public"

    def test_redirections(self, sites, pages, get):
        rules = [
            {"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "documents/"}},
            {"Condition": {"KeyPrefixEquals": "images/"}, "Redirect": {"ReplaceKeyWith": "deleted.html"}},
            {
                "Condition": {"HttpErrorCodeReturnedEquals": "404"},
                "Redirect": {"HostName": "other.test", "ReplaceKeyPrefixWith": "report-404/", "HttpRedirectCode": "307"},
            },
        ]
        pages(RoutingRules=rules)
        here = f"http://public.{DOMAIN}:{sites[0].port}"
        for path, status, location in (
            ("/docs/x", 301, f"{here}/documents/x"),
            ("/images/y", 301, f"{here}/deleted.html"),
            ("/none/z", 307, "http://other.test/report-404/none/z"),
        ):
            answer = get(path)
            assert (answer.status, answer.headers["location"], answer.body) == (status, location, b"")
        sites[1].put_object(Bucket="public", Key="page", Body=b"old", WebsiteRedirectLocation="/new?a=b")
        answer = get("/page")
        assert (answer.status, answer.headers["location"], answer.body) == (301, "/new?a=b", b"")
        redirect = {"RedirectAllRequestsTo": {"HostName": "other.test", "Protocol": "https"}}
        sites[1].put_bucket_website(Bucket="public", WebsiteConfiguration=redirect)
        answer = get("/a%20b?c=d")
        assert (answer.status, answer.headers["location"]) == (301, "https://other.test/a%20b?c=d")

    def test_only_what_is_public(self, sites, get):
        for bucket in ("private", OWN_HOST):
            sites[1].put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
            sites[1].put_object(Bucket=bucket, Key="index.html", Body=b"page")
        answer = get("/", bucket="private")
        assert (answer.status, said(answer)["Code"]) == (403, "AccessDenied")
        answer = get("/", bucket="absent")
        assert (answer.status, said(answer)["Code"]) == (404, "NoSuchBucket")
        assert get("/", bucket=OWN_HOST).body == b"page"

    def test_an_address_of_their_own(self, sites, pages):
        pages()
        sites[1].put_object(Bucket="public", Key="index.html", Body=b"root")
        sites[1].put_bucket_website(Bucket=OWN_HOST, WebsiteConfiguration={"IndexDocument": {"Suffix": "own.html"}})
        sites[1].put_object(Bucket=OWN_HOST, Key="own.html", Body=b"own")
        port = int(re.search(r"Websites are at http://127\.0\.0\.1:(\d+)", sites[0].output).group(1))
        there = SimpleNamespace(port=port)
        assert raw.send(there, "GET", "/", {"host": f"public.{DOMAIN}"}).body == b"root"
        assert raw.send(there, "GET", "/", {"host": OWN_HOST}).body == b"own"
        answer = raw.send(there, "GET", "/public/index.html")
        assert (answer.status, said(answer)["Code"]) == (404, "NoSuchBucket")
        assert raw.send(sites[0], "GET", "/", {"host": OWN_HOST}).code == "AccessDenied"
