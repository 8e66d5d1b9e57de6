"""The broker: what its handlers share, and its life from start to clean stop.

Owns the store of its directory, the cluster, the threads for what blocks, and everyone who waits. Must not know one
API from another: `dispatch` finds the handler. Made by `service`, on the event loop that it will run on.

Invariants
1. Handlers run one at a time, on an event loop, and never block it: fsyncs and changes of topics run on threads.
2. A stop answers everything that came in before it, then makes every log durable, then writes the clean marker.
3. After `stop` no thread, timer, socket or file of the broker is left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from kstore.broker.admission import Client, Connections
from kstore.broker.call import Call
from kstore.broker.connection import Connection
from kstore.broker.coordination import Coordination
from kstore.broker.dispatch import advertised, dispatch
from kstore.broker.durability import Durability
from kstore.broker.fetch_sessions import FetchSessions
from kstore.broker.listener import Listener
from kstore.broker.network import Network
from kstore.broker.traffic import Traffic
from kstore.broker.waiting import Waiting
from kstore.cluster.embedded import EmbeddedCluster
from kstore.cluster.metadata import Change, Cluster, Metadata, Node
from kstore.errors import ClosedError, KStoreError, UnknownTopicOrPartition
from kstore.groups import offsets
from kstore.limits import INT64_MAX

if TYPE_CHECKING:
    from kstore.broker.loop import Loop, Timer
    from kstore.config import BrokerConfig
    from kstore.partition import Partition
    from kstore.store.store import Store

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Broker:
    """One broker over one open store."""

    def __init__(self, store: Store, config: BrokerConfig, loop: Loop) -> None:
        """Binds the listeners; raises `OSError`. Nobody is served before `start`."""
        self.loop = loop
        self.config = config
        self.store = store
        self.partition: Callable[[str, int], Partition] = store.partition
        """The partition that this broker leads, by topic and number; raises `UnknownTopicOrPartition`."""
        self.dispatch: Callable[[Connection, memoryview], None] = partial(dispatch, self)
        """Handles one request; a test may put something in between before anybody connects."""
        self.advertised = advertised()
        """API keys that ApiVersions names."""
        self.batch: set[Connection] | None = None
        self.held_bytes = 0
        """Bytes of requests that are not answered yet."""
        self.traffic = Traffic()
        self._held_bytes_max = config.queued_max_request_bytes if config.queued_max_request_bytes >= 0 else INT64_MAX
        self.is_full = False
        self._starving: set[Connection] = set()
        self._stopping = False
        self._retention_looked_ms = store.clock()
        self._ticking: Timer | None = None
        self.network = Network(loop, config.num_network_threads)
        self.spread: Callable[[Connection], None] = self.network.spread
        self.connections = Connections(loop, config)
        self.listeners = self._bind()
        self._threads = ThreadPoolExecutor(2, "kstore-work")
        self._sync_threads = ThreadPoolExecutor(config.kstore_sync_threads, "kstore-sync")
        self.durability = Durability(loop, self._sync_threads, self.together)
        self.waiting = Waiting(loop)
        self.fetch_sessions = FetchSessions(config.max_incremental_fetch_session_cache_slots, loop.time)
        self.node = self.listeners[0].node
        self.cluster: Cluster = EmbeddedCluster(store, self.node)
        self.coordination = Coordination(self)
        self.cluster.listen(self._changed)

    # -- for handlers ---------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The wall clock, in milliseconds since 1970."""
        return self.store.clock()

    def leader_epoch(self, topic: str, index: int, *, opening: bool) -> int:
        """The leader epoch of a partition; -1 where it is not open and `opening` is false, or cannot be opened."""
        try:
            found = self.partition(topic, index) if opening else self.store.opened(topic, index)
        except KStoreError as error:
            _log.warning("%s-%d: %s", topic, index, error)
            found = None
        return -1 if found is None else found.log.leader_epoch

    def defaults_of(self, topic: str) -> tuple[int, dict[str, str]]:
        """Partitions and configuration of a topic that is made because someone asked for it."""
        if topic == offsets.TOPIC:
            segment_bytes = str(self.config.offsets_topic_segment_bytes)
            return self.config.offsets_topic_num_partitions, {**offsets.TOPIC_CONFIG, "segment.bytes": segment_bytes}
        return -1, {}

    def node_for(self, call: Call) -> Node:
        """This broker as the client that calls may reach it."""
        return call.connection.listener.node_for(call.connection)

    def appended(self, partition: Partition, size_bytes: int) -> None:
        """Records that consumers may read were appended."""
        self.waiting.appended((partition.topic, partition.index), size_bytes)

    def off_loop(self, work: Callable[[], T], then: Callable[[T | None, KStoreError | None], None]) -> None:
        """Run what blocks on a thread, then `then` on the loop, with the result or with what went wrong."""

        def done(future: Future[T]) -> None:
            self.loop.call_soon_threadsafe(finish, future)

        def finish(future: Future[T]) -> None:
            error = future.exception()
            if error is None:
                then(future.result(), None)
            elif isinstance(error, KStoreError):
                then(None, error)
            else:
                _log.error("work off the loop failed", exc_info=error)
                then(None, KStoreError(f"the broker failed: {error!r}"))

        self._threads.submit(work).add_done_callback(done)

    def together(self, work: Callable[[], None]) -> None:
        """Run what answers many requests; each connection sends its answers in one go."""
        if self.batch is not None:
            work()
            return
        self.batch = set()
        try:
            work()
        finally:
            batch, self.batch = self.batch, None
            for connection in batch:
                if not connection.closed:
                    connection.flush()

    # -- for connections ------------------------------------------------------------------------------------

    def hold(self, size_bytes: int) -> None:
        """A request of that size is open."""
        self.held_bytes += size_bytes
        self.is_full = self.held_bytes >= self._held_bytes_max

    def release(self, size_bytes: int) -> None:
        """It was answered."""
        self.held_bytes -= size_bytes
        if self.is_full and self.held_bytes < self._held_bytes_max:
            self.is_full = False
            starving, self._starving = self._starving, set()
            for connection in starving:
                self.loop.call_soon(connection.read_on)

    def starves(self, connection: Connection) -> None:
        """The connection wants to read on when requests fit into `queued.max.request.bytes` again."""
        self._starving.add(connection)

    def lost(self, connection: Client) -> None:
        """The connection is closed."""
        if isinstance(connection, Connection):
            self._starving.discard(connection)
            self.network.forget(connection)
        self.connections.lost(connection)

    # -- life -----------------------------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first listener."""
        return self.listeners[0].host, self.listeners[0].port

    def _bind(self) -> tuple[Listener, ...]:
        bound: list[Listener] = []
        try:
            for own in self.config.listener_configs():
                bound.append(Listener(self, own))
        except BaseException:
            self.connections.stop()
            for one in bound:
                one.stop()
            raise
        return tuple(bound)

    def start(self) -> None:
        """Let clients in."""
        self.coordination.start()
        for listener in self.listeners:
            listener.start()
        self._tick_later()

    def stop(self) -> None:
        """Stop cleanly: answer what came in, make everything durable, close. Raises `StorageError`.

        Runs the loop meanwhile; called on its thread when nobody else runs it.
        """
        self._stopping = True
        self.network.stop()
        self.connections.stop()
        for listener in self.listeners:
            listener.stop()
        self.loop.catch_up()  # a request that was sent before the stop is answered
        with self.loop.lock:
            if self._ticking is not None:
                self._ticking.cancel()
            for connection in list(self.connections.open):
                connection.finish_and_close()
            self.waiting.wake()
            self.coordination.unload()
        self.loop.run(lambda: not self.connections.open, self.config.kstore_shutdown_timeout_ms / 1000)
        with self.loop.lock:
            for connection in list(self.connections.open):
                connection.close("the broker stops")
        self.loop.run_beside(self._let_go)
        self.durability.stop()

    def _let_go(self) -> None:
        self._threads.shutdown()
        self._sync_threads.shutdown()
        self.store.close()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called: nothing parks any more."""
        return self._stopping

    def _changed(self, metadata: Metadata, change: Change) -> None:
        """Listener of the cluster; runs on the thread that made the change."""
        self.loop.call_soon_threadsafe(partial(self._take_change, metadata, change))

    def _take_change(self, metadata: Metadata, change: Change) -> None:
        if change.deleted:
            self.waiting.wake(change.deleted)
        if not self._stopping:
            self.coordination.changed(metadata, change)

    # -- background -----------------------------------------------------------------------------------------

    def _tick_later(self) -> None:
        interval_ms = self.store.config.log_flush_scheduler_interval_ms
        if interval_ms > 0:
            self._ticking = self.loop.call_later(interval_ms / 1000, self._tick)

    def _tick(self) -> None:
        def then(folded: int | None, error: KStoreError | None) -> None:
            if error is not None:
                _log.error("background work failed, it is tried again: %s", error)
            if self._stopping:
                return
            if folded:
                self.coordination.reload()
            self.coordination.tick()
            self._tick_later()

        self.off_loop(self._background, then)

    def _background(self) -> int:
        """What is due, on a thread; returns how many commits of consumers without a broker were folded in."""
        folded = self.store.tick()
        if folded:
            self.cluster.refresh()
        now_ms = self.now_ms()
        if now_ms - self._retention_looked_ms >= self.config.log_retention_check_interval_ms:
            self._retention_looked_ms = now_ms
            for name, topic in self.cluster.metadata.topics.items():
                for index, assignment in enumerate(topic.partitions):
                    if assignment.leader_id == self.node.node_id:
                        self._retain(name, index, now_ms)
        return folded

    def _retain(self, topic: str, index: int, now_ms: int) -> None:
        try:
            self.partition(topic, index).enforce_retention(now_ms)
        except (ClosedError, UnknownTopicOrPartition):
            return  # it was deleted meanwhile
        except KStoreError as error:
            _log.error("retention of %s-%d: %s", topic, index, error)

