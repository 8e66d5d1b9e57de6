"""Fetching records, by consumers and by followers.

Owns the field tables of Fetch; must not know what anyone does with them. Compiled by `kstore.wire.layouts` when a
version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.limits import INT32_MAX, INT64_MAX
from kstore.wire.schema import (
    NO_ID,
    Array,
    Int8,
    Int16,
    Int32,
    Int64,
    Records,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    field,
)


class ReplicaState(Struct):
    replica_id: Int32 = field(default=-1)
    replica_epoch: Int64 = field(default=-1)


class FetchPartition(Struct):
    partition: Int32
    current_leader_epoch: Int32 = field(9, default=-1, ignorable=True)
    fetch_offset: Int64
    last_fetched_epoch: Int32 = field(12, default=-1)
    log_start_offset: Int64 = field(5, default=-1, ignorable=True)
    partition_max_bytes: Int32
    replica_directory_id: Uuid = field(17, tag=0, default=NO_ID, ignorable=True)
    high_watermark: Int64 = field(18, tag=1, default=INT64_MAX, ignorable=True)


class FetchTopic(Struct):
    topic: String = field(4, 12, default="", ignorable=True)
    topic_id: Uuid = field(13, default=NO_ID, ignorable=True)
    partitions: Array[FetchPartition]


class ForgottenTopic(Struct):
    topic: String = field(7, 12, default="", ignorable=True)
    topic_id: Uuid = field(13, default=NO_ID, ignorable=True)
    partitions: Array[Int32]


class FetchRequest(Request, api=1):
    """Asks for batches from an offset on; followers fetch with it too (KIP-903), in sessions since KIP-227."""

    cluster_id: String | None = field(12, tag=0, default=None, ignorable=True)
    replica_id: Int32 = field(4, 14, default=-1)
    replica_state: ReplicaState = field(15, tag=1, default=ReplicaState())
    max_wait_ms: Int32
    min_bytes: Int32
    max_bytes: Int32 = field(default=INT32_MAX)
    isolation_level: Int8 = field(default=0)
    session_id: Int32 = field(7, default=0, ignorable=True)
    session_epoch: Int32 = field(7, default=-1, ignorable=True)
    topics: Array[FetchTopic]
    forgotten_topics_data: Array[ForgottenTopic] = field(7, default=())
    rack_id: String = field(11, default="", ignorable=True)


class EpochEndOffset(Struct):
    epoch: Int32 = field(default=-1)
    end_offset: Int64 = field(default=-1)


class LeaderIdAndEpoch(Struct):
    leader_id: Int32 = field(default=-1)
    leader_epoch: Int32 = field(default=-1)


class SnapshotId(Struct):
    end_offset: Int64 = field(default=-1)
    epoch: Int32 = field(default=-1)


class AbortedTransaction(Struct):
    producer_id: Int64
    first_offset: Int64


class PartitionData(Struct):
    partition_index: Int32
    error_code: Int16
    high_watermark: Int64
    last_stable_offset: Int64 = field(default=-1)
    log_start_offset: Int64 = field(5, default=-1, ignorable=True)
    diverging_epoch: EpochEndOffset = field(12, tag=0, default=EpochEndOffset())
    current_leader: LeaderIdAndEpoch = field(12, tag=1, default=LeaderIdAndEpoch())
    snapshot_id: SnapshotId = field(12, tag=2, default=SnapshotId())
    aborted_transactions: Array[AbortedTransaction] | None
    preferred_read_replica: Int32 = field(11, default=-1)
    records: Records | None


class FetchableTopicResponse(Struct):
    topic: String = field(4, 12, default="", ignorable=True)
    topic_id: Uuid = field(13, default=NO_ID, ignorable=True)
    partitions: Array[PartitionData]


class NodeEndpoint(Struct):
    node_id: Int32
    host: String
    port: Int32
    rack: String | None = field(default=None)


class FetchResponse(Response, api=1):
    """The batches of each partition, as they lie in the log."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16 = field(7, default=0, ignorable=True)
    session_id: Int32 = field(7, default=0)
    responses: Array[FetchableTopicResponse]
    node_endpoints: Array[NodeEndpoint] = field(16, tag=0, default=())
