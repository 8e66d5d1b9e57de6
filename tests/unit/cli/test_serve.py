"""`kstore serve` as a process: the ready line, a clean stop, death at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import kstore
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from support.wire_client import WireClient, fetch_request

SOURCES = Path(__file__).parents[3] / "src"


@contextmanager
def serving(directory: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `kstore serve`, and where it listens."""
    command = [sys.executable, "-m", "kstore", "serve", "--dir", str(directory), "--listen", "127.0.0.1:0", *words]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready "), process.communicate()
        yield process, line.split()[1]
    finally:
        process.kill()
        process.communicate()


def test_a_clean_stop_answers_and_flushes(tmp_path: Path) -> None:
    with serving(tmp_path / "d", "--set", "num.partitions=2") as (process, address), WireClient(address) as client:
        topic = client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9).topics[0]
        assert len(topic.partitions) == 2
        client.produce("t", [b"x"], acks=1)
        client.post(fetch_request("t", 1, max_wait_ms=600_000), 12)
        process.send_signal(signal.SIGTERM)
        assert client.receive(1, 12).responses[0].partitions[0].high_watermark == 1
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, ""), err
        assert "Traceback" not in err
    assert (tmp_path / "d" / ".kafka_cleanshutdown").exists()
    with kstore.open(tmp_path / "d") as store:
        assert store.partition("t", 0).log_end_offset == 1


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    count = 0
    for _ in range(3):
        with serving(tmp_path / "d") as (process, address), WireClient(address) as client:
            client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
            for acks in (-1, 1, -1):
                assert client.produce("t", [b"%d" % count], acks=acks).base_offset == count
                count += 1
            process.send_signal(signal.SIGKILL)
            process.wait(30)
    with kstore.open(tmp_path / "d") as store:
        assert [record.value for record in store.partition("t", 0).read(0)] == [b"%d" % n for n in range(count)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "nonsense=1"], "nonsense"),
        (["--set", "num.partition=1"], "num.partitions"),
        (["--set", "num.partitions"], "KEY=VALUE"),
        (["--listen", "nowhere"], "HOST:PORT"),
        (["--properties", "absent"], "No such file"),
        (["--listen", "SSL://127.0.0.1:1"], "ssl.keystore.location"),
    ],
)
def test_wrong_use(tmp_path: Path, words: list[str], said: str) -> None:
    command = [sys.executable, "-m", "kstore", "serve", "--dir", str(tmp_path / "d"), *words]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(SOURCES)}
    )
    assert ran.returncode == 2
    assert said in ran.stderr
    assert not (tmp_path / "d").exists()


def test_a_properties_file(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_text("# as Kafka has it\nprocess.roles=broker\nnum.partitions = 3\nlisteners=PLAINTEXT://127.0.0.1:1\n")
    words = ("--properties", str(file), "--set", "num.partitions=4")
    with serving(tmp_path / "d", *words) as (_, address), WireClient(address) as client:
        topic = client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9).topics[0]
        assert len(topic.partitions) == 4, "--set comes on top"


def test_keys_of_kafka_that_mean_nothing_here_are_named(tmp_path: Path) -> None:
    with serving(tmp_path / "d", "--set", "process.roles=broker") as (process, _):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert "process.roles" in err


def test_logs_as_json(tmp_path: Path) -> None:
    words = ("--set", "process.roles=broker", "--log-format", "json", "--verbose")
    with serving(tmp_path / "d", *words) as (process, address):
        with WireClient(address) as client:
            client.socket.sendall(b"\x00\x00\x00\x04abcd")
            assert client.is_closed_by_broker()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    lines = [json.loads(line) for line in err.splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    assert any("process.roles" in line["message"] and line["level"] == "WARNING" for line in lines)
    assert any(line["logger"] == "kstore.broker.connection" for line in lines)
    assert all(line["time"].endswith("+00:00") for line in lines)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with serving(tmp_path / "d") as (_, address):
        command = [sys.executable, "-m", "kstore", "serve", "--dir", str(tmp_path / "e"), "--listen", address]
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(SOURCES)}
        )
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
