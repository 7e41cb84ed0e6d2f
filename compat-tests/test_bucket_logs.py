"""boto3: server access logging. What is configured, and the log objects that come of it, read as AWS's documentation reads them."""

import datetime
import re
import time
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from conftest import empty
from support import clients, raw
from support.clients import boto, publish
from support.server import REGION, Server, self_signed
from test_forms import post
from test_objects import refused

FIELDS = (
    "owner bucket time peer requester request_id operation key request status error sent size total turnaround referer "
    "agent version host_id signature cipher auth host tls access_point acl"
).split()
FIELD = re.compile(r'\[[^]]*\]|"[^"]*"|\S+')
WITHIN = 20


@pytest.fixture(scope="module")
def logged_server(database, tmp_path_factory):
    """A server that delivers several times a second."""
    arguments = ["--access-log-interval", "300ms", "--domain", "localhost"]
    arguments += ["--website-domain", "web.test"]
    running = Server(tmp_path_factory.mktemp("logs"), database_url=database(), args=arguments).start()
    yield running, boto(running)
    assert running.stop() == 0, running.output[-4000:]


@pytest.fixture
def buckets(logged_server, name):
    """A bucket, and one for its log."""
    _, client = logged_server
    names = SimpleNamespace(source=name, target=f"{name}-logs")
    for each in (names.source, names.target):
        client.create_bucket(Bucket=each)
    yield names
    client.put_bucket_logging(Bucket=names.source, BucketLoggingStatus={})
    for each in (names.source, names.target):
        remove(client, each)


def remove(client, bucket):
    """Removes a bucket into which the last records may still come."""
    for _ in range(20):
        empty(client, bucket)
        try:
            client.delete_bucket(Bucket=bucket)
            return
        except ClientError:
            time.sleep(0.2)
    raise AssertionError(f"{bucket} does not get empty")


def enable(client, source, target, prefix="log/", **more):
    """Has `source` logged into `target`."""
    enabled = {"TargetBucket": target, "TargetPrefix": prefix} | more
    client.put_bucket_logging(Bucket=source, BucketLoggingStatus={"LoggingEnabled": enabled})
    return enabled


