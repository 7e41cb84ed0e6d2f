"""`aws s3`: what people type."""

import urllib.request

import pytest

from support.data import KIB, MIB, md5, multipart_etag, noise, read_tree, write_tree

TREE = {
    "readme.txt": b"hello",
    "empty": b"",
    "photos/2024/a.jpg": noise(100 * KIB, "a"),
    "photos/2025/b.jpg": noise(64 * KIB + 1, "b"),
    "docs/ümläut ☃ + %20.txt": noise(17, "c"),
    "docs/deep/er/still/x.bin": noise(3 * KIB, "d"),
}


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    write_tree(root, TREE)
    return root


def keys(s3, bucket):
    """All keys of a bucket, with their sizes."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


def test_a_bucket_from_mb_to_rb(aws, name):
    assert f"make_bucket: {name}" in aws("s3", "mb", f"s3://{name}")
    assert name in aws("s3", "ls")
    assert "remove_bucket" in aws("s3", "rb", f"s3://{name}")
    assert name not in aws("s3", "ls")
    assert "NoSuchBucket" in aws.fails("s3", "ls", f"s3://{name}")
    assert "NoSuchBucket" in aws.fails("s3", "rb", f"s3://{name}")


def test_rb_refuses_a_full_bucket_until_forced(aws, s3, name):
    aws("s3", "mb", f"s3://{name}")
    aws("s3", "cp", "-", f"s3://{name}/x", input=b"x")
    assert "BucketNotEmpty" in aws.fails("s3", "rb", f"s3://{name}")
    aws("s3", "rb", f"s3://{name}", "--force")
    assert name not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


@pytest.mark.parametrize("size", [0, 1, 64 * KIB, MIB + 1, 6 * MIB])
def test_cp_there_and_back(aws, bucket, tmp_path, size):
    content = noise(size)
    (tmp_path / "up").write_bytes(content)
    aws("s3", "cp", tmp_path / "up", f"s3://{bucket}/file")
    aws("s3", "cp", f"s3://{bucket}/file", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == content


def test_cp_through_stdin_and_stdout(aws, bucket):
    content = noise(300 * KIB)
    aws("s3", "cp", "-", f"s3://{bucket}/stream", input=content)
    assert aws.bytes("s3", "cp", f"s3://{bucket}/stream", "-") == content


def test_cp_of_a_large_file_is_a_multipart_upload(aws, s3, bucket, tmp_path):
    content = noise(32 * MIB + 12345)
    (tmp_path / "up").write_bytes(content)
    aws("s3", "cp", tmp_path / "up", f"s3://{bucket}/large")
    parts = [content[start : start + 5 * MIB] for start in range(0, len(content), 5 * MIB)]
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"] == multipart_etag(parts)
    aws("s3", "cp", f"s3://{bucket}/large", tmp_path / "down")
    assert md5((tmp_path / "down").read_bytes()) == md5(content)
    # A large object is copied part by part too.
    aws("s3", "cp", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    assert md5(aws.bytes("s3", "cp", f"s3://{bucket}/copy", "-")) == md5(content)
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_cp_keeps_what_it_was_told_about_the_object(aws, s3, bucket, tmp_path):
    (tmp_path / "page").write_text("<p>")
    aws(
        "s3",
        "cp",
        tmp_path / "page",
        f"s3://{bucket}/page",
        "--content-type",
        "text/html; charset=utf-8",
        "--cache-control",
        "max-age=60",
        "--content-disposition",
        "inline",
        "--content-language",
        "de",
        "--metadata",
        "colour=blue,shape=round",
        "--expires",
        "2031-01-01T00:00:00Z",
    )
    aws("s3", "cp", f"s3://{bucket}/page", f"s3://{bucket}/copy")
    for key in ("page", "copy"):
        head = s3.head_object(Bucket=bucket, Key=key)
        assert head["ContentType"] == "text/html; charset=utf-8"
        assert head["CacheControl"] == "max-age=60"
        assert head["ContentDisposition"] == "inline"
        assert head["ContentLanguage"] == "de"
        assert head["Metadata"] == {"colour": "blue", "shape": "round"}
        assert head["ExpiresString"] == "Wed, 01 Jan 2031 00:00:00 GMT"
    aws(
        "s3",
        "cp",
        f"s3://{bucket}/page",
        f"s3://{bucket}/other",
        "--metadata-directive",
        "REPLACE",
        "--metadata",
        "a=b",
    )
    assert s3.head_object(Bucket=bucket, Key="other")["Metadata"] == {"a": "b"}


def test_recursive_cp_ls_and_rm(aws, s3, bucket, tree, tmp_path):
    aws("s3", "cp", "--recursive", tree, f"s3://{bucket}/base/")
    assert keys(s3, bucket) == {f"base/{key}": len(content) for key, content in TREE.items()}

    listing = aws("s3", "ls", f"s3://{bucket}/base/")
    assert [line.split()[-1] for line in listing.splitlines()] == ["docs/", "photos/", "empty", "readme.txt"]
    assert [line.split()[0] for line in listing.splitlines()][:2] == ["PRE", "PRE"]
    recursive = aws("s3", "ls", "--recursive", "--summarize", f"s3://{bucket}")
    assert f"Total Objects: {len(TREE)}" in recursive
    assert f"Total Size: {sum(map(len, TREE.values()))}" in recursive

    aws("s3", "cp", "--recursive", f"s3://{bucket}/base/", tmp_path / "down")
    assert read_tree(tmp_path / "down") == TREE

    aws("s3", "rm", "--recursive", f"s3://{bucket}/base/", "--exclude", "*", "--include", "photos/*")
    assert sorted(keys(s3, bucket)) == sorted(f"base/{key}" for key in TREE if not key.startswith("photos/"))
    aws("s3", "rm", f"s3://{bucket}/base/empty")
    assert "base/empty" not in keys(s3, bucket)
    aws("s3", "rm", "--recursive", f"s3://{bucket}")
    assert keys(s3, bucket) == {}


def test_mv_leaves_nothing_behind(aws, s3, bucket, tmp_path):
    content = noise(70 * KIB)
    source = tmp_path / "source"
    source.write_bytes(content)
    aws("s3", "mv", source, f"s3://{bucket}/one")
    assert not source.exists()
    aws("s3", "mv", f"s3://{bucket}/one", f"s3://{bucket}/two/three")
    assert keys(s3, bucket) == {"two/three": len(content)}
    aws("s3", "mv", "--recursive", f"s3://{bucket}/two/", tmp_path / "back")
    assert (tmp_path / "back/three").read_bytes() == content
    assert keys(s3, bucket) == {}


def test_sync_both_ways_with_delete_and_exclude(aws, s3, bucket, tree, tmp_path):
    aws("s3", "sync", tree, f"s3://{bucket}/t")
    assert keys(s3, bucket) == {f"t/{key}": len(content) for key, content in TREE.items()}
    assert aws("s3", "sync", tree, f"s3://{bucket}/t").strip() == "", "a second sync has nothing to do"

    (tree / "readme.txt").write_bytes(b"changed and longer")
    (tree / "empty").unlink()
    (tree / "secret.key").write_bytes(b"secret")
    aws("s3", "sync", tree, f"s3://{bucket}/t", "--delete", "--exclude", "*.key")
    wanted = {key: content for key, content in read_tree(tree).items() if key != "secret.key"}
    assert keys(s3, bucket) == {f"t/{key}": len(content) for key, content in wanted.items()}

    down = tmp_path / "down"
    write_tree(down, {"stale": b"goes", "kept.log": b"stays"})
    aws("s3", "sync", f"s3://{bucket}/t", down, "--delete", "--exclude", "*.log")
    assert read_tree(down) == wanted | {"kept.log": b"stays"}

    aws("s3", "sync", f"s3://{bucket}/t", f"s3://{bucket}/u")
    assert aws.bytes("s3", "cp", f"s3://{bucket}/u/readme.txt", "-") == b"changed and longer"


def test_presigned_get_needs_no_credentials(aws, bucket):
    content = noise(5 * KIB)
    aws("s3", "cp", "-", f"s3://{bucket}/sub dir/ü+%.bin", input=content)
    url = aws("s3", "presign", f"s3://{bucket}/sub dir/ü+%.bin", "--expires-in", "60").strip()
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == content


def test_s3api_prints_what_it_stored(aws, bucket):
    """One object's way through `aws s3api`, as scripts use it."""
    put = aws.json("s3api", "put-object", "--bucket", bucket, "--key", "k", "--content-type", "text/x-test")
    head = aws.json("s3api", "head-object", "--bucket", bucket, "--key", "k")
    assert put["ETag"] == head["ETag"] == f'"{md5(b"")}"'
    assert head["ContentLength"] == 0
    assert head["ContentType"] == "text/x-test"
    listed = aws.json("s3api", "list-objects-v2", "--bucket", bucket)
    assert [item["Key"] for item in listed["Contents"]] == ["k"]
    assert listed["Contents"][0]["Size"] == 0
