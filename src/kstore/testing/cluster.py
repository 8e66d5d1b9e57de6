"""A broker inside a test: real sockets, any client, gone without a trace.

Owns the thread that the broker runs on and its directory. Must not know requests. Called by tests, and by the pytest
plugin (`kstore.testing.plugin`). What a test may do to the broker meanwhile is in `tampering`.

Invariants
1. When `start` returns, `bootstrap` accepts connections.
2. After `stop` no thread, socket or open file of the broker is left; the directory goes if it was made here, unless a
   test failed.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kstore.broker.service import Service
from kstore.config import BrokerConfig
from kstore.errors import StorageError, UsageError
from kstore.testing.interference import Interference
from kstore.testing.tampering import Tampering

if TYPE_CHECKING:
    from kstore.broker.node import Broker

DEFAULTS: Mapping[str, Any] = {
    "listeners": "127.0.0.1:0",
    "group.initial.rebalance.delay.ms": 0,
    "log.flush.scheduler.interval.ms": 1000,
}
"""What differs from a broker in production: a free port, and no wait for company in groups."""
START_S = 60.0
"""How long a start may take: recovery of a large directory is part of it."""


class Cluster(Tampering):
    """A running broker; a context manager. Where its block ends in an exception a temporary directory is kept, and a
    note on the exception says where, which pytest shows.

    >>> with Cluster() as cluster:
    ...     print(cluster.bootstrap)          # HOST:PORT for bootstrap.servers
    """

    def __init__(
        self, brokers: int = 1, *, config: Mapping[str, Any] | None = None, directory: str | None = None
    ) -> None:
        """`config` takes Kafka's broker keys; `directory` is kept afterwards, a temporary one is removed.

        Raises `UsageError` for more than one broker, `InvalidConfig`.
        """
        super().__init__()
        if brokers != 1:
            raise UsageError(f"a cluster has one broker in this version, not {brokers}")
        self._values: dict[str, Any] = {**DEFAULTS, **(config or {})}
        self._config = BrokerConfig.parse(self._values)
        self._own = directory is None
        self.directory = directory or ""
        """The log directory; empty before `start` makes a temporary one."""
        self.bootstrap = ""
        """HOST:PORT of the first listener while it runs."""
        self.listeners: dict[str, str] = {}
        """HOST:PORT of each listener by its name, while it runs."""
        self._service: Service | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self) -> Cluster:
        """Start the broker; raises what opening the directory or the port raises."""
        if self._thread is not None:
            raise UsageError("the cluster runs already")
        if not self.directory:
            self.directory = tempfile.mkdtemp(prefix="kstore-cluster-")
        ready = threading.Event()
        self._failure = None
        self._service = service = Service(
            self.directory, self._config, disk=self._disk, clock=self._clock.now_ms, loop_factory=self._clock.loop
        )

        def on_ready(address: tuple[str, int]) -> None:
            self.bootstrap = f"{address[0]}:{address[1]}"
            broker = service.broker
            if broker is not None:
                self._interference = Interference(broker)
                self.listeners = {one.own.name: f"{one.host}:{one.port}" for one in broker.listeners}
            ready.set()

        def run() -> None:
            try:
                service.run(on_ready)
            except BaseException as error:
                self._failure = error
            finally:
                ready.set()

        self._thread = threading.Thread(target=run, name="kstore-broker", daemon=True)
        self._thread.start()
        if not ready.wait(START_S):
            raise TimeoutError(f"no broker after {START_S} s")
        if self._failure is not None:
            self._end()
        return self

    def stop(self) -> None:
        """Stop cleanly; a second time is no harm. Raises `StorageError` where the stop was not clean."""
        between, self._interference = self._interference, None
        if self._service is not None:
            if between is not None and self._service.broker is not None:
                self._on_loop(between.let_go)
            self._service.stop()
        self._end()
        if self._own and self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = ""

    def restart(self) -> None:
        """Stop, cleanly unless the disk keeps it from that, and start again, on the same port and directory."""
        places = self.listeners
        own, self._own = self._own, False
        try:
            self.stop()
        except StorageError:
            pass  # what it could not make durable is for the recovery
        finally:
            self._own = own
        same = ",".join(f"{name}://{place}" for name, place in places.items())
        self._config = BrokerConfig.parse({**self._values, "listeners": same})
        self.start()

    @property
    def broker(self) -> Broker:
        """The broker itself, to look at; its methods belong to its own thread."""
        broker = None if self._service is None else self._service.broker
        if broker is None:
            raise UsageError("the cluster does not run")
        return broker

    @property
    def metrics_url(self) -> str:
        """Where Prometheus' metrics are; raises `UsageError` without `kstore.metrics.listener`."""
        metrics = None if self._service is None else self._service.metrics
        if metrics is None:
            raise UsageError("no metrics: the cluster does not run, or was not given kstore.metrics.listener")
        return metrics.url

    def _end(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = self._service = None
            self.bootstrap = ""
            self.listeners = {}
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def __enter__(self) -> Cluster:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._own:
            self._own = False
            error.add_note(f"the broker's log directory was kept: {self.directory}")
        self.stop()