def keys(client, bucket, prefix=""):
    """The keys of log objects."""
    return [one["Key"] for one in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def records(client, bucket, prefix=""):
    """All records that were delivered."""
    found = []
    for key in keys(client, bucket, prefix):
        text = client.get_object(Bucket=bucket, Key=key)["Body"].read().decode("ascii")
        assert text.endswith("\n")
        for line in text.splitlines():
            fields = FIELD.findall(line)
            assert len(fields) == len(FIELDS), line
            assert " ".join(fields) == line
            found.append(SimpleNamespace(**dict(zip(FIELDS, fields, strict=True))))
    return found


def wait_for(client, bucket, operation, number=1, prefix=""):
    """Waits until so many records were delivered, one of this operation among them; answers all."""
    deadline = time.monotonic() + WITHIN
    while True:
        found = records(client, bucket, prefix)
        if len(found) >= number and operation in {record.operation for record in found}:
            return found
        assert time.monotonic() < deadline, f"only {[record.operation for record in found]}"
        time.sleep(0.1)


class TestConfiguration:
    """PutBucketLogging, GetBucketLogging."""

    @staticmethod
    def get(client, bucket):
        return client.get_bucket_logging(Bucket=bucket).get("LoggingEnabled")

    def test_put_get_remove(self, logged_server, buckets):
        _, client = logged_server
        assert self.get(client, buckets.source) is None
        for form in (
            {},
            {"TargetObjectKeyFormat": {"SimplePrefix": {}}},
            {"TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}},
            {"TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "DeliveryTime"}}},
        ):
            enabled = enable(client, buckets.source, buckets.target, **form)
            assert self.get(client, buckets.source) == enabled
        for _ in range(2):
            client.put_bucket_logging(Bucket=buckets.source, BucketLoggingStatus={})
            assert self.get(client, buckets.source) is None

    @pytest.mark.parametrize(
        ("change", "status", "code"),
        [
            ({"TargetBucket": "no-such-bucket-of-logs"}, 400, "InvalidTargetBucketForLogging"),
            ({"TargetPrefix": "p" * 769}, 400, "InvalidArgument"),
            (
                {"TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "Yesterday"}}},
                400,
                "MalformedXML",
            ),
            (
                {
                    "TargetObjectKeyFormat": {
                        "SimplePrefix": {},
                        "PartitionedPrefix": {"PartitionDateSource": "EventTime"},
                    }
                },
                400,
                "MalformedXML",
            ),
            ({"TargetObjectKeyFormat": {}}, 400, "MalformedXML"),
            (
                {"TargetGrants": [{"Grantee": {"Type": "CanonicalUser", "ID": "a"}, "Permission": "READ"}]},
                501,
                "NotImplemented",
            ),
            (
                {"TargetGrants": [{"Grantee": {"Type": "CanonicalUser", "ID": "a"}, "Permission": "READ_ACP"}]},
                400,
                "MalformedXML",
            ),
        ],
    )
    def test_refused(self, logged_server, buckets, change, status, code):
        _, client = logged_server
        kept = enable(client, buckets.source, buckets.target, "kept/")
        with pytest.raises(ClientError) as error:
            enable(client, buckets.source, **({"target": buckets.target} | {"TargetPrefix": "p/"} | change))
        assert refused(error) == (status, code)
        assert self.get(client, buckets.source) == kept

    def test_a_bucket_that_is_not_there(self, logged_server, buckets):
        _, client = logged_server
        for call in (
            lambda: enable(client, f"{buckets.source}-none", buckets.target),
            lambda: client.put_bucket_logging(Bucket=f"{buckets.source}-none", BucketLoggingStatus={}),
            lambda: client.get_bucket_logging(Bucket=f"{buckets.source}-none"),
        ):
            with pytest.raises(ClientError) as error:
                call()
            assert refused(error) == (404, "NoSuchBucket")

    def test_targets_do_not_lock_logs_by_default(self, logged_server, buckets, name):
        _, client = logged_server
        locked = f"{name}-locked"
        client.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
        enable(client, buckets.source, locked)
        client.put_bucket_logging(Bucket=buckets.source, BucketLoggingStatus={})
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
        client.put_object_lock_configuration(
            Bucket=locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )
        with pytest.raises(ClientError) as error:
            enable(client, buckets.source, locked)
        assert refused(error) == (400, "InvalidTargetBucketForLogging")


class TestRecords:
    """What is delivered."""

    def test_the_fields(self, logged_server, buckets):
        server, client = logged_server
        source, target = buckets.source, buckets.target
        client.put_object(Bucket=source, Key="before", Body=b"not logged")
        enable(client, source, target)
        began = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        key = "a b/ü+\".txt"
        put = client.put_object(Bucket=source, Key=key, Body=b"0123456789")
        part = client.get_object(Bucket=source, Key=key, Range="bytes=2-4", VersionId="null")
        assert part["Body"].read() == b"234"
        client.head_object(Bucket=source, Key=key)
        with pytest.raises(ClientError):
            client.get_object(Bucket=source, Key="absent")
        client.list_objects_v2(Bucket=source)
        client.delete_object(Bucket=source, Key=key)
        found = wait_for(client, target, "REST.DELETE.OBJECT", 6)
        owner = client.list_buckets()["Owner"]["ID"]
        for record in found:
            assert (record.owner, record.bucket, record.requester) == (owner, source, owner)
            assert record.peer == "127.0.0.1"
            at = datetime.datetime.strptime(record.time, "[%d/%b/%Y:%H:%M:%S %z]")
            assert began - datetime.timedelta(seconds=2) <= at <= datetime.datetime.now(datetime.timezone.utc)
            assert (record.signature, record.auth) == ("SigV4", "AuthHeader")
            assert (record.cipher, record.tls, record.access_point, record.acl) == ("-",) * 4
            assert record.host in (f"127.0.0.1:{server.port}", f"{source}.localhost:{server.port}", f"localhost:{server.port}")
            assert re.fullmatch(r"[0-9A-F]{16}", record.request_id) and len(record.host_id) == 56
            assert "Boto3" in record.agent and record.referer == '"-"'
            assert int(record.total) >= int(record.turnaround)
        # Enabling it was not logged, as it was not enabled then.
        by = {}
        for record in found:
            by.setdefault(record.operation, []).append(record)
        (written,) = by["REST.PUT.OBJECT"]
        encoded = "a%20b/%C3%BC%2B%22.txt"
        assert (written.key, written.status, written.error, written.sent, written.size) == (encoded, "200", "-", "-", "10")
        assert written.request_id == put["ResponseMetadata"]["RequestId"]
        assert written.host_id == put["ResponseMetadata"]["HostId"]
        assert written.request.startswith('"PUT /') and written.request.endswith(' HTTP/1.1"')
        read, missing = sorted(by["REST.GET.OBJECT"], key=lambda record: record.status)
        assert (read.status, read.sent, read.size, read.version) == ("206", "3", "10", "null")
        assert (missing.key, missing.status, missing.error, missing.size) == ("absent", "404", "NoSuchKey", "-")
        assert int(missing.sent) > 100
        (head,) = by["REST.HEAD.OBJECT"]
        assert (head.status, head.sent, head.size) == ("200", "-", "10")
        (listing,) = by["REST.GET.BUCKET"]
        assert (listing.key, listing.status) == ("-", "200") and "list-type=2" in listing.request
        (deleted,) = by["REST.DELETE.OBJECT"]
        assert (deleted.key, deleted.status, deleted.sent) == (encoded, "204", "-")

    def test_who_asked_and_how(self, logged_server, buckets):
        server, client = logged_server
        source, target = buckets.source, buckets.target
        enable(client, source, target)
        client.put_object(Bucket=source, Key="k", Body=b"0")
        assert raw.send(server, "GET", f"/{source}/anonymous").status == 403
        presigned = raw.presign(server, "GET", f"/{source}/k")
        assert raw.send(server, "GET", presigned, {"referer": 'http://a.test/"x"'}).status == 200
        wrong = raw.signed(server, "GET", f"/{source}/wrong", secret_key="another")
        assert wrong.status == 403
        assert raw.send(server, "OPTIONS", f"/{source}/k", {"origin": "http://a.test"}).status >= 400
        assert raw.signed(server, "GET", f"/{source}?accelerate").status == 501
        found = wait_for(client, target, "REST.GET.ACCELERATE", 6)
        by = {(record.operation, record.key): record for record in found}
        anonymous = by["REST.GET.OBJECT", "anonymous"]
        assert (anonymous.requester, anonymous.signature, anonymous.auth, anonymous.error) == ("-", "-", "-", "AccessDenied")
        read = by["REST.GET.OBJECT", "k"]
        assert (read.signature, read.auth, read.referer) == ("SigV4", "QueryString", '"http://a.test/%22x%22"')
        assert read.requester == read.owner
        # Whoever reads the log can not do it again.
        assert "X-Amz-Signature=REDACTED" in read.request and "X-Amz-Credential=" in read.request
        forged = by["REST.GET.OBJECT", "wrong"]
        assert (forged.requester, forged.error) == ("-", "SignatureDoesNotMatch")
        assert by["REST.OPTIONS.PREFLIGHT", "k"].status == "403"
        assert by["REST.GET.ACCELERATE", "-"].error == "NotImplemented"

    def test_deletes_copies_and_parts(self, logged_server, buckets, name):
        _, client = logged_server
        source, target = buckets.source, buckets.target
        enable(client, source, target)
        client.put_object(Bucket=source, Key="k", Body=b"0123")
        client.copy_object(Bucket=source, Key="copy", CopySource={"Bucket": source, "Key": "k"})
        other = f"{name}-other"
        client.create_bucket(Bucket=other)
        client.copy_object(Bucket=other, Key="copy", CopySource={"Bucket": source, "Key": "k"})
        upload = client.create_multipart_upload(Bucket=source, Key="parts")["UploadId"]
        part = client.upload_part(Bucket=source, Key="parts", UploadId=upload, PartNumber=1, Body=b"p" * 77)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        client.complete_multipart_upload(Bucket=source, Key="parts", UploadId=upload, MultipartUpload=parts)
        objects = [{"Key": "k"}, {"Key": "copy"}, {"Key": "never"}]
        client.delete_objects(Bucket=source, Delete={"Objects": objects})
        found = wait_for(client, target, "REST.POST.MULTI_OBJECT_DELETE", 11)
        said = sorted((record.operation, record.key, record.size) for record in found)
        assert said == sorted(
            [
                ("REST.PUT.OBJECT", "k", "4"),
                ("REST.COPY.OBJECT", "copy", "-"),
                ("REST.COPY.OBJECT_GET", "k", "-"),
                ("REST.COPY.OBJECT_GET", "k", "-"),
                ("REST.POST.UPLOADS", "parts", "-"),
                ("REST.PUT.PART", "parts", "77"),
                ("REST.POST.UPLOAD", "parts", "77"),
                ("REST.POST.MULTI_OBJECT_DELETE", "-", "-"),
                ("BATCH.DELETE.OBJECT", "copy", "-"),
                ("BATCH.DELETE.OBJECT", "k", "-"),
                ("BATCH.DELETE.OBJECT", "never", "-"),
            ]
        )
        batch = [record for record in found if record.operation == "BATCH.DELETE.OBJECT"]
        assert {record.status for record in batch} == {"204"} and len({record.request_id for record in batch}) == 1
        empty(client, other)
        client.delete_bucket(Bucket=other)


    def test_forms_and_websites(self, logged_server, buckets):
        server, client = logged_server
        client.create_bucket(Bucket="pages")
        publish(client, "pages")
        client.put_bucket_website(Bucket="pages", WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
        enable(client, "pages", buckets.target, "pages/")
        form = client.generate_presigned_post("pages", "index.html")
        assert post(server, "/pages", form["fields"], b"0123456789").status == 204
        host = {"host": f"pages.web.test:{server.port}"}
        assert raw.send(server, "GET", "/", host).body == b"0123456789"
        assert raw.send(server, "GET", "/absent", host).status == 404
        client.head_bucket(Bucket="pages")
        found = wait_for(client, buckets.target, "REST.HEAD.BUCKET", 4, "pages/")
        by = {(record.operation, record.key): record for record in found}
        upload = by["REST.POST.OBJECT", "index.html"]
        assert (upload.status, upload.size, upload.requester, upload.auth) == ("204", "10", upload.owner, "-")
        page = by["WEBSITE.GET.OBJECT", "-"]
        assert (page.status, page.sent, page.size, page.requester) == ("200", "10", "10", "-")
        absent = by["WEBSITE.GET.OBJECT", "absent"]
        assert (absent.status, absent.error, absent.host) == ("404", "NoSuchKey", host["host"])
        client.put_bucket_logging(Bucket="pages", BucketLoggingStatus={})
        remove(client, "pages")


class TestDelivery:
    """Where and when it is delivered."""

    def test_keys(self, logged_server, buckets):
        _, client = logged_server
        source, target = buckets.source, buckets.target
        owner = client.list_buckets()["Owner"]["ID"]
        day = r"(\d{4})/(\d\d)/(\d\d)/\1-\2-\3-"
        partitioned = f"by/{owner}/{REGION}/{source}/{day}"
        for form, pattern in (
            ({"SimplePrefix": {}}, r"by/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}"),
            ({"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}, partitioned + "00-00-00-[0-9A-F]{16}"),
            ({"PartitionedPrefix": {"PartitionDateSource": "DeliveryTime"}}, partitioned + r"\d\d-\d\d-\d\d-[0-9A-F]{16}"),
        ):
            enable(client, source, target, "by/", TargetObjectKeyFormat=form)
            client.head_bucket(Bucket=source)
            wait_for(client, target, "REST.HEAD.BUCKET", prefix="by/")
            found = keys(client, target, "by/")
            assert any(re.fullmatch(pattern, key) for key in found), found
            # What the change itself left, with the next form's.
            client.put_bucket_logging(Bucket=source, BucketLoggingStatus={})
            time.sleep(1)
            empty(client, target)

    def test_objects_are_the_owners(self, logged_server, buckets):
        _, client = logged_server
        enable(client, buckets.source, buckets.target)
        client.head_bucket(Bucket=buckets.source)
        wait_for(client, buckets.target, "REST.HEAD.BUCKET")
        (one, *_) = client.list_objects_v2(Bucket=buckets.target, FetchOwner=True)["Contents"]
        assert one["Owner"]["ID"] == client.list_buckets()["Owner"]["ID"]
        assert client.head_object(Bucket=buckets.target, Key=one["Key"])["ContentType"] == "text/plain"

    def test_a_bucket_may_hold_its_own_log(self, logged_server, buckets):
        _, client = logged_server
        enable(client, buckets.source, buckets.source)
        client.put_object(Bucket=buckets.source, Key="k", Body=b"0")
        time.sleep(2)
        # A delivery is no request: it is not logged, so that nothing goes on for ever.
        assert [r.operation for r in records(client, buckets.source, "log/")] == ["REST.PUT.OBJECT"]

    def test_nothing_is_logged_any_more(self, logged_server, buckets):
        _, client = logged_server
        enable(client, buckets.source, buckets.target)
        client.put_bucket_logging(Bucket=buckets.source, BucketLoggingStatus={})
        client.put_object(Bucket=buckets.source, Key="k", Body=b"0")
        time.sleep(1)
        # Switching it off was still logged.
        assert [record.operation for record in records(client, buckets.target)] == ["REST.PUT.LOGGING_STATUS"]

    def test_a_target_that_is_gone_holds_up_nothing(self, logged_server, buckets, name):
        server, client = logged_server
        gone = f"{name}-gone"
        client.create_bucket(Bucket=gone)
        enable(client, buckets.source, gone)
        client.delete_bucket(Bucket=gone)
        client.head_bucket(Bucket=buckets.source)
        deadline = time.monotonic() + WITHIN
        while "the target is not there" not in server.output:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        enable(client, buckets.source, buckets.target)
        client.head_bucket(Bucket=buckets.source)
        wait_for(client, buckets.target, "REST.HEAD.BUCKET")

    def test_how_it_was_encrypted(self, new_server, tmp_path):
        server = new_server(tls=self_signed(tmp_path), args=["--access-log-interval", "300ms"]).start()
        aws = clients.aws_cli(server, tmp_path)
        aws.env["AWS_CA_BUNDLE"] = str(server.tls[0])
        aws("s3", "mb", "s3://bucket")
        aws("s3", "mb", "s3://logs")
        status = '{"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": ""}}'
        aws("s3api", "put-bucket-logging", "--bucket", "bucket", "--bucket-logging-status", status)
        aws("s3api", "head-bucket", "--bucket", "bucket")
        deadline = time.monotonic() + WITHIN
        while not (listed := aws.json("s3api", "list-objects-v2", "--bucket", "logs").get("Contents")):
            assert time.monotonic() < deadline
        fields = FIELD.findall(aws("s3", "cp", f"s3://logs/{listed[0]['Key']}", "-"))
        record = SimpleNamespace(**dict(zip(FIELDS, fields, strict=True)))
        assert (record.operation, record.tls) == ("REST.HEAD.BUCKET", "TLSv1.3")
        assert record.cipher.startswith("TLS_AES_") or record.cipher.startswith("TLS_CHACHA20_")

    def test_delivered_at_the_end(self, database, new_server):
        server = new_server(database_url=database()).start()
        client = boto(server)
        for bucket in ("source", "target"):
            client.create_bucket(Bucket=bucket)
        enable(client, "source", "target")
        for number in range(300):
            client.put_object(Bucket="source", Key=str(number), Body=b"0")
        assert keys(client, "target") == []
        assert server.stop() == 0, server.output[-4000:]
        server.start()
        client = boto(server)
        assert len(keys(client, "target")) == 1
        assert sorted(int(record.key) for record in records(client, "target")) == list(range(300))
        # What was configured is known from the start.
        client.head_bucket(Bucket="source")
        assert server.stop() == 0, server.output[-4000:]
        client = boto(server.start())
        assert "REST.HEAD.BUCKET" in {record.operation for record in records(client, "target")}
        assert server.stop() == 0
