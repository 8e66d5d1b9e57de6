"""Produce requests like the one before: what is learnt of one, and how those are stored that fit.

Owns when a run of batches may be appended as it lies, and its answer. What bytes are alike is for
`kstore._native.repeats`. Called by `produce`, and through `repeats`.

Invariants
1. Whatever may change between two requests is looked up for each run: partition, configuration, fsync.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kstore._native.repeats import Pattern
from kstore.broker.acceptance import ZSTD, ZSTD_SINCE_VERSION, refused
from kstore.broker.call import Call
from kstore.broker.connection import MUCH_BYTES
from kstore.broker.durability import TIMEOUT_MS_MIN
from kstore.config.broker import FSYNC
from kstore.limits import INT64_MAX
from kstore.wire.apis import PRODUCE, api
from kstore.wire.codec import encode_response
from kstore.wire.messages.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from kstore._native.repeats import Run
    from kstore.broker.connection import Connection
    from kstore.broker.node import Broker
    from kstore.config import TopicConfig
    from kstore.errors import KStoreError

ALL = -1
LAST_VERSION_WITH_NAMES = 12
_MARKS = (0x7A61_7A62_7A63_7A64, 0x7A65_7A66_7A67_7A68, 0x7A69_7A6A_7A6B_7A6C)
_INT64 = struct.Struct(">q")


class ProduceTarget(NamedTuple):
    """What the requests of a pattern are about."""

    topic: str
    number: int
    acks: int
    timeout_ms: int
    version: int

    def take(self, broker: Broker, connection: Connection, run: Run) -> bool:
        """Append a run of requests and answer them; False, or a `KStoreError`, with nothing done."""
        partition = broker.partition(self.topic, self.number)
        log = partition.log
        config = log.config
        if (
            config.compacts
            or (self.acks == ALL and config.min_insync_replicas > 1)
            or not _is_timely(config, run.newest_ms, broker.now_ms())
        ):
            return False
        size_bytes = len(run)
        append = partial(partition.append_batches, run, durable=False)
        appended = connection.beside_others(append) if size_bytes >= MUCH_BYTES else append()
        answers: Sequence[Buffer] = ()
        if self.acks != 0:
            append_time_ms = appended.timestamp_ms if config.message_timestamp_type == "LogAppendTime" else -1
            answers = [run.answers(appended.base_offset, append_time_ms, log.view.log_start_offset)]
        ids = run.correlation_ids
        run.done()
        broker.traffic.requests[PRODUCE] += run.count
        if not appended.duplicate:
            broker.appended(partition, size_bytes)
        if connection.closed:
            return True
        call = Call(connection, PRODUCE, self.version, 0, None, None)
        connection.accept(call, run.frames_bytes)
        end = appended.next_offset
        if (self.acks == ALL and broker.config.kstore_acks_all == FSYNC) or (
            config.flush_messages <= end - partition.durable_offset
        ):
            settled = partial(self._settled, call, ids, answers)
            broker.durability.wait(partition, end, settled, timeout_s=max(self.timeout_ms, TIMEOUT_MS_MIN) / 1000)
        else:
            connection.finish(call, answers)
        return True

    def _settled(self, call: Call, ids: list[int], answers: Sequence[Buffer], error: KStoreError | None) -> None:
        """The run is on the medium, or it is known that it will never be."""
        if error is None:
            call.connection.finish(call, answers)
        elif self.acks == 0:
            call.connection.close("a batch with acks=0 was refused: closing is the only way to tell")
        else:
            one = refused(self.number, error)
            call.connection.finish(call, [piece for number in ids for piece in self.answer(number, one)])

    def answer(self, correlation_id: int, one: PartitionProduceResponse) -> list[Buffer]:
        """The answer to one request."""
        response = ProduceResponse(responses=[TopicProduceResponse(name=self.topic, partition_responses=[one])])
        return encode_response(response, self.version, correlation_id)


def produce_pattern(call: Call, request: ProduceRequest, topic: str, index: int, records: Buffer) -> Pattern:
    """The pattern of a request for one partition, whose records these are."""
    target = ProduceTarget(topic, index, request.acks, request.timeout_ms, call.version)
    base_offset, append_time_ms, log_start_offset = _MARKS
    marked = PartitionProduceResponse(
        index=index,
        error_code=0,
        base_offset=base_offset,
        log_append_time_ms=append_time_ms,
        log_start_offset=log_start_offset,
    )
    answer = b"".join(target.answer(0, marked))
    places = [answer.find(_INT64.pack(mark)) for mark in _MARKS]
    return Pattern(
        target,
        call.frame,
        records,
        compact=api(PRODUCE, call.version).is_flexible(call.version),
        answer=answer,
        base_offset_at=places[0],
        append_time_at=places[1],
        log_start_at=places[2],
        refused_codec=-1 if call.version >= ZSTD_SINCE_VERSION else ZSTD,
    )


def _is_timely(config: TopicConfig, newest_ms: int, now_ms: int) -> bool:
    return config.message_timestamp_type != "CreateTime" or (
        config.message_timestamp_before_max_ms == INT64_MAX
        and newest_ms - now_ms <= config.message_timestamp_after_max_ms
    )
