"""The verbs of the command line, as surface.md promises them: exit codes, data on stdout, the rest on stderr."""

import base64
import json
import os

import pytest

import kstore


def lines(*values):
    return b"".join(value + b"\n" for value in values)


@pytest.fixture
def orders(run, data):
    """A topic with one partition and five records."""
    with kstore.open(data) as store:
        store.create_topic("orders", 1)
        log = store.partition("orders", 0)
        log.append([b"v0", (b"k1", b"v1"), (b"k2", None, [("h", b"x"), ("h", None)])], timestamp_ms=1000)
        log.append([b"v3", b"\xff\x00"], timestamp_ms=2000)
    return data


# -- topics ------------------------------------------------------------------------------------------------------


def test_topics_create_makes_the_directory(run, data):
    said = run("topics", "create", "orders", "--dir", data, "--partitions", 3, "--config", "retention.ms=1000")
    assert (said.code, said.out) == (0, b"")
    assert "created topic orders with 3 partitions" in said.err
    with kstore.open(data, read_only=True) as store:
        topic = store.topics()["orders"]
        assert topic.partitions == (0, 1, 2)
        assert topic.config.retention_ms == 1000


def test_topics_list(run, data):
    for name in ("b", "a"):
        run("topics", "create", name, "--dir", data)
    assert run("topics", "list", "--dir", data).out == b"a\nb\n"
    found = [json.loads(line) for line in run("topics", "list", "--dir", data, "--json").out.splitlines()]
    assert [(topic["topic"], topic["partitions"]) for topic in found] == [("a", 1), ("b", 1)]


def test_topics_describe(run, orders):
    said = run("topics", "describe", "orders", "--dir", orders, "--json")
    found = json.loads(said.out)
    assert found["topic"] == "orders"
    assert found["partitions"][0]["log_end_offset"] == 5
    assert found["partitions"][0]["size_bytes"] > 0
    assert b"orders" in run("topics", "describe", "--dir", orders).out


def test_topics_alter(run, orders):
    assert run("topics", "alter", "orders", "--dir", orders, "--config", "max.message.bytes=5000000").code == 0
    found = json.loads(run("topics", "describe", "orders", "--dir", orders, "--json").out)
    assert found["config"] == {"max.message.bytes": "5000000"}


def test_topics_delete(run, orders):
    assert run("topics", "delete", "orders", "--dir", orders).code == 0
    assert run("topics", "list", "--dir", orders).out == b""


# -- produce and consume -----------------------------------------------------------------------------------------


def test_produce_from_a_file_and_consume(run, data, tmp_path):
    run("topics", "create", "t", "--dir", data)
    (tmp_path / "in").write_bytes(b"a\n\nb\r\n\xffc")
    said = run("produce", "t", tmp_path / "in", "--dir", data)
    assert (said.code, said.out) == (0, b"")
    assert "4 records" in said.err
    assert run("consume", "t", "--dir", data, "--from-beginning").out == lines(b"a", b"", b"b\r", b"\xffc")


def test_produce_from_stdin(run, data, monkeypatch, tmp_path):
    run("topics", "create", "t", "--dir", data)
    (tmp_path / "in").write_bytes(b"a\nb\n")
    with open(tmp_path / "in") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert run("produce", "t", "--dir", data).code == 0
    assert run("consume", "t", "--dir", data).out == b"a\nb\n"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_produce_compressed(run, data, tmp_path, codec):
    run("topics", "create", "t", "--dir", data)
    (tmp_path / "in").write_bytes(b"abc " * 1000 + b"\n")
    assert run("produce", "t", tmp_path / "in", "--dir", data, "--compression", codec).code == 0
    assert run("consume", "t", "--dir", data).out == b"abc " * 1000 + b"\n"


def test_produce_keys_and_partitions(run, data, tmp_path):
    run("topics", "create", "t", "--dir", data, "--partitions", 3)
    (tmp_path / "in").write_bytes(b"21:a\nfoobar:b:c\n")
    assert run("produce", "t", tmp_path / "in", "--dir", data, "--key-separator", ":").code == 0
    said = run("consume", "t", "--dir", data, "--json")
    found = {item["key"]: (item["partition"], item["value"]) for item in map(json.loads, said.out.splitlines())}
    assert found == {"21": ((-973932308 & 0x7FFFFFFF) % 3, "a"), "foobar": ((-790332482 & 0x7FFFFFFF) % 3, "b:c")}
    run("produce", "t", tmp_path / "in", "--dir", data, "--partition", 2)
    assert run("consume", "t", "--dir", data, "--partition", 2).out.endswith(b"21:a\nfoobar:b:c\n")


def test_produce_without_keys_goes_round_the_partitions(run, data, tmp_path):
    run("topics", "create", "t", "--dir", data, "--partitions", 3)
    (tmp_path / "in").write_bytes(b"a\n")
    for _ in range(3):
        run("produce", "t", tmp_path / "in", "--dir", data)
    assert [run("consume", "t", "--dir", data, "--partition", n).out for n in range(3)] == [b"a\n"] * 3


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], [b"v0", b"v1", b"", b"v3", b"\xff\x00"]),
        (["--from-beginning"], [b"v0", b"v1", b"", b"v3", b"\xff\x00"]),
        (["--offset", 1, "--max-messages", 1], [b"v1"]),
        (["--offset", 5], []),
        (["--max-messages", 0], []),
        (["--partition", 0, "--offset", 3], [b"v3", b"\xff\x00"]),
    ],
)
def test_consume_from_where(run, orders, options, wanted):
    said = run("consume", "orders", "--dir", orders, *options)
    assert (said.code, said.out, said.err) == (0, lines(*wanted), "")


