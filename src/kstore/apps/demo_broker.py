"""The demonstration's chapter about the broker: one file, competing consumers, a rebalance.

Owns the story of `kstore serve` with the file applications as its clients: two members of a group share a topic's
partitions, one leaves halfway, the other takes over. Must not use anything but commands that a user can repeat.
Called by `demo`.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kstore.apps.demo_stage import Stage

TOPIC, GROUP, PARTITIONS = "served", "copiers", 4
PATIENCE_S = 60.0
POLL_S = 0.01
REBALANCE_DELAY = "group.initial.rebalance.delay.ms=200"
"""Kafka waits 3 s for more members before the first rebalance; two processes are here sooner."""


class Broker:
    """A broker process and the clients beside it; everything that was started ends with `processes`."""

    def __init__(self, stage: Stage) -> None:
        """The broker serves a directory of its own below the demonstration's."""
        self.stage = stage
        self.data = stage.directory / "served"
        self.outputs = [stage.directory / "one.txt", stage.directory / "two.txt"]
        self._processes: list[subprocess.Popen[str]] = []

    @contextmanager
    def processes(self) -> Iterator[None]:
        """Whatever still runs in the end is killed, by its own process id."""
        try:
            yield
        finally:
            for process in self._processes:
                if process.poll() is None:
                    process.kill()
                process.communicate()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `kstore WORDS` in the background and say so."""
        told = " ".join(words).replace(f"{self.stage.directory}/", "")
        print(f"$ kstore {told} &", flush=True)
        command = self.stage.command(*words)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._processes.append(process)
        return process

    def serve(self) -> tuple[subprocess.Popen[str], str]:
        """Start the broker; returns it and where it listens."""
        begun_s = time.monotonic()
        broker = self.start("serve", "--dir", str(self.data), "--listen", "127.0.0.1:0", "--set", REBALANCE_DELAY)
        line = broker.stdout.readline().strip() if broker.stdout else ""
        self.stage.check(line.startswith("ready "), f"the broker said {line!r}")
        print(f"  {line}   ({(time.monotonic() - begun_s) * 1e3:.0f} ms after its start, interpreter included)")
        return broker, line.removeprefix("ready ")

    def lines(self, output: Path) -> list[bytes]:
        """The whole lines that an output has."""
        return output.read_bytes().split(b"\n")[:-1] if output.exists() else []

    def size_bytes(self) -> int:
        """What both outputs hold."""
        return sum(path.stat().st_size for path in self.outputs if path.exists())

    def wait(self, size_bytes: int, each: int, what: str) -> bool:
        """Until the outputs together hold `size_bytes`, and each holds `each`; returns whether they did in time."""
        until_s = time.monotonic() + PATIENCE_S
        while self.size_bytes() < size_bytes or min(self.sizes()) < each:
            if time.monotonic() > until_s or any(process.poll() for process in self._processes):
                self.stage.check(False, what)
                return False
            time.sleep(POLL_S)
        return True

    def wait_for_members(self, count: int, at: tuple[str, str]) -> bool:
        """Until the group has so many members and all have their partitions; returns whether that came in time."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            told = subprocess.run(
                self.stage.command("top", "--count", "1", "--json", *at), capture_output=True, text=True, check=False
            )
            groups = json.loads(told.stdout)["groups"] if told.returncode == 0 else []
            if any((one["state"], one["members"]) == ("Stable", count) for one in groups if one["group"] == GROUP):
                return True
        self.stage.check(False, f"the group never had {count} members")
        return False

    def sizes(self) -> list[int]:
        """Of the outputs, 0 for one that is not there yet."""
        return [path.stat().st_size if path.exists() else 0 for path in self.outputs]

    def finish(self, process: subprocess.Popen[str], what: str) -> str:
        """SIGTERM, and the first line that it wrote for machines."""
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
        self.stage.check(process.returncode == 0, f"{what} ended with {process.returncode}: {err.strip()[-200:]}")
        return out


def tell(stage: Stage) -> None:
    """The chapter; says what is missing where librdkafka is not installed."""
    stage.say("the same file through a broker: two consumers of one group, one leaves halfway")
    if importlib.util.find_spec("confluent_kafka") is None:
        print("  left out: these commands speak to a broker through confluent-kafka; pip install 'kstore[client]'")
        return
    broker = Broker(stage)
    with broker.processes():
        _copy(stage, broker)


def _copy(stage: Stage, broker: Broker) -> None:
    served, address = broker.serve()
    at = ("--bootstrap-server", address)
    stage.show("topics", "create", TOPIC, "--partitions", str(PARTITIONS), *at)
    consumers = [
        broker.start("file-consumer", TOPIC, str(path), "--group", GROUP, "--follow", "--json", *at)
        for path in broker.outputs
    ]
    if not broker.wait_for_members(len(consumers), at):
        return
    begun_s = time.monotonic()
    broker.start("file-producer", str(stage.input), TOPIC, "--follow", *at)
    total = stage.input.stat().st_size
    if not broker.wait(total // 3, 1, "both consumers get lines"):
        return
    first = json.loads(broker.finish(consumers[0], "the first consumer").splitlines()[0])
    print(f"  the first consumer was asked to stop (SIGTERM) after {first['records']:,} lines: its partitions go over")
    if not broker.wait(total, 0, "the second consumer takes over"):
        return
    seconds = time.monotonic() - begun_s
    stage.show("groups", "describe", GROUP, *at)
    second = json.loads(broker.finish(consumers[1], "the second consumer").splitlines()[0])
    print(f"  the second one wrote {second['records']:,} lines")
    broker.finish(served, "the broker")
    wanted = Counter(stage.lines)
    found = Counter(line for path in broker.outputs for line in broker.lines(path))
    lost, extra = (wanted - found).total(), (found - wanted).total()
    print(f"  both files against the input: lost {lost}, written twice {extra}")
    stage.check(not lost and not extra, f"through the broker {lost} lines were lost and {extra} came twice")
    stage.check(stage.show("log", "verify", str(broker.data)).returncode == 0, "verify found damage in what was served")
    stage.facts.append(
        ("through a broker", f"{len(stage.lines):,} lines, two consumers, one rebalance, {seconds:.1f} s; lost {lost}")
    )
