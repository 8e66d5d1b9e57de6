"""Fetch requests like the one before but for the offset: what is learnt of one, and how those are answered that fit.

Owns when a fetch of one partition, outside any session, may be answered or parked as it lies, and the answer. Called by
`fetch`, and through `repeats`.

Invariants
1. Only what is plain is answered here: no error, no aborted transaction. What is not when a parked request wakes goes
   on the usual way, with the deadline that it had.
2. Whatever may change between two requests is looked up for each: partition, leader epoch, marks, limits.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kstore._native.repeats import FetchPattern
from kstore.broker.call import Call
from kstore.errors import KStoreError
from kstore.wire.apis import FETCH, api
from kstore.wire.codec import encode_request, encode_response
from kstore.wire.messages.fetch import FetchableTopicResponse, FetchRequest, FetchResponse, PartitionData

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from kstore._native.batches import Batches
    from kstore._native.repeats import Ask
    from kstore._native.view import View
    from kstore.broker.connection import Connection
    from kstore.broker.fetch_sessions import Want
    from kstore.broker.node import Broker
    from kstore.partition import Partition

    Resume: TypeAlias = Callable[[Broker, Call, float], None]

READ_COMMITTED = 1
FINAL_EPOCH = -1
TOPIC_IDS_SINCE_VERSION = 13
SIZE_BYTES = 4
_MARKS = (0x7A61_7A62_7A63_7A64, 0x7A65_7A66_7A67_7A68, 0x7A69_7A6A_7A6B_7A6C)
_INT64 = struct.Struct(">q")
_RECORDS = b"records"


class FetchTarget(NamedTuple):
    """What the requests of a pattern are about."""

    topic: str
    topic_id: bytes
    number: int
    leader_epoch: int
    min_bytes: int
    max_bytes: int
    max_wait_ms: int
    isolation: str
    by_id: bool
    version: int
    request: FetchRequest
    """The one that the pattern was learnt from."""
    resume: Resume
    """Goes the usual way with a request that waited until `deadline`, and is not plain now."""

    def take(self, broker: Broker, connection: Connection, ask: Ask) -> bool:
        """Answer a request, or park it; False, or a `KStoreError`, with nothing done."""
        found = self.read(broker, ask.offset)
        if found is None:
            return False
        partition, view, batches = found
        missing_bytes = self.min_bytes - batches.size_bytes
        if missing_bytes > 0 and (self.max_wait_ms <= 0 or broker.is_stopping):
            return False
        ask.done()
        broker.traffic.requests[FETCH] += 1
        call = Call(connection, FETCH, self.version, ask.correlation_id, None, None)
        connection.accept(call, ask.frames_bytes)
        if missing_bytes > 0:
            _Parked(self, broker, call, ask).park(partition, missing_bytes)
        else:
            connection.finish(call, ask.answer(batches.buffer, *_marks(view)))
        return True

    def read(self, broker: Broker, offset: int) -> tuple[Partition, View, Batches] | None:
        """What is there from an offset on; None, or a `KStoreError`, where that is not all there is to say."""
        name = self.topic
        if self.by_id:
            found = broker.cluster.metadata.by_id.get(self.topic_id)
            if found is None:
                return None
            name = found.name
        partition = broker.partition(name, self.number)
        log = partition.log
        if self.leader_epoch not in (-1, log.leader_epoch):
            return None
        view = log.view
        limit_bytes = max(0, min(self.max_bytes, broker.config.fetch_max_bytes))
        batches = partition.read(offset, max_bytes=limit_bytes, isolation=self.isolation)
        return None if batches.aborted else (partition, view, batches)


class _Parked:
    """A request that found too little, until there is enough or its time is over."""

    __slots__ = ("ask", "broker", "call", "deadline", "target")

    def __init__(self, target: FetchTarget, broker: Broker, call: Call, ask: Ask) -> None:
        self.target = target
        self.broker = broker
        self.call = call
        self.ask = ask
        self.deadline = broker.loop.time() + target.max_wait_ms / 1000

    def park(self, partition: Partition, missing_bytes: int) -> None:
        """Wait for so many bytes of the partition."""
        waiting = self.broker.waiting
        key = (partition.topic, partition.index)
        self.call.on_lost = partial(waiting.cancel, waiting.park((key,), missing_bytes, self.deadline, self._woken))

    def _woken(self) -> None:
        target, broker, call = self.target, self.broker, self.call
        call.on_lost = None
        try:
            found = target.read(broker, self.ask.offset)
        except KStoreError:
            found = None  # the usual way tells what to answer
        if found is None:
            call.body = _request_from(target.request, self.ask.offset)
            target.resume(broker, call, self.deadline)
            return
        partition, view, batches = found
        missing_bytes = target.min_bytes - batches.size_bytes
        if missing_bytes <= 0 or broker.is_stopping or broker.loop.time() >= self.deadline:
            call.connection.finish(call, self.ask.answer(batches.buffer, *_marks(view)))
        else:
            self.park(partition, missing_bytes)


def _marks(view: View) -> tuple[int, int, int]:
    return view.high_watermark, view.last_stable_offset, view.log_start_offset


def _request_from(request: FetchRequest, offset: int) -> FetchRequest:
    """The request for its one partition, from another offset on."""
    (topic,) = request.topics
    (partition,) = topic.partitions
    return request.replace(
        topics=[topic.replace(partitions=[partition.replace(fetch_offset=offset)])], forgotten_topics_data=[]
    )


def fetch_pattern(call: Call, request: FetchRequest, want: Want, resume: Resume) -> FetchPattern | None:
    """The pattern of a request that fetches one partition; None where it is not to be repeated, or is not canonical."""
    if request.session_id or request.session_epoch != FINAL_EPOCH or want.last_fetched_epoch >= 0:
        return None
    frame = bytes(call.frame)
    marked = b"".join(
        encode_request(_request_from(request, _MARKS[0]), call.version, call.correlation_id, call.client_id)
    )[SIZE_BYTES:]
    offset_at = marked.index(_INT64.pack(_MARKS[0]))
    if marked[:offset_at] + _INT64.pack(want.fetch_offset) + marked[offset_at + _INT64.size :] != frame:
        return None
    target = FetchTarget(
        want.topic,
        want.topic_id,
        want.index,
        want.current_leader_epoch,
        max(request.min_bytes, 1),
        min(request.max_bytes, want.max_bytes),
        request.max_wait_ms,
        "read_committed" if request.isolation_level == READ_COMMITTED else "read_uncommitted",
        call.version >= TOPIC_IDS_SINCE_VERSION,
        call.version,
        request,
        resume,
    )
    head, tail, compact = _answer_around(target)
    places = [head.find(_INT64.pack(mark)) for mark in _MARKS]
    return FetchPattern(
        target,
        frame,
        offset_at=offset_at,
        compact=compact,
        head=head,
        tail=tail,
        high_watermark_at=places[0],
        last_stable_at=places[1],
        log_start_at=places[2],
    )


def _answer_around(target: FetchTarget) -> tuple[bytes, bytes, bool]:
    """What stands before the length of the records in an answer, what behind them; whether the length is a varint."""
    high_watermark, last_stable_offset, log_start_offset = _MARKS
    one = PartitionData(
        partition_index=target.number,
        error_code=0,
        high_watermark=high_watermark,
        last_stable_offset=last_stable_offset,
        log_start_offset=log_start_offset,
        aborted_transactions=[] if target.isolation == "read_committed" else None,
        records=_RECORDS,
    )
    topic = FetchableTopicResponse(topic=target.topic, topic_id=target.topic_id, partitions=[one])
    whole = b"".join(encode_response(FetchResponse(responses=[topic]), target.version, 0))
    compact = api(FETCH, target.version).is_flexible(target.version)
    at = whole.rindex(_RECORDS)
    return whole[: at - (1 if compact else 4)], whole[at + len(_RECORDS) :], compact
