"""s3cmd."""

import urllib.error
import urllib.request

import pytest

from support.data import KIB, MIB, md5, noise, read_tree, write_tree

TREE = {
    "a.txt": b"hello",
    "empty": b"",
    "sub/b.bin": noise(90 * KIB, "b"),
    "sub/deeper/ü ☃ +%.txt": noise(1000, "c"),
}


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    write_tree(root, TREE)
    return root


def test_a_bucket_from_mb_to_rb(s3cmd, name):
    assert f"Bucket 's3://{name}/' created" in s3cmd("mb", f"s3://{name}")
    assert f"s3://{name}" in s3cmd("ls")
    s3cmd("put", "-", f"s3://{name}/x", input=b"x")
    assert "BucketNotEmpty" in s3cmd.fails("rb", f"s3://{name}")
    s3cmd("rb", "--recursive", "--force", f"s3://{name}")
    assert f"s3://{name}\n" not in s3cmd("ls")


@pytest.mark.parametrize("size", [0, 1, 100 * KIB])
def test_put_and_get(s3cmd, bucket, tmp_path, size):
    content = noise(size)
    (tmp_path / "up").write_bytes(content)
    s3cmd("put", tmp_path / "up", f"s3://{bucket}/d/ü +%.bin")
    s3cmd("get", f"s3://{bucket}/d/ü +%.bin", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == content


def test_multipart_put_and_resumed_get(s3cmd, s3, bucket, tmp_path):
    content = noise(13 * MIB + 3)
    (tmp_path / "up").write_bytes(content)
    s3cmd("put", "--multipart-chunk-size-mb=5", tmp_path / "up", f"s3://{bucket}/large")
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    (tmp_path / "down").write_bytes(content[: 6 * MIB])
    s3cmd("get", "--continue", f"s3://{bucket}/large", tmp_path / "down")
    assert md5((tmp_path / "down").read_bytes()) == md5(content)
    assert "large" not in s3cmd("multipart", f"s3://{bucket}")


def test_sync_both_ways(s3cmd, s3, bucket, tree, tmp_path):
    s3cmd("sync", f"{tree}/", f"s3://{bucket}/t/")
    (tree / "a.txt").write_bytes(b"changed")
    (tree / "empty").unlink()
    s3cmd("sync", "--delete-removed", f"{tree}/", f"s3://{bucket}/t/")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == [f"t/{name}" for name in sorted(read_tree(tree), key=str.encode)]
    down = tmp_path / "down"
    down.mkdir()
    s3cmd("sync", f"s3://{bucket}/t/", f"{down}/")
    assert read_tree(down) == read_tree(tree)
    assert "download" not in s3cmd("sync", f"s3://{bucket}/t/", f"{down}/")


def test_ls_du_and_info(s3cmd, bucket, tree):
    s3cmd("put", "--recursive", f"{tree}/", f"s3://{bucket}/")
    lines = s3cmd("ls", f"s3://{bucket}/").splitlines()
    assert [line.split("s3://")[1] for line in lines] == [f"{bucket}/sub/", f"{bucket}/a.txt", f"{bucket}/empty"]
    everything = s3cmd("ls", "--recursive", f"s3://{bucket}/")
    assert all(f"s3://{bucket}/{name}" in everything for name in TREE)
    assert s3cmd("du", f"s3://{bucket}/").split()[:2] == [str(sum(map(len, TREE.values()))), str(len(TREE))]
    told = s3cmd("info", f"s3://{bucket}/a.txt")
    assert f"MD5 sum:   {md5(b'hello')}" in told
    assert "File size: 5" in told
    assert "us-east-1" in s3cmd("info", f"s3://{bucket}")


def test_cp_mv_modify_and_del(s3cmd, s3, bucket):
    s3cmd("put", "--add-header=x-amz-meta-a:1", "--mime-type=application/x-a", "-", f"s3://{bucket}/a", input=b"content")
    s3cmd("cp", f"s3://{bucket}/a", f"s3://{bucket}/b")
    s3cmd("mv", f"s3://{bucket}/b", f"s3://{bucket}/c d")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a", "c d"]
    head = s3.head_object(Bucket=bucket, Key="c d")
    # Some versions of s3cmd add a charset of their own.
    assert (head["Metadata"]["a"], head["ContentType"].split(";")[0]) == ("1", "application/x-a")
    s3cmd("modify", "--add-header=Cache-Control:no-store", f"s3://{bucket}/a")
    assert s3.head_object(Bucket=bucket, Key="a")["CacheControl"] == "no-store"
    s3cmd("del", f"s3://{bucket}/a")
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}/")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_signurl_signs_the_old_way_and_is_refused(s3cmd, bucket):
    """s3cmd knows only signature version 2 for URLs; S3 refuses that in every region younger than 2014, and so do we."""
    s3cmd("put", "-", f"s3://{bucket}/k", input=b"signed")
    url = s3cmd("signurl", f"s3://{bucket}/k", "+60").strip()
    assert "AWSAccessKeyId=" in url
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(url, timeout=30)
    assert error.value.code == 400
    assert b"<Code>InvalidRequest</Code>" in error.value.read()
