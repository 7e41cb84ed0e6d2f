"""boto3 in other regions than the server's: refused, unless the server is told to take any."""

import pytest
from botocore.exceptions import ClientError

from support import raw
from support.clients import boto


def test_a_server_that_takes_any_region(database, new_server):
    server = new_server(database_url=database(), args=["--any-region"]).start()
    elsewhere, here = boto(server, region="eu-central-1"), boto(server)
    elsewhere.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    here.create_bucket(Bucket="here")
    for s3 in (elsewhere, here):
        assert s3.get_bucket_location(Bucket="elsewhere")["LocationConstraint"] == "eu-west-1"
        assert s3.head_bucket(Bucket="elsewhere")["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "eu-west-1"
        assert s3.get_bucket_location(Bucket="here")["LocationConstraint"] is None
        s3.put_object(Bucket="elsewhere", Key="k", Body=b"x")
        assert s3.get_object(Bucket="elsewhere", Key="k")["Body"].read() == b"x"
    regions = {bucket["Name"]: bucket["BucketRegion"] for bucket in here.list_buckets(MaxBuckets=10)["Buckets"]}
    assert regions == {"elsewhere": "eu-west-1", "here": "us-east-1"}
    # Only in S3's first region one may create what one has.
    here.create_bucket(Bucket="here")
    for s3 in (elsewhere, here):
        with pytest.raises(ClientError) as error:
            s3.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        assert error.value.response["Error"]["Code"] == "BucketAlreadyOwnedByYou"
    with pytest.raises(ClientError) as error:
        here.create_bucket(Bucket="nowhere", CreateBucketConfiguration={"LocationConstraint": "No Where"})
    assert error.value.response["Error"]["Code"] == "InvalidLocationConstraint"
    answer = raw.signed(server, "GET", "/here", region="eu-north-1", secret_key="guessed")
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
