"""A broker as a service: on an event loop of its own, in this process, from a directory and a configuration.

Owns opening and closing the directory, the loop, and what happens on signals. Called by `kstore serve` (on the main
thread) and by `kstore.testing` (on a thread).

Invariants
1. `on_ready` is called once, when clients are accepted.
2. When `run` returns, or raises, nothing of the broker is left but the directory.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import signal
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kstore.broker.loop import Loop
from kstore.broker.node import Broker
from kstore.log.disk import OsDisk
from kstore.partition import Partition
from kstore.store.store import Store, wall_clock_ms

if TYPE_CHECKING:
    from kstore.broker.metrics import MetricsServer
    from kstore.config import BrokerConfig
    from kstore.log.disk import Disk

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger(__name__)


def open_store(path: str, config: BrokerConfig, disk: Disk, clock: Callable[[], int]) -> Store:
    """The directory, made where it is missing, recovered where it has to be; its background work is the broker's.

    Each start is a new term of leadership in every partition, and clients are not trusted to count their records.
    """
    if find_spec("cramjam") is None:
        _log.warning("without the extra 'compression' batches of snappy, lz4 and zstd are stored unchecked")
    return Store(path, config.store, disk, clock, background=False, on_open=_lead)


def _lead(partition: Partition) -> None:
    partition.begin_term()
    partition.check_records()


class Service:
    """One broker and the loop it runs on. `run` on one thread; `stop` from any."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        config: BrokerConfig,
        *,
        disk: Disk | None = None,
        clock: Callable[[], int] = wall_clock_ms,
        loop_factory: Callable[[], Loop] = Loop,
    ) -> None:
        """Nothing is opened yet; `disk`, `clock` and the loop, whose timers go by it, are replaced by tests."""
        self._path = os.fspath(path)
        self._config = config
        self._disk = disk or OsDisk()
        self._clock = clock
        self._loop_factory = loop_factory
        self._loop: Loop | None = None
        self._stop_asked = threading.Event()
        self.broker: Broker | None = None
        """The broker while it runs; its methods belong to its loop."""
        self.metrics: MetricsServer | None = None
        """Where it is scraped, while it runs and where that was asked for."""

    def run(self, on_ready: Callable[[tuple[str, int]], None], *, signals: bool = False) -> None:
        """Serve until `stop`, or with `signals` until SIGTERM or SIGINT; then stop cleanly.

        Raises what opening the directory raises, `OSError` where the address cannot be had, and `StorageError` where
        the stop could not be clean.
        """
        self._loop = loop = self._loop_factory()
        before = {number: signal.signal(number, self._stop_by_signal) for number in STOP_SIGNALS} if signals else {}
        try:
            self._serve(loop, on_ready)
        finally:
            loop.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Have `run` return soon; may be called at any time, from any thread, more than once."""
        self._stop_asked.set()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
                self._loop.call_soon_threadsafe(self._stop_asked.is_set)

    def _stop_by_signal(self, *_: object) -> None:
        self.stop()

    def _serve(self, loop: Loop, on_ready: Callable[[tuple[str, int]], None]) -> None:
        store = open_store(self._path, self._config, self._disk, self._clock)
        try:
            broker = Broker(store, self._config, loop)
        except BaseException:
            store.close()
            raise
        self.broker = broker
        try:
            self.metrics = self._open_metrics(broker)
            broker.start()
            on_ready(broker.address)
            loop.run(self._stop_asked.is_set)
        finally:
            metrics, self.metrics = self.metrics, None
            if metrics is not None:
                loop.run_beside(metrics.close)
            broker.stop()
            self.broker = None

    def _open_metrics(self, broker: Broker) -> MetricsServer | None:
        address = self._config.metrics_address()
        if address is None:
            return None
        from kstore.broker.metrics import MetricsServer

        server = MetricsServer(broker, *address)
        _log.info("metrics at %s", server.url)
        return server


def prepare_process() -> None:
    """What a process that only serves may do: as many descriptors as the system allows, a calm garbage collector.

    Objects that are there now are never looked at again by the collector, and what comes is mostly freed by counting.
    What is garbage by now stays: looking for it takes longer than opening a directory.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:
            _log.warning("the limit of open files stays at %d: %s", soft, error)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
