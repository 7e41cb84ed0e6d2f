"""Memory per stream is a few stripes, whatever the object's size."""

import hashlib
import http.client
import itertools
import os
import time

import pytest
from boto3.s3.transfer import TransferConfig
from urllib3.filepost import encode_multipart_formdata

from support import raw
from support.clients import boto
from support.data import GIB, MIB, Stream

SIZE = int(float(os.environ.get("NINEFOLD_BIG_GIB", "1")) * GIB)
BOUND = 256 * MIB
# The most that S3 takes in one PUT.
SINGLE = min(SIZE, 5 * GIB)


@pytest.fixture
def measured(new_server, record_property, capsys):
    """A server on SQLite, as memory for bytes has nothing to do with the database; what it needed is printed and bounded."""
    server = new_server().start()
    boto(server).create_bucket(Bucket="big")
    base = server.peak_memory()
    yield server
    peak = server.peak_memory()
    record_property("peak_mib", peak >> 20)
    with capsys.disabled():
        print(f"peak memory of the server: {peak >> 20} MiB (idle: {base >> 20} MiB) for {SIZE / GIB:g} GiB", flush=True)
    assert peak < BOUND


def speed(what, size, start):
    """Prints how fast something went: to read, not to assert."""
    seconds = time.monotonic() - start
    print(f"{what}: {size / GIB:g} GiB in {seconds:.1f} s, {size / MIB / seconds:.0f} MiB/s", flush=True)


def sent_in_one_put(server, size):
    """Sends a body from a generator in one PUT."""
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    connection.blocksize = MIB
    connection.request("PUT", raw.presign(server, "PUT", "/big/k"), body=Stream(size), headers={"Content-Length": str(size)})
    answer = raw.Answer(connection.getresponse())
    connection.close()
    assert answer.status == 200, answer
    speed("put", size, start)


def equals_the_stream(server, size, **options):
    """Reads the object back in one GET, comparing it block by block as it comes."""
    start = time.monotonic()
    body, wanted = boto(server).get_object(Bucket="big", Key="k", **options)["Body"], Stream(size)
    got, expected, length = hashlib.sha256(), hashlib.sha256(), 0
    while piece := body.read(MIB):
        got.update(piece)
        expected.update(wanted.read(len(piece)))
        length += len(piece)
    assert (length, got.digest()) == (size, expected.digest())
    speed("get", size, start)


@pytest.mark.timeout(3600)
def test_one_put_and_one_get(measured, capsys):
    with capsys.disabled():
        sent_in_one_put(measured, SINGLE)
        equals_the_stream(measured, SINGLE)


@pytest.mark.timeout(3600)
def test_a_multipart_upload(measured, capsys):
    with capsys.disabled():
        start = time.monotonic()
        config = TransferConfig(multipart_chunksize=max(16 * MIB, SIZE // 9000), max_concurrency=4)
        boto(measured).upload_fileobj(Stream(SIZE), "big", "k", Config=config)
        speed("multipart upload", SIZE, start)
        equals_the_stream(measured, SIZE)


@pytest.mark.timeout(3600)
def test_a_form(measured, capsys):
    """The file of a form streams like the body of a PUT."""
    size = min(SIZE, 200 * MIB)
    form = boto(measured).generate_presigned_post("big", "k")
    whole, content_type = encode_multipart_formdata([*form["fields"].items(), ("file", ("a", b"<file>"))])
    head, tail = whole.split(b"<file>")
    stream = Stream(size)
    body = itertools.chain([head], iter(lambda: stream.read(MIB), b""), [tail])
    length = len(head) + size + len(tail)
    with capsys.disabled():
        start = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", measured.port, timeout=300)
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        connection.request("POST", "/big", body=body, headers=headers)
        answer = raw.Answer(connection.getresponse())
        connection.close()
        assert answer.status == 204, answer
        speed("form", size, start)
        equals_the_stream(measured, size)


@pytest.mark.timeout(3600)
def test_a_reader_that_stalls_holds_no_memory(measured):
    """Sixteen clients that ask for everything and read nothing cost a few stripes each."""
    size = min(SIZE, GIB // 4)
    connection = http.client.HTTPConnection("127.0.0.1", measured.port, timeout=300)
    connection.request(
        "PUT", raw.presign(measured, "PUT", "/big/k"), body=Stream(size), headers={"Content-Length": str(size)}
    )
    assert raw.Answer(connection.getresponse()).status == 200
    connection.close()
    stalled = []
    for _ in range(16):
        reader = http.client.HTTPConnection("127.0.0.1", measured.port, timeout=300)
        reader.request("GET", raw.presign(measured, "GET", "/big/k"))
        answer = reader.getresponse()
        assert answer.status == 200 and len(answer.read(1000)) == 1000
        stalled.append((reader, answer))
    # Others are served all the same.
    got = boto(measured).get_object(Bucket="big", Key="k", Range=f"bytes={size - 1000}-")["Body"].read()
    wanted = Stream(size)
    wanted.seek(size - 1000)
    assert got == wanted.read()
    for reader, answer in stalled:
        answer.close()
        reader.close()
