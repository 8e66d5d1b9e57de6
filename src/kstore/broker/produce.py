"""Produce: batches into logs, and an answer when they are as safe as `acks` asks for.

Owns the handler, and which batches a client may send. Must not know how a log stores them. Called by `dispatch`.

Invariants
1. A batch is stored whole or not at all; what fails for one partition fails for no other.
2. acks=all answers when the batches are on the medium (`kstore.acks.all=fsync`), acks=1 when they are in the page
   cache, unless `flush.messages` of the topic asks for more; acks=0 is never answered. A disk that stalls past the
   request's timeout is answered with REQUEST_TIMED_OUT: the batch may be there.
3. Nothing of a transaction is stored: without a coordinator it would never end, and hold readers up for good.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kstore.broker.acceptance import Refusal, refused, require_acceptable
from kstore.broker.durability import TIMEOUT_MS_MIN
from kstore.broker.repeated_produce import LAST_VERSION_WITH_NAMES, produce_pattern
from kstore.broker.repeats import learner
from kstore.config.broker import FSYNC
from kstore.errors import ClosedError, InvalidBatch, KStoreError, NotEnoughReplicas, UnknownTopicOrPartition
from kstore.log.names import INTERNAL_TOPICS
from kstore.wire.error_codes import UNSUPPORTED_VERSION
from kstore.wire.messages.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.log.appended import Appended
    from kstore.partition import Partition

ALL = -1
ACKS = frozenset({ALL, 0, 1})
INVALID_REQUIRED_ACKS = 21
INVALID_TOPIC = 17
UNKNOWN_TOPIC_ID = 100
ADMIN_CLIENT = "__admin_client"
"""Who may write to internal topics (AdminUtils.ADMIN_CLIENT_ID)."""


class _Wait(NamedTuple):
    """A batch that has to be on the medium before the answer."""

    results: list[PartitionProduceResponse]
    place: int
    partition: Partition
    offset: int


def produce(broker: Broker, call: Call) -> None:
    """Append each partition's batch, then answer as `acks` says."""
    request: ProduceRequest = call.body
    acks = request.acks
    waits_for_all = acks == ALL and broker.config.kstore_acks_all == FSYNC
    waits: list[_Wait] = []
    topics: list[TopicProduceResponse] = []
    stored: list[tuple[str, int, Buffer]] = []
    for topic in request.topic_data:
        name = topic.name if call.version <= LAST_VERSION_WITH_NAMES else _name_of(broker, topic.topic_id)
        results: list[PartitionProduceResponse] = []
        topics.append(TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=results))
        for data in topic.partition_data:
            index = data.index
            try:
                if request.transactional_id is not None:
                    raise Refusal(UNSUPPORTED_VERSION, "transactions are not kept by this broker")
                partition, appended = _append(broker, call, acks, name, index, data.records)
            except KStoreError as error:
                results.append(refused(index, error))
                continue
            if data.records is not None:
                stored.append((partition.topic, index, data.records))
            log = partition.log
            end = appended.next_offset
            if waits_for_all or log.config.flush_messages <= end - partition.durable_offset:
                waits.append(_Wait(results, len(results), partition, end))
            results.append(
                PartitionProduceResponse(
                    index=index,
                    error_code=0,
                    base_offset=appended.base_offset,
                    log_append_time_ms=appended.timestamp_ms
                    if log.config.message_timestamp_type == "LogAppendTime"
                    else -1,
                    log_start_offset=log.view.log_start_offset,
                )
            )
    if waits:
        _answer_later(broker, call, request, topics, waits)
    else:
        _answer(call, acks, topics)
    if len(topics) == len(stored) == 1 and len(topics[0].partition_responses) == 1:
        _learn(broker, call, request, *stored[0])


def _learn(broker: Broker, call: Call, request: ProduceRequest, topic: str, index: int, records: Buffer) -> None:
    """More requests like this one will come: they need not be decoded."""
    if call.version <= LAST_VERSION_WITH_NAMES and topic not in INTERNAL_TOPICS:
        repeats = learner(broker, call.connection)
        if repeats is not None:
            repeats.learn(produce_pattern(call, request, topic, index, records))


def _answer(call: Call, acks: int, topics: list[TopicProduceResponse]) -> None:
    if acks != 0:
        call.answer(ProduceResponse(responses=topics))
    elif any(one.error_code for topic in topics for one in topic.partition_responses):
        call.connection.close("a batch with acks=0 was refused: closing is the only way to tell")
    else:
        call.answer_nothing()


def _answer_later(
    broker: Broker, call: Call, request: ProduceRequest, topics: list[TopicProduceResponse], waits: list[_Wait]
) -> None:
    """Answer when the last batch is on the medium, or known never to be, or the request's time is over."""
    open_count = len(waits)
    timeout_s = max(request.timeout_ms, TIMEOUT_MS_MIN) / 1000

    def settled(wait: _Wait, error: KStoreError | None) -> None:
        nonlocal open_count
        open_count -= 1
        if error is not None:
            wait.results[wait.place] = refused(wait.results[wait.place].index, error)
        if not open_count:
            _answer(call, request.acks, topics)

    for wait in waits:
        broker.durability.wait(wait.partition, wait.offset, partial(settled, wait), timeout_s=timeout_s)


def _name_of(broker: Broker, topic_id: bytes) -> str | None:
    found = broker.cluster.metadata.by_id.get(topic_id)
    return None if found is None else found.name


def _append(
    broker: Broker, call: Call, acks: int, topic: str | None, index: int, buffer: Buffer | None
) -> tuple[Partition, Appended]:
    if topic is None:
        raise Refusal(UNKNOWN_TOPIC_ID, "no topic of that id here")
    if acks not in ACKS:
        raise Refusal(INVALID_REQUIRED_ACKS, f"acks is -1, 0 or 1, not {acks}")
    if topic in INTERNAL_TOPICS and call.client_id != ADMIN_CLIENT:
        raise Refusal(INVALID_TOPIC, f"clients do not write to {topic}")
    partition = broker.partition(topic, index)
    if buffer is None:
        raise InvalidBatch("no batch")
    records = memoryview(buffer)
    require_acceptable(records, call.version, partition.log.config, broker.now_ms())
    if acks == ALL and (needed := partition.log.config.min_insync_replicas) > 1:
        raise NotEnoughReplicas(f"min.insync.replicas is {needed}, this broker is alone")
    try:
        appended = partition.append_batches(records, durable=False)
    except ClosedError:
        raise UnknownTopicOrPartition(f"topic {topic} was just deleted") from None
    if not appended.duplicate:
        broker.appended(partition, len(records))
    return partition, appended
