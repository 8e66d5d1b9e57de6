"""A log directory as its users hold it: topics, partitions, background flush, a clean stop.

Owns the map of partitions, the directory lock and the order in which root files change. It must not know batches
or segments (`log`), nor replication. Called by applications and the command line through `kstore.open`.

Invariants:
1. One writing store per directory, in this process and on this machine: see `disk.lock`.
2. The clean marker is gone before anything else changes, and comes back last, after every byte is synced.
3. The store's lock guards only the map of partitions; it is never held across an fsync of a partition.
4. The library deletes no record by itself: retention happens when it is asked for.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kstore._native.segment import OpenSegments
from kstore.config import StoreConfig
from kstore.errors import (
    ClosedError,
    KStoreError,
    NotALogDirectory,
    StorageError,
    TopicExists,
    UnknownTopicOrPartition,
    UsageError,
)
from kstore.log import names
from kstore.log.checkpoints import NO_BROKER_EPOCH
from kstore.log.disk import OsDisk
from kstore.log.health import FORBIDDEN, Health
from kstore.log.loader import Known, Loaded, Loader
from kstore.log.log import Log
from kstore.log.twins import RootCheckpoints
from kstore.partition import Partition
from kstore.store import checkpointing, directory, topics
from kstore.store.catalog import Catalog, Topic
from kstore.store.group_commits import GroupCommits
from kstore.store.ticker import Ticker
from kstore.store.trust import Trust

if TYPE_CHECKING:
    from kstore.config import TopicConfig
    from kstore.log.disk import Disk

READ_ONLY_ATTEMPTS = 3
"""How often a reader looks again when the writer deletes files under its eyes."""

_log = logging.getLogger(__name__)


def wall_clock_ms() -> int:
    """Milliseconds since 1970, as Kafka stamps records."""
    return time.time_ns() // 1_000_000


def open_store(
    path: str | os.PathLike[str],
    *,
    create: bool = True,
    read_only: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Store:
    """Open a log directory, Kafka's or our own; recovery has run when this returns. Public as `kstore.open`.

    Parameters
    ----------
    path
        The log.dir. Made when absent, unless `create` is False or `read_only` is True.
    read_only
        Takes no lock and changes no byte; works beside a running writer, whose later appends `Partition.refresh`
        takes in.
    config
        Kafka's broker keys, such as `log.segment.bytes`, as defaults for the topics in here; see `StoreConfig`.

    Raises `NotALogDirectory`, `StoreLocked` (naming the holder), `InvalidConfig`, `StorageError`.
    """
    return Store(
        os.fspath(path), StoreConfig.parse(config), OsDisk(), wall_clock_ms, create=create, read_only=read_only
    )


class Store:
    """An open log directory. A context manager; threads may share it."""

    def __init__(
        self,
        path: str,
        config: StoreConfig,
        disk: Disk,
        clock: Callable[[], int],
        *,
        create: bool = True,
        read_only: bool = False,
        background: bool = True,
        on_open: Callable[[Partition], None] = lambda _: None,
    ) -> None:
        """Use `kstore.open`. Simulations replace `disk`, `clock`, `background`; `on_open` hears of each opened one."""
        self.path = path.rstrip("/") or "/"
        self.config = config
        self.disk = disk
        self.clock = clock
        self.read_only = read_only
        self.health = Health()
        self.groups = GroupCommits(self)
        """Committed offsets of consumer groups."""
        self._on_open = on_open
        self._mutex = threading.RLock()
        self._roots_mutex = threading.RLock()
        """Taken last, around every write of a root checkpoint; `_mutex` and partitions' locks come before it."""
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._numbers: dict[str, list[int]] = {}
        self._open_segments = OpenSegments()
        self._closed = False
        self._ticker: Ticker | None = None
        self._lock: Any = None
        self._last_checkpoint_ms = clock()
        self._is_kafkas = False
        self._broker_epoch = NO_BROKER_EPOCH
        """With which the broker of this directory registered last: Kafka trusts no other clean stop."""
        try:
            self._open(create and not read_only)
        except OSError as error:
            self._release()
            if isinstance(error, NotADirectoryError):
                where = error.filename or path
                raise NotALogDirectory(f"{where}: {error.strerror}; check the path") from error
            self.health.refuse(error, "open", self.path, final=False if error.errno in FORBIDDEN else None)
        except BaseException:
            self._release()
            raise
        if background and not read_only and config.log_flush_scheduler_interval_ms > 0:
            self._ticker = Ticker(f"kstore {self.path}", config.log_flush_scheduler_interval_ms, self.tick)
            self._ticker.start()

    def _open(self, create: bool) -> None:
        new = directory.look(self.disk, self.path, create=create)
        if new and not self.disk.exists(self.path):
            directory.make(self.disk, self.path)
        if not self.read_only:
            self._lock = self.disk.lock(f"{self.path}/{names.LOCK_FILE}")
        self._roots = RootCheckpoints.open(self.disk, self.path, writable=not self.read_only)
        if new:
            directory.identify(self._roots, self.config.node_id, self.clock())
        self._catalog = Catalog(self.disk, self.path, self.config)
        kafkas = topics.kafkas_metadata(self.disk, self.path)
        self._is_kafkas = kafkas is not None
        self._catalog.load({} if kafkas is None else kafkas.topic_configs)
        if kafkas is not None and self._roots.meta is not None and self._roots.meta.node_id is not None:
            self._broker_epoch = kafkas.broker_epochs.get(self._roots.meta.node_id, NO_BROKER_EPOCH)
        clean = self._roots.was_clean
        self._trust = Trust(self._roots, self._catalog)
        if not self.read_only:
            self._trust.begin(self.disk, self.path)
            topics.finish_interrupted(self.disk, self.path, self._catalog)
        self._numbers = topics.partitions_of(self.disk, self.path)
        self._clean = clean
        if not clean and not self.read_only:
            for topic, numbers in self._numbers.items():
                for number in numbers:
                    self._load(topic, number)

    @property
    def cluster_id(self) -> str:
        """The cluster that the directory belongs to, as `meta.properties` tells; empty where nothing does."""
        return (self._roots.meta.cluster_id if self._roots.meta else None) or ""

    # -- topics ---------------------------------------------------------------------------------------------

    def topics(self) -> dict[str, Topic]:
        """Every topic of the directory by name, Kafka's internal ones included."""
        with self._mutex:
            self._require_open()
            if self.read_only:
                self._numbers = topics.partitions_of(self.disk, self.path)
            return {name: self._topic(name) for name in sorted(self._numbers)}

    def topic(self, name: str) -> Topic:
        """One topic. Raises `UnknownTopicOrPartition`, suggesting the nearest name."""
        with self._mutex:
            self._require_open()
            if self.read_only and name not in self._numbers:
                self._numbers = topics.partitions_of(self.disk, self.path)
            self._require_topic(name)
            return self._topic(name)

    def create_topic(
        self,
        name: str,
        partitions: int | None = None,
        config: Mapping[str, Any] | None = None,
        topic_id: str | None = None,
    ) -> Topic:
        """Make a topic; on the medium when this returns, whole or not at all.

        `partitions` defaults to `num.partitions` (1); `config` takes Kafka's topic keys; `topic_id` is 22 characters
        of base64url, random by default.

        Raises `InvalidTopicName`, `TopicExists`, `InvalidConfig`, `UsageError`, `StorageError`.
        """
        with self._mutex:
            self._require_writable()
            count = self.config.num_partitions if partitions is None else partitions
            names.validate_topic_name(name)
            if name == directory.METADATA_TOPIC:
                raise UsageError(f"{name} is Kafka's own metadata log; choose another name")
            if count < 1:
                raise UsageError(f"topic {name} needs at least one partition, not {count}")
            for other in self._numbers:
                if other == name:
                    raise TopicExists(f"topic {name} exists in {self.path}; choose another name, or alter that one")
                if names.topics_collide(other, name):
                    raise TopicExists(f"topic {name} collides with {other}: '.' and '_' are one in metric names")
            self.config.topic(config)
            with self.health.guard("create topic in", self.path):
                self._roots.forget(name)
                topics.create(self.disk, self.path, self._catalog, name, count, config or {}, topic_id)
            self._numbers[name] = list(range(count))
            if self._is_kafkas:
                _log.warning(topics.UNKNOWN_TO_KAFKA, self.path, name)
            return self._topic(name)

    def alter_topic(self, name: str, config: Mapping[str, Any]) -> Topic:
        """Change some of a topic's config keys, None takes one back; on the medium, and in force, when this returns.

        Raises `UnknownTopicOrPartition`, `InvalidConfig` (nothing is changed), `StorageError`.
        """
        with self._mutex:
            self._require_writable()
            numbers = self._require_topic(name)
            with self.health.guard("alter topic in", self.path):
                altered = self._catalog.alter(name, len(numbers), config)
            for number in numbers:
                partition = self._partitions.get((name, number))
                if partition is not None:
                    partition.reconfigure(altered)
            return self._topic(name)

    def grow_topic(self, name: str, partitions: int) -> Topic:
        """Give a topic more partitions; on the medium when this returns.

        Raises `UnknownTopicOrPartition`, `UsageError` where it has as many, `StorageError`.
        """
        with self._mutex:
            self._require_writable()
            numbers = self._require_topic(name)
            with self.health.guard("grow topic in", self.path):
                self._numbers[name] = topics.grow(self.disk, self.path, self._catalog, name, numbers, partitions)
            return self._topic(name)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its records; what was read before stays valid. Raises `UnknownTopicOrPartition`."""
        with self._mutex:
            self._require_writable()
            numbers = self._require_topic(name)
            with self.health.guard("delete topic in", self.path):
                topics.note_deletion(self._catalog, name, numbers)  # else a full disk would leave half a topic
                for number in numbers:
                    partition = self._partitions.pop((name, number), None)
                    if partition is not None:
                        partition.close(clean=False)
                del self._numbers[name]
                topics.delete(self.disk, self.path, self._catalog, name, numbers)

    def _topic(self, name: str) -> Topic:
        numbers = tuple(self._numbers[name])
        topic_id = self._catalog.topic_id(name) or topics.stored_id(self.disk, self.path, name, numbers)
        return Topic(name, numbers, topic_id, self._catalog.config(name), self._catalog.overrides(name))

    def _require_topic(self, name: str) -> list[int]:
        numbers = self._numbers.get(name)
        if numbers is None:
            raise UnknownTopicOrPartition(topics.unknown(name, self.path, self._numbers))
        return numbers

    # -- partitions -----------------------------------------------------------------------------------------

    def partition(self, topic: str, index: int) -> Partition:
        """A partition; the same object for every call. Raises `UnknownTopicOrPartition`."""
        found = self._partitions.get((topic, index))
        if found is not None and not self._closed:
            return found
        with self._mutex:
            self._require_open()
            if self.read_only and topic not in self._numbers:
                self._numbers = topics.partitions_of(self.disk, self.path)
            numbers = self._require_topic(topic)
            if index not in numbers:
                raise UnknownTopicOrPartition(
                    f"topic {topic} has no partition {index} in {self.path}; it has {numbers[0]} to {numbers[-1]}"
                )
            found = self._partitions.get((topic, index))
            return found if found is not None else self._load(topic, index)

    def opened(self, topic: str, index: int) -> Partition | None:
        """The partition where it was opened before; None, and nothing is opened, where it was not."""
        return self._partitions.get((topic, index))

    def high_watermark(self, topic: str, index: int) -> int:
        """The checkpointed high watermark of a partition, where a replica role begins; 0 where none was written."""
        with self._mutex:
            self._require_open()
            stored = self._roots.high_watermark(topic, index)
            return 0 if stored is None else stored

    def _load(self, topic: str, index: int) -> Partition:
        path = f"{self.path}/{names.partition_dir_name(topic, index)}"
        config = self._catalog.config(topic)
        point = self._roots.recovery_point(topic, index)
        known = Known(
            self._clean,
            *point,
            self._roots.log_start(topic, index),
            log_start_sure=self._trust.vouched,
            undisturbed=self._trust.undisturbed,
            dense_id=self._trust.dense_id(topic, index),
        )
        with self.health.guard("open", path, final=False):
            loaded = self._load_log(topic, index, path, config, known)
        for note in loaded.notes:
            _log.info("%s-%d: %s", topic, index, note)
        log = Log(self.disk, path, config, self.health, loaded, replicated=False)
        log.derived.producers.expire(self.clock(), self.config.producer_id_expiration_ms)
        partition = Partition(topic, index, log, self.clock, read_only=self.read_only)
        partition.on_log_start = partial(self._note_log_start, topic, index)
        partition.on_rewind = partial(self._note_rewind, topic, index)
        self._on_open(partition)
        self._partitions[topic, index] = partition
        return partition

    def _load_log(self, topic: str, index: int, path: str, config: TopicConfig, known: Known) -> Loaded:
        """Load a log; beside a writer again, when a file that was listed is gone by the time it is opened."""
        attempts = READ_ONLY_ATTEMPTS if self.read_only else 1
        while True:
            loader = Loader(self.disk, path, config, self._open_segments, writable=not self.read_only)
            loader.on_hole = partial(self._note_hole, topic)
            loader.recheck_dense = partial(self._is_dense_still, topic, index) if self.read_only else None
            try:
                loaded = loader.load(known)
                if loaded.notes and loader.dense and self.read_only and not self._is_dense_still(topic, index):
                    known = known._replace(dense_id=None)
                    continue
                return loaded
            except FileNotFoundError:
                attempts -= 1
                if self.read_only and not self.disk.exists(path):
                    raise UnknownTopicOrPartition(f"partition {index} of {topic} was just deleted") from None
                if attempts == 0:
                    raise

    # -- durability -----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Make every append so far durable and write the recovery points. Raises `StorageError`."""
        self._require_writable()
        for partition in self._opened():
            partition.flush()
        self._checkpoint()

    def tick(self) -> int:
        """One round of background work: flush what waits, write recovery points when due; returns commits folded in."""
        if self.health.failure is not None:
            return 0
        for partition in self._opened():
            if partition.log_end_offset > partition.recovery_point:
                try:
                    partition.flush()
                except ClosedError:
                    continue  # its topic was deleted since we looked
        folded = self.groups.fold()
        if self.clock() - self._last_checkpoint_ms >= self.config.checkpoint_interval_ms:
            self._checkpoint()
        return folded

    def _opened(self) -> list[Partition]:
        with self._mutex:
            return [] if self._closed else list(self._partitions.values())

    def _checkpoint(self) -> None:
        """Write the root's checkpoints from what the open partitions know."""
        with self._mutex, self._roots_mutex, self.health.guard("write checkpoints of", self.path):
            self._last_checkpoint_ms = self.clock()
            checkpointing.write(self._roots, self._every_partition())

    def _note_log_start(self, topic: str, index: int, offset: int) -> None:
        """Before segments go: the log starts at `offset`, whichever of them a crash brings back."""
        with self._roots_mutex, self.health.guard("write checkpoints of", self.path):
            self._roots.set_log_start(topic, index, offset)

    def _note_rewind(self, topic: str, index: int, offset: int) -> None:
        """Before a log is cut below its recovery point: what will lie there is not known to be on the medium."""
        with self._roots_mutex, self.health.guard("write checkpoints of", self.path):
            self._roots.lower_recovery_point(topic, index, offset)

    def _note_hole(self, topic: str) -> None:
        """Before a log of the topic leaves offsets out: nobody is to take that for damage, after a crash either."""
        with self.health.guard("write the catalogue of", self.path):
            self._catalog.forget_dense([topic])

    def _is_dense_still(self, topic: str, index: int) -> bool:
        """For readers beside a writer, whose catalogue may say something else by now."""
        return Trust.read(self.disk, self.path).dense_id(topic, index) is not None

    def _every_partition(self) -> list[tuple[tuple[str, int], Partition | None]]:
        keys = [(topic, number) for topic, numbers in self._numbers.items() for number in numbers]
        return [(key, self._partitions.get(key)) for key in keys]

    # -- life -----------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether `close` has run."""
        return self._closed

    def close(self) -> None:
        """Stop cleanly: everything synced, indexes trimmed, checkpoints and the clean marker written.

        After a final `StorageError` it only lets go of the files, so that the next open recovers. Closing twice is
        allowed. Raises `StorageError` where the stop could not be made clean.
        """
        if self._closed:
            return
        if self._ticker is not None:
            self._ticker.stop()
        try:
            if not self.read_only and self.health.failure is None:
                self.groups.fold()
            with self._mutex:
                self._close()
        finally:
            self._closed = True
            self._release()

    def abandon(self) -> None:
        """Let go of everything and write nothing, as the death of the process would: the next open recovers."""
        if self._closed:
            return
        if self._ticker is not None:
            self._ticker.stop()
        with self._mutex:
            for partition in self._partitions.values():
                partition.close(clean=False)
            self._closed = True
            self._release()

    def _close(self) -> None:
        failure: KStoreError | None = None
        for partition in self._partitions.values():
            try:
                partition.close(clean=self.health.failure is None)
            except KStoreError as error:
                failure = failure or error
                partition.close(clean=False)
        if self.read_only:
            return
        if failure is None and self.health.failure is None:
            self._checkpoint()
            with self.health.guard("write the clean marker of", self.path):
                self._roots.finish(self._broker_epoch)
        if failure is not None:
            raise failure

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StorageError:
            if error is None:
                raise

    def __repr__(self) -> str:
        return f"<Store {self.path}{' read-only' if self.read_only else ''}{' closed' if self._closed else ''}>"

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the store of {self.path} is closed")

    def _require_writable(self) -> None:
        self._require_open()
        if self.read_only:
            raise UsageError(f"{self.path} is open read-only; open it without read_only=True to change it")
        self.health.require()
