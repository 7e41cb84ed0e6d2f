"""Health and metrics as tools find them that were made for MinIO."""

import base64
import hashlib
import hmac
import json
import re
import time
import urllib.error
import urllib.request

import pytest

from support import clients


def bearer(server, **claims):
    """What `mc admin prometheus generate` makes."""

    def encode(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    claims = {"exp": int(time.time()) + 60, "sub": server.access_key, "iss": "prometheus"} | claims
    signed = encode(b'{"alg":"HS512","typ":"JWT"}') + b"." + encode(json.dumps(claims).encode())
    return (signed + b"." + encode(hmac.digest(server.secret_key.encode(), signed, hashlib.sha512))).decode()


def get(server, path, token=None):
    """Status, headers and text of an answer."""
    request = urllib.request.Request(server.endpoint + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def metrics(server, page):
    """A page's samples, by name and labels but for the server's."""
    status, headers, text = get(server, f"/minio/v2/metrics/{page}", bearer(server))
    assert status == 200, text
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            samples[re.sub(r',?server="[^"]*"', "", series).replace("{}", "")] = float(value)
    return samples


def test_metrics_are_what_is_there(own_server):
    s3 = clients.boto(own_server)
    s3.create_bucket(Bucket="first")
    s3.create_bucket(Bucket="second")
    for key, size in (("a", 10), ("b", 300_000), ("c", 0)):
        s3.put_object(Bucket="first", Key=key, Body=b"x" * size)
    s3.get_object(Bucket="first", Key="b")["Body"].read()
    bucket = metrics(own_server, "bucket")
    assert bucket['minio_bucket_usage_object_total{bucket="first"}'] == 3
    assert bucket['minio_bucket_usage_total_bytes{bucket="first"}'] == 300_010
    assert bucket['minio_bucket_usage_object_total{bucket="second"}'] == 0
    cluster = metrics(own_server, "cluster")
    assert cluster["minio_cluster_buckets_total"] == 2
    assert cluster["minio_cluster_usage_object_total"] == 3
    assert cluster["minio_cluster_drive_online_total"] == 9
    assert cluster["minio_cluster_nodes_online_total"] == 1
    assert 0 < cluster["minio_cluster_capacity_usable_free_bytes"] < cluster["minio_cluster_capacity_raw_free_bytes"]
    assert cluster["ninefold_heal_queue_shards"] == 0
    node = metrics(own_server, "node")
    assert node['minio_s3_requests_total{api="putobject"}'] == 3
    assert node["minio_s3_traffic_received_bytes"] >= 300_010
    assert node["minio_s3_traffic_sent_bytes"] >= 300_000
    assert node["minio_node_process_resident_memory_bytes"] > 1_000_000
    assert node['minio_node_drive_total_bytes{drive="v1"}'] > 0
    assert metrics(own_server, "resource")["minio_node_mem_total"] > 0


def test_metrics_are_not_for_everyone(server):
    for token in (
        None,
        "x",
        bearer(server, exp=int(time.time()) - 1),
        bearer(server, sub="somebody"),
        bearer(server, iss="x"),
    ):
        assert get(server, "/minio/v2/metrics/cluster", token)[0] == 403


def test_health_by_volumes(own_server):
    status, headers, text = get(own_server, "/minio/health/cluster")
    assert (status, headers["x-minio-write-quorum"], text) == (200, "6", "")
    for path in ("live", "ready", "cluster/read"):
        assert get(own_server, f"/minio/health/{path}")[0] == 200
    # This is the only server, and all volumes are of one node.
    assert get(own_server, "/minio/health/cluster?maintenance=true")[0] == 412


def test_the_name_of_these_paths_is_reserved(s3):
    with pytest.raises(s3.exceptions.ClientError) as error:
        s3.create_bucket(Bucket="minio")
    assert error.value.response["Error"]["Code"] == "InvalidBucketName"
