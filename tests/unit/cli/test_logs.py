"""`kstore log dump, verify, repair`, `kstore graduate` and `kstore bench`: what they print and how they end."""

import json

import pytest

import kstore

LOG = "00000000000000000000.log"


@pytest.fixture
def orders(data):
    """A directory with ten batches in one partition."""
    with kstore.open(data) as store:
        store.create_topic("orders")
        log = store.partition("orders", 0)
        for n in range(10):
            log.append([(b"k%d" % n, b"v\xff%d" % n, [("h", b"\x00")])], timestamp_ms=1000 + n)
    return data


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_dump_shows_batches_as_kafka_does(run, orders):
    said = run("log", "dump", orders / "orders-0" / LOG)
    lines = said.out.decode().splitlines()
    assert said.code == 0
    assert lines[0] == f"Dumping {orders / 'orders-0' / LOG}"
    assert lines[1].startswith("baseOffset: 0 lastOffset: 0 count: 1 baseSequence: -1")
    assert "isTransactional: false" in lines[1]
    assert len(lines) == 11


def test_dump_records(run, orders):
    said = run("log", "dump", orders / "orders-0" / LOG, "--records", "--max-entries", 2)
    assert said.out.decode().splitlines()[2].startswith("| offset: 0 ")


@pytest.mark.parametrize(("encoding", "value"), [("utf-8", "v\udcff3"), ("hex", "76ff33"), ("base64", "dv8z")])
def test_dump_json(run, orders, encoding, value):
    said = run("log", "dump", orders / "orders-0" / LOG, "--records", "--json", "--encoding", encoding)
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["type"] for row in rows] == ["batch", "record"] * 10
    assert rows[7]["value"] == value


def test_dump_of_a_directory_shows_every_file(run, orders):
    said = run("log", "dump", orders, "--json")
    types = {json.loads(line)["type"] for line in said.out.splitlines()}
    assert {"batch", "timeindex", "checkpoint", "metadata"} <= types


def test_dump_of_damage_ends_with_1(run, orders):
    flip(orders / "orders-0" / LOG, 100)
    assert run("log", "dump", orders / "orders-0" / LOG).code == 1


def test_verify(run, orders):
    said = run("log", "verify", orders)
    assert (said.code, said.out) == (0, b"")
    assert "no damage" in said.err


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_verify_finds_damage(run, orders, words):
    flip(orders / "orders-0" / LOG, 100)
    said = run("log", "verify", orders, *words)
    assert said.code == 1
    assert LOG in said.out.decode()
    if words:
        assert json.loads(said.out.splitlines()[0])["first_offset"] == 1
    assert "1 finding" in said.err


def test_repair(run, orders):
    flip(orders / "orders-0" / LOG, 100)
    damaged = (orders / "orders-0" / LOG).read_bytes()
    said = run("log", "repair", orders, "--dry-run")
    assert said.code == 0
    assert "nothing was changed" in said.err
    assert (orders / "orders-0" / LOG).read_bytes() == damaged
    said = run("log", "repair", orders)
    assert said.code == 0
    assert "it verifies now" in said.err
    assert run("log", "verify", orders).code == 0
    said = run("log", "repair", orders)
    assert (said.code, said.out) == (0, b"")
    assert "nothing to repair" in said.err
    assert run("consume", "orders", "--dir", orders).out.count(b"\n") == 9


def test_repair_needs_the_directory_for_itself(run, orders):
    flip(orders / "orders-0" / LOG, 100)
    with kstore.open(orders):
        said = run("log", "repair", orders)
    assert said.code == 2
    assert "locked" in said.err


def test_graduate_prints_the_brokers_configuration(run, orders, tmp_path):
    run("consume", "orders", "--dir", orders, "--group", "g", "--max-messages", 4)
    said = run("graduate", orders, "--to", tmp_path / "kafka", "--node-id", 3, "--listener", "127.0.0.1:19092")
    assert said.code == 0
    assert b"node.id=3\n" in said.out
    assert f"log.dirs={tmp_path / 'kafka'}\n".encode() in said.out
    found = json.loads(run("groups", "describe", "g", "--dir", tmp_path / "kafka", "--json").out)
    assert found["offset"] == 4


def test_graduate_takes_commits_along_that_wait_in_a_file(run, orders, tmp_path):
    from kstore.groups import offsets

    with kstore.open(orders, read_only=True) as reader:
        reader.groups.commit("g", {("orders", 0): 7})
    assert run("graduate", orders, "--to", tmp_path / "kafka").code == 0
    with kstore.open(tmp_path / "kafka", read_only=True) as store:
        (record,) = store.partition(offsets.TOPIC, 0).read(0)
    assert offsets.decode(record.key, record.value).value.offset == 7


def test_graduate_into_a_full_directory(run, orders, tmp_path):
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "letter").write_text("dear")
    said = run("graduate", orders, "--to", tmp_path / "kafka", "--json")
    assert said.code == 2
    assert said.err.count("\n") == 1


def test_bench(run, monkeypatch, tmp_path):
    rows = [{"name": "append", "limit": "os.write", "kstore_ns": 1.0, "limit_ns": 1.0, "ratio": 1.0}]
    monkeypatch.setattr("kstore.apps.bench.run", lambda quick, directory: rows)
    monkeypatch.setattr("kstore.apps.bench.draw", lambda found: "bars" if found == rows else "")
    assert run("bench", "--quick", "--dir", tmp_path).out == b"bars\n"
    assert json.loads(run("bench", "--quick", "--json").out) == rows[0]
