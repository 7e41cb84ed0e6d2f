"""Limits: who goes too fast is told to slow down, and the SDK obeys."""

import pytest
from botocore.exceptions import ClientError

from support import raw
from support.clients import boto


@pytest.fixture
def limited(new_server, database):
    """A server that lets each key send two requests a second."""
    args = ["--rate-limit", "key:requests=2", "--bucket", "demo"]
    return new_server(database_url=database(), args=args).start()


def test_the_sdk_comes_again(limited):
    patient = boto(limited, retries={"total_max_attempts": 10, "mode": "standard"})
    retried = 0
    for number in range(6):
        answer = patient.put_object(Bucket="demo", Key=str(number), Body=b"x")
        retried += answer["ResponseMetadata"]["RetryAttempts"]
    assert retried > 0


def test_who_does_not_is_refused(limited):
    hasty = boto(limited)
    with pytest.raises(ClientError) as error:
        for number in range(100):
            hasty.put_object(Bucket="demo", Key=str(number), Body=b"x")
    response = error.value.response
    assert response["Error"]["Code"] == "SlowDown"
    assert response["Error"]["Message"] == "Please reduce your request rate."
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) == 1


def test_strangers_use_nothing_up(limited):
    for _ in range(20):
        assert raw.send(limited, "GET", "/demo/k").status == 403
        with pytest.raises(ClientError):
            boto(limited, secret_key="wrong").list_buckets()
    boto(limited).put_object(Bucket="demo", Key="k", Body=b"x")
