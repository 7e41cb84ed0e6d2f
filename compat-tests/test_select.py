"""S3 Select: SQL over CSV, JSON and compressed objects, as boto3 reads its event stream (botocore checks both CRCs of each event)."""

import bz2
import gzip
import io
import json
import os
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EventStreamError

from support.clients import boto
from support.data import MIB

CSV = {"CSV": {"FileHeaderInfo": "USE"}}
LINES = {"JSON": {"Type": "LINES"}}
BOUND = 256 * MIB


def ask(s3, bucket, key, sql, *, input=CSV, output=None, **options):
    """The answer's events."""
    answer = s3.select_object_content(
        Bucket=bucket,
        Key=key,
        Expression=sql,
        ExpressionType="SQL",
        InputSerialization=input,
        OutputSerialization=output or {"CSV": {}},
        **options,
    )
    return answer["Payload"]


def records(events):
    """The records of whole answers, which end with Stats and End."""
    events = list(events)
    assert "End" in events[-1] and "Stats" in events[-2], events[-2:]
    payload = b"".join(event["Records"]["Payload"] for event in events if "Records" in event)
    assert events[-2]["Stats"]["Details"]["BytesReturned"] == len(payload)
    return payload


def selected(s3, bucket, content, sql, **options):
    """What a query answers over these bytes."""
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    return records(ask(s3, bucket, "k", sql, **options)).decode()


def refused(s3, bucket, sql="SELECT * FROM S3Object", key="k", **options):
    """The code of an answer that is an error from its beginning."""
    with pytest.raises(ClientError) as error:
        list(ask(s3, bucket, key, sql, **options))
    assert not isinstance(error.value, EventStreamError), error.value
    return error.value.response["Error"]["Code"]


def table(size):
    """A CSV file of about this size: a number, its square, and a word."""
    rows, length, number = ["n,square,word\n"], 0, 0
    while length < size:
        block = "".join(f"{at},{at * at},word{at % 97}\n" for at in range(number, number + 10_000))
        number, length = number + 10_000, length + len(block)
        rows.append(block)
    return "".join(rows).encode(), number


def test_csv(s3, bucket):
    content = b'name,age\nAnn,30\n"Bob ""B"" Brown",4\n'
    assert selected(s3, bucket, content, "SELECT * FROM S3Object") == 'Ann,30\n"Bob ""B"" Brown",4\n'
    assert selected(s3, bucket, content, "SELECT s.name FROM S3Object s WHERE CAST(s.age AS INT) > 10") == "Ann\n"
    as_json = selected(s3, bucket, content, "SELECT * FROM S3Object", output={"JSON": {}})
    assert [json.loads(line) for line in as_json.splitlines()] == [
        {"name": "Ann", "age": "30"},
        {"name": 'Bob "B" Brown', "age": "4"},
    ]
    assert selected(s3, bucket, content, "SELECT COUNT(*), AVG(CAST(age AS INT)) FROM S3Object") == "2,17\n"
    odd = {
        "CSV": {
            "FileHeaderInfo": "NONE",
            "FieldDelimiter": "\t",
            "RecordDelimiter": "\r\n",
            "QuoteCharacter": "'",
            "QuoteEscapeCharacter": "\\",
            "Comments": "%",
            "AllowQuotedRecordDelimiter": True,
        }
    }
    output = {"CSV": {"QuoteFields": "ALWAYS", "FieldDelimiter": ";", "RecordDelimiter": "|"}}
    content = b"%none\r\na\t'b\r\n\\'c'\r\nd\te\r\n"
    assert selected(s3, bucket, content, "SELECT _1, _2 FROM S3Object", input=odd, output=output) == "\"a\";\"b\r\n'c\"|\"d\";\"e\"|"

    # A quote in quotes is written twice unless something else is said.
    quotes = {"CSV": {"FileHeaderInfo": "NONE", "QuoteCharacter": "'"}}
    output = {"CSV": {"QuoteCharacter": "'"}}
    assert selected(s3, bucket, b"'it''s \"so\"',2\n", "SELECT * FROM S3Object", input=quotes, output=output) == (
        "'it''s \"so\"',2\n"
    )


