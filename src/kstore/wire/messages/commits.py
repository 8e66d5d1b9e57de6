"""The offsets that consumer groups commit.

Owns the field tables of OffsetCommit, OffsetFetch and OffsetDelete; must not know what anyone does with them.
Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import NO_ID, Array, Bool, Int16, Int32, Int64, Request, Response, String, Struct, Uuid, field


class OffsetCommitRequestPartition(Struct):
    partition_index: Int32
    committed_offset: Int64
    committed_leader_epoch: Int32 = field(6, default=-1, ignorable=True)
    committed_metadata: String | None


class OffsetCommitRequestTopic(Struct):
    name: String = field(2, 9, default="", ignorable=True)
    topic_id: Uuid = field(10, default=NO_ID, ignorable=True)
    partitions: Array[OffsetCommitRequestPartition]


class OffsetCommitRequest(Request, api=8):
    """Commits offsets of a group."""

    group_id: String
    generation_id_or_member_epoch: Int32 = field(default=-1)
    member_id: String
    group_instance_id: String | None = field(7, default=None)
    retention_time_ms: Int64 = field(2, 4, default=-1, ignorable=True)
    topics: Array[OffsetCommitRequestTopic]


class OffsetCommitResponsePartition(Struct):
    partition_index: Int32
    error_code: Int16


class OffsetCommitResponseTopic(Struct):
    name: String = field(2, 9, default="", ignorable=True)
    topic_id: Uuid = field(10, default=NO_ID, ignorable=True)
    partitions: Array[OffsetCommitResponsePartition]


class OffsetCommitResponse(Response, api=8):
    """An error code for each partition."""

    throttle_time_ms: Int32 = field(3, default=0, ignorable=True)
    topics: Array[OffsetCommitResponseTopic]


class OffsetFetchRequestTopic(Struct):
    name: String
    partition_indexes: Array[Int32]


class OffsetFetchRequestTopics(Struct):
    name: String = field(8, 9, default="", ignorable=True)
    topic_id: Uuid = field(10, default=NO_ID, ignorable=True)
    partition_indexes: Array[Int32]


class OffsetFetchRequestGroup(Struct):
    group_id: String
    member_id: String | None = field(9, default=None, ignorable=True)
    member_epoch: Int32 = field(9, default=-1, ignorable=True)
    topics: Array[OffsetFetchRequestTopics] | None


class OffsetFetchRequest(Request, api=9):
    """Asks for a group's committed offsets; since version 8 for several groups (KIP-709)."""

    group_id: String = field(1, 7, default="")
    topics: Array[OffsetFetchRequestTopic] | None = field(1, 7, nullable=2, default=())
    groups: Array[OffsetFetchRequestGroup] = field(8, default=())
    require_stable: Bool = field(7, default=False)


class OffsetFetchResponsePartition(Struct):
    partition_index: Int32
    committed_offset: Int64
    committed_leader_epoch: Int32 = field(5, default=-1, ignorable=True)
    metadata: String | None
    error_code: Int16


class OffsetFetchResponseTopic(Struct):
    name: String
    partitions: Array[OffsetFetchResponsePartition]


class OffsetFetchResponsePartitions(Struct):
    partition_index: Int32
    committed_offset: Int64
    committed_leader_epoch: Int32 = field(default=-1)
    metadata: String | None
    error_code: Int16


class OffsetFetchResponseTopics(Struct):
    name: String = field(8, 9, default="", ignorable=True)
    topic_id: Uuid = field(10, default=NO_ID, ignorable=True)
    partitions: Array[OffsetFetchResponsePartitions]


class OffsetFetchResponseGroup(Struct):
    group_id: String
    topics: Array[OffsetFetchResponseTopics]
    error_code: Int16 = field(default=0)


class OffsetFetchResponse(Response, api=9):
    """The committed offsets, -1 where there is none."""

    throttle_time_ms: Int32 = field(3, default=0, ignorable=True)
    topics: Array[OffsetFetchResponseTopic] = field(1, 7, default=())
    error_code: Int16 = field(2, 7, default=0, ignorable=True)
    groups: Array[OffsetFetchResponseGroup] = field(8, default=())


class OffsetDeleteRequestPartition(Struct):
    partition_index: Int32


class OffsetDeleteRequestTopic(Struct):
    name: String
    partitions: Array[OffsetDeleteRequestPartition]


class OffsetDeleteRequest(Request, api=47):
    """Removes committed offsets of topics that a group no longer reads (KIP-496)."""

    group_id: String
    topics: Array[OffsetDeleteRequestTopic]


class OffsetDeleteResponsePartition(Struct):
    partition_index: Int32
    error_code: Int16


class OffsetDeleteResponseTopic(Struct):
    name: String
    partitions: Array[OffsetDeleteResponsePartition]


class OffsetDeleteResponse(Response, api=47):
    """An error code for each partition."""

    error_code: Int16
    throttle_time_ms: Int32 = field(default=0)
    topics: Array[OffsetDeleteResponseTopic]
