"""One follower as its leader sees it: how far it has come, and since when it lags.

Owns the rule of what "caught up" means (Replica and ReplicaState of Apache Kafka). It must not know the ISR or the
high watermark, which follow from it. Called by `leader`.

Invariants
1. Only a request newer than the last one changes anything: (broker epoch, number) rises.
2. `caught_up_ms` never falls.
"""

from __future__ import annotations

from dataclasses import dataclass

from kstore.replication.events import FetchRequest
from kstore.replication.state import NO_EPOCH, NO_OFFSET

LONG_AGO_MS = -(2**62)
"""Before any lag limit: a follower that was never seen is not caught up, whatever the clock says."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a leader knows of one follower in its own term."""

    follower: int
    log_end_offset: int = NO_OFFSET
    """Where its last fetch began: it holds everything below. `NO_OFFSET` until it has fetched in this term."""
    log_start_offset: int = NO_OFFSET
    broker_epoch: int = NO_EPOCH
    number: int = -1
    """Of its newest request."""
    fetched_ms: int = LONG_AGO_MS
    leader_end_then: int = NO_OFFSET
    """Where the leader's log ended at that request: reaching it later means having been caught up then."""
    caught_up_ms: int = LONG_AGO_MS
    """When it last held everything that the leader held."""

    def is_newer(self, request: FetchRequest) -> bool:
        """Whether a request came after all that were seen; a late or repeated one says nothing new."""
        return (request.broker_epoch, request.number) > (self.broker_epoch, self.number)

    def fetched(self, request: FetchRequest, leader_end: int, now_ms: int) -> Progress:
        """After a fetch that was in order: everything below its offset is replicated."""
        caught_up = self.caught_up_ms
        if request.offset >= leader_end:
            caught_up = max(caught_up, now_ms)
        elif request.offset >= self.leader_end_then >= 0:
            caught_up = max(caught_up, self.fetched_ms)
        return Progress(
            self.follower,
            log_end_offset=request.offset,
            log_start_offset=request.log_start_offset,
            broker_epoch=request.broker_epoch,
            number=request.number,
            fetched_ms=now_ms,
            leader_end_then=leader_end,
            caught_up_ms=caught_up,
        )

    def is_caught_up(self, leader_end: int, now_ms: int, lag_time_max_ms: int) -> bool:
        """Whether it holds all that the leader holds, or did so within the lag limit."""
        return self.log_end_offset == leader_end or now_ms - self.caught_up_ms <= lag_time_max_ms
