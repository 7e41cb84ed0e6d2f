"""HTTPS. Clients do other things than over HTTP: HTTP/2, and uploads with checksums in trailers of unsigned chunks."""

import ssl
import subprocess
import time

import pytest

from support import clients
from support.data import KIB, MIB, noise, read_tree, write_tree
from support.server import binary, self_signed


@pytest.fixture
def secure_server(new_server, tmp_path):
    """A server with TLS."""
    return new_server(tls=self_signed(tmp_path)).start()


def test_aws_copies_there_and_back(secure_server, tmp_path):
    aws = clients.aws_cli(secure_server, tmp_path, s3=["multipart_threshold = 8MB", "multipart_chunksize = 5MB"])
    aws.env["AWS_CA_BUNDLE"] = str(secure_server.tls[0])
    aws("s3", "mb", "s3://secure")
    for size in (0, 100 * KIB, 13 * MIB + 1):
        content = noise(size)
        (tmp_path / "up").write_bytes(content)
        aws("s3", "cp", tmp_path / "up", "s3://secure/object")
        aws("s3", "cp", "s3://secure/object", tmp_path / "down")
        assert (tmp_path / "down").read_bytes() == content


def test_rclone_copies_there_and_back(secure_server, tmp_path):
    rclone = clients.rclone(secure_server, tmp_path)
    rclone.fixed += ["--ca-cert", secure_server.tls[0]]
    tree = {"a": b"hello", "b/c": noise(300 * KIB), "b/d": noise(7 * MIB)}
    write_tree(tmp_path / "tree", tree)
    rclone("mkdir", "nf:secure")
    # Many at a time, over one HTTP/2 connection.
    rclone("copy", "--s3-upload-cutoff", "5Mi", tmp_path / "tree", "nf:secure/tree")
    rclone("copy", "nf:secure/tree", tmp_path / "down")
    assert read_tree(tmp_path / "down") == read_tree(tmp_path / "tree")


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_curl_speaks_every_version(secure_server, http, tls):
    command = f"curl --silent --show-error --fail --http{http} --tlsv{tls} --tls-max {tls} --output /dev/null"
    command += f" --write-out %{{http_version}} --cacert {secure_server.tls[0]}"
    # By address and by name, which is how a certificate is asked for.
    for host in ("127.0.0.1", "localhost"):
        url = f"https://{host}:{secure_server.port}/health/ready"
        said = subprocess.run([*command.split(), url], check=True, capture_output=True, text=True).stdout
        assert said == http


def test_a_renewed_certificate_is_served_without_a_restart(secure_server, tmp_path):
    def served():
        pem = ssl.get_server_certificate(("127.0.0.1", secure_server.port))
        return ssl.PEM_cert_to_DER_cert(pem)

    before = served()
    self_signed(tmp_path)
    renewed = ssl.PEM_cert_to_DER_cert(secure_server.tls[0].read_text())
    assert renewed != before
    deadline = time.monotonic() + 60
    while served() != renewed:
        assert time.monotonic() < deadline, "the old certificate is still served"
        time.sleep(0.2)
    ask = [str(binary()), "health", "--ready", "--listen", f"127.0.0.1:{secure_server.port}", "--tls-cert"]
    subprocess.run([*ask, str(secure_server.tls[0])], check=True)
