"""The brokers that are compared: `kstore serve` and a real Kafka, each a process of its own on loopback.

Owns their processes and directories; every process is stopped by its own handle. Kafka runs with the options of its own
start script (kafka-server-start.sh: 1 GiB heap, kafka-run-class.sh: its G1 flags), and defaults where a line below does
not say otherwise.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kstore.wire.codec import decode_response, encode_request
from kstore.wire.messages.offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from kstore.wire.messages.topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    DeleteTopicsRequest,
)
from kstore.wire.schema import Request

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import kafka  # noqa: E402

START_S = 60.0
STOP_S = 45.0
CREATE_VERSION = 4
DELETE_VERSION = 4
LIST_OFFSETS_VERSION = 5
JVM = """-server -Xms1g -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35
    -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true""".split()


class Server:
    """A broker process. `start_s` is the time from its start to the first accepted connection."""

    def __init__(self, name: str, directory: str, config: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.directory = directory
        self.config = dict(config or {})
        self.address = ("127.0.0.1", kafka.free_port())
        self.start_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What starts it; the directory is there."""
        raise AssertionError("of a subclass")

    def start(self) -> None:
        """Start and wait until it accepts."""
        os.makedirs(self.directory, exist_ok=True)
        command = self.command()
        with open(f"{self.directory}.out", "wb") as output:
            begun = time.perf_counter()
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, process_group=0,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            )  # fmt: skip
        while True:
            with contextlib.suppress(OSError), socket.create_connection(self.address, 1):
                self.start_s = time.perf_counter() - begun
                return
            if self._process.poll() is not None or time.perf_counter() - begun > START_S:
                self.stop()
                raise RuntimeError(f"{self.name} did not start:\n{self.output()[-4000:]}")
            time.sleep(0.002)

    def stop(self) -> None:
        """A clean stop, or kill -9 where that takes too long; the directory goes."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def output(self) -> str:
        """What it said since its start."""
        return Path(f"{self.directory}.out").read_text(errors="replace")

    # -- what it takes ----------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        """HOST:PORT."""
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def resident_bytes(self) -> int:
        """Memory that is there for the process (VmRSS), mapped files included."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def processor_s(self) -> float:
        """Processor time that the process has taken so far, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # -- topics -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> Iterator[str]:
        """A topic that is gone afterwards."""
        configs = [CreatableTopicConfig(name=key, value=value) for key, value in (config or {}).items()]
        topic = CreatableTopic(
            name=name, num_partitions=partitions, replication_factor=1, assignments=[], configs=configs
        )
        made = self.ask(CreateTopicsRequest(topics=[topic]), CREATE_VERSION)
        if made.topics[0].error_code:
            raise RuntimeError(f"{self.name} does not make {name}: {made.topics[0].error_message}")
        self._await_leaders(name, partitions)
        try:
            yield name
        finally:
            self.ask(DeleteTopicsRequest(topic_names=[name], timeout_ms=30_000), DELETE_VERSION)

    def _await_leaders(self, name: str, partitions: int) -> None:
        """Kafka answers when its controller knows the topic; a moment later its partitions can be written to."""
        wanted = [ListOffsetsPartition(partition_index=index, timestamp=-1) for index in range(partitions)]
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name=name, partitions=wanted)])
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            answer = self.ask(request, LIST_OFFSETS_VERSION)
            if not any(one.error_code for one in answer.topics[0].partitions):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name}: {name} has no leaders")

    def ask(self, request: Request, version: int) -> Any:
        """The answer to one request."""
        with socket.create_connection(self.address, 60) as sock:
            sock.sendall(b"".join(encode_request(request, version, 1, "bench")))
            size = int.from_bytes(_exactly(sock, 4), "big")
            return decode_response(request.API_KEY, version, _exactly(sock, size))[1]


class KStore(Server):
    """`kstore serve`; its modules are compiled before the clock starts, as pip leaves them."""

    def command(self) -> list[str]:
        """Of this source tree, with this interpreter."""
        compileall.compile_dir(ROOT / "src" / "kstore", quiet=1)
        settings = [word for key, value in self.config.items() for word in ("--set", f"{key}={value}")]
        return [
            sys.executable, "-m", "kstore", "serve", "--dir", self.directory, "--listen", self.bootstrap, *settings,
        ]  # fmt: skip


class Kafka(Server):
    """Apache Kafka, broker and controller in one process; the directory is formatted before the clock starts."""

    def command(self) -> list[str]:
        """The JVM with Kafka's jars, which Maven fetches the first time."""
        controller = kafka.free_port()
        values = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": f"{self.directory}/data",
            "offsets.topic.replication.factor": "1",
            "group.initial.rebalance.delay.ms": "0",
            "log.segment.delete.delay.ms": "1000",
            **self.config,
        }
        properties = Path(self.directory) / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        format_it = self._java("kafka.tools.StorageTool", "format", "-t", kafka.CLUSTER_ID, "-c", str(properties))
        subprocess.run(format_it, check=True, capture_output=True)
        return self._java("kafka.Kafka", str(properties))

    def _java(self, cls: str, *args: str) -> list[str]:
        log4j = kafka.SOURCES / "log4j2.xml"
        return ["java", *JVM, f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{kafka.install()}/*", cls, *args]


def why_no_kafka() -> str | None:
    """The reason for which no Kafka can run here; None when one can."""
    return kafka.why_not()


def kafka_version() -> str:
    """Of the jars."""
    return str(kafka.VERSION)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("the broker closed the connection")
        data += more
    return data
