"""What takes part in a run, and how turns are taken.

Owns the brokers, the process that the clients run in, and the rows so far. Sections (`raw_frames`, ...) add rows.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from benchmarks.broker import results
from benchmarks.broker.results import Row
from benchmarks.broker.servers import Kafka, KStore, Server, why_no_kafka

T = TypeVar("T")

FSYNC = "fsync"
PAGE_CACHE = "page cache"
FLUSH_EACH = {"flush.messages": "1"}
"""Topic configuration with which Kafka answers after fsync."""


class Run:
    """A context manager: the brokers run inside it."""

    def __init__(self, directory: str, *, quick: bool) -> None:
        """`quick` takes few rounds of little work: to see that it runs."""
        self.directory = directory
        self.quick = quick
        self.rounds = 1 if quick else 5
        self.rows: list[Row] = []
        self.kstore = KStore("kstore", f"{directory}/kstore")
        self.weak = KStore("kstore", f"{directory}/weak", {"kstore.acks.all": "page-cache"})
        """A kstore that answers acks=all from the page cache, as Kafka does by default."""
        self.no_kafka = why_no_kafka()
        self.kafka = None if self.no_kafka else Kafka("Kafka", f"{directory}/kafka")
        self._stack = contextlib.ExitStack()
        self._clients = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self._names = itertools.count()

    def __enter__(self) -> Run:
        with contextlib.ExitStack() as stack:
            stack.callback(self._clients.shutdown)
            for server in filter(None, (self.kstore, self.weak, self.kafka)):
                stack.callback(server.stop)
                server.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            for server in filter(None, (self.kstore, self.weak, self.kafka)):
                print(f"{server.name} said last:\n{server.output()[-2000:]}", file=sys.stderr)
        self._stack.close()

    def client(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Run a function in the clients' process."""
        return self._clients.submit(function, *args, **named).result()

    def topic_name(self) -> str:
        """A new one; all have the same length, so that frames have too."""
        return f"bench-{next(self._names):06}"

    def turns(self, contestants: Mapping[str, Callable[[], T]], *, warm_up: bool = True) -> dict[str, list[T]]:
        """What each came to in each round, in turns; the first round does not count where there is a warm-up."""
        found: dict[str, list[T]] = {name: [] for name in contestants}
        for number in range(self.rounds + warm_up):
            for name, contestant in contestants.items():
                value = contestant()
                if number >= warm_up:
                    found[name].append(value)
        return found

    def servers(self, *, durable: bool, acks: int) -> dict[str, tuple[Server, dict[str, str]]]:
        """Who is compared where a produce with `acks` is, or is not, on the medium when it is answered.

        By name: the broker, and what its topics have to be configured with for that.
        """
        ours = self.kstore if durable or acks != -1 else self.weak
        found: dict[str, tuple[Server, dict[str, str]]] = {
            "kstore": (ours, FLUSH_EACH if durable and acks != -1 else {})
        }
        if self.kafka is not None:
            found["kafka"] = (self.kafka, FLUSH_EACH if durable else {})
        return found

    def both(self) -> dict[str, Server]:
        """Each broker in its usual configuration."""
        return {"kstore": self.kstore} if self.kafka is None else {"kstore": self.kstore, "kafka": self.kafka}

    @contextlib.contextmanager
    def topics(
        self, servers: Mapping[str, tuple[Server, dict[str, str]]]
    ) -> Iterator[dict[str, tuple[Server, str]]]:
        """A topic at each broker, as long as the context is open."""
        with contextlib.ExitStack() as stack:
            yield {
                name: (server, stack.enter_context(server.topic(self.topic_name(), 1, config)))
                for name, (server, config) in servers.items()
            }

    def add(self, row: Row) -> None:
        """A row is done."""
        self.rows.append(row)
        print("  ".join(cell for cell in results.cells(row) if cell), file=sys.stderr, flush=True)
