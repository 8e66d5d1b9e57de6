"""Kafka Streams and Kafka Connect as processes: what people run at a broker without writing a client of their own.

Owns their jars (fetched by Maven into the cache once), and the processes. Knows nothing of what a test does with them.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from interop.judges import built_once

from support import kafka

WAIT_S = 60.0
PAUSE_S = 0.1


def jars() -> Path:
    """The directory with the jars and with `WordCount`."""

    def make(sources: Path, to: Path) -> None:
        command = ["mvn", "-q", "-B", "-f", str(sources / "pom.xml"), "dependency:copy-dependencies"]
        subprocess.run([*command, f"-DoutputDirectory={to}"], check=True)
        subprocess.run(
            ["javac", "-nowarn", "-Xlint:none", "-cp", f"{to}/*", "-d", str(to), str(sources / "WordCount.java")],
            check=True,
        )

    return built_once("frameworks", make)


def java(program: str, *args: str) -> list[str]:
    """The command that runs one of the programs."""
    found = jars()
    return kafka.jvm(found, found, program, *args)


class WordCount:
    """One instance of the Streams program; a context manager, whose end stops it in good order."""

    def __init__(self, bootstrap: str, home: Path) -> None:
        home.mkdir()
        self._errors = (home / "stderr").open("wb")
        self._process = subprocess.Popen(
            java("WordCount", bootstrap, str(home)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put("")

    def _next(self, word: str) -> str:
        """What stands behind `word` in the next line that begins with it."""
        deadline = time.monotonic() + WAIT_S
        while True:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            if not line:
                raise RuntimeError(f"WordCount ended\n{Path(self._errors.name).read_text()[-3000:]}")
            if line.startswith(word + " "):
                return line.removeprefix(word + " ")

    def await_running(self) -> None:
        """Return when it has partitions and their state."""
        while self._next("state") != "RUNNING":
            pass

    def count(self, word: str) -> int:
        """How often it has seen the word; -1 where another instance knows."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"count {word}\n")
        self._process.stdin.flush()
        return int(self._next("count"))

    def __enter__(self) -> WordCount:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._errors.close()


class Worker:
    """A distributed worker of Connect, alone in its cluster; a context manager that stops it by SIGTERM."""

    def __init__(self, bootstrap: str, home: Path) -> None:
        home.mkdir()
        self._url = f"http://127.0.0.1:{kafka.free_port()}"
        values = {
            "bootstrap.servers": bootstrap,
            "group.id": "connect",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            **{f"{topic}.storage.topic": f"connect-{topic}" for topic in ("offset", "config", "status")},
            **{f"{topic}.storage.replication.factor": "1" for topic in ("offset", "config", "status")},
            "offset.storage.partitions": "2",
            "status.storage.partitions": "1",
            "offset.flush.interval.ms": "200",
            "listeners": self._url,
            "plugin.discovery": "service_load",
        }
        properties = home / "worker.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        self._output = (home / "output").open("wb")
        self._process = subprocess.Popen(
            java("org.apache.kafka.connect.cli.ConnectDistributed", str(properties)),
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request to its REST interface; retried while it starts or rebalances."""
        deadline = time.monotonic() + WAIT_S
        data = None if body is None else json.dumps(body).encode()
        while True:
            request = urllib.request.Request(
                self._url + path, data, {"Content-Type": "application/json"}, method=method
            )
            try:
                with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                    return json.load(answer)
            except (urllib.error.URLError, ConnectionError) as error:
                passing = not isinstance(error, urllib.error.HTTPError) or error.code in (404, 409, 503)
                if not passing or time.monotonic() > deadline or self._process.poll() is not None:
                    said = Path(self._output.name).read_text(errors="replace")[-3000:]
                    raise RuntimeError(f"{method} {path}: {error}\n{said}") from error
            time.sleep(PAUSE_S)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