def test_consume_json(run, orders):
    said = run("consume", "orders", "--dir", orders, "--json")
    found = [json.loads(line) for line in said.out.splitlines()]
    assert found[2] == {
        "topic": "orders",
        "partition": 0,
        "offset": 2,
        "timestamp_ms": 1000,
        "key": "k2",
        "value": None,
        "headers": [["h", "x"], ["h", None]],
    }
    assert found[4]["value"].encode("utf-8", "surrogateescape") == b"\xff\x00"


@pytest.mark.parametrize(("encoding", "wanted"), [("hex", "ff00"), ("base64", base64.b64encode(b"\xff\x00").decode())])
def test_consume_json_encodings(run, orders, encoding, wanted):
    said = run("consume", "orders", "--dir", orders, "--json", "--encoding", encoding, "--offset", 4)
    assert json.loads(said.out)["value"] == wanted


def test_consume_with_a_group_goes_on(run, orders):
    assert run("consume", "orders", "--dir", orders, "--group", "g", "--max-messages", 2).out == b"v0\nv1\n"
    assert run("consume", "orders", "--dir", orders, "--group", "g").out == b"\nv3\n\xff\x00\n"
    assert run("consume", "orders", "--dir", orders, "--group", "g").out == b""
    assert run("consume", "orders", "--dir", orders, "--group", "g", "--from-beginning").out.startswith(b"v0\n")


# -- groups ------------------------------------------------------------------------------------------------------


def test_groups(run, orders):
    run("consume", "orders", "--dir", orders, "--group", "g", "--max-messages", 2)
    assert run("groups", "list", "--dir", orders).out == b"g\n"
    found = json.loads(run("groups", "describe", "g", "--dir", orders, "--json").out)
    assert (found["topic"], found["partition"], found["offset"], found["log_end_offset"]) == ("orders", 0, 2, 5)
    assert found["lag"] == 3
    assert b"lag" in run("groups", "describe", "g", "--dir", orders).out


def test_commits_are_kafkas_records(run, orders):
    """Whoever opens the directory next finds them in the topic: nothing waits in a file alone."""
    from kstore.groups import offsets

    run("consume", "orders", "--dir", orders, "--group", "g", "--max-messages", 2)
    with kstore.open(orders, read_only=True) as store:
        records = list(store.partition(offsets.TOPIC, 0).read(0))
    found = offsets.decode(records[-1].key, records[-1].value)
    assert found.key == ("g", "orders", 0)
    assert found.value.offset == 2


# -- the file applications ---------------------------------------------------------------------------------------


def test_file_producer_and_consumer(run, data, tmp_path):
    source, copy = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"".join(b"%d,%d\n" % (n, n % 5) for n in range(1000)))
    said = run("file-producer", source, "t", "--dir", data, "--json")
    assert json.loads(said.out)["lines"] == 1000
    assert "created topic t" in said.err
    said = run("file-consumer", "t", copy, "--dir", data, "--group", "g", "--json")
    assert json.loads(said.out)["records"] == 1000
    assert copy.read_bytes() == source.read_bytes()
    assert run("file-producer", source, "t", "--dir", data).code == 0
    assert json.loads(run("file-consumer", "t", copy, "--dir", data, "--group", "g", "--json").out)["records"] == 0
    assert copy.read_bytes() == source.read_bytes()


def test_file_producer_resend_and_position_file(run, data, tmp_path):
    (tmp_path / "in").write_bytes(b"a\n")
    place = tmp_path / "place"
    for options, wanted in [([], 1), ([], 0), (["--resend"], 1)]:
        said = run("file-producer", tmp_path / "in", "t", "--dir", data, "--position-file", place, "--json", *options)
        assert json.loads(said.out)["lines"] == wanted
    assert place.exists()


def test_file_producer_keys(run, data, tmp_path):
    (tmp_path / "in").write_bytes(b"a;21\nb;foobar\n")
    words = ["--partitions", 3, "--key-field", 2, "--field-separator", ";"]
    assert run("file-producer", tmp_path / "in", "t", "--dir", data, *words).code == 0
    said = run("consume", "t", "--dir", data, "--json")
    found = {item["key"]: item["partition"] for item in map(json.loads, said.out.splitlines())}
    assert found == {"21": (-973932308 & 0x7FFFFFFF) % 3, "foobar": (-790332482 & 0x7FFFFFFF) % 3}


# -- the program itself ------------------------------------------------------------------------------------------


def test_help_teaches_with_examples(run):
    for words in (["topics", "create"], ["consume"], ["file-producer"], ["log", "dump"], ["graduate"], ["bench"]):
        said = run(*words, "--help")
        assert said.code == 0
        assert b"examples:\n  " in said.out or words == ["consume"]


def test_a_reader_that_goes_away_is_no_error(orders, tmp_path):
    import subprocess
    import sys

    with kstore.open(orders) as store:
        store.partition("orders", 0).append([b"x" * 1000] * 1000)
    words = [sys.executable, "-m", "kstore", "consume", "orders", "--dir", str(orders)]
    consumer = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
    consumer.stdout.read(3)
    consumer.stdout.close()
    assert consumer.wait(30) == 1
    assert consumer.stderr.read() == b""
    consumer.stderr.close()
