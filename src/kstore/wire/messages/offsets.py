"""Where a partition begins and ends, and moving its start.

Owns the field tables of ListOffsets, OffsetForLeaderEpoch and DeleteRecords; must not know what anyone does with
them. Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import Array, Int8, Int16, Int32, Int64, Request, Response, String, Struct, field


class ListOffsetsPartition(Struct):
    partition_index: Int32
    current_leader_epoch: Int32 = field(4, default=-1, ignorable=True)
    timestamp: Int64


class ListOffsetsTopic(Struct):
    name: String
    partitions: Array[ListOffsetsPartition]


class ListOffsetsRequest(Request, api=2):
    """Asks for the offset at a time; times below zero are special (-1 latest, -2 earliest)."""

    replica_id: Int32
    isolation_level: Int8 = field(2, default=0)
    topics: Array[ListOffsetsTopic]
    timeout_ms: Int32 = field(10, default=0, ignorable=True)


class ListOffsetsPartitionResponse(Struct):
    partition_index: Int32
    error_code: Int16
    timestamp: Int64 = field(default=-1)
    offset: Int64 = field(default=-1)
    leader_epoch: Int32 = field(4, default=-1)


class ListOffsetsTopicResponse(Struct):
    name: String
    partitions: Array[ListOffsetsPartitionResponse]


class ListOffsetsResponse(Response, api=2):
    """The offset and time of the first record that fits, or -1."""

    throttle_time_ms: Int32 = field(2, default=0, ignorable=True)
    topics: Array[ListOffsetsTopicResponse]


class OffsetForLeaderPartition(Struct):
    partition: Int32
    current_leader_epoch: Int32 = field(default=-1)
    leader_epoch: Int32


class OffsetForLeaderTopic(Struct):
    topic: String
    partitions: Array[OffsetForLeaderPartition]


class OffsetForLeaderEpochRequest(Request, api=23):
    """Asks where a leader epoch ended, to find out where a log diverges (KIP-101, KIP-320)."""

    replica_id: Int32 = field(3, default=-2, ignorable=True)
    topics: Array[OffsetForLeaderTopic]


class EpochEndOffset(Struct):
    error_code: Int16
    partition: Int32
    leader_epoch: Int32 = field(default=-1)
    end_offset: Int64 = field(default=-1)


class OffsetForLeaderTopicResult(Struct):
    topic: String
    partitions: Array[EpochEndOffset]


class OffsetForLeaderEpochResponse(Response, api=23):
    """The end offset of the largest epoch up to the one asked for."""

    throttle_time_ms: Int32 = field(default=0)
    topics: Array[OffsetForLeaderTopicResult]


class DeleteRecordsPartition(Struct):
    partition_index: Int32
    offset: Int64


class DeleteRecordsTopic(Struct):
    name: String
    partitions: Array[DeleteRecordsPartition]


class DeleteRecordsRequest(Request, api=21):
    """Moves the log start offset of partitions up (KIP-107)."""

    topics: Array[DeleteRecordsTopic]
    timeout_ms: Int32


class DeleteRecordsPartitionResult(Struct):
    partition_index: Int32
    low_watermark: Int64
    error_code: Int16


class DeleteRecordsTopicResult(Struct):
    name: String
    partitions: Array[DeleteRecordsPartitionResult]


class DeleteRecordsResponse(Response, api=21):
    """The new low watermark of each partition."""

    throttle_time_ms: Int32 = field(default=0)
    topics: Array[DeleteRecordsTopicResult]
