"""A real Apache Kafka on loopback, as the judge of the interop tests.

Owns: fetching the jars by Maven into a cache once a machine, one KRaft broker (with its controller) on a given log
directory, and a long-lived JVM that drives clients, Kafka's log reader and DumpLogSegments. Needs a JDK (17 or newer)
and, the first time, mvn; `why_not()` says what is missing. Every process is stopped by its own handle.

The cache is $KSTORE_CACHE/kafka-<version>, by default ~/.cache/kstore/kafka-<version>.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).with_name("kafka_driver")
VERSION = re.search(r"<kafka.version>(.*?)<", (SOURCES / "pom.xml").read_text())[1]
CLUSTER_ID = "kstoreTestsCluster-AAA"
# Start time, not throughput, is what these JVMs cost: the first compiler only, and no parallel collector threads.
JVM = ["-Xms64m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 45


def cache() -> Path:
    root = os.environ.get("KSTORE_CACHE") or Path.home() / ".cache" / "kstore"
    return Path(root) / f"kafka-{VERSION}"


def why_not() -> str | None:
    """The reason for which no Kafka can run here; None when one can."""
    for tool in ("java", "javac"):
        if shutil.which(tool) is None:
            return f"a real Kafka needs a JDK, 17 or newer, and there is no {tool} on the path"
    if not (cache() / ".complete").exists() and shutil.which("mvn") is None:
        return f"Kafka's jars are not in {cache()}, and there is no mvn on the path to fetch them"
    return None


def install() -> Path:
    """The directory with Kafka's jars; Maven fetches them when it is the first time."""
    libs = cache()
    if not (libs / ".complete").exists():
        libs.mkdir(parents=True, exist_ok=True)
        pom = str(SOURCES / "pom.xml")
        command = ["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={libs}"]
        subprocess.run(command, check=True)
        (libs / ".complete").touch()
    return libs


def driver_classes() -> Path:
    """The compiled Driver.java, kept in the cache under the digest of its source."""
    libs = install()
    source = SOURCES / "Driver.java"
    classes = libs / f"driver-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not (classes / "Driver.class").exists():
        with tempfile.TemporaryDirectory(dir=libs) as fresh:
            command = ["javac", "-nowarn", "-Xlint:none", "-XDsuppressNotes", "-d", fresh, "-cp", f"{libs}/*"]
            subprocess.run([*command, str(source)], check=True)
            shutil.copytree(fresh, classes, dirs_exist_ok=True)
    return classes


def java(cls: str, *args: str) -> list[str]:
    """The command that runs a class of Kafka's, or the driver."""
    return jvm(driver_classes(), install(), cls, *args)


def jvm(classes: Path, libs: Path, cls: str, *args: str) -> list[str]:
    """The command that runs a class out of a directory of classes and one of jars."""
    settings = f"-Dlog4j2.configurationFile={SOURCES / 'log4j2.xml'}"
    return ["java", *JVM, settings, "-cp", f"{classes}:{libs}/*", cls, *args]


