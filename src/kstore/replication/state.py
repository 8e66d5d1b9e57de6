"""What both roles know: the partition as the controller assigned it, the replica's own log, and the rules.

Owns the values that leader and follower share. They are replaced, never changed; their invariants are checked by
`invariants.check` after every step. It must not know events, effects, or how a log is stored. `Local` mirrors the
log: whoever runs the machine performs its effects in order, so that the two always agree.

Invariants (of a `Local`)
1. log_start_offset <= high_watermark <= log_end_offset, and durable_offset <= log_end_offset.
2. No lineage entry starts above log_end_offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kstore import lineage
from kstore.lineage import Lineage
from kstore.replication.values import replace

NO_LEADER = -1
NO_EPOCH = -1
NO_OFFSET = -1


class Sync(Enum):
    """What an acknowledgement and the high watermark say about the medium."""

    ALL = "all"
    """Replicas count what they have fsynced: nothing below the high watermark is lost even when all lose power."""
    ACKS = "acks"
    """The leader's own unsynced bytes count for the high watermark, so consumers see them at once; acks=all still waits
    for its fsync. Followers count what they have fsynced."""
    NONE = "none"
    """Kafka's default: the page cache counts. A power loss of all replicas may take acknowledged records."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The configuration that the machines read; durations in ms."""

    min_insync_replicas: int = 1
    lag_time_max_ms: int = 30_000
    """`replica.lag.time.max.ms`: how long a follower may lag before it leaves the ISR."""
    fetch_timeout_ms: int = 30_000
    """How long a follower waits for an answer before it asks again (`replica.socket.timeout.ms`)."""
    fetch_backoff_ms: int = 1_000
    """`replica.fetch.backoff.ms`: the pause after an answer that was an error."""
    proposal_timeout_ms: int = 2_000
    """How long a leader waits for the controller's answer before it proposes the same ISR again."""
    sync: Sync = Sync.ALL
    truncate_on_fetch: bool = True
    """Whether divergence is found by the fetch itself (KIP-595) or by OffsetForLeaderEpoch first (KIP-101, KIP-279)."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A partition as the controller last published it (PartitionRegistration of Kafka's metadata image).

    Invariants: `isr`, `adding` and `removing` are subsets of `replicas`; `isr` is sorted; a leader is in `replicas`.
    """

    leader: int
    leader_epoch: int
    partition_epoch: int
    replicas: tuple[int, ...]
    """In order of preference: the first is the preferred leader."""
    isr: tuple[int, ...]
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()
    elr: tuple[int, ...] = ()
    """Eligible leader replicas (KIP-966): not in sync, but known to hold everything committed."""
    last_known_elr: tuple[int, ...] = ()
    recovering: bool = False
    """The leader was elected uncleanly and has not said yet that it has recovered (LeaderRecoveryState)."""
    unclean_epoch: int = NO_EPOCH
    """The newest leader epoch that began with an unclean election: who has not followed it yet may have to cut below
    its high watermark, which is never right otherwise."""


@dataclass(frozen=True, slots=True)
class Local:
    """What this replica's own log holds."""

    log_start_offset: int = 0
    log_end_offset: int = 0
    durable_offset: int = 0
    """Everything below is on the medium."""
    high_watermark: int = 0
    lineage: Lineage = ()
    damaged_offset: int = NO_OFFSET
    """The first offset below the log end whose bytes fail their check, `NO_OFFSET` while all are whole."""
    failed: bool = False
    """The disk has failed: nothing is written, and nothing counts as written, any more."""

    @property
    def latest_epoch(self) -> int:
        """The newest leader epoch of the log, `NO_EPOCH` for none."""
        return lineage.latest_epoch(self.lineage)

    def starting_at(self, offset: int) -> Local:
        """The log without what lies below `offset`; as it is where it starts there or above."""
        start = max(self.log_start_offset, offset)
        return replace(self, log_start_offset=start, lineage=lineage.starting_at(self.lineage, start))


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """One record batch as replication sees it: its offsets (end exclusive) and its leader's epoch."""

    base_offset: int
    next_offset: int
    epoch: int
