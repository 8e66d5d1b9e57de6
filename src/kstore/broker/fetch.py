"""Fetch: batches out of logs as they lie there, at once or when enough of them came.

Owns the handler, the rules of how much goes into an answer (KIP-74), and parking. Must not know how a log finds a
batch. Called by `dispatch`, and again by `waiting` when something came.

Invariants
1. Records are views of the log's files; nothing is copied between the file and the socket.
2. The first batch of an answer goes out whatever its size, so that a reader never gets stuck; after that an answer
   holds at most `max_bytes`, and a partition's part at most its `partition_max_bytes`.
3. Only what is below the high watermark is sent, and with read_committed below the last stable offset.
4. A parked fetch of a client that went away is let go of.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from kstore.broker.fetch_sessions import Fetching, Want
from kstore.broker.repeated_fetch import READ_COMMITTED, TOPIC_IDS_SINCE_VERSION, fetch_pattern
from kstore.broker.repeats import learner
from kstore.errors import ClosedError, KStoreError
from kstore.wire.error_codes import code_of
from kstore.wire.messages.fetch import (
    AbortedTransaction,
    EpochEndOffset,
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.partition import Partition

REPLICA_STATE_SINCE_VERSION = 15
UNKNOWN_TOPIC = 3
UNKNOWN_TOPIC_ID = 100
_NOT_HERE = frozenset({UNKNOWN_TOPIC, UNKNOWN_TOPIC_ID})
"""Whom Kafka answers without a look at the partition: then its list of aborted transactions is empty, else null."""
NOT_LEADER_OR_FOLLOWER = 6
FENCED_LEADER_EPOCH = 74
UNKNOWN_LEADER_EPOCH = 75
NOTHING = b""
ODD_FETCHES_MAX = 4
"""Requests that make no pattern, after which a connection's fetches are not looked at for one any more."""

_NO_DIVERGENCE = EpochEndOffset()
_log = logging.getLogger(__name__)


class _Read(NamedTuple):
    """What was read of one partition."""

    want: Want
    error_code: int = 0
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    records: Buffer = NOTHING
    size_bytes: int = 0
    aborted: tuple[tuple[int, int], ...] | None = None
    diverging: EpochEndOffset = _NO_DIVERGENCE


