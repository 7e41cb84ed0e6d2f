"""Quotas of buckets and accounts, set by command beside a running server."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from support import server as servers
from support.clients import boto
from support.data import KIB, MIB, noise


def quota(server, *arguments, check=True):
    """What `ninefold quota` says; None if it fails."""
    env = servers.clean_environment()
    if server.database_url:
        env["NINEFOLD_DATABASE_URL"] = server.database_url
    command = [str(servers.binary()), "quota", *arguments, "--json"]
    done = subprocess.run(command, cwd=server.home, env=env, capture_output=True, text=True, timeout=60)
    if not check:
        assert done.returncode == 1, done.stdout
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(call, **arguments):
    """The message with which a quota refuses a call."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    answer = error.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (403, "QuotaExceeded")
    return answer["Error"]["Message"]


@pytest.fixture
def demo(own_server):
    """A server with the bucket `demo`, and a client."""
    s3 = boto(own_server)
    s3.create_bucket(Bucket="demo")
    return own_server, s3


def test_objects_of_a_bucket(demo):
    server, s3 = demo
    s3.put_object(Bucket="demo", Key="before", Body=b"12345")
    said = quota(server, "set", "--bucket", "demo", "--objects", "6")
    assert said == {"bucket": "demo", "account": None, "max_bytes": None, "max_objects": 6, "bytes": 5, "objects": 1}

    def put(number):
        try:
            s3.put_object(Bucket="demo", Key=f"key-{number}", Body=noise(10 if number % 2 else 100 * KIB))
        except ClientError as error:
            assert error.response["Error"]["Code"] == "QuotaExceeded"
            return 0
        return 1

    with ThreadPoolExecutor(8) as hands:
        assert sum(hands.map(put, range(24))) == 5
    assert quota(server, "get", "--bucket", "demo")["objects"] == 6
    message = refused(s3.put_object, Bucket="demo", Key="one more", Body=b"")
    assert "bucket demo" in message and "6 objects" in message
    # A server obeys at once.
    quota(server, "set", "--bucket", "demo", "--objects", "7")
    s3.put_object(Bucket="demo", Key="one more", Body=b"")
    s3.put_object(Bucket="demo", Key="before", Body=b"an overwrite")
    s3.delete_object(Bucket="demo", Key="before")
    s3.copy_object(Bucket="demo", Key="copy", CopySource="demo/one more")
    refused(s3.copy_object, Bucket="demo", Key="another", CopySource="demo/one more")
    assert quota(server, "remove", "--bucket", "demo") == {"removed": "bucket demo"}
    quota(server, "get", "--bucket", "demo", check=False)
    s3.put_object(Bucket="demo", Key="another", Body=b"")


def test_bytes_of_a_bucket(demo):
    server, s3 = demo
    quota(server, "set", "--bucket", "demo", "--bytes", "10MiB")
    refused(s3.put_object, Bucket="demo", Key="large", Body=noise(10 * MIB + 1))
    upload = {"Bucket": "demo", "Key": "parts"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    tag = s3.upload_part(**upload, PartNumber=1, Body=noise(8 * MIB))["ETag"]
    refused(s3.upload_part, **upload, PartNumber=2, Body=noise(3 * MIB))
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    used = quota(server, "get", "--bucket", "demo")
    assert (used["bytes"], used["objects"]) == (8 * MIB, 1)
    # Below what is there: what does not grow is possible.
    quota(server, "set", "--bucket", "demo", "--bytes", "1MiB", "--objects", "1")
    refused(s3.put_object, Bucket="demo", Key="small", Body=b"x")
    s3.put_object(Bucket="demo", Key="parts", Body=noise(2 * MIB))
    s3.put_object(Bucket="demo", Key="parts", Body=noise(MIB))
    refused(s3.put_object, Bucket="demo", Key="parts", Body=noise(MIB + 1))


def test_an_account(demo):
    server, s3 = demo
    s3.create_bucket(Bucket="demo2")
    assert quota(server, "set", "--account", "root", "--objects", "2")["account"]["name"] == "root"
    s3.create_bucket(Bucket="demo3")
    for bucket in ("demo2", "demo3"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert "2 objects" in refused(s3.put_object, Bucket="demo", Key="k", Body=b"x")
    quota(server, "set", "--bucket", "demo", "--bytes", "0")
    listed = quota(server, "list")
    assert sorted((each["bucket"], each["objects"]) for each in listed if each["bucket"]) == [("demo", 0)]
    assert [each["objects"] for each in listed if each["account"]] == [2]
    s3.delete_object(Bucket="demo2", Key="k")
    s3.put_object(Bucket="demo", Key="k", Body=b"")
    quota(server, "set", "--bucket", "nobody", "--bytes", "1", check=False)
    quota(server, "set", "--account", "nobody", "--bytes", "1", check=False)
