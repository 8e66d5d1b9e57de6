"""What a group coordinator answers, one small frozen class for each API.

Owns the fields, named as in Kafka's message definitions, without throttle times and authorised operations, which
are the broker's. Holds no rule. Made by the state machines, put on the wire by the broker.

Invariants
1. Nothing here is mutable: a response may be encoded later, on another thread.
2. `error_code` is a `Code`; 0 is success.
"""

from __future__ import annotations

from dataclasses import dataclass

from kstore.groups.codes import Code
from kstore.groups.requests import TopicPartitions


@dataclass(frozen=True, slots=True)
class JoinGroupMember:
    """What the leader is told of a member, so that it can assign."""

    member_id: str
    group_instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True)
class JoinGroupResponse:
    """API 11; `members` is filled for the leader alone."""

    member_id: str = ""
    error_code: Code = Code.NONE
    generation_id: int = -1
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader: str = ""
    skip_assignment: bool = False
    """The leader must not compute an assignment: a static leader came back and nothing changed (KIP-814)."""
    members: tuple[JoinGroupMember, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncGroupResponse:
    """API 14."""

    error_code: Code = Code.NONE
    protocol_type: str | None = None
    protocol_name: str | None = None
    assignment: bytes = b""


@dataclass(frozen=True, slots=True)
class HeartbeatResponse:
    """API 12."""

    error_code: Code = Code.NONE


@dataclass(frozen=True, slots=True)
class LeaveGroupMember:
    """How the leaving of one member went."""

    member_id: str
    group_instance_id: str | None = None
    error_code: Code = Code.NONE


@dataclass(frozen=True, slots=True)
class LeaveGroupResponse:
    """API 13; below version 3 the broker sends the error of the one member as the response's."""

    error_code: Code = Code.NONE
    members: tuple[LeaveGroupMember, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsumerGroupHeartbeatResponse:
    """API 68; `assignment` None: nothing new."""

    error_code: Code = Code.NONE
    error_message: str | None = None
    member_id: str | None = None
    member_epoch: int = 0
    heartbeat_interval_ms: int = 0
    assignment: tuple[TopicPartitions, ...] | None = None


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """How a commit or a deletion went for one partition."""

    partition_index: int
    error_code: Code = Code.NONE


@dataclass(frozen=True, slots=True)
class TopicResult:
    """The partitions of one topic in the answer to a commit or a deletion."""

    name: str
    partitions: tuple[PartitionResult, ...]


@dataclass(frozen=True, slots=True)
class OffsetCommitResponse:
    """API 8."""

    topics: tuple[TopicResult, ...] = ()


@dataclass(frozen=True, slots=True)
class TxnOffsetCommitResponse:
    """API 28."""

    topics: tuple[TopicResult, ...] = ()


@dataclass(frozen=True, slots=True)
class OffsetFetchPartition:
    """A committed position; `committed_offset` -1: none."""

    partition_index: int
    committed_offset: int = -1
    committed_leader_epoch: int = -1
    metadata: str = ""
    error_code: Code = Code.NONE


@dataclass(frozen=True, slots=True)
class OffsetFetchTopic:
    """The partitions of one topic in an answer to OffsetFetch."""

    name: str
    partitions: tuple[OffsetFetchPartition, ...]


@dataclass(frozen=True, slots=True)
class OffsetFetchResponse:
    """API 9 for one group; on a group error the broker of versions below 8 repeats it for each partition."""

    group_id: str
    error_code: Code = Code.NONE
    topics: tuple[OffsetFetchTopic, ...] = ()


@dataclass(frozen=True, slots=True)
class OffsetDeleteResponse:
    """API 47."""

    error_code: Code = Code.NONE
    topics: tuple[TopicResult, ...] = ()


@dataclass(frozen=True, slots=True)
class DeletableGroupResult:
    """How the deletion of one group went."""

    group_id: str
    error_code: Code = Code.NONE


@dataclass(frozen=True, slots=True)
class DeleteGroupsResponse:
    """API 42."""

    results: tuple[DeletableGroupResult, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """One line of ListGroups."""

    group_id: str
    protocol_type: str
    group_state: str
    group_type: str
    """"classic" or "consumer"."""


@dataclass(frozen=True, slots=True)
class ListGroupsResponse:
    """API 16."""

    error_code: Code = Code.NONE
    groups: tuple[ListedGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribedGroupMember:
    """A member of a classic group as DescribeGroups shows it."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    member_metadata: bytes = b""
    member_assignment: bytes = b""


@dataclass(frozen=True, slots=True)
class DescribedGroup:
    """A classic group; one that is not there is Dead, from version 6 on with GROUP_ID_NOT_FOUND."""

    group_id: str
    error_code: Code = Code.NONE
    error_message: str | None = None
    group_state: str = ""
    protocol_type: str = ""
    protocol_data: str = ""
    members: tuple[DescribedGroupMember, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribeGroupsResponse:
    """API 15."""

    groups: tuple[DescribedGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedPartitions:
    """Some partitions of one topic, by id and name."""

    topic_id: bytes
    topic_name: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConsumerGroupMemberDescription:
    """A member of a consumer group as ConsumerGroupDescribe shows it."""

    member_id: str
    instance_id: str | None
    rack_id: str | None
    member_epoch: int
    client_id: str
    client_host: str
    subscribed_topic_names: tuple[str, ...]
    subscribed_topic_regex: str | None
    assignment: tuple[NamedPartitions, ...]
    target_assignment: tuple[NamedPartitions, ...]


@dataclass(frozen=True, slots=True)
class DescribedConsumerGroup:
    """A consumer group (KIP-848)."""

    group_id: str
    error_code: Code = Code.NONE
    error_message: str | None = None
    group_state: str = ""
    group_epoch: int = 0
    assignment_epoch: int = 0
    assignor_name: str = ""
    members: tuple[ConsumerGroupMemberDescription, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsumerGroupDescribeResponse:
    """API 69."""

    groups: tuple[DescribedConsumerGroup, ...] = ()


Response = (
    JoinGroupResponse
    | SyncGroupResponse
    | HeartbeatResponse
    | LeaveGroupResponse
    | ConsumerGroupHeartbeatResponse
    | OffsetCommitResponse
    | TxnOffsetCommitResponse
    | OffsetFetchResponse
    | OffsetDeleteResponse
    | DeleteGroupsResponse
    | ListGroupsResponse
    | DescribeGroupsResponse
    | ConsumerGroupDescribeResponse
)
