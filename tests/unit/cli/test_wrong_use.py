"""Wrong use and bad input: one clear line with the next step, exit code 1 or 2, nothing half-written."""

import os
import subprocess
import sys

import pytest

import kstore
from kstore.cli.failures import describe


@pytest.fixture
def world(tmp_path):
    """A log directory with a topic, and things that are none."""
    with kstore.open(tmp_path / "data") as store:
        store.create_topic("orders", 2)
        store.partition("orders", 0).append([b"a", b"b"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_bytes(b"a\nb\n")
    (tmp_path / "nokeys").write_bytes(b"k:v\nnone\n")
    return tmp_path


CASES = [
    # command, exit codes, words that the message must have
    (["topics", "list"], 2, ["--dir DIR"]),
    (["topics", "list", "--bootstrap-server", "h:1", "--dir", "data"], 2, ["--bootstrap-server", "--dir"]),
    (["topics", "list", "--dir", "missing"], 2, ["missing", "does not exist"]),
    (["topics", "list", "--dir", "file"], 2, ["file", "log directory"]),
    (["topics", "list", "--dir", "other"], 2, ["letter.txt", "log directory"]),
    (["topics", "list", "--dir", "empty"], 2, ["empty"]),
    (["topics", "list", "--dir", "data/orders-0"], 2, ["parent"]),
    (["topics", "create", "orders", "--dir", "data"], 2, ["orders", "exists"]),
    (["topics", "create", "a/b", "--dir", "data"], 2, ["a/b"]),
    (["topics", "create", "a/b", "--dir", "new"], 2, ["a/b"]),
    (["topics", "create", "x", "--dir", "data", "--partitions", "0"], 2, ["--partitions", "1 or more"]),
    (["topics", "create", "x", "--dir", "data", "--partitions", "two"], 2, ["--partitions", "whole number"]),
    (["topics", "create", "x", "--dir", "data", "--config", "retention.mss=1"], 2, ["did you mean retention.ms"]),
    (["topics", "create", "x", "--dir", "data", "--config", "retention.ms=soon"], 2, ["retention.ms", "whole number"]),
    (["topics", "create", "x", "--dir", "data", "--config", "segment.bytes=1"], 2, ["segment.bytes", "outside"]),
    (["topics", "create", "x", "--dir", "data", "--config", "cleanup.policy=compac"], 2, ["did you mean compact"]),
    (["topics", "create", "x", "--dir", "new", "--config", "retention.mss=1"], 2, ["did you mean retention.ms"]),
    (["topics", "create", "x", "--dir", "data", "--config", "retention.ms"], 2, ["KEY=VALUE"]),
    (["topics", "describe", "order", "--dir", "data"], 2, ["'order'", "did you mean orders"]),
    (["topics", "delete", "order", "--dir", "data"], 2, ["did you mean orders"]),
    (["topics", "alter", "orders", "--dir", "data", "--config", "max.message.byte=1"], 2, ["max.message.bytes"]),
    (["topics", "alter", "orders", "--dir", "data"], 2, ["--config"]),
    (["topics", "crate", "x", "--dir", "data"], 2, ["did you mean create"]),
    (["topic", "list"], 2, ["did you mean topics"]),
    (["produce", "order", "file", "--dir", "data"], 2, ["did you mean orders"]),
    (["produce", "orders", "absent", "--dir", "data"], 1, ["absent", "no such file"]),
    (["produce", "orders", "file", "--dir", "data", "--partition", "7"], 2, ["no partition 7", "0 to 1"]),
    (["produce", "orders", "file", "--dir", "data", "--compression", "zst"], 2, ["did you mean zstd"]),
    (["produce", "orders", "nokeys", "--dir", "data", "--key-separator", ":"], 2, ["line 2", "':'"]),
    (["consume", "order", "--dir", "data"], 2, ["did you mean orders"]),
    (["consume", "orders", "--dir", "data", "--partition", "7"], 2, ["no partition 7"]),
    (["consume", "orders", "--dir", "data", "--offset", "99"], 1, ["99", "0 up to 2"]),
    (["consume", "orders", "--dir", "data", "--offset", "-1"], 2, ["--offset", "0 or more"]),
    (["consume", "orders", "--dir", "data", "--offset", "1", "--from-beginning"], 2, ["not allowed with"]),
    (["consume", "orders", "--dir", "data", "--group", ""], 2, ["group", "name"]),
    (["file-producer", "absent", "t", "--dir", "data"], 1, ["absent", "no such file"]),
    (["file-producer", "absent", "t", "--dir", "new"], 1, ["absent", "no such file"]),
    (["file-producer", "other", "t", "--dir", "new"], 2, ["not a regular file"]),
    (["file-producer", "file", "orders", "--dir", "data", "--partitions", "3"], 2, ["2 partitions already"]),
    (["file-producer", "file", "orders", "--dir", "data", "--partition", "3"], 2, ["no partition 3"]),
    (["file-producer", "file", "orders", "--dir", "data", "--max-line-bytes", "0"], 2, ["--max-line-bytes"]),
    (["file-producer", "file", "orders", "--dir", "other"], 2, ["letter.txt"]),
    (["file-producer", "file", "t", "--dir", "data", "--position-file", "file"], 1, ["not a position file"]),
    (["file-consumer", "order", "out", "--dir", "data", "--group", "g"], 2, ["did you mean orders"]),
    (["file-consumer", "orders", "out", "--dir", "data"], 2, ["--group"]),
    (["file-consumer", "orders", "other", "--dir", "data", "--group", "g"], 1, ["other", "is a directory"]),
    (["file-consumer", "orders", "missing/out", "--dir", "data", "--group", "g"], 1, ["missing", "no such"]),
    (["groups", "describe", "g", "--dir", "data"], 2, ["no group 'g'"]),
    (["log", "dump", "absent"], 1, ["absent", "no such file"]),
    (["log", "verify", "missing"], 2, ["missing"]),
    (["log", "repair", "other"], 2, ["other"]),
    (["graduate", "missing", "--to", "kafka"], 2, ["missing"]),
    (["graduate", "data"], 2, ["--to"]),
    (["consume", "orders", "--dir", "data", "--form-beginning"], 2, ["did you mean --from-beginning"]),
    (["consume", "orders", "more", "--dir", "data"], 2, ["one word too many: more"]),
    ([], 2, ["COMMAND"]),
]


def tree(path):
    """Everything under a directory, but what a clean open and stop rewrites."""
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            if "checkpoint" not in name and "kstore-tail" not in name and name not in (".kafka_cleanshutdown", ".lock"):
                full = os.path.join(folder, name)
                with open(full, "rb") as file:
                    found[os.path.relpath(full, path)] = file.read()
        for name in () if os.path.basename(folder).startswith("kstore") else [folder]:
            found.setdefault(os.path.relpath(name, path), b"")
    return found


@pytest.mark.parametrize(("words", "code", "message"), CASES, ids=[" ".join(case[0]) or "nothing" for case in CASES])
def test_one_clear_line(run, world, monkeypatch, words, code, message):
    monkeypatch.chdir(world)
    before = tree(world)
    said = run(*words)
    assert said.code == code, said
    assert said.out == b""
    assert said.err.startswith("kstore: "), said.err
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    for word in message:
        assert word in said.err
    assert tree(world) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["consume", "orders"], ["consume", "orders", "--json"], ["topics", "list"]])
