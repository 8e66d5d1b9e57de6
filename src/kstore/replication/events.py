"""Events: everything that can happen to a replica, in the past tense, and the messages between replicas.

Owns the vocabulary of `leader.step` and `follower.step`. Messages (`FetchRequest` and so on) are what the wire between
replicas carries, whichever wire it is; `number` pairs an answer with its request. It must not know how anything is
decided. Everything is a frozen value, hashable, without bytes: a runner keeps the batches beside the event.
"""

from __future__ import annotations

from dataclasses import dataclass

from kstore.replication.codes import Code
from kstore.replication.state import NO_EPOCH, NO_OFFSET, Assignment, BatchInfo

# -- messages between replicas -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """A follower asks for batches (Kafka's Fetch with a replica state)."""

    follower: int
    broker_epoch: int
    number: int
    """Rises with every request of one follower in one broker epoch: an old one that arrives late is known by it."""
    leader_epoch: int
    offset: int
    """Where the follower's log ends; it holds everything below as `Sync` demands."""
    last_fetched_epoch: int
    """The newest epoch of the follower's log; `NO_EPOCH` when it has none, or does not want the check."""
    log_start_offset: int


@dataclass(frozen=True, slots=True)
class FetchReply:
    """A leader's answer. Where `code` is NONE and no epoch diverges, the batches start at the offset asked for."""

    leader: int
    number: int
    code: Code
    high_watermark: int = NO_OFFSET
    log_start_offset: int = NO_OFFSET
    diverging_epoch: int = NO_EPOCH
    """Set when the logs part: the newest epoch of the leader that is not above the follower's last one ..."""
    diverging_end_offset: int = NO_OFFSET
    """... and where it ends at the leader."""


@dataclass(frozen=True, slots=True)
class EpochEndRequest:
    """A follower asks where an epoch ends (Kafka's OffsetForLeaderEpoch)."""

    follower: int
    number: int
    leader_epoch: int
    epoch: int


@dataclass(frozen=True, slots=True)
class EpochEndReply:
    """The newest epoch of the leader that is not above the one asked for, and its end (exclusive)."""

    leader: int
    number: int
    code: Code
    epoch: int = NO_EPOCH
    end_offset: int = NO_OFFSET


@dataclass(frozen=True, slots=True)
class OffsetsRequest:
    """A follower that fetched out of range asks where the leader's log lies (Kafka's ListOffsets)."""

    follower: int
    number: int
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class OffsetsReply:
    """Where the leader's log starts and ends."""

    leader: int
    number: int
    code: Code
    log_start_offset: int = NO_OFFSET
    log_end_offset: int = NO_OFFSET


Request = FetchRequest | EpochEndRequest | OffsetsRequest
Reply = FetchReply | EpochEndReply | OffsetsReply


def refused(leader: int, request: Request, code: Code) -> Reply:
    """The answer to a request that says only why it is not answered."""
    if isinstance(request, FetchRequest):
        return FetchReply(leader, request.number, code)
    if isinstance(request, EpochEndRequest):
        return EpochEndReply(leader, request.number, code)
    return OffsetsReply(leader, request.number, code)


# -- events of both roles ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assigned:
    """The controller's metadata arrived; see `machine.step`."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class BrokersChanged:
    """Which brokers are registered, not fenced and not shutting down, as (id, broker epoch) pairs sorted by id."""

    eligible: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Synced:
    """An fsync ended that covers every byte below `offset`."""

    offset: int


@dataclass(frozen=True, slots=True)
class LogStartRaised:
    """Retention or a DeleteRecords moved this log's start."""

    log_start_offset: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """Stored bytes at `offset`, below the log end, fail their check."""

    offset: int


@dataclass(frozen=True, slots=True)
class DiskFailed:
    """A write or an fsync of this log failed, for good: what is on the medium is not known any more (S17, S18).

    The replica does nothing more in this life of its broker; the broker starts it anew from what recovery finds.
    """


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed; deadlines are looked at."""


# -- events of a leader ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Appended:
    """A producer's batches are in the leader's log, up to `next_offset` (exclusive).

    `acks` is Kafka's: 0, 1 or -1. `token` names the append in its `Acknowledge`.
    """

    token: int
    base_offset: int
    next_offset: int
    acks: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Requested:
    """A follower's request arrived."""

    request: Request


@dataclass(frozen=True, slots=True)
class ProposalAnswered:
    """The controller answered an AlterPartition; `assignment` is what it holds now, None with an error."""

    code: Code
    leader_epoch: int
    partition_epoch: int
    assignment: Assignment | None = None


# -- events of a follower ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fetched:
    """The leader answered a fetch.

    `batches` says what the runner parsed and checked, in order; `corrupt` that it could not be parsed or failed its
    checksum, in which case `batches` is empty.
    """

    reply: FetchReply
    batches: tuple[BatchInfo, ...] = ()
    corrupt: bool = False


@dataclass(frozen=True, slots=True)
class EpochEndAnswered:
    """The leader answered an `EpochEndRequest`."""

    reply: EpochEndReply


@dataclass(frozen=True, slots=True)
class OffsetsAnswered:
    """The leader answered an `OffsetsRequest`."""

    reply: OffsetsReply


Event = (
    Assigned
    | BrokersChanged
    | Synced
    | LogStartRaised
    | Damaged
    | DiskFailed
    | Ticked
    | Appended
    | Requested
    | ProposalAnswered
    | Fetched
    | EpochEndAnswered
    | OffsetsAnswered
)
