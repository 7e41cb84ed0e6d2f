"""boto3 with signature version 2: refused, unless the server is told to put up with it."""

import datetime
import email.utils
import http.client
import time

import pytest
from botocore.exceptions import ClientError

from support.clients import boto
from support.data import MIB, noise


def refused(error):
    """Status and code of an answer that was an error."""
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"], error.value.response["Error"]["Code"]


def get(server, url, host=None):
    """Status and body of a URL."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("GET", url.removeprefix(server.endpoint), headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def tolerant(database, new_server):
    """A server that takes signatures of version 2, and a client that makes them."""
    server = new_server(database_url=database(), args=["--allow-sigv2", "--domain", "localhost"]).start()
    return server, boto(server, signature_version="s3")


def test_by_default_it_is_refused(server):
    s3 = boto(server, signature_version="s3")
    with pytest.raises(ClientError) as error:
        s3.list_buckets()
    assert refused(error) == (400, "InvalidRequest")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
    assert "Signature=" in url and get(server, url)[0] == 400


def test_all_that_is_usual(tolerant):
    server, s3 = tolerant
    s3.create_bucket(Bucket="demo")
    s3.put_bucket_versioning(Bucket="demo", VersioningConfiguration={"Status": "Enabled"})
    content = noise(2 * MIB)
    version = s3.put_object(Bucket="demo", Key="a b/ü+%.txt", Body=content, Metadata={"x": "1"}, ContentType="text/plain")["VersionId"]
    s3.put_object(Bucket="demo", Key="small", Body=b"small", Tagging="a=1")
    assert s3.get_object(Bucket="demo", Key="a b/ü+%.txt", VersionId=version, ResponseContentType="text/x")["Body"].read() == content
    s3.copy_object(Bucket="demo", Key="copy", CopySource={"Bucket": "demo", "Key": "small"})
    assert s3.get_object_tagging(Bucket="demo", Key="copy")["TagSet"] == [{"Key": "a", "Value": "1"}]
    upload = s3.create_multipart_upload(Bucket="demo", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="demo", Key="parts", UploadId=upload, PartNumber=1, Body=b"1")["ETag"]
    s3.complete_multipart_upload(Bucket="demo", Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="demo", Prefix="", MaxKeys=10)["Contents"]]
    assert keys == ["a b/ü+%.txt", "copy", "parts", "small"]
    assert len(s3.list_object_versions(Bucket="demo")["Versions"]) == 4
    answer = s3.delete_objects(Bucket="demo", Delete={"Objects": [{"Key": "copy"}, {"Key": "parts"}]})
    assert len(answer["Deleted"]) == 2
    by_host = boto(server, signature_version="s3", style="virtual", endpoint=f"http://localhost:{server.port}")
    url = by_host.generate_presigned_url("get_object", Params={"Bucket": "demo", "Key": "small"})
    host = f"demo.localhost:{server.port}"
    assert url.startswith(f"http://{host}/small?")
    assert get(server, url.removeprefix(f"http://{host}"), host) == (200, b"small")


def test_presigned(tolerant):
    server, s3 = tolerant
    s3.create_bucket(Bucket="demo")
    s3.put_object(Bucket="demo", Key="k", Body=b"small")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "demo", "Key": "k"}, ExpiresIn=2)
    assert get(server, url) == (200, b"small")
    assert get(server, url.replace("/k?", "/other?"))[0] == 403
    # What the signature does not cover is not taken.
    assert get(server, url + "&legal-hold")[0] == 403
    assert get(server, url + "&tagging")[0] == 403
    time.sleep(3)
    assert get(server, url)[0] == 403


def test_what_is_refused(tolerant):
    server, s3 = tolerant
    with pytest.raises(ClientError) as error:
        boto(server, signature_version="s3", secret_key="wrong" * 8).list_buckets()
    assert refused(error) == (403, "SignatureDoesNotMatch")
    with pytest.raises(ClientError) as error:
        boto(server, signature_version="s3", access_key="nobody").list_buckets()
    assert refused(error) == (403, "InvalidAccessKeyId")

    def dated(request, **_):
        old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=20)
        request.headers["x-amz-date"] = email.utils.format_datetime(old, usegmt=True)

    s3.meta.events.register("before-sign.s3.ListBuckets", dated)
    with pytest.raises(ClientError) as error:
        s3.list_buckets()
    assert refused(error) == (403, "RequestTimeTooSkewed")
