"""The life of a server: first start, credentials, stopping, crashing, and a database that goes away."""

import http.client
import os
import re
import signal
import stat
import subprocess
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from support import clients, raw
from support import server as servers
from support.data import MIB, noise
from test_objects import read


def printed_block(output, first):
    """The lines of a printed configuration from `first` to the next empty line, as they are."""
    lines = output.splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == first)
    block = []
    for line in lines[start:]:
        if not line.strip():
            break
        block.append(line)
    return "\n".join(block) + "\n"


def profile_name(output):
    """The name of the AWS profile that was printed."""
    return re.search(r"^\s*\[(?:profile )?(?!.*remote)([\w-]+)\]\s*$", output, re.MULTILINE).group(1)


class TestFirstStart:
    """An empty directory, no configuration."""

    @pytest.fixture
    def fresh(self, new_server):
        return new_server(credentials=False, args=["--bucket", "demo"]).start()

    def secret(self, server):
        """The generated secret, out of the credentials file."""
        text = self.file(server).read_text()
        return max(re.findall(r"[\w+/=-]{20,}", text), key=len)

    def file(self, server):
        """The one file below the data directory that others may not read and that holds credentials."""
        found = [path for path in server.data.glob("*") if path.is_file() and "credential" in path.name]
        assert len(found) == 1, sorted(server.data.glob("*"))
        return found[0]

    def test_what_it_makes(self, fresh):
        assert (fresh.data / "metadata.sqlite").is_file()
        assert all((volume / "volume.json").is_file() and (volume / "shards").is_dir() for volume in fresh.volumes)
        assert stat.S_IMODE(self.file(fresh).stat().st_mode) == 0o600

    def test_the_printed_aws_profile_works_as_it_is(self, fresh, tmp_path):
        # What is printed is pasted into the two files of the aws cli, or into one of them.
        name = profile_name(fresh.output)
        pasted = tmp_path / "pasted"
        header = next(
            line.strip() for line in fresh.output.splitlines() if line.strip() in (f"[profile {name}]", f"[{name}]")
        )
        block = printed_block(fresh.output, header)
        pasted.write_text(block)
        env = servers.clean_environment() | {
            "AWS_CONFIG_FILE": str(pasted) if header.startswith("[profile") else os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": str(pasted) if not header.startswith("[profile") else os.devnull,
            "AWS_PROFILE": name,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "PYTHONWARNINGS": "ignore",
        }
        if "endpoint_url" not in block:
            env["AWS_ENDPOINT_URL"] = fresh.endpoint
        aws = clients.Aws(clients.program("aws"), env)
        assert "demo" in aws("s3", "ls")
        aws("s3", "cp", "-", "s3://demo/hello.txt", input=b"hello")
        assert aws("s3", "cp", "s3://demo/hello.txt", "-") == "hello"

    def test_the_printed_rclone_remote_works_as_it_is(self, fresh, tmp_path):
        header = next(
            line.strip()
            for line, following in zip(fresh.output.splitlines(), fresh.output.splitlines()[1:])
            if re.fullmatch(r"\s*\[[\w-]+\]\s*", line) and following.strip() == "type = s3"
        )
        pasted = tmp_path / "rclone.conf"
        pasted.write_text(printed_block(fresh.output, header))
        rclone = clients.Program(clients.program("rclone"), servers.clean_environment(), ["--config", pasted])
        remote = header.strip("[]")
        assert "demo" in rclone("lsd", f"{remote}:")
        rclone("rcat", f"{remote}:demo/hello.txt", input=b"hello")
        assert rclone("cat", f"{remote}:demo/hello.txt") == "hello"

    def test_a_second_start_keeps_everything_and_tells_no_secret(self, fresh):
        secret = self.secret(fresh)
        assert secret in fresh.output
        access = re.search(r"aws_access_key_id\s*=\s*(\S+)", fresh.output).group(1)
        s3 = clients.boto(fresh, access_key=access, secret_key=secret)
        s3.put_object(Bucket="demo", Key="k", Body=b"kept")
        assert fresh.stop() == 0
        fresh.start()
        assert secret not in fresh.output
        assert self.secret(fresh) == secret
        assert read(clients.boto(fresh, access_key=access, secret_key=secret), "demo", "k") == b"kept"


class TestCredentials:
    """Where root credentials come from."""

    def test_from_the_environment_they_are_neither_printed_nor_kept(self, own_server):
        assert clients.boto(own_server).list_buckets()["Buckets"] == []
        assert own_server.secret_key not in own_server.output
        for path in own_server.data.rglob("*"):
            if path.is_file() and "shards" not in path.parts:
                assert own_server.secret_key.encode() not in path.read_bytes(), path

    @pytest.mark.parametrize(
        "names", [("NINEFOLD_ROOT_USER", "NINEFOLD_ROOT_PASSWORD"), ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")]
    )
    def test_both_spellings(self, new_server, names):
        given = dict(zip(names, ("someone", "a-long-enough-secret")))
        server = new_server(credentials=False, env=given).start()
        assert clients.boto(server, access_key="someone", secret_key="a-long-enough-secret").list_buckets()["Buckets"] == []

    @pytest.mark.parametrize("known", [("minioadmin", "minioadmin"), ("rustfsadmin", "rustfsadmin"), ("admin", "password")])
    @pytest.mark.parametrize("prefix", ["NINEFOLD", "MINIO"])
    def test_known_defaults_are_refused(self, new_server, known, prefix):
        given = {f"{prefix}_ROOT_USER": known[0], f"{prefix}_ROOT_PASSWORD": known[1]}
        server = new_server(credentials=False, env=given).spawn()
        assert server.wait(30) != 0
        assert "default" in server.output.lower() or "known" in server.output.lower(), server.output

    def test_half_of_them_are_refused(self, new_server):
        server = new_server(credentials=False, env={"NINEFOLD_ROOT_USER": "someone"}).spawn()
        assert server.wait(30) != 0
        assert "root password" in server.output


def test_a_bucket_at_every_start(own_server):
    own_server.stop()
    own_server.args += ["--bucket", "demo"]
    for _ in range(2):
        own_server.start()
        assert [bucket["Name"] for bucket in clients.boto(own_server).list_buckets()["Buckets"]] == ["demo"]
        own_server.stop()


def test_volumes_named_with_braces(new_server, tmp_path):
    server = new_server(args=["--volume", f"{tmp_path}/disk{{1...9}}"]).start()
    s3 = clients.boto(server)
    s3.create_bucket(Bucket="demo")
    s3.put_object(Bucket="demo", Key="k", Body=noise(3 * MIB))
    disks = [tmp_path / f"disk{number}" for number in range(1, 10)]
    assert [len(server.shard_files([disk])) for disk in disks] == [1] * 9
    assert read(s3, "demo", "k") == noise(3 * MIB)


def test_a_second_server_on_the_same_data_is_refused(own_server):
    command = [str(servers.binary()), "serve", "--listen", "127.0.0.1:0", "--data", str(own_server.data)]
    env = servers.clean_environment() | {
        "NINEFOLD_ROOT_USER": own_server.access_key,
        "NINEFOLD_ROOT_PASSWORD": own_server.secret_key,
    }
    done = subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)
    told = (done.stdout + done.stderr).decode()
    assert done.returncode != 0
    assert str(own_server.data) in told and ("another" in told or "already" in told or "in use" in told), told
    assert own_server.health("ready") == 200
    clients.boto(own_server).create_bucket(Bucket="still-works")


def test_a_port_that_is_taken_is_told(own_server, new_server):
    other = new_server()
    other.port = own_server.port
    other.spawn()
    assert other.wait(30) != 0
    assert str(own_server.port) in other.output


def test_health_tells_no_one_in(own_server):
    assert own_server.health("live") == 200
    assert own_server.health("ready") == 200
    assert own_server.health("nonsense") in (400, 403, 404)


class TestStopping:
    """SIGTERM and SIGINT."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_idle_it_ends_at_once(self, own_server, number):
        own_server.send_signal(number)
        assert own_server.wait(20) == 0

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_an_upload_that_runs_is_finished_or_cut(self, own_server, number):
        s3 = clients.boto(own_server)
        s3.create_bucket(Bucket="demo")
        s3.put_object(Bucket="demo", Key="before", Body=noise(2 * MIB))
        content, moving, result = noise(24 * MIB), threading.Event(), {}

        class Slow:
            """A body that is still being sent when the signal comes."""

            position = 0

            def read(self, _size=-1):
                piece = content[self.position : self.position + 256 * 1024]
                self.position += len(piece)
                if self.position >= 8 * MIB:
                    moving.set()
                    time.sleep(0.02)
                return piece

        def upload():
            target = raw.presign(own_server, "PUT", "/demo/k")
            connection = http.client.HTTPConnection("127.0.0.1", own_server.port, timeout=120)
            try:
                connection.request("PUT", target, body=Slow(), headers={"Content-Length": str(len(content))})
                result["status"] = connection.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                result["error"] = error
            finally:
                connection.close()

        thread = threading.Thread(target=upload)
        thread.start()
        assert moving.wait(60)
        own_server.send_signal(number)
        assert own_server.wait(120) == 0
        thread.join(60)
        assert not thread.is_alive()

        own_server.start()
        s3 = clients.boto(own_server)
        assert read(s3, "demo", "before") == noise(2 * MIB)
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket="demo")["Contents"]]
        if result.get("status") == 200:
            assert read(s3, "demo", "k") == content
        else:
            assert keys == ["before"], result


class TestCrashing:
    """kill -9: what was acknowledged is there, what was not is whole or absent."""

    def test_everything_acknowledged_reads_back(self, own_server):
        s3 = clients.boto(own_server, max_pool_connections=20)
        s3.create_bucket(Bucket="demo")
        done, lock, stop = {}, threading.Lock(), threading.Event()

        def write(worker):
            number = 0
            while not stop.is_set():
                key, size = f"{worker}/{number}", (100, 70_000, 3 * MIB)[number % 3]
                try:
                    s3.put_object(Bucket="demo", Key=key, Body=noise(size, key))
                except (ClientError, BotoCoreError):
                    return
                with lock:
                    done[key] = size
                number += 1

        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(done) < 60 and time.monotonic() < deadline:
            time.sleep(0.01)
        own_server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        assert len(done) >= 12, "too slow to say anything"

        own_server.start()
        s3 = clients.boto(own_server)
        for key, size in done.items():
            assert read(s3, "demo", key) == noise(size, key), key
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="demo"):
            for item in page["Contents"]:
                if item["Key"] not in done:
                    assert read(s3, "demo", item["Key"]) == noise(item["Size"], item["Key"])
        s3.put_object(Bucket="demo", Key="after", Body=b"after")
        assert read(s3, "demo", "after") == b"after"

    def test_an_upload_in_parts_goes_on_after_a_crash(self, own_server):
        here = {"Bucket": "demo", "Key": "k"}
        s3 = clients.boto(own_server)
        s3.create_bucket(Bucket="demo")
        upload = here | {"UploadId": s3.create_multipart_upload(**here)["UploadId"]}
        parts = [noise(5 * MIB, 1), noise(MIB, 2)]
        first = s3.upload_part(**upload, PartNumber=1, Body=parts[0])["ETag"]
        own_server.kill()
        own_server.start()
        s3 = clients.boto(own_server)
        second = s3.upload_part(**upload, PartNumber=2, Body=parts[1])["ETag"]
        wanted = [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second}]
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": wanted})
        own_server.kill()
        own_server.start()
        assert read(clients.boto(own_server), "demo", "k") == b"".join(parts)


class TestDatabaseAway:
    """PostgreSQL stops, or stops answering: 503 soon, alive all the while, and back without a restart."""

    @pytest.fixture
    def cluster(self):
        from support.postgres import Postgres

        cluster = Postgres()
        yield cluster
        cluster.remove()

    def answers(self, server, timeout=30):
        """Status and code of a read and of a write, each of which must be answered in time."""
        s3 = clients.boto(server, read_timeout=timeout)
        found = []
        for operation in (
            lambda: s3.get_object(Bucket="demo", Key="k"),
            lambda: s3.put_object(Bucket="demo", Key="new", Body=b"new"),
            lambda: s3.list_objects_v2(Bucket="demo"),
        ):
            try:
                found.append((operation()["ResponseMetadata"]["HTTPStatusCode"], None))
            except ClientError as error:
                found.append((error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]))
        return found

    def recovers(self, server):
        deadline = time.monotonic() + 60
        while server.health("ready", timeout=60) != 200:
            assert time.monotonic() < deadline, server.output[-4000:]
            time.sleep(0.1)
        s3 = clients.boto(server)
        assert read(s3, "demo", "k") == noise(2 * MIB)
        s3.put_object(Bucket="demo", Key="after", Body=b"after")
        assert read(s3, "demo", "after") == b"after"

    @pytest.mark.parametrize("how", ["stopped", "frozen"])
    def test_away_and_back(self, new_server, cluster, how):
        patience = ["--database-connect-timeout", "3s", "--database-statement-timeout", "3s"]
        server = new_server(database_url=cluster.database(), args=patience).start()
        s3 = clients.boto(server)
        s3.create_bucket(Bucket="demo")
        s3.put_object(Bucket="demo", Key="k", Body=noise(2 * MIB))
        pid = server.process.pid

        cluster.stop() if how == "stopped" else cluster.pause()
        try:
            assert self.answers(server, timeout=60) == [(503, "ServiceUnavailable")] * 3
            assert server.health("live") == 200
            assert server.health("ready", timeout=60) == 503
        finally:
            cluster.start() if how == "stopped" else cluster.resume()
        self.recovers(server)
        assert server.process.pid == pid and server.process.poll() is None
        if how == "stopped":  # the outcome of what was frozen on its way is the database's to decide
            assert "new" not in [item["Key"] for item in clients.boto(server).list_objects_v2(Bucket="demo")["Contents"]]

    def test_away_at_start_it_says_so_and_ends_or_waits(self, new_server, cluster):
        url = cluster.database()
        cluster.stop()
        server = new_server(database_url=url).spawn()
        try:
            code = server.wait(60)
        except subprocess.TimeoutExpired:
            pytest.fail(f"neither ready nor ended:\n{server.output[-3000:]}")
        assert code != 0
        assert "database" in server.output


def test_two_servers_over_one_postgresql(new_server, postgres, tmp_path):
    """Gateways are stateless: what one wrote, the other reads, over the same volumes."""
    url = postgres.database()
    volumes = ["--volume", f"{tmp_path}/disk{{1...9}}"]
    # The access keys of both are sealed with it.
    master_key = {"NINEFOLD_MASTER_KEY": "5a" * 32}
    one = new_server(database_url=url, args=volumes, env=master_key).start()
    two = new_server(database_url=url, args=volumes, env=master_key)
    two.access_key, two.secret_key = one.access_key, one.secret_key
    two.start()
    first, second = clients.boto(one), clients.boto(two)
    first.create_bucket(Bucket="demo")
    first.put_object(Bucket="demo", Key="k", Body=noise(3 * MIB))
    assert read(second, "demo", "k") == noise(3 * MIB)
    second.put_object(Bucket="demo", Key="k", Body=b"newer")
    assert read(first, "demo", "k") == b"newer"
    one.kill()
    second.put_object(Bucket="demo", Key="k", Body=noise(2 * MIB))
    assert read(second, "demo", "k") == noise(2 * MIB)
