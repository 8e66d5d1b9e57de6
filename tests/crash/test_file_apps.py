"""File producer and file consumer as processes that are killed with -9 again and again.

The oracle is the input: the log holds every line exactly once and in order; the output holds every line at least
once, and no other; with `--exactly` every line exactly once.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

import kstore
from kstore.apps.routing import Routing
from support.topics import values_of

PARTITIONS = 3


def start(*words):
    command = [sys.executable, "-m", "kstore", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(*words):
    process = start(*words)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


def wait_until(condition, process, seconds=60.0):
    """Wait for a condition while a process runs; False when the process ended before."""
    until = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < until, "nothing moves any more"
        time.sleep(0.001)
    return True


def let_run(rng, data):
    """Let the processes run until the log has grown by a random amount, or for a moment when there is not so much."""
    target, until = size_of(data) + rng.randrange(20_000), time.monotonic() + 0.5
    while size_of(data) < target and time.monotonic() < until:
        time.sleep(0.001)


def size_of(directory):
    total = 0
    for folder, _, names in os.walk(directory):
        total += sum(os.stat(os.path.join(folder, n)).st_size for n in names if n.endswith(".log"))
    return total


def make_lines(rng, count):
    return [b"%d %s" % (n, rng.randbytes(rng.randrange(400)).replace(b"\n", b"")) for n in range(count)]


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_killed_producers_lose_no_line_and_repeat_none(tmp_path, seed, codec):
    rng = random.Random(seed)
    lines = make_lines(rng, 40_000)
    source, data = tmp_path / "in", tmp_path / "data"
    source.write_bytes(b"\n".join(lines) + b"\n")
    words = ["file-producer", source, "t", "--dir", data, "--compression", codec]
    finish("topics", "create", "t", "--dir", data, "--partitions", PARTITIONS)
    killed = 0
    for _ in range(8):
        before = size_of(data)
        process = start(*words)
        target = before + rng.randrange(1, 2_500_000)
        moved = wait_until(lambda at=target: size_of(data) >= at, process)
        kill(process)
        killed += moved
    finish(*words)
    with kstore.open(data, read_only=True) as store:
        assert values_of(store, "t") == Routing(PARTITIONS).split(lines, 0)
    assert killed, "every producer finished before it was killed"


@pytest.mark.parametrize(("commit", "exactly"), [("sync", False), ("async", False), ("sync", True), ("async", True)])
def test_killed_consumers_lose_no_record(tmp_path, seed, commit, exactly):
    rng = random.Random(seed)
    lines = make_lines(rng, 30_000)
    source, data, copy = tmp_path / "in", tmp_path / "data", tmp_path / "out"
    source.write_bytes(b"\n".join(lines) + b"\n")
    finish("file-producer", source, "t", "--dir", data, "--partitions", PARTITIONS)
    words = ["file-consumer", "t", copy, "--dir", data, "--group", "g", "--commit", commit, "--commit-every", 500]
    words += ["--exactly"] if exactly else []
    killed = 0
    for _ in range(8):
        before = copy.stat().st_size if copy.exists() else 0
        process = start(*words)
        target = before + rng.randrange(1, 1_500_000)
        moved = wait_until(lambda at=target: copy.exists() and copy.stat().st_size >= at, process)
        kill(process)
        killed += moved
    finish(*words)
    wanted, found = Counter(lines), Counter(copy.read_bytes().split(b"\n")[:-1])
    assert not wanted - found, "lines are lost"
    assert not set(found) - set(wanted), "lines are invented"
    if exactly:
        assert found == wanted
    assert killed, "every consumer finished before it was killed"


def test_both_killed_while_the_file_grows_and_rotates(tmp_path, seed):
    """Producer and consumer side by side on one directory, the file appended to and rotated meanwhile."""
    rng = random.Random(seed)
    source, data, copy = tmp_path / "in", tmp_path / "data", tmp_path / "out"
    source.write_bytes(b"")
    finish("topics", "create", "t", "--dir", data, "--partitions", PARTITIONS)
    produce = ["file-producer", source, "t", "--dir", data, "--follow", "--poll-ms", 5, "--rotate-wait-ms", 50]
    consume = ["file-consumer", "t", copy, "--dir", data, "--group", "g", "--commit-every", 300, "--exactly"]
    producer = start(*produce)
    consumer = start(*consume, "--follow", "--poll-ms", 5)
    sent = []
    for turn in range(12):
        part = [b"%d.%d %s" % (turn, n, b"." * rng.randrange(300)) for n in range(rng.randrange(1, 3000))]
        with source.open("ab") as file:
            file.write(b"\n".join(part) + b"\n")
        sent += part
        if rng.random() < 0.5:
            let_run(rng, data)
        if rng.random() < 0.4:
            kill(producer)
            producer = start(*produce)
        if rng.random() < 0.4:
            kill(consumer)
            consumer = start(*consume, "--follow", "--poll-ms", 5)
        if turn == 6:
            kill(producer)
            finish(*(word for word in produce if word != "--follow"))
            os.rename(source, tmp_path / "in.1")
            source.write_bytes(b"")
            producer = start(*produce)
    for process in (producer, consumer):
        kill(process)
    finish(*(word for word in produce if word != "--follow"))
    finish(*consume)
    with kstore.open(data, read_only=True) as store:
        logged = [value for values in values_of(store, "t").values() for value in values]
    assert Counter(logged) == Counter(sent)
    assert Counter(copy.read_bytes().split(b"\n")[:-1]) == Counter(sent)
    said = finish("log", "verify", data)
    assert "no damage" in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_following_commands_cleanly(tmp_path, number, code):
    source, data, copy = tmp_path / "in", tmp_path / "data", tmp_path / "out"
    source.write_bytes(b"a\nb\n")
    producer = start("file-producer", source, "t", "--dir", data, "--follow")
    consumer = start("file-consumer", "t", copy, "--dir", data, "--group", "g", "--follow")
    assert wait_until(lambda: copy.exists() and copy.read_bytes() == b"a\nb\n", consumer)
    for process in (consumer, producer):
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code, said
    with kstore.open(data, read_only=True) as store:
        assert store.groups.committed("g")[("t", 0)].offset == 2


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 3 MiB; only root may mount one."""
    path = tmp_path / "small"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a file system")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def resize(path, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", str(path)], check=True)


def fail(*words):
    process = start(*words)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    return said


def test_a_full_disk_ends_in_one_line_and_nothing_is_lost_or_repeated(tmp_path, small_disk, seed):
    lines = make_lines(random.Random(seed), 20_000)
    source, data, copy = tmp_path / "in", small_disk / "data", small_disk / "out"
    source.write_bytes(b"\n".join(lines) + b"\n")
    produce = ["file-producer", source, "t", "--dir", data, "--partitions", PARTITIONS]
    consume = ["file-consumer", "t", copy, "--dir", data, "--group", "g", "--exactly"]
    for _ in range(2):
        said = fail(*produce)
        assert said.splitlines()[-1].startswith("kstore: ")
        assert "No space left" in said
        assert "Traceback" not in said
    resize(small_disk, "6m")
    finish(*produce)
    with kstore.open(data, read_only=True) as store:
        assert values_of(store, "t") == Routing(PARTITIONS).split(lines, 0)
    assert "no space left" in fail(*consume)
    resize(small_disk, "20m")
    finish(*consume)
    assert Counter(copy.read_bytes().split(b"\n")[:-1]) == Counter(lines)
    assert "no damage" in finish("log", "verify", data)
