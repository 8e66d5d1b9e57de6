"""Single partitions as admin clients and followers look at them: epochs, producers, sizes, and where they begin.

Owns the handlers of OffsetForLeaderEpoch, DescribeProducers, DeleteRecords and DescribeLogDirs. Must not know how a log
keeps any of it. Called by `dispatch`; what waits for the disk runs off the loop.

Invariants
1. What fails for one partition fails for no other.
2. A low watermark that was answered is on the medium: no crash brings the deleted records back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from kstore.errors import ClosedError, KStoreError, OffsetOutOfRange
from kstore.log import names
from kstore.log.disk import volume_bytes
from kstore.wire.error_codes import code_of
from kstore.wire.messages.offsets import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)
from kstore.wire.messages.producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)
from kstore.wire.messages.replicas import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker

UNKNOWN_TOPIC = 3
INVALID_TOPIC = 17
POLICY_VIOLATION = 44
STORAGE_ERROR = 56
FENCED_LEADER_EPOCH = 74
UNKNOWN_LEADER_EPOCH = 75
HIGH_WATERMARK = -1
NONE = -1
LOG_SUFFIX = ".log"

T = TypeVar("T")


def _attempt(work: Callable[[], T]) -> tuple[T | None, int, str | None]:
    """A result, or the code and message of why there is none."""
    try:
        return work(), 0, None
    except ClosedError as error:
        return None, UNKNOWN_TOPIC, str(error)
    except KStoreError as error:
        return None, code_of(error), str(error)


# -- epochs ----------------------------------------------------------------------------------------------


def offset_for_leader_epoch(broker: Broker, call: Call) -> None:
    """Where the newest epoch up to the one asked for ends (KIP-101, KIP-320)."""
    request: OffsetForLeaderEpochRequest = call.body
    topics = []
    for topic in request.topics:
        ends = []
        for one in topic.partitions:
            found, code, _ = _attempt(partial(_epoch_end, broker, topic.topic, one))
            ends.append(found or EpochEndOffset(error_code=code, partition=one.partition))
        topics.append(OffsetForLeaderTopicResult(topic=topic.topic, partitions=ends))
    call.answer(OffsetForLeaderEpochResponse(topics=topics))


def _epoch_end(broker: Broker, topic: str, asked: OffsetForLeaderPartition) -> EpochEndOffset:
    log = broker.partition(topic, asked.partition).log
    known, here = asked.current_leader_epoch, log.leader_epoch
    if known >= 0 and known != here:
        code = FENCED_LEADER_EPOCH if known < here else UNKNOWN_LEADER_EPOCH
        return EpochEndOffset(error_code=code, partition=asked.partition)
    epoch, end = log.derived.epochs.end_offset_for(asked.leader_epoch, log.view.log_end_offset)
    if asked.leader_epoch == here:  # the leader's own epoch, of which no record may be there yet
        epoch, end = here, log.view.log_end_offset
    return EpochEndOffset(error_code=0, partition=asked.partition, leader_epoch=epoch, end_offset=end)


# -- producers -------------------------------------------------------------------------------------------


def describe_producers(broker: Broker, call: Call) -> None:
    """What partitions remember of their producers (KIP-664)."""
    request: DescribeProducersRequest = call.body
    topics = []
    for topic in request.topics:
        partitions = []
        for index in topic.partition_indexes:
            found, code, message = _attempt(partial(_producers, broker, topic.name, index))
            partitions.append(
                PartitionResponse(
                    partition_index=index, error_code=code, error_message=message, active_producers=found or []
                )
            )
        topics.append(TopicResponse(name=topic.name, partitions=partitions))
    call.answer(DescribeProducersResponse(topics=topics))


def _producers(broker: Broker, topic: str, index: int) -> list[ProducerState]:
    names.validate_topic_name(topic)
    return [
        ProducerState(
            producer_id=entry.producer_id,
            producer_epoch=entry.epoch,
            last_sequence=entry.last_sequence,
            last_timestamp=entry.last_timestamp_ms,
            coordinator_epoch=entry.coordinator_epoch,
            current_txn_start_offset=entry.txn_first_offset,
        )
        for entry in broker.partition(topic, index).log.derived.producers.entries()
    ]


# -- where a log begins ----------------------------------------------------------------------------------


class _Refusal(KStoreError):
    def __init__(self, error_code: int, message: str) -> None:
        self.error_code = error_code
        super().__init__(message)


def delete_records(broker: Broker, call: Call) -> None:
    """Let partitions begin at a later offset; segments wholly below it go (KIP-107)."""
    request: DeleteRecordsRequest = call.body
    asked = [(topic.name, [(one.partition_index, one.offset) for one in topic.partitions]) for topic in request.topics]

    def delete() -> list[DeleteRecordsTopicResult]:
        return [
            DeleteRecordsTopicResult(
                name=name, partitions=[_delete_below(broker, name, index, offset) for index, offset in places]
            )
            for name, places in asked
        ]

    def then(found: list[DeleteRecordsTopicResult] | None, error: KStoreError | None) -> None:
        if found is None:
            code = code_of(error or KStoreError())
            found = [
                DeleteRecordsTopicResult(name=name, partitions=[_not_deleted(index, code) for index, _ in places])
                for name, places in asked
            ]
        call.answer(DeleteRecordsResponse(topics=found))

    broker.off_loop(delete, then)


def _delete_below(broker: Broker, topic: str, index: int, offset: int) -> DeleteRecordsPartitionResult:
    def work() -> int:
        if names.is_internal_topic(topic):
            raise _Refusal(INVALID_TOPIC, f"Cannot delete records of internal topic {topic}")
        partition = broker.partition(topic, index)
        policies = partition.log.config.cleanup_policy
        if "delete" not in policies and "compact" in policies:
            raise _Refusal(POLICY_VIOLATION, f"cleanup.policy of {topic} keeps the newest record of every key")
        end = partition.high_watermark
        before = end if offset == HIGH_WATERMARK else offset
        if not 0 <= before <= end:
            raise OffsetOutOfRange(before, partition.log_start_offset, end, f"{topic}-{index}")
        return partition.delete_records(before)

    found, code, _ = _attempt(work)
    if found is None:
        return _not_deleted(index, code)
    return DeleteRecordsPartitionResult(partition_index=index, low_watermark=found, error_code=0)


def _not_deleted(index: int, code: int) -> DeleteRecordsPartitionResult:
    return DeleteRecordsPartitionResult(partition_index=index, low_watermark=NONE, error_code=code)


# -- what lies on the disk -------------------------------------------------------------------------------


def describe_log_dirs(broker: Broker, call: Call) -> None:
    """The one log directory: partitions with their sizes in bytes, and the volume they lie on."""
    request: DescribeLogDirsRequest = call.body
    picture = broker.cluster.metadata.topics
    if request.topics is None:
        asked = [(name, list(range(len(topic.partitions)))) for name, topic in sorted(picture.items())]
    else:
        asked = [(one.topic, list(one.partitions)) for one in request.topics]

    def look() -> DescribeLogDirsResult:
        topics = []
        for name, indexes in asked:
            sizes = [(index, size) for index in indexes if (size := _size_bytes(broker, name, index)) is not None]
            partitions = [
                DescribeLogDirsPartition(partition_index=index, partition_size=size, offset_lag=0, is_future_key=False)
                for index, size in sizes
            ]
            if partitions:
                topics.append(DescribeLogDirsTopic(name=name, partitions=partitions))
        total, usable = volume_bytes(broker.store.disk, broker.store.path)
        return DescribeLogDirsResult(
            error_code=0 if broker.store.health.failure is None else STORAGE_ERROR,
            log_dir=broker.store.path,
            topics=topics,
            total_bytes=total,
            usable_bytes=usable,
        )

    def then(found: DescribeLogDirsResult | None, error: KStoreError | None) -> None:
        if found is None:
            code = code_of(error or KStoreError())
            found = DescribeLogDirsResult(error_code=code, log_dir=broker.store.path, topics=[])
        call.answer(DescribeLogDirsResponse(results=[found]))

    broker.off_loop(look, then)


def _size_bytes(broker: Broker, topic: str, index: int) -> int | None:
    """Bytes of a partition's segments, without opening it; None where it is not here."""
    store = broker.store
    opened = store.opened(topic, index)
    if opened is not None:
        return sum(segment.size_bytes for segment in opened.segments)
    path = f"{store.path}/{names.partition_dir_name(topic, index)}"
    try:
        with store.health.guard("read", path, final=False):
            return sum(store.disk.size(f"{path}/{name}") for name in store.disk.list(path) if name.endswith(LOG_SUFFIX))
    except KStoreError:
        return None