class _Fetch:
    """One request from its arrival to its answer."""

    __slots__ = ("broker", "call", "deadline", "fetching", "request")

    def __init__(self, broker: Broker, call: Call, fetching: Fetching, deadline: float | None = None) -> None:
        """`deadline` by the loop's clock; None: as the request says, from now on."""
        self.broker = broker
        self.call = call
        self.request: FetchRequest = call.body
        self.fetching = fetching
        self.deadline = broker.loop.time() + max(self.request.max_wait_ms, 0) / 1000 if deadline is None else deadline

    def attempt(self, *, learns: bool = False) -> None:
        """Answer if there is enough, or nothing to wait for; else park. `learns`: more requests like it may come."""
        reads, size_bytes = self._read_all()
        missing_bytes = self.request.min_bytes - size_bytes
        is_over = (
            missing_bytes <= 0
            or not reads
            or self.broker.is_stopping
            or self.broker.loop.time() >= self.deadline
            or any(read.error_code or read.diverging is not _NO_DIVERGENCE for read in reads)
        )
        if is_over:
            self._answer(reads)
        else:
            keys = [(self._name(read.want) or "", read.want.index) for read in reads]
            parked = self.broker.waiting.park(keys, missing_bytes, self.deadline, self._woken)
            self.call.on_lost = lambda: self.broker.waiting.cancel(parked)
        if learns and len(reads) == 1 and not reads[0].error_code:
            self._learn(reads[0].want)

    def _learn(self, want: Want) -> None:
        """More requests like this one, from other offsets on, will come: they need not be decoded."""
        repeats = learner(self.broker, self.call.connection)
        if repeats is None or repeats.odd_fetches >= ODD_FETCHES_MAX:
            return
        pattern = fetch_pattern(self.call, self.request, want, _resume)
        if pattern is None:
            repeats.odd_fetches += 1
        else:
            repeats.learn(pattern)

    def _woken(self) -> None:
        self.call.on_lost = None
        self.attempt()

    # -- reading --------------------------------------------------------------------------------------------

    def _read_all(self) -> tuple[list[_Read], int]:
        left = min(self.request.max_bytes, self.broker.config.fetch_max_bytes)
        size_bytes = 0
        reads = []
        for want in self.fetching.wants:
            read = self._read(want, min(left, want.max_bytes), is_first=size_bytes == 0)
            left -= read.size_bytes
            size_bytes += read.size_bytes
            reads.append(read)
        return reads, size_bytes

    def _name(self, want: Want) -> str | None:
        if self.call.version < TOPIC_IDS_SINCE_VERSION:
            return want.topic
        found = self.broker.cluster.metadata.by_id.get(want.topic_id)
        return None if found is None else found.name

    def _read(self, want: Want, limit_bytes: int, *, is_first: bool) -> _Read:
        name = self._name(want)
        if name is None:
            return _Read(want, UNKNOWN_TOPIC_ID)
        try:
            return self._read_partition(want, self.broker.partition(name, want.index), limit_bytes, is_first)
        except ClosedError:
            return _Read(want, UNKNOWN_TOPIC)
        except KStoreError as error:
            code = code_of(error)
            if code not in (UNKNOWN_TOPIC, 1):
                _log.warning("fetch of %s-%d at %d: %s", name, want.index, want.fetch_offset, error)
            return _Read(want, code)

    def _read_partition(self, want: Want, partition: Partition, limit_bytes: int, is_first: bool) -> _Read:
        log = partition.log
        view = log.view
        marks = (view.high_watermark, view.last_stable_offset, view.log_start_offset)
        epoch = want.current_leader_epoch
        if epoch >= 0 and epoch != log.leader_epoch:
            return _Read(want, FENCED_LEADER_EPOCH if epoch < log.leader_epoch else UNKNOWN_LEADER_EPOCH)
        if want.last_fetched_epoch >= 0:
            there, end = log.derived.epochs.end_offset_for(want.last_fetched_epoch, view.log_end_offset)
            if 0 <= there < want.last_fetched_epoch or 0 <= end < want.fetch_offset:
                return _Read(want, 0, *marks, diverging=EpochEndOffset(epoch=there, end_offset=end))
        is_committed = self.request.isolation_level == READ_COMMITTED
        if limit_bytes <= 0 and not is_first:
            return _Read(want, 0, *marks, aborted=() if is_committed else None)
        batches = partition.read(
            want.fetch_offset,
            max_bytes=max(limit_bytes, 0),
            isolation="read_committed" if is_committed else "read_uncommitted",
        )
        size_bytes = batches.size_bytes
        records: Buffer = batches.buffer
        if size_bytes > limit_bytes and not is_first:
            records, size_bytes = NOTHING, 0
        aborted = tuple((row[0], row[1]) for row in batches.aborted) if is_committed else None
        return _Read(want, 0, *marks, records, size_bytes, aborted)

    # -- answering ------------------------------------------------------------------------------------------

    def _answer(self, reads: list[_Read]) -> None:
        session = self.fetching.session
        topics: list[FetchableTopicResponse] = []
        partitions: list[PartitionData] = []
        before: Want | None = None
        for read in reads:
            want = read.want
            if not self.fetching.is_full and not _has_news(read):
                continue
            want.high_watermark, want.log_start_offset = read.high_watermark, read.log_start_offset
            if before is None or before.topic != want.topic or before.topic_id != want.topic_id:
                partitions = []
                topics.append(
                    FetchableTopicResponse(topic=want.topic, topic_id=want.topic_id, partitions=partitions)
                )
            before = want
            partitions.append(_encoded(read))
            if session is not None and read.size_bytes:
                self.broker.fetch_sessions.served(session, want)
        self.call.answer(FetchResponse(session_id=self.fetching.session_id, responses=topics))


def fetch(broker: Broker, call: Call) -> None:
    """Read what is there, or wait for it as long as the request allows."""
    request: FetchRequest = call.body
    replica_id = (
        request.replica_id if call.version < REPLICA_STATE_SINCE_VERSION else request.replica_state.replica_id
    )
    fetching = broker.fetch_sessions.take(request, by_id=call.version >= TOPIC_IDS_SINCE_VERSION)
    if fetching.error_code:
        call.answer(FetchResponse(error_code=fetching.error_code, session_id=0, responses=[]))
        return
    one = _Fetch(broker, call, fetching)
    if replica_id >= 0:
        # A follower: nobody has a replica of what this broker leads.
        one._answer([_Read(want, NOT_LEADER_OR_FOLLOWER) for want in fetching.wants])
        return
    one.attempt(learns=True)


def _resume(broker: Broker, call: Call, deadline: float) -> None:
    """Go on with a request, outside any session, that waited in a pattern's way."""
    fetching = broker.fetch_sessions.take(call.body, by_id=call.version >= TOPIC_IDS_SINCE_VERSION)
    _Fetch(broker, call, fetching, deadline).attempt()


def _has_news(read: _Read) -> bool:
    """Whether an incremental answer must name the partition (FetchSession.CachedPartition.maybeUpdateResponseData)."""
    want = read.want
    return bool(
        read.error_code
        or read.size_bytes
        or read.diverging is not _NO_DIVERGENCE
        or want.high_watermark != read.high_watermark
        or want.log_start_offset != read.log_start_offset
    )


def _encoded(read: _Read) -> PartitionData:
    aborted = read.aborted
    return PartitionData(
        partition_index=read.want.index,
        error_code=read.error_code,
        high_watermark=read.high_watermark,
        last_stable_offset=read.last_stable_offset,
        log_start_offset=read.log_start_offset,
        diverging_epoch=read.diverging,
        aborted_transactions=(() if read.error_code in _NOT_HERE else None)
        if aborted is None
        else [AbortedTransaction(producer_id=producer_id, first_offset=first) for producer_id, first in aborted],
        records=read.records,
    )
