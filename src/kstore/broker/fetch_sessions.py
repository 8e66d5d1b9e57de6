"""Fetch sessions (KIP-227): what a consumer fetches, remembered, so that it sends and gets only what changed.

Owns the cache of sessions, their epochs and the partitions in them. Must not know logs: `fetch` reads. Called by the
handler of Fetch, on the event loop.

Invariants
1. The partitions of a session are what its last full fetch named, as changed by each request since.
2. A request with another epoch than the next one changes nothing.
3. At most `slots` sessions; one that was used within `EVICTION_S` is not evicted for another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from kstore.limits import INT32_MAX

if TYPE_CHECKING:
    from kstore.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic

NO_SESSION = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1
EVICTION_S = 120.0
"""KafkaBroker.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS."""
SESSION_ID_NOT_FOUND = 70
INVALID_SESSION_EPOCH = 71
SESSION_TOPIC_ID_ERROR = 106

Key = tuple[str, bytes, int]
"""Topic name or id (the other is empty), and partition number."""


class Want:
    """One partition that is fetched, and what the client was told of it last."""

    __slots__ = (
        "current_leader_epoch", "fetch_offset", "high_watermark", "index", "last_fetched_epoch", "log_start_offset",
        "max_bytes", "topic", "topic_id",
    )  # fmt: skip

    def __init__(self, topic: FetchTopic, partition: FetchPartition) -> None:
        self.topic = topic.topic
        self.topic_id = topic.topic_id
        self.index = partition.partition
        self.high_watermark = self.log_start_offset = -1
        self.update(partition)

    def update(self, partition: FetchPartition) -> None:
        """Take what a later request says."""
        self.fetch_offset = partition.fetch_offset
        self.max_bytes = partition.partition_max_bytes
        self.current_leader_epoch = partition.current_leader_epoch
        self.last_fetched_epoch = partition.last_fetched_epoch

    @property
    def key(self) -> Key:
        """Its name in a session."""
        return self.topic, self.topic_id, self.index


class Session:
    """One session."""

    __slots__ = ("by_id", "epoch", "last_used", "session_id", "wants")

    def __init__(self, session_id: int, by_id: bool, wants: Iterable[Want], now: float) -> None:
        self.session_id = session_id
        self.by_id = by_id
        """Topics are named by id, not by name; it never changes."""
        self.epoch = 1
        self.wants = {want.key: want for want in wants}
        self.last_used = now


class Fetching:
    """What one request fetches."""

    __slots__ = ("error_code", "is_full", "session", "wants")

    def __init__(
        self, wants: list[Want], session: Session | None = None, *, is_full: bool = True, error_code: int = 0
    ) -> None:
        self.wants = wants
        self.session = session
        self.is_full = is_full
        """Every partition is answered, not only those with news."""
        self.error_code = error_code

    @property
    def session_id(self) -> int:
        """The session's id, 0 for none."""
        return NO_SESSION if self.session is None else self.session.session_id


class FetchSessions:
    """The sessions of a broker."""

    def __init__(self, slots: int, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, from any beginning."""
        self._slots = slots
        self._clock = clock
        self._sessions: dict[int, Session] = {}
        """By id, the one that was used last at the end."""

    def __len__(self) -> int:
        return len(self._sessions)

    def take(self, request: FetchRequest, *, by_id: bool) -> Fetching:
        """What the request fetches, with its session brought up to date."""
        if request.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            if request.session_id != NO_SESSION:
                self._sessions.pop(request.session_id, None)
            wants = list({want.key: want for want in _wants(request)}.values())
            if request.session_epoch == FINAL_EPOCH or not wants:
                return Fetching(wants)
            return Fetching(wants, self._open(by_id, wants))
        session = self._sessions.get(request.session_id)
        if session is None:
            return Fetching([], error_code=SESSION_ID_NOT_FOUND)
        if session.epoch != request.session_epoch:
            return Fetching([], error_code=INVALID_SESSION_EPOCH)
        if session.by_id != by_id:
            return Fetching([], error_code=SESSION_TOPIC_ID_ERROR)
        self._update(session, request)
        session.epoch = 1 if session.epoch == INT32_MAX else session.epoch + 1
        session.last_used = self._clock()
        self._sessions[session.session_id] = self._sessions.pop(session.session_id)
        return Fetching(list(session.wants.values()), session, is_full=False)

    def _open(self, by_id: bool, wants: list[Want]) -> Session | None:
        now = self._clock()
        if len(self._sessions) >= self._slots:
            oldest = next(iter(self._sessions.values()), None)
            if oldest is None or now - oldest.last_used < EVICTION_S:
                return None
            del self._sessions[oldest.session_id]
        session_id = NO_SESSION
        while session_id == NO_SESSION or session_id in self._sessions:
            session_id = int.from_bytes(os.urandom(4), "big") & INT32_MAX  # nobody guesses another's
        session = Session(session_id, by_id, wants, now)
        self._sessions[session_id] = session
        return session

    def _update(self, session: Session, request: FetchRequest) -> None:
        for topic in request.topics:
            for partition in topic.partitions:
                known = session.wants.get((topic.topic, topic.topic_id, partition.partition))
                if known is not None:
                    known.update(partition)
                else:
                    want = Want(topic, partition)
                    session.wants[want.key] = want
        for forgotten in request.forgotten_topics_data:
            for index in forgotten.partitions:
                session.wants.pop((forgotten.topic, forgotten.topic_id, index), None)

    def served(self, session: Session, want: Want) -> None:
        """Records of the partition were sent: others come first next time."""
        if session.wants.pop(want.key, None) is not None:
            session.wants[want.key] = want


def _wants(request: FetchRequest) -> Iterable[Want]:
    for topic in request.topics:
        for partition in topic.partitions:
            yield Want(topic, partition)
