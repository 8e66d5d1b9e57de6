"""The two brokers that are compared, told the same: `kstore serve` in a process of its own, and a real Kafka.

Owns their processes and directories; both keep their port when they are started again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from support import kafka

BOTH = {
    "num.partitions": "1",
    "offsets.topic.num.partitions": "2",
    "offsets.topic.replication.factor": "1",
    "log.retention.ms": "-1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.heartbeat.interval.ms": "200",
}
"""What both are told: small and quick."""
KAFKA = {"group.consumer.min.heartbeat.interval.ms": "100"}
"""Kafka takes no interval under five seconds unless it is told that it may."""
STOP_S = 30.0


class Broker(Protocol):
    """What a scenario may do to a broker."""

    name: str

    @property
    def bootstrap(self) -> str: ...

    def start(self) -> object: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


class Kstore:
    """`kstore serve` over `directory`; `kill` is kill -9."""

    name = "kstore"

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, kafka.free_port()
        self.process: subprocess.Popen[str] | None = None
        self._log = directory.with_name(directory.name + ".out")

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def start(self) -> Kstore:
        """Returns when it accepts connections."""
        settings = [word for key, value in BOTH.items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "kstore", "serve", "--dir", str(self.directory), "--listen", self.bootstrap]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([*command, *settings], stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()).startswith("ready "):
            self.kill()
            raise RuntimeError(f"kstore serve said {line!r}\n{self.output[-4000:]}")
        return self

    def stop(self) -> None:
        """SIGTERM; raises when that is not a clean end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_S)
        self._gone()
        if code != 0:
            raise RuntimeError(f"kstore serve ended with {code}\n{self.output[-4000:]}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._gone()

    def _gone(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None


class Kafka(kafka.Broker):
    """A real Kafka with the same configuration."""

    name = "kafka"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, {**BOTH, **KAFKA})
