"""The clients, each with a configuration of its own and none of the machine's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
from botocore.config import Config

from .server import REGION, clean_environment


def program(name):
    """A client's program: the pinned one of this virtual environment, else the machine's."""
    beside = Path(sys.executable).parent / name
    if os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which(name)
    if not found:
        raise RuntimeError(f"{name} is missing: install it (tests/run does), then run again")
    return found


def publish(client, bucket):
    """Lets everybody list a bucket and read its objects."""
    client.delete_public_access_block(Bucket=bucket)
    allow = {"Effect": "Allow", "Principal": "*"}
    arn = f"arn:aws:s3:::{bucket}"
    statements = [
        allow | {"Action": "s3:GetObject", "Resource": f"{arn}/*"},
        allow | {"Action": "s3:ListBucket", "Resource": arn},
    ]
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))


class Failed(AssertionError):
    """A client's program did not end as it should have; tells what it printed."""

    def __init__(self, done, wanted):
        super().__init__(
            f"{' '.join(map(str, done.args))}\nended with {done.returncode}, not {wanted}\n"
            f"--- stdout\n{_text(done.stdout)}\n--- stderr\n{_text(done.stderr)}"
        )


def _text(output):
    return output[-6000:].decode(errors="replace") if isinstance(output, bytes) else (output or "")[-6000:]


class Program:
    """A command-line client."""

    def __init__(self, path, env, fixed=(), cwd=None):
        self.path, self.env, self.fixed, self.cwd = path, env, list(fixed), cwd

    def run(self, *arguments, input=None, timeout=300):
        """Runs it, whatever comes of it; the answer's stdout and stderr are bytes."""
        command = [self.path, *self.fixed, *map(str, arguments)]
        return subprocess.run(
            command,
            env=self.env,
            cwd=self.cwd,
            input=input if input is not None else b"",
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def bytes(self, *arguments, **options):
        """Runs it; it must succeed. Answers its stdout."""
        done = self.run(*arguments, **options)
        if done.returncode != 0:
            raise Failed(done, 0)
        return done.stdout

    def __call__(self, *arguments, **options):
        """As `bytes`, as text."""
        return self.bytes(*arguments, **options).decode()

    def fails(self, *arguments, **options):
        """Runs it; it must fail. Answers all it printed."""
        done = self.run(*arguments, **options)
        if done.returncode == 0:
            raise Failed(done, "an error")
        return (done.stdout + done.stderr).decode(errors="replace")


class Aws(Program):
    """The aws cli."""

    def json(self, *arguments, **options):
        """Runs it; answers the JSON that it printed, or {} if nothing."""
        output = self(*arguments, "--output", "json", **options)
        return json.loads(output) if output.strip() else {}


def aws_environment(home, access_key=None, secret_key=None, endpoint=None, config=""):
    """An environment in which the aws cli sees this server and nothing of the machine's settings."""
    settings = Path(home) / "aws-config"
    settings.write_text(f"[default]\nregion = {REGION}\n{config}")
    env = clean_environment() | {
        "AWS_CONFIG_FILE": str(settings),
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
        "PYTHONWARNINGS": "ignore",
    }
    if access_key:
        env |= {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    if endpoint:
        env["AWS_ENDPOINT_URL"] = endpoint
    return env


def aws_cli(server, home, s3=()):
    """The aws cli for this server. `s3` are lines of its `s3 =` settings, such as `multipart_threshold = 8MB`."""
    config = "s3 =\n" + "".join(f"    {line}\n" for line in s3) if s3 else ""
    env = aws_environment(home, server.access_key, server.secret_key, server.endpoint, config)
    return Aws(program("aws"), env, cwd=home)


def rclone(server, home):
    """rclone, with a remote `nf` for this server."""
    settings = Path(home) / "rclone.conf"
    settings.write_text(
        f"[nf]\ntype = s3\nprovider = Other\naccess_key_id = {server.access_key}\n"
        f"secret_access_key = {server.secret_key}\nregion = {REGION}\nendpoint = {server.endpoint}\n"
    )
    fixed = ["--config", settings, "--retries", "1", "--low-level-retries", "1"]
    return Program(os.environ.get("NINEFOLD_RCLONE") or program("rclone"), clean_environment(), fixed, cwd=home)


def s3cmd(server, home):
    """s3cmd for this server."""
    settings = Path(home) / "s3cfg"
    address = server.endpoint.removeprefix("http://")
    settings.write_text(
        f"[default]\naccess_key = {server.access_key}\nsecret_key = {server.secret_key}\nhost_base = {address}\n"
        f"host_bucket = {address}\nbucket_location = {REGION}\nuse_https = False\nsignature_v2 = False\nmax_retries = 1\n"
    )
    return Program(program("s3cmd"), clean_environment(), ["--config", settings, "--no-progress"], cwd=home)


def session(access_key, secret_key):
    """A boto3 session with these credentials."""
    return boto3.session.Session(aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=REGION)


def service(server, name, keys=None, token=None):
    """A boto3 client of IAM or STS, or of S3, for this server; `keys` are an access key and its secret, and root's if there are none."""
    access_key, secret_key = keys or (server.access_key, server.secret_key)
    return boto3.session.Session().client(
        name,
        region_name=REGION,
        endpoint_url=server.endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        config=Config(signature_version="s3v4" if name == "s3" else None, retries={"total_max_attempts": 1}),
    )


def boto(server, *, access_key=None, secret_key=None, endpoint=None, region=REGION, style="path", **config):
    """A boto3 client for this server. It tries once: a test wants to see the first answer."""
    settings = {
        "signature_version": "s3v4",
        "retries": {"total_max_attempts": 1},
        "connect_timeout": 10,
        "read_timeout": 120,
    }
    keys = session(access_key or server.access_key, secret_key or server.secret_key)
    return keys.client(
        "s3",
        region_name=region,
        endpoint_url=endpoint or server.endpoint,
        config=Config(s3={"addressing_style": style}, **(settings | config)),
    )
