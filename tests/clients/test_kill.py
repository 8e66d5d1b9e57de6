"""`kstore serve` killed over and over under real clients: nothing acknowledged is lost, nothing comes twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clients.test_confluent import TIMEOUT_S, consume_all
from clients.test_groups import confluent_consumer, until

confluent_kafka = pytest.importorskip("confluent_kafka")

pytestmark = pytest.mark.clients

SOURCES = Path(__file__).parents[2] / "src"
KILLS = 5
RECORDS_A_LIFE = 400


class Killable:
    """A broker as a process, always on the same port."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.bootstrap = f"127.0.0.1:{probe.getsockname()[1]}"
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "kstore", "serve", "--dir", str(self._directory), "--listen", self.bootstrap]
        environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("ready ")

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(TIMEOUT_S)
        self._process.stdout.close()


def test_kill_after_kill(tmp_path: Path) -> None:
    broker = Killable(tmp_path / "data")
    broker.start()
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": broker.bootstrap,
            "enable.idempotence": True,
            "linger.ms": 1,
            "batch.num.messages": 20,
            "reconnect.backoff.max.ms": 100,
            "retry.backoff.ms": 20,
        }
    )
    delivered: list[bytes] = []
    failures: list[Any] = []

    def on_delivery(error: Any, message: Any) -> None:
        if error is None:
            delivered.append(message.value())
        else:
            failures.append(error)

    sent = 0
    committed = 0
    for _ in range(KILLS):
        wanted = len(delivered) + RECORDS_A_LIFE // 2
        for _ in range(RECORDS_A_LIFE):
            producer.produce("t", b"%d" % sent, partition=0, on_delivery=on_delivery)
            sent += 1
        until(lambda: len(delivered) >= wanted, lambda: producer.poll(0.01))  # noqa: B023
        consumer = confluent_consumer(broker.bootstrap, "g", **{"session.timeout.ms": 6000})
        (position,) = consumer.committed([confluent_kafka.TopicPartition("t", 0)], TIMEOUT_S)
        assert max(position.offset, 0) == committed, "no commit is lost or goes back"
        committed = wanted
        consumer.commit(offsets=[confluent_kafka.TopicPartition("t", 0, committed)], asynchronous=False)
        consumer.close()
        broker.kill()
        broker.start()
    assert producer.flush(TIMEOUT_S) == 0
    assert failures == []
    found = consume_all(broker.bootstrap, "t", sent)
    broker.kill()
    assert found == [b"%d" % number for number in range(sent)], "all of them, once, in order"