def run(cls: str, *args: str) -> str:
    """Runs one of Kafka's tools to its end and returns what it printed; raises when it fails."""
    done = subprocess.run(java(cls, *args), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{cls} {' '.join(args)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def two_free_ports() -> int:
    """A free port whose neighbour is free too: the controller listens there."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
            return port


class Broker:
    """One broker and controller in one process, on `log_dir`, which is formatted when it is new.

    `output` is all it said since the last start, stderr and stdout; `config` are more broker keys. With `properties`
    the broker starts from that very file, and only its ports are asked from it.
    """

    def __init__(self, log_dir: Path, config: dict[str, str] | None = None, properties: Path | None = None) -> None:
        self.log_dir = Path(log_dir)
        self.config = dict(config or {})
        self.given = properties
        self.port = free_port()
        self.controller_port = free_port()
        if properties is not None:
            listeners = re.search(r"^listeners=(.*)$", properties.read_text(), re.M)[1]
            self.port = int(re.search(r"PLAINTEXT://[^:,]*:(\d+)", listeners)[1])
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self._output_path.read_text(errors="replace")

    @property
    def _output_path(self) -> Path:
        return self.log_dir.with_name(self.log_dir.name + ".out")

    def properties(self) -> Path:
        if self.given is not None:
            return self.given
        values = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.log_dir),
            **QUICK,
            **self.config,
        }
        path = self.log_dir.with_name(self.log_dir.name + ".properties")
        path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        return path

    def start(self) -> Broker:
        """Starts and waits until the broker answers; a start that fails leaves no process."""
        path = str(self.properties())
        if not (self.log_dir / "meta.properties").exists():
            run("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", path)
        with self._output_path.open("wb") as log:
            self.process = subprocess.Popen(
                java("kafka.Kafka", path), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            self._await()
        except BaseException:
            self.kill()
            raise
        return self

    def _await(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"Kafka exited with {self.process.returncode}:\n{self.output[-4000:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"Kafka does not listen on {self.port}:\n{self.output[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """A clean stop; raises when the broker had to be killed instead."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"Kafka did not stop by itself:\n{self.output[-4000:]}") from None

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()
            process.wait()

    def complaints(self) -> list[str]:
        """Lines that speak of recovery, strays, damage or errors: none after a boot on a directory in order."""
        return [line for line in self.output.splitlines() if COMPLAINT.search(line) and not HARMLESS.search(line)]

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill() if _[0] is not None else self.stop()


QUICK = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.num.partitions": "2",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.retention.ms": "-1",
    "log.retention.check.interval.ms": "300",
    "log.initial.task.delay.ms": "300",
    "log.cleaner.backoff.ms": "300",
    "log.cleaner.dedupe.buffer.size": "4194304",
}
"""Broker keys that make tests quick: everything internal is small, and the background tasks run at once."""

COMPLAINT = re.compile(
    r"^(ERROR|FATAL|WARN)|no clean shutdown file|[Rr]ecovering (unflushed )?segment|Recovering \d+ logs"
    r"|Found invalid messages|Could not find offset index|[Ss]tray|UNCLEAN|[Cc]orrupt|[Tt]runcat"
)
HARMLESS = re.compile(
    r"partition=__cluster_metadata-0"  # a controller re-reads its own log at every boot
    r"|WARN QuorumController .*Performing controller activation"
    r"|WARN NetworkClient .*(already been closed|could not be established|disconnected)"
)


class Driver:
    """Driver.java in its JVM: `driver(op, ...)` is one command and its answer."""

    def __init__(self, bootstrap: str = "") -> None:
        self.bootstrap = bootstrap
        self._lock = threading.Lock()
        self.process = subprocess.Popen(
            java("Driver"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __call__(self, op: str, **arguments: Any) -> dict[str, Any]:
        command = json.dumps({"op": op, "bootstrap": self.bootstrap, **arguments})
        with self._lock:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the JVM ended"}
        if "error" in answer:
            raise RuntimeError(f"{op}: {answer['error']}")
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(20)

    # -- clients --

    def topic(self, name: str, partitions: int = 1, **config: object) -> dict[str, str]:
        """Creates a topic; `segment_bytes` is spelled internal.segment.bytes, which allows small segments."""
        keys = {key.replace("_", ".").replace("segment.bytes", "internal.segment.bytes"): str(value)
                for key, value in config.items()}  # fmt: skip
        self("topic", topic=name, partitions=partitions, config=keys)
        return keys

    def open(self, name: str, **config: object) -> str:
        """A producer under that name, its config with _ for dots."""
        self("open", id=name, config={key.replace("_", "."): str(value) for key, value in config.items()})
        return name

    def consume(self, topic: str, partition: int = 0, **arguments: Any) -> list[dict[str, Any]]:
        """All records of a partition as the Java consumer sees them, keys and values in hex."""
        return self("consume", topic=topic, partition=partition, **arguments)["records"]

    # -- files --

    def dump(self, *files: Path | str, flags: tuple[str, ...] | None = None) -> tuple[str, str]:
        """DumpLogSegments over the files, keys and payloads in hex: its text, and its complaints on stderr."""
        if flags is None:
            flags = ("--key-decoder-class", "Driver$HexDecoder", "--value-decoder-class", "Driver$HexDecoder")
        answer = self("dump", files=[str(file) for file in files], flags=list(flags))
        return answer["text"], answer["errors"]
