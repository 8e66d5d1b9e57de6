"""Fetch requests like the one before but for the offset: what is learnt of one, and how those are answered that fit.

Owns when a fetch of one partition, outside any session, may be answered as it lies, and the answer. Called by `fetch`,
and through `repeats`.

Invariants
1. Only what the usual way would answer at once is answered here: enough records, no error, no aborted transaction.
2. Whatever may change between two requests is looked up for each: partition, leader epoch, marks, limits.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kstore._native.repeats import FetchPattern
from kstore.broker.connection import Call
from kstore.wire.apis import FETCH, api
from kstore.wire.codec import encode_request, encode_response
from kstore.wire.messages.fetch import FetchableTopicResponse, FetchRequest, FetchResponse, PartitionData

if TYPE_CHECKING:
    from kstore._native.repeats import Ask
    from kstore.broker.connection import Connection
    from kstore.broker.fetch_sessions import Want
    from kstore.broker.node import Broker

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
    isolation: str
    by_id: bool
    version: int

    def take(self, broker: Broker, connection: Connection, ask: Ask) -> bool:
        """Answer a request if there is enough to answer; False, or a `KStoreError`, with nothing done."""
        name = self.topic
        if self.by_id:
            found = broker.cluster.metadata.by_id.get(self.topic_id)
            if found is None:
                return False
            name = found.name
        partition = broker.partition(name, self.number)
        log = partition.log
        if self.leader_epoch not in (-1, log.leader_epoch):
            return False
        view = log.view
        limit_bytes = max(0, min(self.max_bytes, broker.config.fetch_max_bytes))
        batches = partition.read(ask.offset, max_bytes=limit_bytes, isolation=self.isolation)
        if batches.size_bytes < self.min_bytes or batches.aborted:
            return False
        answer = ask.answer(batches.buffer, view.high_watermark, view.last_stable_offset, view.log_start_offset)
        ask.done()
        broker.traffic.requests[FETCH] += 1
        call = Call(connection, FETCH, self.version, 0, None, None)
        connection.accept(call, ask.frames_bytes)
        connection.finish(call, answer)
        return True


def fetch_pattern(call: Call, request: FetchRequest, want: Want) -> FetchPattern | None:
    """The pattern of a request that fetches one partition; None where it is not to be repeated, or is not canonical."""
    if request.session_id or request.session_epoch != FINAL_EPOCH or want.last_fetched_epoch >= 0:
        return None
    frame = bytes(call.frame)
    topic = next(iter(request.topics))
    partition = next(iter(topic.partitions))
    same, marked = (
        b"".join(
            encode_request(
                request.replace(
                    topics=[topic.replace(partitions=[partition.replace(fetch_offset=offset)])],
                    forgotten_topics_data=[],
                ),
                call.version,
                call.correlation_id,
                call.client_id,
            )
        )
        for offset in (want.fetch_offset, _MARKS[0])
    )
    if same[SIZE_BYTES:] != frame:
        return None
    target = FetchTarget(
        want.topic,
        want.topic_id,
        want.index,
        want.current_leader_epoch,
        max(request.min_bytes, 1),
        min(request.max_bytes, want.max_bytes),
        "read_committed" if request.isolation_level == READ_COMMITTED else "read_uncommitted",
        call.version >= TOPIC_IDS_SINCE_VERSION,
        call.version,
    )
    head, tail, compact = _answer_around(target)
    places = [head.find(_INT64.pack(mark)) for mark in _MARKS]
    return FetchPattern(
        target,
        frame,
        offset_at=marked.index(_INT64.pack(_MARKS[0])) - SIZE_BYTES,
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
