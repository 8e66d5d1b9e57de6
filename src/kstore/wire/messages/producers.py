"""Looking at producers and their transactions from outside (KIP-664).

Owns the field tables of DescribeProducers, DescribeTransactions and ListTransactions; must not know what anyone does
with them. Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import Array, Int16, Int32, Int64, Request, Response, String, Struct, field


class TopicRequest(Struct):
    name: String
    partition_indexes: Array[Int32]


class DescribeProducersRequest(Request, api=61):
    """Asks for the active producers of partitions."""

    topics: Array[TopicRequest]


class ProducerState(Struct):
    producer_id: Int64
    producer_epoch: Int32
    last_sequence: Int32 = field(default=-1)
    last_timestamp: Int64 = field(default=-1)
    coordinator_epoch: Int32
    current_txn_start_offset: Int64 = field(default=-1)


class PartitionResponse(Struct):
    partition_index: Int32
    error_code: Int16
    error_message: String | None = field(default=None)
    active_producers: Array[ProducerState]


class TopicResponse(Struct):
    name: String
    partitions: Array[PartitionResponse]


class DescribeProducersResponse(Response, api=61):
    """Their epochs, sequences and open transactions."""

    throttle_time_ms: Int32 = field(default=0)
    topics: Array[TopicResponse]


class DescribeTransactionsRequest(Request, api=65):
    """Asks for transactions by their transactional ids."""

    transactional_ids: Array[String]


class TopicData(Struct):
    topic: String
    partitions: Array[Int32]


class DescribeTransactionsResponseTransactionState(Struct):
    error_code: Int16
    transactional_id: String
    transaction_state: String
    transaction_timeout_ms: Int32
    transaction_start_time_ms: Int64
    producer_id: Int64
    producer_epoch: Int16
    topics: Array[TopicData]


class DescribeTransactionsResponse(Response, api=65):
    """Their states and partitions."""

    throttle_time_ms: Int32 = field(default=0)
    transaction_states: Array[DescribeTransactionsResponseTransactionState]


class ListTransactionsRequest(Request, api=66):
    """Asks a coordinator for the transactions it knows."""

    state_filters: Array[String]
    producer_id_filters: Array[Int64]
    duration_filter: Int64 = field(1, default=-1)
    transactional_id_pattern: String | None = field(2, default=None)


class ListTransactionsResponseTransactionState(Struct):
    transactional_id: String
    producer_id: Int64
    transaction_state: String


class ListTransactionsResponse(Response, api=66):
    """Their states."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    unknown_state_filters: Array[String]
    transaction_states: Array[ListTransactionsResponseTransactionState]
