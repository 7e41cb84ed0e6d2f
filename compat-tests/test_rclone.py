"""rclone."""

import json
import re

import pytest

from support.data import KIB, MIB, noise, read_tree, write_tree

TREE = {
    "a.txt": b"hello",
    "empty": b"",
    "sub/b.bin": noise(200 * KIB, "b"),
    "sub/deeper/ü ☃ +%.txt": noise(1000, "c"),
    "large.bin": noise(23 * MIB + 17, "d"),
}
CHUNKS = ["--s3-upload-cutoff", "8M", "--s3-chunk-size", "5M"]


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    write_tree(root, TREE)
    return root


def test_copy_check_and_back(rclone, s3, bucket, tree, tmp_path):
    there = f"nf:{bucket}/t"
    rclone("copy", *CHUNKS, tree, there)
    assert s3.head_object(Bucket=bucket, Key="t/large.bin")["ETag"].endswith('-5"'), "23 MiB in parts of 5 MiB"
    rclone("check", "--download", tree, there)
    rclone("check", "--checksum", tree, there)
    rclone("copy", there, tmp_path / "down")
    assert read_tree(tmp_path / "down") == TREE
    # Times are kept as metadata, so that a second copy has nothing to transfer.
    assert "Transferred:" not in rclone("copy", *CHUNKS, "--stats-one-line", "-q", tree, there)
    log = rclone.run("copy", "-v", *CHUNKS, tree, there).stderr.decode()
    assert "Copied" not in log, log


def test_check_notices_a_difference(rclone, bucket, tree, s3):
    there = f"nf:{bucket}"
    rclone("copy", *CHUNKS, tree, there)
    s3.put_object(Bucket=bucket, Key="a.txt", Body=b"jello")
    assert "1 differences found" in rclone.fails("check", tree, there)


def test_sync_both_ways(rclone, s3, bucket, tree, tmp_path):
    there = f"nf:{bucket}/t"
    rclone("sync", "--checksum", *CHUNKS, tree, there)
    (tree / "a.txt").write_bytes(b"changed")
    (tree / "empty").unlink()
    (tree / "sub/new").write_bytes(b"new")
    rclone("sync", "--checksum", *CHUNKS, tree, there)
    rclone("check", tree, there)
    down = tmp_path / "down"
    write_tree(down, {"stale": b"goes"})
    rclone("sync", there, down)
    assert read_tree(down) == read_tree(tree)


@pytest.mark.parametrize(("offset", "count"), [(0, 1), (5 * MIB - 1, 2), (23 * MIB, 17), (7, 12 * MIB)])
def test_cat_of_a_range(rclone, bucket, tree, offset, count):
    rclone("copyto", *CHUNKS, tree / "large.bin", f"nf:{bucket}/large")
    got = rclone.bytes("cat", "--offset", offset, "--count", count, f"nf:{bucket}/large")
    assert got == TREE["large.bin"][offset : offset + count]


def test_rcat_streams_what_has_no_length(rclone, bucket):
    content = noise(12 * MIB + 1)
    rclone("rcat", "--streaming-upload-cutoff", "1M", "--s3-chunk-size", "5M", f"nf:{bucket}/stream", input=content)
    assert rclone.bytes("cat", f"nf:{bucket}/stream") == content


def test_server_side_copy_and_move(rclone, s3, bucket, tree):
    rclone("copy", *CHUNKS, tree, f"nf:{bucket}/from")
    log = rclone.run("copy", "-v", "--s3-copy-cutoff", "6M", "--s3-chunk-size", "5M", f"nf:{bucket}/from", f"nf:{bucket}/to")
    assert log.returncode == 0, log.stderr.decode()
    assert b"server-side copy" in log.stderr
    rclone("check", "--download", f"nf:{bucket}/from", f"nf:{bucket}/to")
    rclone("move", f"nf:{bucket}/from", f"nf:{bucket}/moved")
    assert {item["Key"].split("/")[0] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]} == {"to", "moved"}
    rclone("check", "--download", tree, f"nf:{bucket}/moved")


def test_lsjson_lsd_and_size(rclone, bucket, tree):
    rclone("copy", *CHUNKS, tree, f"nf:{bucket}")
    listed = json.loads(rclone("lsjson", "-R", "--files-only", "--hash", f"nf:{bucket}"))
    assert {item["Path"]: item["Size"] for item in listed} == {name: len(content) for name, content in TREE.items()}
    # The transfer kept the MD5 of the whole of a multipart upload as metadata.
    assert all(item["Hashes"]["md5"] for item in listed)
    assert rclone("lsf", f"nf:{bucket}").splitlines() == ["a.txt", "empty", "large.bin", "sub/"]
    assert json.loads(rclone("size", "--json", f"nf:{bucket}")) | {"count": len(TREE)} == json.loads(
        rclone("size", "--json", f"nf:{bucket}")
    )
    assert bucket in rclone("lsd", "nf:")


def test_delete_purge_and_rmdir(rclone, s3, name, tree):
    rclone("mkdir", f"nf:{name}")
    rclone("copy", *CHUNKS, tree, f"nf:{name}/t")
    rclone("delete", "--include", "*.bin", f"nf:{name}/t")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=name)["Contents"]] == [
        "t/a.txt",
        "t/empty",
        "t/sub/deeper/ü ☃ +%.txt",
    ]
    rclone("deletefile", f"nf:{name}/t/a.txt")
    rclone("purge", f"nf:{name}/t")
    assert "Contents" not in s3.list_objects_v2(Bucket=name)
    rclone("rmdir", f"nf:{name}")
    assert name not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def test_a_link_needs_no_credentials(rclone, bucket):
    import urllib.request

    rclone("rcat", f"nf:{bucket}/ü.txt", input=b"linked")
    with urllib.request.urlopen(rclone("link", "--expire", "60s", f"nf:{bucket}/ü.txt").strip(), timeout=30) as answer:
        assert answer.read() == b"linked"


def test_names_that_rclone_finds_it_may_use(rclone, bucket):
    """rclone's own probe: which characters and lengths of names, and streaming, work."""
    found = rclone.run("test", "info", "--check-normalization", "--check-length", "--check-streaming", f"nf:{bucket}/info")
    text = (found.stdout + found.stderr).decode()
    assert found.returncode == 0, text
    # A key has at most 1,024 bytes, a few of which are the folder's name here.
    longest = int(re.search(r"maxFileLength = (\d+) // for 1 byte", text).group(1))
    assert 900 < longest <= 1024, text
    assert "canStream = true" in text, text
