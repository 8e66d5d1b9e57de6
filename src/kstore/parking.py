"""The fetches of a leader's followers that have nothing to say yet, and what each follower was told last.

Owns when a fetch is held back and when it has something to say. It must not read a log or send anything. Called by
`replica`, under its lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kstore.replication.state import NO_OFFSET

if TYPE_CHECKING:
    from kstore.replication.events import FetchReply
    from kstore.replication.state import Local


class Parked(NamedTuple):
    """A fetch that waits."""

    to: int
    reply: FetchReply
    """As it would have been when it came: what it says of the marks is older than the log's."""
    offset: int
    until_ms: int


class Parking:
    """Of one replica; empty unless it leads."""

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        self._waiting: dict[int, Parked] = {}
        self._told: dict[int, tuple[int, int]] = {}
        self._given: dict[int, int] = {}

    def has_news(self, to: int, offset: int, local: Local) -> bool:
        """Whether a fetch at `offset` brings records, or marks that this follower was not told yet."""
        marks = local.high_watermark, local.log_start_offset
        return offset < local.log_end_offset or self._told.get(to) != marks

    def park(self, to: int, reply: FetchReply, offset: int, now_ms: int) -> None:
        """Hold a fetch back, instead of an earlier one of the same follower."""
        self._waiting[to] = Parked(to, reply, offset, now_ms + self.wait_ms)

    def ready(self, local: Local, now_ms: int) -> list[Parked]:
        """Let go of those that have something to say now, or have waited long enough."""
        if not self._waiting:
            return []
        waiting = self._waiting.values()
        ready = [one for one in waiting if one.until_ms <= now_ms or self.has_news(one.to, one.offset, local)]
        for one in ready:
            del self._waiting[one.to]
        return ready

    def let_go(self) -> list[Parked]:
        """All of them: the term is over, and what followers were told in it does not count in another."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        self._told.clear()
        self._given.clear()
        return waiting

    def tell(self, to: int, reply: FetchReply, offset: int, *, has_data: bool) -> None:
        """A follower is answered."""
        self._told[to] = reply.high_watermark, reply.log_start_offset
        self._given[to] = offset if has_data else NO_OFFSET

    def was_given(self, to: int, offset: int) -> bool:
        """Whether a follower asks for records that it was given last."""
        return self._given.get(to) == offset

    def next_deadline_ms(self) -> int | None:
        """When the first has waited long enough; None where none waits."""
        return min([one.until_ms for one in self._waiting.values()]) if self._waiting else None
