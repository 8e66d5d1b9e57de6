"""The cluster of one node: its log directory is the whole truth about topics, and it leads every partition.

Owns the picture of that directory and the order in which changes reach it: first the store, on the medium, then the
picture, then the listeners. Must not know requests. Called by the broker, off its event loop for everything but
`metadata`.

Invariants
1. One change at a time; a change that failed leaves the picture as it was.
2. Every partition has one replica, on this node, in sync: its high watermark is its log end.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kstore.cluster.metadata import Assignment, Change, Listener, Metadata, Node, TopicInfo
from kstore.cluster.producer_ids import ProducerIds
from kstore.errors import InvalidPartitions, InvalidReplicationFactor, TopicExists, UnknownTopicOrPartition
from kstore.log import names

if TYPE_CHECKING:
    from kstore.cluster.scram_file import ScramFile
    from kstore.errors import ScramCredentialRefused
    from kstore.security.credentials import Deletion, ScramCredentials, Upsertion
    from kstore.store.catalog import Topic
    from kstore.store.store import Store

PARTITIONS_MAX = 100_000
"""Partitions that one request may make: each is a directory with files, made while others wait."""

_log = logging.getLogger(__name__)


class EmbeddedCluster:
    """Topics and producer ids of one log directory; see `kstore.cluster.metadata.Cluster`."""

    def __init__(self, store: Store, node: Node) -> None:
        """`store` must be open for writing; `node` is this broker as clients see it."""
        self._store = store
        self._node = node
        self._mutex = threading.RLock()
        self._listeners: list[Listener] = []
        self._producer_ids = ProducerIds(store.disk, store.path, self._highest_producer_id)
        self._metadata = Metadata(store.cluster_id, node.node_id, (node,), {})
        self._publish()

    @functools.cached_property
    def _scram(self) -> ScramFile:
        """Read when somebody logs in by it, or is given a password: most brokers need neither."""
        from kstore.cluster.scram_file import ScramFile

        return ScramFile(self._store.disk, self._store.path)

    @property
    def metadata(self) -> Metadata:
        """The picture of this moment."""
        return self._metadata

    def listen(self, listener: Listener) -> None:
        """Have `listener` called after every change."""
        self._listeners.append(listener)

    def refresh(self) -> None:
        """Take in topics that came or went through the store itself."""
        with self._mutex:
            before, now = self._metadata.topics.keys(), self._store.topics().keys()
            if before != now:
                self._publish(Change(created=frozenset(now - before), deleted=frozenset(before - now)))

    # -- topics ---------------------------------------------------------------------------------------------

    def create_topic(
        self,
        name: str,
        partitions: int,
        replication_factor: int,
        config: Mapping[str, Any],
        *,
        validate_only: bool = False,
    ) -> TopicInfo:
        """Make a topic; see `Cluster`."""
        names.validate_topic_name(name)
        count = self._store.config.num_partitions if partitions == -1 else partitions
        if not 1 <= count <= PARTITIONS_MAX:
            raise InvalidPartitions(f"topic {name}: 1 to {PARTITIONS_MAX} partitions, not {count}")
        if replication_factor not in (-1, 1):
            raise InvalidReplicationFactor(replication_factor, "this cluster has one broker")
        with self._mutex:
            if validate_only:
                return self._validated(name, count, config)
            topic = self._store.create_topic(name, count, config)
            self._publish(Change(created=frozenset([name])))
            return self._info(topic)

    def _validated(self, name: str, count: int, config: Mapping[str, Any]) -> TopicInfo:
        for other in self._metadata.topics:
            if other == name or names.topics_collide(other, name):
                raise TopicExists(f"topic {name} {'exists' if other == name else f'collides with {other}'}")
        overrides = {key: str(value) for key, value in config.items()}
        return TopicInfo(name, names.ZERO_UUID, self._assignments(count), self._store.config.topic(config), overrides)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its records; raises `UnknownTopicOrPartition`."""
        with self._mutex:
            self._require(name)
            self._store.delete_topic(name)
            self._publish(Change(deleted=frozenset([name])))

    def create_partitions(self, name: str, count: int, *, validate_only: bool = False) -> None:
        """Let a topic have `count` partitions; see `Cluster`."""
        with self._mutex:
            existing = len(self._require(name).partitions)
            if not existing < count <= PARTITIONS_MAX:
                raise InvalidPartitions(
                    f"topic {name} has {existing} partitions; it may get more, up to {PARTITIONS_MAX}, not {count}"
                )
            if not validate_only:
                self._store.grow_topic(name, count)
                self._publish(Change(changed=frozenset([name])))

    def alter_topic(self, name: str, config: Mapping[str, Any | None], *, validate_only: bool = False) -> None:
        """Change config keys of a topic, None takes one back; see `Cluster`."""
        with self._mutex:
            overrides: dict[str, Any] = {**self._require(name).overrides, **config}
            self._store.config.topic({key: value for key, value in overrides.items() if value is not None})
            if not validate_only:
                self._store.alter_topic(name, config)
                self._publish(Change(changed=frozenset([name])))

    def _require(self, name: str) -> TopicInfo:
        found = self._metadata.topics.get(name)
        if found is None:
            raise UnknownTopicOrPartition(f"no topic {name} here")
        return found

    # -- users ----------------------------------------------------------------------------------------------

    @property
    def scram_credentials(self) -> ScramCredentials:
        """Who may log in by SCRAM, at this moment."""
        return self._scram.table

    def alter_scram_credentials(
        self, deletions: Sequence[Deletion], upsertions: Sequence[Upsertion]
    ) -> dict[str, ScramCredentialRefused | None]:
        """Change who may log in; see `Cluster`. Raises `StorageError`."""
        with self._mutex, self._store.health.guard("write users of", self._store.path):
            return self._scram.change(deletions, upsertions)

    # -- producer ids ---------------------------------------------------------------------------------------

    def next_producer_id(self) -> int:
        """A producer id that nobody had before. Raises `StorageError`."""
        with self._mutex, self._store.health.guard("write producer ids of", self._store.path):
            return self._producer_ids.next()

    def _highest_producer_id(self) -> int:
        """What logs remember, of producers before this file was there: a Kafka's, or the library's user's."""
        highest = -1
        for name, topic in self._store.topics().items():
            for number in topic.partitions:
                producers = self._store.partition(name, number).log.derived.producers
                highest = max(highest, *(entry.producer_id for entry in producers.entries()), -1)
        return highest

    # -- the picture ----------------------------------------------------------------------------------------

    def _publish(self, change: Change | None = None) -> None:
        before = self._metadata
        topics = {name: self._info(topic) for name, topic in self._store.topics().items()}
        by_id = {topic.topic_id: topic for topic in topics.values() if topic.topic_id != names.ZERO_UUID}
        self._metadata = Metadata(
            before.cluster_id, before.controller_id, before.nodes, topics, by_id, before.version + 1
        )
        for listener in self._listeners if change is not None else ():
            listener(self._metadata, change or Change())

    def _info(self, topic: Topic) -> TopicInfo:
        topic_id = names.uuid_from_text(topic.topic_id) if topic.topic_id else names.ZERO_UUID
        partitions = self._assignments(topic.partition_count, topic.partitions)
        internal = names.is_internal_topic(topic.name)
        return TopicInfo(topic.name, topic_id, partitions, topic.config, topic.overrides, internal)

    def _assignments(self, count: int, here: tuple[int, ...] | None = None) -> tuple[Assignment, ...]:
        """Of a directory that a Kafka of many brokers left, some partitions may not be here: those have no leader."""
        node_id = self._node.node_id
        ours = Assignment(node_id, -1, (node_id,), (node_id,))
        if here is None or len(here) == count:
            return (ours,) * count
        missing = Assignment(-1, -1, (), ())
        return tuple(ours if number in here else missing for number in range(count))
