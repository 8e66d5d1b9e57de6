"""Transactions, which this broker does not keep: every request of one is refused in words that clients show.

Owns the answers to AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit and WriteTxnMarkers, which are not
offered (`dispatch.UNADVERTISED`) and answered to whoever asks all the same; and to ListTransactions and
DescribeTransactions, which truthfully tell of none. A transactional producer ends before all of them, at
FindCoordinator (`sessions`) or InitProducerId (`producers`). Called by `dispatch`.

Invariants
1. Nothing of a transaction is half done: there is no answer but a refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore.wire.error_codes import UNSUPPORTED_VERSION
from kstore.wire.messages.producers import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    DescribeTransactionsResponseTransactionState,
    ListTransactionsRequest,
    ListTransactionsResponse,
)
from kstore.wire.messages.transactions import (
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult,
    EndTxnResponse,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kstore.broker.call import Call
    from kstore.broker.node import Broker

TRANSACTIONAL_ID_NOT_FOUND = 105
BATCHES_SINCE_VERSION = 4
NO_PRODUCER_ID = -1
STATES = frozenset(
    {
        "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead",
        "PrepareEpochFence",
    }
)  # fmt: skip
"""Kafka's states of a transaction (TransactionState)."""


def add_partitions_to_txn(broker: Broker, call: Call) -> None:
    """Refused, for each partition; since version 4 a broker asks for several transactions."""
    request: AddPartitionsToTxnRequest = call.body
    if call.version < BATCHES_SINCE_VERSION:
        answers = _refused_topics(request.v3_and_below_topics)
        call.answer(AddPartitionsToTxnResponse(results_by_topic_v3_and_below=answers))
        return
    results = [
        AddPartitionsToTxnResult(transactional_id=one.transactional_id, topic_results=_refused_topics(one.topics))
        for one in request.transactions
    ]
    call.answer(AddPartitionsToTxnResponse(error_code=UNSUPPORTED_VERSION, results_by_transaction=results))


def _refused_topics(topics: Iterable[AddPartitionsToTxnTopic]) -> list[AddPartitionsToTxnTopicResult]:
    return [
        AddPartitionsToTxnTopicResult(
            name=topic.name,
            results_by_partition=[
                AddPartitionsToTxnPartitionResult(partition_index=index, partition_error_code=UNSUPPORTED_VERSION)
                for index in topic.partitions
            ],
        )
        for topic in topics
    ]


def add_offsets_to_txn(broker: Broker, call: Call) -> None:
    """Refused."""
    call.answer(AddOffsetsToTxnResponse(error_code=UNSUPPORTED_VERSION))


def end_txn(broker: Broker, call: Call) -> None:
    """Refused."""
    call.answer(EndTxnResponse(error_code=UNSUPPORTED_VERSION))


def txn_offset_commit(broker: Broker, call: Call) -> None:
    """Refused, for each partition."""
    request: TxnOffsetCommitRequest = call.body
    topics = [
        TxnOffsetCommitResponseTopic(
            name=topic.name,
            partitions=[
                TxnOffsetCommitResponsePartition(partition_index=one.partition_index, error_code=UNSUPPORTED_VERSION)
                for one in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    call.answer(TxnOffsetCommitResponse(topics=topics))


def write_txn_markers(broker: Broker, call: Call) -> None:
    """Refused, for each partition: a marker would end a transaction that nobody began."""
    request: WriteTxnMarkersRequest = call.body
    markers = [
        WritableTxnMarkerResult(
            producer_id=marker.producer_id,
            topics=[
                WritableTxnMarkerTopicResult(
                    name=topic.name,
                    partitions=[
                        WritableTxnMarkerPartitionResult(partition_index=index, error_code=UNSUPPORTED_VERSION)
                        for index in topic.partition_indexes
                    ],
                )
                for topic in marker.topics
            ],
        )
        for marker in request.markers
    ]
    call.answer(WriteTxnMarkersResponse(markers=markers))


def list_transactions(broker: Broker, call: Call) -> None:
    """None; states that Kafka does not have are named."""
    request: ListTransactionsRequest = call.body
    unknown = [state for state in request.state_filters if state not in STATES]
    call.answer(ListTransactionsResponse(error_code=0, unknown_state_filters=unknown, transaction_states=[]))


def describe_transactions(broker: Broker, call: Call) -> None:
    """No transactional id is known here."""
    request: DescribeTransactionsRequest = call.body
    states = [
        DescribeTransactionsResponseTransactionState(
            error_code=TRANSACTIONAL_ID_NOT_FOUND,
            transactional_id=name,
            transaction_state="",
            transaction_timeout_ms=0,
            transaction_start_time_ms=0,
            producer_id=NO_PRODUCER_ID,
            producer_epoch=0,
            topics=[],
        )
        for name in request.transactional_ids
    ]
    call.answer(DescribeTransactionsResponse(transaction_states=states))
