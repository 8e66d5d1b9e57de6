"""Producing records.

Owns the field tables of Produce; must not know what anyone does with them. Compiled by `kstore.wire.layouts` when a
version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import (
    NO_ID,
    Array,
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


class PartitionProduceData(Struct):
    index: Int32
    records: Records | None


class TopicProduceData(Struct):
    name: String = field(3, 12, default="", ignorable=True)
    topic_id: Uuid = field(13, default=NO_ID, ignorable=True)
    partition_data: Array[PartitionProduceData]


class ProduceRequest(Request, api=0):
    """Appends batches to partitions; `acks` says who must have them before the answer."""

    transactional_id: String | None = field(default=None)
    acks: Int16
    timeout_ms: Int32
    topic_data: Array[TopicProduceData]


class BatchIndexAndErrorMessage(Struct):
    batch_index: Int32
    batch_index_error_message: String | None = field(default=None)


class LeaderIdAndEpoch(Struct):
    leader_id: Int32 = field(default=-1)
    leader_epoch: Int32 = field(default=-1)


class PartitionProduceResponse(Struct):
    index: Int32
    error_code: Int16
    base_offset: Int64
    log_append_time_ms: Int64 = field(default=-1)
    log_start_offset: Int64 = field(5, default=-1, ignorable=True)
    record_errors: Array[BatchIndexAndErrorMessage] = field(8, default=(), ignorable=True)
    error_message: String | None = field(8, default=None, ignorable=True)
    current_leader: LeaderIdAndEpoch = field(10, tag=0, default=LeaderIdAndEpoch())


class TopicProduceResponse(Struct):
    name: String = field(3, 12, default="", ignorable=True)
    topic_id: Uuid = field(13, default=NO_ID, ignorable=True)
    partition_responses: Array[PartitionProduceResponse]


class NodeEndpoint(Struct):
    node_id: Int32
    host: String
    port: Int32
    rack: String | None = field(default=None)


class ProduceResponse(Response, api=0):
    """Where the batches went, or why not; none is sent for `acks=0`."""

    responses: Array[TopicProduceResponse]
    throttle_time_ms: Int32 = field(default=0)
    node_endpoints: Array[NodeEndpoint] = field(10, tag=0, default=())