def test_json(s3, bucket):
    lines = b'{"a": 1, "b": {"c": [1, 2]}}\n{"a": 2.50, "B": null}\n'
    assert selected(s3, bucket, lines, "SELECT s.a, s.b.c[1] FROM S3Object s", input=LINES) == "1,2\n2.50,\n"
    assert selected(s3, bucket, lines, "SELECT * FROM S3Object s", input=LINES, output={"JSON": {"RecordDelimiter": ";"}}) == (
        '{"a":1,"b":{"c":[1,2]}};{"a":2.50,"B":null};'
    )
    document = {"JSON": {"Type": "DOCUMENT"}}
    rows = json.dumps({"rows": [{"id": at} for at in range(1000)]}, indent=2).encode()
    sql = "SELECT SUM(r.id) FROM S3Object[*].rows[*] r"
    assert selected(s3, bucket, rows, sql, input=document) == "499500\n"


def test_compressed(s3, bucket):
    content, _ = table(MIB)
    sql = "SELECT COUNT(*) FROM S3Object s WHERE s.word = 'word7'"
    plain = selected(s3, bucket, content, sql)
    assert int(plain) > 0
    assert selected(s3, bucket, gzip.compress(content), sql, input=CSV | {"CompressionType": "GZIP"}) == plain
    assert selected(s3, bucket, bz2.compress(content), sql, input=CSV | {"CompressionType": "BZIP2"}) == plain
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    assert refused(s3, bucket, input=CSV | {"CompressionType": "GZIP"}) == "InvalidCompressionFormat"
    assert refused(s3, bucket, input=CSV | {"CompressionType": "ZSTD"}) == "InvalidCompressionFormat"


