"""Servers, databases and clients for the tests. Each test that takes `server` (or a client of it) runs on both databases."""

import itertools
import os
import signal

import pytest

from support import clients
from support import server as servers
from support.clients import Aws  # noqa: F401 (for annotations in tests)
from support.postgres import Postgres

for _name in [name for name in os.environ if name.startswith(("AWS_", "RCLONE_", "MINIO_"))]:
    del os.environ[_name]
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

_numbers = itertools.count(1)


def _interrupt(*_):
    raise KeyboardInterrupt


# Told to end, we end as with Ctrl-C: after having ended what we started.
signal.signal(signal.SIGTERM, _interrupt)


@pytest.fixture(scope="session", autouse=True)
def _nothing_stays():
    yield
    servers.end_all()


def pytest_report_header():
    """Says which program is tested."""
    return f"ninefold: {servers.binary()}"


@pytest.fixture(scope="session")
def postgres():
    """A throw-away PostgreSQL cluster."""
    cluster = Postgres()
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def database(request):
    """Which database a server uses: the name, and how to get the URL of a new one (None for SQLite)."""
    if request.param == "sqlite":
        return lambda: None
    return request.getfixturevalue("postgres").database


@pytest.fixture(scope="session")
def server(database, tmp_path_factory):
    """The server that most tests share, one a database."""
    home = tmp_path_factory.mktemp("server")
    running = servers.Server(home, database_url=database(), args=["--domain", "localhost"]).start()
    yield running
    code = running.stop()
    assert code == 0, f"the server ended with {code}:\n{running.output[-4000:]}"


@pytest.fixture
def new_server(tmp_path):
    """Makes servers of the test's own; whatever runs at its end is killed."""
    made = []

    def make(**options):
        made.append(servers.Server(tmp_path / f"server{len(made)}", **options))
        return made[-1]

    yield make
    for each in made:
        if each.process is not None and each.process.poll() is None:
            each.kill()


@pytest.fixture
def own_server(database, new_server):
    """A running server of the test's own, to break."""
    return new_server(database_url=database()).start()


@pytest.fixture(scope="session")
def s3(server):
    """A boto3 client."""
    return clients.boto(server)


@pytest.fixture
def name():
    """A bucket name nobody used yet."""
    return f"compat-{next(_numbers)}-{os.getpid()}"


def empty(s3, bucket):
    """Removes all versions and open uploads of a bucket."""
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
        if keys:
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True}, BypassGovernanceRetention=True)
            assert not answer.get("Errors"), answer["Errors"]


@pytest.fixture
def bucket(s3, name):
    """An empty bucket, which must be removable at the test's end."""
    s3.create_bucket(Bucket=name)
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def aws(server, tmp_path):
    """The aws cli; uploads of 8 MiB and more in parts of 5 MiB. (Its version 1 would presign with the old signature.)"""
    home = tmp_path / "aws"
    home.mkdir()
    return clients.aws_cli(server, home, s3=["multipart_threshold = 8MB", "multipart_chunksize = 5MB", "signature_version = s3v4"])


@pytest.fixture
def rclone(server, tmp_path):
    """rclone, with the remote `nf`."""
    home = tmp_path / "rclone"
    home.mkdir()
    return clients.rclone(server, home)


@pytest.fixture
def s3cmd(server, tmp_path):
    """s3cmd."""
    home = tmp_path / "s3cmd"
    home.mkdir()
    return clients.s3cmd(server, home)
