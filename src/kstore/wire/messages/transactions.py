"""Producer ids and transactions.

Owns the field tables of InitProducerId, the four requests of a transaction and WriteTxnMarkers; must not know what
anyone does with them. Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table
reads.
"""

from __future__ import annotations

from kstore.wire.schema import Array, Bool, Int8, Int16, Int32, Int64, Request, Response, String, Struct, field


class InitProducerIdRequest(Request, api=22):
    """Asks for a producer id, or for the next epoch of one (KIP-360)."""

    transactional_id: String | None
    transaction_timeout_ms: Int32
    producer_id: Int64 = field(3, default=-1)
    producer_epoch: Int16 = field(3, default=-1)
    enable2_pc: Bool = field(6, default=False)
    keep_prepared_txn: Bool = field(6, default=False)


class InitProducerIdResponse(Response, api=22):
    """The producer id and epoch."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    producer_id: Int64 = field(default=-1)
    producer_epoch: Int16
    ongoing_txn_producer_id: Int64 = field(6, default=-1)
    ongoing_txn_producer_epoch: Int16 = field(6, default=-1)


class AddPartitionsToTxnTopic(Struct):
    name: String
    partitions: Array[Int32]


class AddPartitionsToTxnTransaction(Struct):
    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    verify_only: Bool = field(default=False)
    topics: Array[AddPartitionsToTxnTopic]


class AddPartitionsToTxnRequest(Request, api=24):
    """Adds partitions to a transaction; since version 4 a broker verifies several with it (KIP-890)."""

    transactions: Array[AddPartitionsToTxnTransaction] = field(4, default=())
    v3_and_below_transactional_id: String = field(0, 3, default="")
    v3_and_below_producer_id: Int64 = field(0, 3, default=0)
    v3_and_below_producer_epoch: Int16 = field(0, 3, default=0)
    v3_and_below_topics: Array[AddPartitionsToTxnTopic] = field(0, 3, default=())


class AddPartitionsToTxnTopicResult(Struct):
    name: String
    results_by_partition: Array[AddPartitionsToTxnPartitionResult]


class AddPartitionsToTxnPartitionResult(Struct):
    partition_index: Int32
    partition_error_code: Int16


class AddPartitionsToTxnResult(Struct):
    transactional_id: String
    topic_results: Array[AddPartitionsToTxnTopicResult]


class AddPartitionsToTxnResponse(Response, api=24):
    """An error code for each partition."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16 = field(4, default=0, ignorable=True)
    results_by_transaction: Array[AddPartitionsToTxnResult] = field(4, default=())
    results_by_topic_v3_and_below: Array[AddPartitionsToTxnTopicResult] = field(0, 3, default=())


class AddOffsetsToTxnRequest(Request, api=25):
    """Adds a group's offsets to a transaction."""

    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    group_id: String


class AddOffsetsToTxnResponse(Response, api=25):
    """An error code."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16


class EndTxnRequest(Request, api=26):
    """Commits or aborts a transaction."""

    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    committed: Bool


class EndTxnResponse(Response, api=26):
    """An error code, and since version 5 the next epoch (KIP-890)."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    producer_id: Int64 = field(5, default=-1, ignorable=True)
    producer_epoch: Int16 = field(5, default=-1, ignorable=True)


class TxnOffsetCommitRequestPartition(Struct):
    partition_index: Int32
    committed_offset: Int64
    committed_leader_epoch: Int32 = field(2, default=-1, ignorable=True)
    committed_metadata: String | None


class TxnOffsetCommitRequestTopic(Struct):
    name: String
    partitions: Array[TxnOffsetCommitRequestPartition]


class TxnOffsetCommitRequest(Request, api=28):
    """Commits offsets of a group as a part of a transaction (KIP-98, KIP-447)."""

    transactional_id: String
    group_id: String
    producer_id: Int64
    producer_epoch: Int16
    generation_id: Int32 = field(3, default=-1)
    member_id: String = field(3, default="")
    group_instance_id: String | None = field(3, default=None)
    topics: Array[TxnOffsetCommitRequestTopic]


class TxnOffsetCommitResponsePartition(Struct):
    partition_index: Int32
    error_code: Int16


class TxnOffsetCommitResponseTopic(Struct):
    name: String
    partitions: Array[TxnOffsetCommitResponsePartition]


class TxnOffsetCommitResponse(Response, api=28):
    """An error code for each partition."""

    throttle_time_ms: Int32 = field(default=0)
    topics: Array[TxnOffsetCommitResponseTopic]


class WritableTxnMarkerTopic(Struct):
    name: String
    partition_indexes: Array[Int32]


class WritableTxnMarker(Struct):
    producer_id: Int64
    producer_epoch: Int16
    transaction_result: Bool
    topics: Array[WritableTxnMarkerTopic]
    coordinator_epoch: Int32
    transaction_version: Int8 = field(2, default=0, ignorable=True)


class WriteTxnMarkersRequest(Request, api=27):
    """Has the coordinator's markers written, from broker to broker."""

    markers: Array[WritableTxnMarker]


class WritableTxnMarkerPartitionResult(Struct):
    partition_index: Int32
    error_code: Int16


class WritableTxnMarkerTopicResult(Struct):
    name: String
    partitions: Array[WritableTxnMarkerPartitionResult]


class WritableTxnMarkerResult(Struct):
    producer_id: Int64
    topics: Array[WritableTxnMarkerTopicResult]


class WriteTxnMarkersResponse(Response, api=27):
    """An error code for each partition of each marker."""

    markers: Array[WritableTxnMarkerResult]
