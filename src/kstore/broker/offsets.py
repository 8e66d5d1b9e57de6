"""Offsets of partitions: where they begin and end, and which record a time leads to.

Owns the handler of ListOffsets. Called by `dispatch`. Lookups by time walk logs, so they run on a thread.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kstore.errors import ClosedError, KStoreError
from kstore.limits import INT32_MAX
from kstore.wire.error_codes import code_of
from kstore.wire.messages.offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.partition import Partition

LEADER_EPOCH_SINCE_VERSION = 4
LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6
NONE = -1
READ_COMMITTED = 1
UNKNOWN_TOPIC = 3
UNSUPPORTED_VERSION = 35
INVALID_REQUEST = 42
FENCED_LEADER_EPOCH = 74
UNKNOWN_LEADER_EPOCH = 75

_SINCE_VERSION = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}
"""Special times that older versions do not have (KIP-734, -405, -1005, -1023)."""
_DIRECT = frozenset({LATEST, EARLIEST, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD})


class _Asked(NamedTuple):
    topic: str
    partition: ListOffsetsPartition


def list_offsets(broker: Broker, call: Call) -> None:
    """Offsets for special times at once, for others off the loop."""
    request: ListOffsetsRequest = call.body
    asked = [_Asked(topic.name, partition) for topic in request.topics for partition in topic.partitions]
    is_committed = request.isolation_level == READ_COMMITTED
    twice = {place for place, count in Counter(map(_place, asked)).items() if count > 1}
    if twice:
        asked = list({_place(one): one for one in asked}.values())
    look = partial(_look_all, broker, asked, call.version, is_committed, twice)
    if all(one.partition.timestamp in _DIRECT for one in asked):
        _answer(call, asked, look())
        return

    def then(found: list[ListOffsetsPartitionResponse] | None, error: KStoreError | None) -> None:
        if found is None:
            found = [_failed(one, code_of(error or KStoreError())) for one in asked]
        _answer(call, asked, found)

    broker.off_loop(look, then)


def _place(asked: _Asked) -> tuple[str, int]:
    return asked.topic, asked.partition.partition_index


def _look_all(
    broker: Broker, asked: list[_Asked], version: int, is_committed: bool, twice: set[tuple[str, int]]
) -> list[ListOffsetsPartitionResponse]:
    """What was asked for; a partition that was asked for twice is answered once, and refused."""
    return [
        _failed(one, INVALID_REQUEST)
        if _place(one) in twice
        else _failed(one, UNSUPPORTED_VERSION)
        if not _has_time(version, one.partition.timestamp)
        else _look(broker, one, is_committed)
        for one in asked
    ]


def _has_time(version: int, time_ms: int) -> bool:
    return time_ms >= EARLIEST or version >= _SINCE_VERSION.get(time_ms, INT32_MAX)


def _look(broker: Broker, asked: _Asked, is_committed: bool) -> ListOffsetsPartitionResponse:
    try:
        partition = broker.partition(asked.topic, asked.partition.partition_index)
        epoch = asked.partition.current_leader_epoch
        if epoch >= 0 and epoch != partition.log.leader_epoch:
            is_old = epoch < partition.log.leader_epoch
            return _failed(asked, FENCED_LEADER_EPOCH if is_old else UNKNOWN_LEADER_EPOCH)
        return _found(asked, partition, is_committed)
    except ClosedError:
        return _failed(asked, UNKNOWN_TOPIC)
    except KStoreError as error:
        return _failed(asked, code_of(error))


def _found(asked: _Asked, partition: Partition, is_committed: bool) -> ListOffsetsPartitionResponse:
    view = partition.log.view
    end = view.last_stable_offset if is_committed else view.high_watermark
    time_ms = asked.partition.timestamp
    if time_ms == LATEST:
        return _at(asked, partition, end)
    if time_ms in (EARLIEST, EARLIEST_LOCAL):
        return _at(asked, partition, view.log_start_offset)
    if time_ms in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        return _at(asked, partition, NONE)
    if time_ms == MAX_TIMESTAMP:
        segments = [segment for segment in view.segments if segment.size_bytes]
        newest_ms = max((segment.max_timestamp_ms for segment in segments), default=NONE)
        if newest_ms < 0:
            return _at(asked, partition, NONE)
        time_ms = newest_ms
    found = partition.offset_for_timestamp(time_ms)
    if found is None or found[0] >= end:
        return _at(asked, partition, NONE)
    return _at(asked, partition, *found)


def _at(asked: _Asked, partition: Partition, offset: int, timestamp_ms: int = NONE) -> ListOffsetsPartitionResponse:
    epochs = partition.log.derived.epochs
    epoch = NONE
    if offset >= 0:
        epoch = epochs.epoch_for_offset(offset) if len(epochs) else NONE
        if offset >= partition.log_end_offset:
            epoch = partition.log.leader_epoch
    return ListOffsetsPartitionResponse(
        partition_index=asked.partition.partition_index,
        error_code=0,
        timestamp=timestamp_ms,
        offset=offset,
        leader_epoch=epoch,
    )


def _failed(asked: _Asked, code: int) -> ListOffsetsPartitionResponse:
    return ListOffsetsPartitionResponse(partition_index=asked.partition.partition_index, error_code=code)


def _answer(call: Call, asked: list[_Asked], found: list[ListOffsetsPartitionResponse]) -> None:
    topics: list[ListOffsetsTopicResponse] = []
    partitions: list[ListOffsetsPartitionResponse] = []
    before: str | None = None
    for one, result in zip(asked, found, strict=True):
        if one.topic != before:
            partitions = []
            topics.append(ListOffsetsTopicResponse(name=one.topic, partitions=partitions))
        before = one.topic
        partitions.append(result if call.version >= LEADER_EPOCH_SINCE_VERSION else result.replace(leader_epoch=NONE))
    call.answer(ListOffsetsResponse(topics=topics))
