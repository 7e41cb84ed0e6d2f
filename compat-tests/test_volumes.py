"""Volumes that go away, shrink or rot: reads stay right with any three of nine gone, and with four nothing wrong is sent."""

import http.client
import itertools
import os
import random
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from support import raw
from support.clients import boto
from support.data import KIB, MIB, noise
from support.server import Server

PARTS = [noise(64 * MIB + 3, "part 1"), noise(32 * MIB, "part 2"), noise(8 * MIB + 1, "part 3")]
OBJECTS = {
    "empty": b"",
    "byte": b"x",
    "small": noise(70 * KIB),
    "stripe": noise(MIB),
    "five": noise(5 * MIB),
    "odd": noise(7 * MIB + 12345),
}
LARGE = b"".join(PARTS)


@pytest.fixture(scope="module")
def nine(database, tmp_path_factory):
    """A server with objects of every kind stored; its tests leave it as they found it.

    It looks after nothing meanwhile: a healer that writes a file which a test takes and puts back would find it undone."""
    quiet = {"NINEFOLD_MAINTENANCE_INTERVAL": "1h"}
    server = Server(tmp_path_factory.mktemp("volumes"), database_url=database(), env=quiet).start()
    s3 = boto(server)
    s3.create_bucket(Bucket="demo")
    for key, content in OBJECTS.items():
        s3.put_object(Bucket="demo", Key=key, Body=content)
    upload = {"Bucket": "demo", "Key": "large"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    tags = [s3.upload_part(**upload, PartNumber=n, Body=part)["ETag"] for n, part in enumerate(PARTS, 1)]
    wanted = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": wanted})
    yield server
    assert server.stop() == 0


NOTICED_SECONDS = 60


def open_below(server, paths):
    """Which of these directories the server holds open, itself or something in it."""
    held = set()
    for entry in os.scandir(f"/proc/{server.process.pid}/fd"):
        try:
            target = os.readlink(entry.path)
        except FileNotFoundError:
            continue  # closed meanwhile
        held |= {path for path in paths if f"{target}/".startswith(f"{path}/")}
    return held


class Away:
    """Moves volumes' directories aside, as an unmounted or unplugged disk looks; puts them back at the end.

    The server does its I/O through handles of the directories, so that a volume is gone for it only once it has looked at
    the path again and let go of them. Both ends wait until it has.
    """

    def __init__(self, server, numbers):
        self.server = server
        self.paths = [server.volumes[number] for number in numbers]
        self.aside = [path.with_name(f"{path.name}.away") for path in self.paths]

    def __enter__(self):
        for path, aside in zip(self.paths, self.aside):
            path.rename(aside)
        self._until(lambda: not open_below(self.server, self.aside), "the server still uses volumes that are gone")
        return self

    def __exit__(self, *_):
        for path, aside in zip(self.paths, self.aside):
            aside.rename(path)
        self._until(
            lambda: open_below(self.server, self.paths) == set(self.paths),
            "the server does not use volumes that are back",
        )

    def _until(self, condition, complaint):
        deadline = time.monotonic() + NOTICED_SECONDS
        while self.server.process.poll() is None and not condition():
            assert time.monotonic() < deadline, f"{complaint}: {self.server.output[-3000:]}"
            time.sleep(0.05)

    def nothing_was_made(self):
        """An absent volume's path is never written to."""
        assert not [path for path in self.paths if path.exists()]


def ranges(length, seed):
    """Ranges of an object worth reading: its ends, the borders of stripes, chunks and parts, and some at random."""
    chance = random.Random(seed)
    borders = [border for border in (MIB, 2 * MIB, 64 * MIB, len(PARTS[0]), 96 * MIB + 3) if border < length]
    found = [(0, 0), (length - 1, length - 1)] + [(border - 1, min(border, length - 1)) for border in borders]
    for _ in range(4):
        first = chance.randrange(length)
        found.append((first, min(length - 1, first + chance.randrange(3 * MIB))))
    return found


def everything_reads_back(s3, seed=0):
    """Reads all objects whole, in ranges and by part."""
    for key, content in OBJECTS.items():
        assert s3.get_object(Bucket="demo", Key=key)["Body"].read() == content, key
    for key, content in (OBJECTS | {"large": LARGE}).items():
        for first, last in ranges(len(content), seed) if content else ():
            got = s3.get_object(Bucket="demo", Key=key, Range=f"bytes={first}-{last}")["Body"].read()
            assert got == content[first : last + 1], (key, first, last)
    got = s3.get_object(Bucket="demo", Key="large", PartNumber=2)["Body"].read()
    assert got == PARTS[1]


def the_large_one_reads_back(s3):
    assert s3.get_object(Bucket="demo", Key="large")["Body"].read() == LARGE


def test_shards_are_where_they_belong(nine):
    """A file a volume, 6 data and 3 parity, none larger than its sixth."""
    by_chunk = {}
    for path in nine.shard_files():
        chunk, shard, generation = path.name.split(".")
        # Chunks of 256 directories, named by the low byte of the chunk's number.
        assert path.parent.name == chunk[14:16]
        assert generation == "0"
        by_chunk.setdefault(chunk, []).append((int(shard), path.parents[2].name))
    for chunk, found in by_chunk.items():
        assert sorted(shard for shard, _ in found) == list(range(9)), chunk
        assert len({volume for _, volume in found}) == 9, chunk
    stored = sum(path.stat().st_size for path in nine.shard_files())
    length = len(LARGE) + sum(map(len, OBJECTS.values()))
    assert 1.5 * length <= stored < 1.6 * length


@pytest.mark.parametrize("gone", [(0,), (8,), (2, 6), (0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 4, 8)])
def test_reads_with_up_to_three_volumes_gone(nine, gone):
    with Away(nine, gone) as away:
        s3 = boto(nine)
        everything_reads_back(s3, seed=str(gone))
        if len(gone) == 3:
            the_large_one_reads_back(s3)
        away.nothing_was_made()
    everything_reads_back(boto(nine))


def test_reads_with_any_three_shards_emptied(nine):
    """Every one of the 84 ways to lose three of nine."""
    s3 = boto(nine)
    files = [path for path in nine.shard_files() if path.stat().st_size < 2 * MIB]
    contents = {path: path.read_bytes() for path in files}
    for gone in itertools.combinations(nine.volumes, 3):
        lost = [path for path in files if path.parents[2] in gone]
        assert lost
        for path in lost:
            os.truncate(path, 0)
        try:
            for key in ("byte", "small", "five", "odd"):
                assert s3.get_object(Bucket="demo", Key=key)["Body"].read() == OBJECTS[key], (key, gone)
        finally:
            for path in lost:
                path.write_bytes(contents[path])


def wrong_bytes_never(s3, key, content, **options):
    """Reads an object that cannot be read: an error, or a connection cut after a right beginning."""
    try:
        body = s3.get_object(Bucket="demo", Key=key, **options)["Body"]
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status in (500, 503), error.response
        return
    got = b""
    try:
        while piece := body.read(256 * KIB):
            got += piece
    except BotoCoreError:
        assert content.startswith(got), "wrong bytes were sent before the connection was cut"
        return
    pytest.fail(f"{key}: {len(got)} bytes were sent as if they were the whole")


@pytest.mark.parametrize("gone", [(0, 1, 2, 3), (5, 6, 7, 8), (0, 2, 4, 6)])
def test_reads_with_four_volumes_gone(nine, gone):
    with Away(nine, gone):
        s3 = boto(nine)
        # Five of nine shards cannot make six: what spans all data shards is unreadable. (One byte may still be there.)
        for key in ("five", "odd"):
            wrong_bytes_never(s3, key, OBJECTS[key])
        wrong_bytes_never(s3, "large", LARGE)
        assert s3.get_object(Bucket="demo", Key="empty")["Body"].read() == b""
        assert s3.head_object(Bucket="demo", Key="odd")["ContentLength"] == len(OBJECTS["odd"])
    everything_reads_back(boto(nine))
    the_large_one_reads_back(boto(nine))


class Damage:
    """Changes shard files; puts them back as they were at the end."""

    def __init__(self, server, numbers, change):
        self.files = server.shard_files([server.volumes[number] for number in numbers])
        self.change = change

    def __enter__(self):
        self.before = {path: path.read_bytes() for path in self.files}
        for path, content in self.before.items():
            path.write_bytes(self.change(content, random.Random(path.name)))

    def __exit__(self, *_):
        for path, content in self.before.items():
            path.write_bytes(content)


def flip_some(content, chance):
    """Flips a bit in every 40,000th byte or so."""
    content = bytearray(content)
    for _ in range(len(content) // 40_000 + 1):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


CHANGES = {
    "bits flipped": flip_some,
    "cut in the middle": lambda content, _: content[: len(content) // 2],
    "emptied": lambda content, _: b"",
    "zeroed": lambda content, _: bytes(len(content)),
    "one byte longer": lambda content, _: content + b"x",
    "shifted by a byte": lambda content, _: b"x" + content[:-1],
}


@pytest.mark.parametrize("change", CHANGES)
def test_reads_with_three_volumes_damaged(nine, change):
    with Damage(nine, (1, 4, 7), CHANGES[change]):
        s3 = boto(nine)
        everything_reads_back(s3, seed=change)
        if change in ("bits flipped", "cut in the middle"):
            the_large_one_reads_back(s3)


def test_shards_that_changed_places(nine):
    """A valid file under another chunk's name is noticed."""
    files = [path for path in nine.shard_files([nine.volumes[0]]) if path.stat().st_size > 500 * KIB]
    contents = [path.read_bytes() for path in files]
    try:
        for path, content in zip(files, contents[1:] + contents[:1]):
            path.write_bytes(content)
        everything_reads_back(boto(nine))
    finally:
        for path, content in zip(files, contents):
            path.write_bytes(content)


def test_reads_with_gone_and_damaged_volumes_mixed(nine):
    with Away(nine, (0,)), Damage(nine, (3,), flip_some), Damage(nine, (5,), CHANGES["cut in the middle"]):
        everything_reads_back(boto(nine), seed="mixed")
        the_large_one_reads_back(boto(nine))


def test_reads_with_four_volumes_damaged(nine):
    with Damage(nine, (0, 2, 5, 8), CHANGES["zeroed"]):
        for key in ("five", "odd"):
            wrong_bytes_never(boto(nine), key, OBJECTS[key])
        wrong_bytes_never(boto(nine), "large", LARGE)


class TestWrites:
    """Up to three volumes may be gone while writing; with four the write fails and leaves nothing."""

    @pytest.fixture(autouse=True)
    def stored(self, own_server):
        # No file comes or goes but what the tests write: no snapshot of the metadata, above all.
        own_server.stop()
        own_server.extra_env["NINEFOLD_SNAPSHOT_INTERVAL"] = "0s"
        own_server.start()
        self.server, self.s3 = own_server, boto(own_server)
        self.s3.create_bucket(Bucket="demo")
        self.s3.put_object(Bucket="demo", Key="before", Body=noise(2 * MIB))

    def keys(self):
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket="demo").get("Contents", [])]

    @pytest.mark.parametrize("gone", [(4,), (0, 3, 8)])
    def test_some_gone(self, gone):
        content = noise(9 * MIB + 1)
        with Away(self.server, gone) as away:
            self.s3.put_object(Bucket="demo", Key="during", Body=content)
            self.s3.put_object(Bucket="demo", Key="small", Body=b"small")
            assert self.s3.get_object(Bucket="demo", Key="during")["Body"].read() == content
            away.nothing_was_made()
        assert self.s3.get_object(Bucket="demo", Key="during")["Body"].read() == content
        assert self.s3.get_object(Bucket="demo", Key="small")["Body"].read() == b"small"
        self.s3.put_object(Bucket="demo", Key="after", Body=content)
        assert self.keys() == ["after", "before", "during", "small"]

    def test_four_gone(self):
        files = self.server.shard_files()
        with Away(self.server, (1, 2, 5, 7)) as away:
            left = [path for path in files if path.exists()]
            for key, content in (("small", b"small"), ("large", noise(9 * MIB))):
                with pytest.raises(ClientError) as error:
                    self.s3.put_object(Bucket="demo", Key=key, Body=content)
                assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] in (500, 503), error.value.response
            self.s3.put_object(Bucket="demo", Key="empty", Body=b"")
            assert self.keys() == ["before", "empty"]
            assert self.server.shard_files() == left, "a failed write leaves no file"
            away.nothing_was_made()
        assert self.server.shard_files() == files
        self.comes_back()

    def comes_back(self):
        """Once the volumes are back writes succeed again, without a restart."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self.s3.put_object(Bucket="demo", Key="after", Body=noise(3 * MIB))
                break
            except ClientError:
                assert time.monotonic() < deadline, self.server.output[-4000:]
                time.sleep(0.2)
        assert self.s3.get_object(Bucket="demo", Key="after")["Body"].read() == noise(3 * MIB)
        assert self.s3.get_object(Bucket="demo", Key="before")["Body"].read() == noise(2 * MIB)
        assert self.keys() == ["after", "before", "empty"]

    def test_a_foreign_directory_is_not_a_volume(self):
        """An empty or foreign directory at a volume's path is neither read nor written nor formatted."""
        content = noise(3 * MIB)
        with Away(self.server, (3,)) as away:
            path = away.paths[0]
            path.mkdir()
            (path / "precious.txt").write_text("not yours")
            try:
                self.s3.put_object(Bucket="demo", Key="during", Body=content)
                assert self.s3.get_object(Bucket="demo", Key="before")["Body"].read() == noise(2 * MIB)
                assert [each.name for each in path.iterdir()] == ["precious.txt"]
                assert self.server.stop() == 0
                self.server.start()
                assert boto(self.server).get_object(Bucket="demo", Key="during")["Body"].read() == content
                assert [each.name for each in path.iterdir()] == ["precious.txt"]
            finally:
                (path / "precious.txt").unlink()
                path.rmdir()


def test_an_upload_that_was_cut_leaves_no_files(own_server):
    """A failed upload's files are removed at once; nobody waits for a collector."""
    s3 = boto(own_server)
    s3.create_bucket(Bucket="demo")
    target = raw.presign(own_server, "PUT", "/demo/k")
    connection = http.client.HTTPConnection("127.0.0.1", own_server.port, timeout=60)
    connection.putrequest("PUT", target)
    connection.putheader("Content-Length", str(40 * MIB))
    connection.endheaders(noise(20 * MIB))
    connection.close()
    deadline = time.monotonic() + 60
    while own_server.shard_files():
        assert time.monotonic() < deadline, own_server.shard_files()
        time.sleep(0.05)
    assert s3.list_objects_v2(Bucket="demo")["KeyCount"] == 0
