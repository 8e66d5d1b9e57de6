"""Every request of a transaction is refused, and none is offered."""

from __future__ import annotations

from typing import Any

import pytest

from kstore.wire.messages.groups import FindCoordinatorRequest
from kstore.wire.messages.producers import DescribeTransactionsRequest, ListTransactionsRequest
from kstore.wire.messages.sessions import ApiVersionsRequest
from kstore.wire.messages.transactions import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
    EndTxnRequest,
    InitProducerIdRequest,
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
)
from support.wire_client import WireClient

WHO: dict[str, Any] = {"transactional_id": "t", "producer_id": 1, "producer_epoch": 0}


def test_none_of_them_is_offered(client: WireClient) -> None:
    answer = client.ask(ApiVersionsRequest(client_software_name="x", client_software_version="1"), 3)
    assert {24, 25, 26, 27, 28}.isdisjoint(one.api_key for one in answer.api_keys)


@pytest.mark.parametrize("version", range(7))
def test_there_is_no_coordinator_and_the_answer_says_why(client: WireClient, version: int) -> None:
    keys = {"coordinator_keys": ["t"]} if version > 3 else {"key": "t"}
    request = FindCoordinatorRequest(**keys) if version == 0 else FindCoordinatorRequest(key_type=1, **keys)
    answer = client.ask(request, version)
    found = answer.coordinators[0] if version > 3 else answer
    if version == 0:
        assert found.error_code == 0  # version 0 knows groups only
        return
    assert (found.error_code, found.node_id) == (31, -1)
    assert "transactions" in found.error_message


def test_no_producer_id_for_a_transactional_id(client: WireClient) -> None:
    request = InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=1000)
    answer = client.ask(request, 4)
    assert (answer.error_code, answer.producer_id) == (35, -1)


@pytest.mark.parametrize("version", range(6))
def test_partitions_are_not_added(client: WireClient, version: int) -> None:
    topics = [AddPartitionsToTxnTopic(name="a", partitions=[0, 1])]
    if version < 4:
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id="t",
            v3_and_below_producer_id=1,
            v3_and_below_producer_epoch=0,
            v3_and_below_topics=topics,
        )
        (topic,) = client.ask(request, version).results_by_topic_v3_and_below
    else:
        one = AddPartitionsToTxnTransaction(topics=topics, **WHO)
        answer = client.ask(AddPartitionsToTxnRequest(transactions=[one]), version)
        assert answer.error_code == 35
        (topic,) = answer.results_by_transaction[0].topic_results
    assert [(row.partition_index, row.partition_error_code) for row in topic.results_by_partition] == [(0, 35), (1, 35)]


def test_offsets_ends_and_markers(client: WireClient) -> None:
    assert client.ask(AddOffsetsToTxnRequest(group_id="g", **WHO), 3).error_code == 35
    assert client.ask(EndTxnRequest(committed=True, **WHO), 3).error_code == 35
    place = TxnOffsetCommitRequestPartition(partition_index=2, committed_offset=5, committed_metadata="")
    topics = [TxnOffsetCommitRequestTopic(name="a", partitions=[place])]
    answer = client.ask(TxnOffsetCommitRequest(group_id="g", topics=topics, **WHO), 3)
    assert [one.error_code for one in answer.topics[0].partitions] == [35]
    marker = WritableTxnMarker(
        producer_id=1,
        producer_epoch=0,
        transaction_result=True,
        topics=[WritableTxnMarkerTopic(name="a", partition_indexes=[0])],
        coordinator_epoch=0,
    )
    answer = client.ask(WriteTxnMarkersRequest(markers=[marker]), 1)
    assert answer.markers[0].topics[0].partitions[0].error_code == 35


def test_there_are_none_to_look_at(client: WireClient) -> None:
    request = ListTransactionsRequest(state_filters=["Ongoing", "Gone"], producer_id_filters=[])
    listed = client.ask(request, 1)
    assert (list(listed.transaction_states), list(listed.unknown_state_filters)) == ([], ["Gone"])
    (one,) = client.ask(DescribeTransactionsRequest(transactional_ids=["t"]), 0).transaction_states
    assert (one.error_code, one.transactional_id) == (105, "t")
