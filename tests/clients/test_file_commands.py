"""A file streamed through a broker to other files: competing consumers, a rebalance, kills."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from tests.clients.test_commands import TIMEOUT_S, bootstrap, command

__all__ = ["bootstrap"]

pytestmark = pytest.mark.clients

LINES = [b"line %06d of the file" % number for number in range(30_000)]


def wait_for(what: Callable[[], bool], told: str) -> None:
    until_s = time.monotonic() + TIMEOUT_S
    while not what():
        assert time.monotonic() < until_s, f"never: {told}"
        time.sleep(0.02)


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start commands; whatever still runs in the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """SIGTERM, and what it said; it must end well."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    return out, err


def shares(bootstrap: str, group: str) -> list[int]:
    """How many partitions each member of the group has, the least first."""
    admin = pytest.importorskip("confluent_kafka.admin").AdminClient({"bootstrap.servers": bootstrap})
    (found,) = admin.describe_consumer_groups([group]).values()
    return sorted(len(member.assignment.topic_partitions) for member in found.result(TIMEOUT_S).members)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def run(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_two_consumers_share_a_topic_and_one_takes_over(
    bootstrap: str, tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(b"\n".join(LINES[:10_000]) + b"\n")
    broker = ("--bootstrap-server", bootstrap)
    producer = started("file-producer", source, "stream", "--partitions", 4, "--follow", *broker)
    outs = [tmp_path / "one.txt", tmp_path / "two.txt"]
    one, two = (
        started("file-consumer", "stream", out, "--group", "pair", "--follow", "--json", *broker) for out in outs
    )
    wait_for(lambda: sum(map(len, map(lines_of, outs))) >= 10_000, "the first lines arrive")
    wait_for(lambda: shares(bootstrap, "pair") == [2, 2], "each of the two has its half of the partitions")
    with source.open("ab") as file:
        file.write(b"\n".join(LINES[10_000:20_000]) + b"\n")
    wait_for(lambda: sum(map(len, map(lines_of, outs))) >= 20_000, "the second lines arrive")
    _, said = finish(one)
    assert "given to this member" in said
    with source.open("ab") as file:
        file.write(b"\n".join(LINES[20_000:]) + b"\n")
    wait_for(lambda: sum(map(len, map(lines_of, outs))) >= 30_000, "the one that is left takes over")
    out, _ = finish(two)
    finish(producer)
    assert all(lines_of(path) for path in outs)
    assert Counter(lines_of(outs[0]) + lines_of(outs[1])) == Counter(LINES)
    assert json.loads(out)["records"] == len(lines_of(outs[1]))
    rows = [json.loads(row) for row in run("groups", "describe", "pair", "--json", *broker).stdout.splitlines()]
    assert len(rows) == 4
    assert [row["lag"] for row in rows] == [0] * 4


def test_a_killed_producer_sends_no_line_twice(
    bootstrap: str, tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(b"\n".join(LINES) + b"\n")
    broker = ("--bootstrap-server", bootstrap)
    words = ("file-producer", source, "killed", "--partitions", 3, *broker)

    def stored() -> int:
        done = subprocess.run(
            command("topics", "describe", "killed", "--json", *broker), capture_output=True, check=False
        )
        rows = json.loads(done.stdout)["partitions"] if done.returncode == 0 else []
        return sum(row["log_end_offset"] for row in rows)

    first = started(*words, "--follow")
    wait_for(lambda: stored() > 0, "records arrive")
    first.kill()
    first.wait(TIMEOUT_S)
    run("file-producer", source, "killed", *broker)
    run("file-producer", source, "killed", *broker)
    found = run("consume", "killed", *broker).stdout.encode().split(b"\n")[:-1]
    assert Counter(found) == Counter(LINES)


def test_a_resumed_producer_leaves_out_what_the_log_holds(bootstrap: str, tmp_path: Path) -> None:
    source, position = tmp_path / "in.txt", tmp_path / "position"
    broker = ("--bootstrap-server", bootstrap)
    words = ("file-producer", source, "again", "--position-file", position, *broker)
    source.write_bytes(b"a\nb\n")
    run(*words)
    remembered = position.read_bytes()
    with source.open("ab") as file:
        file.write(b"c\nd\n")
    run(*words)
    position.write_bytes(remembered)  # as a kill between the send and the position leaves it
    with source.open("ab") as file:
        file.write(b"e\n")
    said = run(*words, "--json")
    assert json.loads(said.stdout)["already_stored"] == 2
    assert run("consume", "again", *broker).stdout == "a\nb\nc\nd\ne\n"


@pytest.mark.parametrize("how", ["repeat", "--exactly"])
def test_a_killed_consumer_repeats_its_window_or_cuts_it(
    bootstrap: str, tmp_path: Path, started: Callable[..., subprocess.Popen[str]], how: str
) -> None:
    topic = f"window{how}"
    source, out = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_bytes(b"\n".join(LINES[:5000]) + b"\n")
    broker = ("--bootstrap-server", bootstrap)
    run("file-producer", source, topic, *broker)
    words = ("file-consumer", topic, out, "--group", topic, *broker)
    run(*words, "--max-messages", 2000)
    with out.open("ab") as file:  # written, and killed before the commit
        file.write(b"\n".join(LINES[2000:2100]) + b"\nline 002")
    options = ("--exactly",) if how == "--exactly" else ()
    said = run(*words, "--json", *options)
    report = json.loads(said.stdout)
    assert (report["window_lines"], report["records"]) == (100, 3000)
    twice = [] if options else LINES[2000:2100]
    assert lines_of(out) == LINES[:2000] + twice + LINES[2000:5000]
