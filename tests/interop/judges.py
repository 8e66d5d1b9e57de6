"""The clients that judge a broker, each a program of its own in its own language, all driven in the same way.

A judge reads one JSON command a line on stdin and answers with one JSON object a line on stdout. Every command has
`op` and `bootstrap`; a failure is answered by `{"code": N, "error": text}` with the error code that the broker sent (or
Kafka's nearest one for a client's own failure), a command that the client has no call for by `{"unsupported": true}`.

| op | arguments | answer |
|---|---|---|
| produce | topic, partition, records, codec, acks, idempotent; `id` keeps the producer open | offsets, as far as told |
| seek | id, topic, partition, from (beginning, end, stored, N, {timestamp}), group, isolation, reset | position |
| poll | id, count, wait_ms | records |
| join | id, group, topics, protocol (classic, consumer), assignor, instance | |
| member | id | assignment, read: [[partition, offset, value]] since it joined |
| commit, leave | id: commits what the member read, waits; leaves the group | |
| close | id: of a producer or a consumer | |
| create_topics, delete_topics, create_partitions, list_topics, describe_topic, describe_config, alter_config, | | |
| list_offsets, delete_records, describe_cluster, describe_producers | the admin client's | codes by name, values |
| list_groups, describe_group, delete_groups, committed, alter_committed, delete_committed | | the same |
| tool | class, args, stdin: one of Kafka's command-line tools (Java alone) | exit, out, err |

Keys, values and headers are text; a missing one is null. Owns the processes. Knows nothing of what is asked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

from support import kafka

HERE = Path(__file__).parent
ANSWER_S = 90.0
"""The longest that one command may take: clients give up by themselves before."""


class Refused(Exception):
    """An answer that names an error; `code` is Kafka's number."""

    def __init__(self, op: str, answer: dict[str, Any]) -> None:
        self.code: int = answer["code"]
        super().__init__(f"{op}: error code {self.code}, {answer.get('error')}")


class Judge:
    """One client in its process, against one broker: `judge("op", ...)` is a command and its answer."""

    def __init__(self, name: str, bootstrap: str) -> None:
        entry = JUDGES[name]
        self.name, self.bootstrap, self.lacks = name, bootstrap, entry.lacks
        command = entry.command()
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name=f"answers of {name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def ask(self, op: str, /, **arguments: Any) -> dict[str, Any]:
        """The answer, an error or not."""
        command = json.dumps({"op": op, "bootstrap": self.bootstrap, **arguments})
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self._lines.get(timeout=ANSWER_S)
        except (queue.Empty, BrokenPipeError):
            line = ""
        if not line:
            raise TimeoutError(f"{self.name} gave no answer to {command}\n{self.stderr()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __call__(self, op: str, /, **arguments: Any) -> dict[str, Any]:
        """The answer; raises `Refused` when it is an error."""
        answer = self.ask(op, **arguments)
        if "code" in answer and "error" in answer:
            raise Refused(op, answer)
        return answer

    def stderr(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-2500:]

    def close(self) -> None:
        """End the process; one that does not end by itself is killed."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            self.process.wait(5)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()


# -- what each needs, and how it starts --------------------------------------------------------------------------


def built_once(folder: str, make: Callable[[Path, Path], object], pattern: str = "*") -> Path:
    """A directory in the cache with what `make(sources, to)` built of `folder`: once for every state of its files."""
    sources = HERE / folder
    files = sorted(path for path in sources.glob(pattern) if path.is_file())
    digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()[:12]
    built = kafka.cache().parent / "judges" / f"{folder}-{digest}"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=built.parent, prefix=f".{folder}-"))
        try:
            make(sources, fresh)
            fresh.rename(built)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return built


def _java() -> list[str]:
    libs = kafka.install()
    flags = ["-nowarn", "-Xlint:none", "-XDsuppressNotes", "-cp", f"{libs}/*"]

    def make(sources: Path, to: Path) -> None:
        subprocess.run(["javac", *flags, "-d", str(to), *map(str, sorted(sources.glob("*.java")))], check=True)

    classes = built_once("java", make)
    return kafka.jvm(classes, libs, "Judge")


GO = (1, 26)
"""The oldest Go that franz-go's module file allows."""


def _why_no_go() -> str | None:
    if shutil.which("go") is None:
        return f"franz-go needs Go {GO[0]}.{GO[1]}, and there is no go on the path"
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < GO:
        return f"franz-go needs Go {GO[0]}.{GO[1]}, and this is {version}"
    return None


def _go() -> list[str]:
    def make(sources: Path, to: Path) -> None:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
        command = ["go", "build", "-trimpath", "-o", str(to / "judge"), "."]
        subprocess.run(command, cwd=sources, env=environment, check=True)

    return [str(built_once("go", make) / "judge")]


def _why_no_node() -> str | None:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            return f"the JavaScript clients need Node.js and npm, and there is no {tool} on the path"
    return None


def _node(program: str) -> list[str]:
    """Run by the Node.js that package-lock.json pins: @platformatic/kafka needs a newer one than many systems have."""

    def make(sources: Path, to: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(sources / name, to)
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(["npm", "ci", *flags], cwd=to, check=True, stdout=subprocess.DEVNULL)

    modules = built_once("node", make, "package*.json")
    pinned = next((modules / "node_modules").glob("node-linux-*/bin/node"), None)
    return [str(pinned or "node"), str(HERE / "node" / program), str(modules)]


def _python(package: str, program: str) -> tuple[Callable[[], str | None], Callable[[], list[str]]]:
    """In an interpreter of its own, from the environment that `make interop` makes."""

    def why_not() -> str | None:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed: `make interop` installs it"
        return None

    return why_not, lambda: [sys.executable, str(HERE / "python" / program)]


EMPTY = "records without key and value"


class Entry(NamedTuple):
    """A judge: why it cannot run here (None: it can), the command that starts it, and what its client cannot send."""

    why_not: Callable[[], str | None]
    command: Callable[[], list[str]]
    """Installs it when it is new."""
    lacks: frozenset[str] = frozenset()


JUDGES: dict[str, Entry] = {
    "java": Entry(kafka.why_not, _java),
    "franz-go": Entry(_why_no_go, _go),
    "kafkajs": Entry(_why_no_node, lambda: _node("kafkajs.mjs"), frozenset({"null headers"})),
    "platformatic": Entry(
        _why_no_node, lambda: _node("platformatic.mjs"), frozenset({"giving up when fenced", "log append time"})
    ),
    "confluent-kafka": Entry(*_python("confluent_kafka", "judge_confluent.py")),
    "kafka-python": Entry(
        *_python("kafka", "judge_kafka_python.py"), frozenset({"null headers", EMPTY, "giving up when fenced"})
    ),
    "aiokafka": Entry(
        *_python("aiokafka", "judge_aiokafka.py"), frozenset({"null headers", EMPTY, "giving up when fenced"})
    ),
}