def test_ranges_of_an_object_make_a_whole(s3, bucket):
    content, count = table(3 * MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    cuts = [0, 17, 1 * MIB, 1 * MIB + 1, 2 * MIB + 12345, len(content)]
    answers = [
        records(ask(s3, bucket, "k", "SELECT n FROM S3Object", ScanRange={"Start": start, "End": end - 1}))
        for start, end in zip(cuts, cuts[1:])
    ]
    assert b"".join(answers).decode().split() == [str(n) for n in range(count)]
    last = records(ask(s3, bucket, "k", "SELECT n FROM S3Object", ScanRange={"End": 100})).decode().split()
    assert last == [str(n) for n in range(count - len(last), count)] and 0 < len(last) < 10
    assert refused(s3, bucket, ScanRange={"Start": len(content)}) == "InvalidScanRange"
    gzipped = CSV | {"CompressionType": "GZIP"}
    assert refused(s3, bucket, input=gzipped, ScanRange={"Start": 0, "End": 9}) == "UnsupportedScanRangeInput"


def test_progress(s3, bucket):
    content, _ = table(MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=gzip.compress(content))
    options = {"input": CSV | {"CompressionType": "GZIP"}}
    sql = "SELECT COUNT(*) FROM S3Object"
    events = list(ask(s3, bucket, "k", sql, RequestProgress={"Enabled": True}, **options))
    progress = [event["Progress"]["Details"] for event in events if "Progress" in event]
    stats = events[-2]["Stats"]["Details"]
    assert progress and progress[-1] == stats
    assert stats["BytesProcessed"] == len(content) and stats["BytesScanned"] == len(gzip.compress(content))
    assert not [event for event in ask(s3, bucket, "k", sql, **options) if "Progress" in event]


def test_what_is_wrong_from_the_beginning_is_an_error(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"a,b\n1,x\n")
    assert refused(s3, bucket, "SELECT") == "ParseSelectMissingFrom"
    assert refused(s3, bucket, "SELECT a FROM S3Object GROUP BY a") == "UnsupportedSqlStructure"
    assert refused(s3, bucket, "SELECT a FROM S3Object WHERE ?") == "LexerInvalidChar"
    assert refused(s3, bucket, "SELECT a + 'x" + "x" * (256 << 10) + "' FROM S3Object") == "ExpressionTooLong"
    assert refused(s3, bucket, "SELECT c FROM S3Object") == "MissingHeaders"
    assert refused(s3, bucket, "SELECT CAST(b AS INT) FROM S3Object") == "CastFailed"
    assert refused(s3, bucket, "SELECT a FROM S3Object", input={"CSV": {"FileHeaderInfo": "MAYBE"}}) == "InvalidFileHeaderInfo"
    assert refused(s3, bucket, input={"CSV": {"QuoteCharacter": '""'}}) == "InvalidRequestParameter"
    assert refused(s3, bucket, input={"JSON": {"Type": "POEM"}}) == "InvalidJsonType"
    assert refused(s3, bucket, input=LINES) == "JSONParsingError"
    assert refused(s3, bucket, input={}) == "MissingRequiredParameter"
    assert refused(s3, bucket, input=CSV | LINES) == "ObjectSerializationConflict"
    assert refused(s3, bucket, output={"CSV": {"QuoteFields": "NEVER"}}) == "InvalidQuoteFields"
    assert refused(s3, bucket, key="nothing") == "NoSuchKey"
    # Whether the server was built with Parquet or not.
    assert refused(s3, bucket, input={"Parquet": {}}) in ("NotImplemented", "ParquetParsingError")
    s3.put_object(Bucket=bucket, Key="k", Body=b"a\n\xff\n")
    assert refused(s3, bucket) == "InvalidTextEncoding"
    s3.put_object(Bucket=bucket, Key="k", Body=b"a\n" + b"x" * (MIB + 1))
    assert refused(s3, bucket) == "OverMaxRecordSize"


def test_what_is_wrong_later_is_an_event(s3, bucket):
    content, count = table(MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=content + b"x,y,z\n")
    before = 0
    with pytest.raises(EventStreamError) as error:
        for event in ask(s3, bucket, "k", "SELECT CAST(n AS INT) FROM S3Object"):
            before += event["Records"]["Payload"].count(b"\n")
    assert error.value.response["Error"]["Code"] == "CastFailed"
    assert 0 < before <= count


def test_an_empty_object_and_one_in_parts(s3, bucket):
    assert selected(s3, bucket, b"", "SELECT * FROM S3Object") == ""
    assert selected(s3, bucket, b"", "SELECT COUNT(*) FROM S3Object") == "0\n"
    content, count = table(11 * MIB)
    s3.upload_fileobj(io.BytesIO(content), bucket, "k")
    assert records(ask(s3, bucket, "k", "SELECT COUNT(*) FROM S3Object")).decode() == f"{count}\n"


def test_signed_requests_alone(server, bucket):
    stranger = boto(server, secret_key="wrong")
    assert refused(stranger, bucket) == "SignatureDoesNotMatch"


def cpu_seconds(server):
    """Processor time that the server has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(600)
def test_memory_is_bounded(own_server, capsys):
    """50 MiB are read, and answered, in a few messages' memory; whoever leaves, or reads nothing, costs nothing more."""
    s3 = boto(own_server)
    s3.create_bucket(Bucket="big")
    content, count = table(50 * MIB)
    s3.put_object(Bucket="big", Key="k", Body=content)
    base = own_server.peak_memory()

    start = time.monotonic()
    length = pieces = 0
    for event in ask(s3, "big", "k", "SELECT * FROM S3Object"):
        if "Records" in event:
            pieces += 1
            length += len(event["Records"]["Payload"])
    seconds = time.monotonic() - start
    assert length == len(content) - len(b"n,square,word\n") and pieces > 300

    sql = "SELECT COUNT(*), MAX(n) FROM S3Object s WHERE CAST(s.n AS INT) >= 0 AND s.word LIKE 'word_%'"
    assert records(ask(s3, "big", "k", sql)).decode() == f"{count},{count - 1}\n"

    waiting = [iter(ask(s3, "big", "k", "SELECT * FROM S3Object")) for _ in range(8)]
    assert all("Records" in next(events) for events in waiting)
    # They hold no thread either: others are served.
    assert records(ask(s3, "big", "k", "SELECT * FROM S3Object LIMIT 1")).decode() == "0,0,word0\n"

    # 4 GiB, once they are decompressed.
    rows = gzip.compress(b"1,2,3\n" * (16 * MIB // 6)) * 256
    s3.put_object(Bucket="big", Key="rows", Body=rows)
    sql = "SELECT COUNT(*) FROM S3Object s WHERE s._1 LIKE '%2%'"
    leaver = ask(s3, "big", "rows", sql, input={"CSV": {}, "CompressionType": "GZIP"})
    next(iter(leaver))
    leaver.close()
    left, used = time.monotonic(), 1
    while used > 0.2 and time.monotonic() - left < 15:
        used = cpu_seconds(own_server)
        time.sleep(1)
        used = cpu_seconds(own_server) - used
    peak = own_server.peak_memory()
    with capsys.disabled():
        print(
            f"select of 50 MiB in {seconds:.1f} s; peak memory {peak >> 20} MiB (before: {base >> 20} MiB); "
            f"{used:.2f} s of processor time a second after the client left",
            flush=True,
        )
    assert peak < BOUND and used < 0.2
