"""The commands with `--bootstrap-server`, against `kstore serve` in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("confluent_kafka")

pytestmark = pytest.mark.clients

TIMEOUT_S = 60.0


class Said(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Said]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "kstore", *map(str, words)]


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a served directory; SIGTERM must end it cleanly."""
    data = tmp_path_factory.mktemp("served") / "data"
    with subprocess.Popen(
        command("serve", "--dir", data, "--listen", "127.0.0.1:0", "--set", "group.initial.rebalance.delay.ms=0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("ready ").strip()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_S) == 0


@pytest.fixture
def run(bootstrap: str) -> Run:
    """`run("topics", "list")`: the command at the broker."""

    def call(*words: object, stdin: bytes = b"") -> Said:
        done = subprocess.run(
            command(*words, "--bootstrap-server", bootstrap),
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    return call


# -- topics ----------------------------------------------------------------------------------------------


def test_the_life_of_a_topic(run: Run) -> None:
    made = run("topics", "create", "life", "--partitions", 3, "--config", "retention.ms=60000")
    assert (made.code, made.err) == (0, "kstore: created topic life with 3 partitions\n")
    assert "life" in run("topics", "list").out.splitlines()
    listed = {row["topic"]: row for row in map(json.loads, run("topics", "list", "--json").out.splitlines())}
    assert listed["life"]["partitions"] == 3
    (described,) = map(json.loads, run("topics", "describe", "life", "--json").out.splitlines())
    assert described["config"] == {"retention.ms": "60000"}
    assert described["topic_id"] == listed["life"]["topic_id"]
    assert [row["partition"] for row in described["partitions"]] == [0, 1, 2]
    assert run("topics", "alter", "life", "--config", "segment.ms=5000").code == 0
    shown = run("topics", "describe", "life").out
    assert "config: retention.ms=60000, segment.ms=5000" in shown
    assert run("topics", "delete", "life").code == 0
    assert "life" not in run("topics", "list").out.splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["topics", "describe", "ordes"], ["no topic 'ordes'", "did you mean orders?", "topics create ordes"]),
        (["topics", "create", "orders"], ["Topic 'orders' already exists."]),
        (["topics", "create", "no pe"], ["no pe"]),
        (["topics", "create", "x", "--config", "retention.mss=1"], ["retention.mss"]),
        (["topics", "delete", "absent"], ["no topic 'absent'"]),
        (["consume", "absent"], ["no topic 'absent'"]),
        (["consume", "orders", "--partition", "7"], ["no partition 7"]),
        (["consume", "orders", "--skip-damaged"], ["--skip-damaged"]),
        (["topics", "list", "--dir", "data"], ["--dir", "--bootstrap-server"]),
        (["groups", "describe", "absent"], ["no group 'absent'"]),
    ],
)
def test_wrong_use(run: Run, words: list[str], said: list[str]) -> None:
    run("topics", "create", "orders")
    done = run(*words)
    assert done.code == 2
    assert done.err.count("\n") == 1
    for word in said:
        assert word in done.err


def test_where_no_broker_is() -> None:
    words = command("topics", "list", "--bootstrap-server", "127.0.0.1:1")
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 1
    assert "127.0.0.1:1: no answer" in done.stderr
    assert done.stderr.count("\n") == 1


# -- records ---------------------------------------------------------------------------------------------


def test_produce_and_consume(run: Run) -> None:
    run("topics", "create", "words")
    sent = run("produce", "words", stdin=b"one\ntwo\n\nthree")
    assert (sent.code, sent.err) == (0, "kstore: sent 4 records to words\n")
    assert run("consume", "words").out == "one\ntwo\n\nthree\n"
    assert run("consume", "words", "--from-beginning", "--max-messages", 2).out == "one\ntwo\n"
    assert run("consume", "words", "--offset", 3).out == "three\n"
    assert run("consume", "words", "--offset", 9).code == 1


def test_keys_and_partitions_as_with_a_directory(run: Run, tmp_path: Path) -> None:
    lines = b"".join(b"key%d:value%d\n" % (number % 7, number) for number in range(100))
    run("topics", "create", "keyed", "--partitions", 4)
    assert run("produce", "keyed", "--key-separator", ":", "--compression", "zstd", stdin=lines).code == 0
    data = tmp_path / "data"
    for words in (["topics", "create", "keyed", "--partitions", "4"], ["produce", "keyed", "--key-separator", ":"]):
        subprocess.run(command(*words, "--dir", data), input=lines, check=True, capture_output=True)
    local = subprocess.run(command("consume", "keyed", "--dir", data, "--json"), capture_output=True, check=True)

    def rows(text: str) -> list[tuple[int, int, str, str]]:
        found = map(json.loads, text.splitlines())
        return sorted((row["partition"], row["offset"], row["key"], row["value"]) for row in found)

    assert rows(run("consume", "keyed", "--json").out) == rows(local.stdout.decode())
    one = run("consume", "keyed", "--json", "--partition", 2, "--max-messages", 1)
    assert set(json.loads(one.out)) == {"topic", "partition", "offset", "timestamp_ms", "key", "value", "headers"}


def test_a_record_above_the_limit_is_refused_with_advice(run: Run) -> None:
    run("topics", "create", "small", "--config", "max.message.bytes=1000")
    done = run("produce", "small", stdin=b"x" * 5000 + b"\n")
    assert done.code == 2
    assert "--config max.message.bytes=" in done.err
    assert run("consume", "small").out == ""


def test_a_group_goes_on_where_it_stopped(run: Run) -> None:
    run("topics", "create", "shared", "--partitions", 2)
    run("produce", "shared", "--partition", 0, stdin=b"a\nb\nc\n")
    assert run("consume", "shared", "--group", "readers", "--max-messages", 2).out == "a\nb\n"
    assert run("consume", "shared", "--group", "readers").out == "c\n"
    assert run("consume", "shared", "--group", "readers").out == ""
    assert run("consume", "shared", "--group", "readers", "--from-beginning").out == "a\nb\nc\n"
    assert "readers" in run("groups", "list").out.splitlines()
    (row,) = map(json.loads, run("groups", "describe", "readers", "--json").out.splitlines())
    assert (row["topic"], row["partition"], row["offset"], row["lag"]) == ("shared", 0, 3, 0)
    assert run("groups", "describe", "readers").out.startswith("group readers\n")


# -- top -------------------------------------------------------------------------------------------------


def test_top_shows_topics_and_groups(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(b"".join(b"%d\n" % number for number in range(40)))
    assert run("file-producer", source, "watched", "--partitions", 2).code == 0
    assert run("file-consumer", "watched", tmp_path / "out.txt", "--group", "watchers", "--max-messages", 30).code == 0
    shown = run("top", "--count", 2, "--interval-ms", 100, "--json")
    assert shown.code == 0, shown.err
    _, last = map(json.loads, shown.out.splitlines())
    topic = next(row for row in last["topics"] if row["topic"] == "watched")
    assert (topic["partitions"], topic["records"], topic["rate"]) == (2, 40, 0.0)
    group = next(row for row in last["groups"] if row["group"] == "watchers")
    assert (group["state"], group["members"], group["lag"]) == ("Empty", 0, 10)
    page = run("top", "--count", 1).out
    assert "watched" in page
    assert "watchers" in page
    assert "__consumer_offsets" not in page