def test_output_that_takes_no_more(world, words):
    command = [sys.executable, "-m", "kstore", *words, "--dir", str(world / "data")]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("kstore: no space left")
    assert done.stderr.count("\n") == 1


def test_a_directory_in_use_names_its_holder(run, world):
    with kstore.open(world / "data"):
        said = run("topics", "create", "x", "--dir", world / "data")
    assert said.code == 2
    assert "locked by" in said.err
    assert str(os.getpid()) in said.err


def test_reading_works_beside_a_writer(run, world):
    with kstore.open(world / "data") as store:
        assert run("consume", "orders", "--dir", world / "data").out == b"a\nb\n"
        store.partition("orders", 0).append([b"c"])
        assert run("consume", "orders", "--dir", world / "data", "--group", "g").out == b"a\nb\nc\n"
        said = run("groups", "describe", "g", "--dir", world / "data")
        assert said.code == 0


def test_a_second_consumer_of_a_group_is_told_who_has_it(run, world):
    with kstore.open(world / "data", read_only=True) as store:
        held = store.groups.hold("g")
        said = run("consume", "orders", "--dir", world / "data", "--group", "g")
        held.release()
    assert said.code == 2
    assert "group g is being read by" in said.err
    assert run("consume", "orders", "--dir", world / "data", "--group", "g").code == 0


def test_damaged_file(run, world):
    path = world / "data" / "orders-0" / "00000000000000000000.log"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    said = run("consume", "orders", "--dir", world / "data")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "00000000000000000000.log" in said.err
    assert "kstore log verify" in said.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(28, "No space left on device", "data/x"), 1, ["data/x", "no space left", "run the command again"]),
        (PermissionError(13, "Permission denied", "data"), 1, ["data: permission denied"]),
        (OSError(122, "Disk quota exceeded"), 1, ["quota"]),
        (OSError(5, "Input/output error", "x"), 1, ["check it"]),
        (
            kstore.errors.StorageError(28, "x.log", "write", "No space left on device", final=False),
            1,
            ["repeated once"],
        ),
        (kstore.errors.InvariantError("two writers"), 1, ["a bug in kstore"]),
        (MemoryError(), 1, ["memory"]),
        (ZeroDivisionError("division by zero"), 1, ["unexpected ZeroDivisionError", "KSTORE_TRACEBACK=1"]),
        (kstore.errors.UsageError("first\n  second"), 2, ["first; second"]),
    ],
)
def test_what_the_user_reads(error, code, words):
    failure = describe(error)
    assert failure.code == code
    assert "\n" not in failure.message
    for word in words:
        assert word in failure.message


def test_interrupted(run, monkeypatch):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("kstore.cli.topics._list", interrupt)
    said = run("topics", "list", "--dir", "x")
    assert (said.code, said.err) == (130, "kstore: interrupted\n")


def test_without_the_client_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    for words in (["topics", "list"], ["produce", "t"], ["consume", "t"], ["groups", "list"]):
        said = run(*words, "--bootstrap-server", "h:1")
        assert said.code == 2
        assert "pip install 'kstore[client]'" in said.err
