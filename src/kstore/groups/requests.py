"""What clients and admins ask of a group coordinator, one small frozen class for each API.

Owns the fields, named as in Kafka's message definitions. Holds no rule; the broker fills them from the wire and
resolves topic ids to names first. Read by the state machines.

Invariants
1. Nothing here is mutable, so that a request may wait in a queue and be read twice.
2. A default is Kafka's default of that field.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks: what the broker knows of the connection, and what randomness the coordinator may use."""

    client_id: str = ""
    client_host: str = ""
    """As Java prints an address: "/127.0.0.1"."""
    api_version: int = 0
    """The version of the request as it came in; some rules hang on it."""
    fresh_id: str = ""
    """A random UUID made by the broker for this request; becomes (part of) a member id where one is needed."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """An assignment protocol that a classic member offers, and what it says of itself in it."""

    name: str
    metadata: bytes = b""


@dataclass(frozen=True, slots=True)
class JoinGroupRequest:
    """API 11."""

    group_id: str
    session_timeout_ms: int
    rebalance_timeout_ms: int = -1
    """-1, of version 0: the session timeout counts."""
    member_id: str = ""
    group_instance_id: str | None = None
    protocol_type: str = "consumer"
    protocols: tuple[Protocol, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncGroupRequest:
    """API 14; `assignments` is the leader's, by member id."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None = None
    protocol_type: str | None = None
    protocol_name: str | None = None
    assignments: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class HeartbeatRequest:
    """API 12."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class MemberIdentity:
    """Who leaves: a member id, or an instance id alone where an admin removes a static member."""

    member_id: str = ""
    group_instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class LeaveGroupRequest:
    """API 13; versions below 3 carry one member."""

    group_id: str
    members: tuple[MemberIdentity, ...]


@dataclass(frozen=True, slots=True)
class TopicPartitions:
    """Some partitions of one topic, by the topic's id."""

    topic_id: bytes
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConsumerGroupHeartbeatRequest:
    """API 68 (KIP-848). None stands for "unchanged since the last heartbeat"."""

    group_id: str
    member_id: str
    member_epoch: int
    """0 joins, -1 leaves, -2 leaves for a while as a static member."""
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    subscribed_topic_names: tuple[str, ...] | None = None
    subscribed_topic_regex: str | None = None
    server_assignor: str | None = None
    topic_partitions: tuple[TopicPartitions, ...] | None = None


@dataclass(frozen=True, slots=True)
class OffsetCommitPartition:
    """The position that is committed for one partition."""

    partition_index: int
    committed_offset: int
    committed_leader_epoch: int = -1
    committed_metadata: str | None = ""


@dataclass(frozen=True, slots=True)
class OffsetCommitTopic:
    """The partitions of one topic in a commit; `topic_id` is stored where the broker knows it."""

    name: str
    partitions: tuple[OffsetCommitPartition, ...]
    topic_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class OffsetCommitRequest:
    """API 8."""

    group_id: str
    topics: tuple[OffsetCommitTopic, ...]
    generation_id_or_member_epoch: int = -1
    member_id: str = ""
    group_instance_id: str | None = None
    retention_time_ms: int = -1
    """Versions 2 to 4; -1 leaves it to `offsets.retention.minutes`."""


@dataclass(frozen=True, slots=True)
class TxnOffsetCommitRequest:
    """API 28: refused with UNSUPPORTED_VERSION; a transactional commit that was loaded is honoured all the same."""

    group_id: str
    topics: tuple[OffsetCommitTopic, ...]


@dataclass(frozen=True, slots=True)
class OffsetFetchRequest:
    """API 9 for one group; `topics` None asks for everything that the group committed."""

    group_id: str
    topics: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    require_stable: bool = False
    member_id: str | None = None
    member_epoch: int = -1


@dataclass(frozen=True, slots=True)
class OffsetDeleteRequest:
    """API 47."""

    group_id: str
    topics: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class DeleteGroupsRequest:
    """API 42, for groups of this coordinator."""

    groups_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListGroupsRequest:
    """API 16; empty filters let everything through, names are compared without case."""

    states_filter: tuple[str, ...] = ()
    types_filter: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribeGroupsRequest:
    """API 15: classic groups."""

    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConsumerGroupDescribeRequest:
    """API 69: consumer groups (KIP-848)."""

    group_ids: tuple[str, ...]


Request = (
    JoinGroupRequest
    | SyncGroupRequest
    | HeartbeatRequest
    | LeaveGroupRequest
    | ConsumerGroupHeartbeatRequest
    | OffsetCommitRequest
    | TxnOffsetCommitRequest
    | OffsetFetchRequest
    | OffsetDeleteRequest
    | DeleteGroupsRequest
    | ListGroupsRequest
    | DescribeGroupsRequest
    | ConsumerGroupDescribeRequest
)
