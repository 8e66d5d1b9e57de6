"""The cluster as a broker sees it: an immutable picture of topics and brokers, and the interface of who keeps it.

Owns the shape of that picture. Must not know sockets, requests or where it is kept: `embedded` keeps it in the log
directory of one node; a store for many nodes has the same interface. Called by the broker's handlers.

Invariants
1. A `Metadata` never changes; a change makes another one, with a higher `version`, published by one assignment.
2. Reading `Cluster.metadata` never blocks. Everything that changes the cluster may: call it off the event loop.
3. Listeners run on the thread that made the change, after the new picture is published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kstore.config import TopicConfig

if TYPE_CHECKING:
    from kstore.errors import ScramCredentialRefused
    from kstore.security.credentials import Deletion, ScramCredentials, Upsertion


class Node(NamedTuple):
    """A broker and where clients reach it."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


class Assignment(NamedTuple):
    """One partition: who has it and who leads it."""

    leader_id: int
    leader_epoch: int
    """-1 where it is not known yet: clients then leave it out of their requests."""
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...] = ()


class TopicInfo(NamedTuple):
    """A topic: `topic_id` is 16 bytes, `partitions` are by number."""

    name: str
    topic_id: bytes
    partitions: tuple[Assignment, ...]
    config: TopicConfig
    overrides: Mapping[str, str]
    """The config keys that were set for the topic itself."""
    is_internal: bool = False


class Metadata(NamedTuple):
    """One moment of the cluster."""

    cluster_id: str
    controller_id: int
    nodes: tuple[Node, ...]
    topics: Mapping[str, TopicInfo]
    by_id: Mapping[bytes, TopicInfo] = MappingProxyType({})
    version: int = 0


class Change(NamedTuple):
    """What one change did to topics; configuration changes and new partitions are `changed`."""

    created: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()


Listener = Callable[[Metadata, Change], None]


class Cluster(Protocol):
    """Topics, brokers, users and producer ids. Changing methods block, may be called from any thread, and raise
    KStoreErrors whose `error_code` is the answer."""

    @property
    def metadata(self) -> Metadata:
        """The picture of this moment."""

    def listen(self, listener: Listener) -> None:
        """Have `listener` called after every change."""

    def refresh(self) -> None:
        """Take in topics that came or went by another way than this interface."""

    def create_topic(
        self, name: str, partitions: int, replication_factor: int, config: Mapping[str, Any], *, validate_only: bool
    ) -> TopicInfo:
        """Make a topic, or say what would be made. -1 leaves a number to the broker's default.

        Raises `TopicExists`, `InvalidTopicName`, `InvalidConfig`, `InvalidPartitions`, `InvalidReplicationFactor`.
        """

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its records; raises `UnknownTopicOrPartition`."""

    def create_partitions(self, name: str, count: int, *, validate_only: bool) -> None:
        """Let a topic have `count` partitions; raises `UnknownTopicOrPartition` and `InvalidPartitions`."""

    def alter_topic(self, name: str, config: Mapping[str, Any | None], *, validate_only: bool) -> None:
        """Change config keys of a topic, None takes one back; raises `UnknownTopicOrPartition`, `InvalidConfig`."""

    @property
    def scram_credentials(self) -> ScramCredentials:
        """Who may log in by SCRAM, at this moment."""

    def alter_scram_credentials(
        self, deletions: Sequence[Deletion], upsertions: Sequence[Upsertion]
    ) -> dict[str, ScramCredentialRefused | None]:
        """Change who may log in; returns what became of each user: None, or why nothing did."""

    def next_producer_id(self) -> int:
        """A producer id that nobody had before, in this life of the cluster or an earlier one."""
