"""Effects: everything that a machine asks of whoever runs it, in the imperative.

Owns the vocabulary of what `leader.step` and `follower.step` return. A runner performs them in order and before the
next event; an effect on the log that fails stops the partition (the machine has assumed that it works). It must not
know how anything is decided or done.
"""

from __future__ import annotations

from dataclasses import dataclass

from kstore.replication.codes import Code
from kstore.replication.events import Reply, Request
from kstore.replication.state import BatchInfo

# -- on the log --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssignEpoch:
    """Note on the medium that `epoch` starts at `start_offset`, before anything is appended in it."""

    epoch: int
    start_offset: int


@dataclass(frozen=True, slots=True)
class AppendBatches:
    """Append the batches of the answer just handled, byte for byte."""

    batches: tuple[BatchInfo, ...]


@dataclass(frozen=True, slots=True)
class Truncate:
    """Drop every record at or above `offset`, and the epochs that start there.

    With `unclean` the high watermark sinks to `offset` first: an unclean election has decided to lose records.
    """

    offset: int
    unclean: bool = False


@dataclass(frozen=True, slots=True)
class StartOver:
    """Drop the whole log; it starts, ends and has its high watermark at `offset`, without producers and epochs.

    Its first batch begins at `base_offset`, where that is not -1: the leader's log starts inside of it.
    """

    offset: int
    base_offset: int = -1


@dataclass(frozen=True, slots=True)
class RaiseLogStart:
    """Drop what lies below `offset`: the leader has."""

    offset: int


@dataclass(frozen=True, slots=True)
class AdvanceHighWatermark:
    """Let consumers read up to `offset` (exclusive)."""

    offset: int


@dataclass(frozen=True, slots=True)
class RequestSync:
    """Have everything below `offset` fsynced and say so with `Synced`; later requests include earlier ones."""

    offset: int


# -- to others ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Answer the append `token`: stored as its `acks` asked, or refused with `code`."""

    token: int
    code: Code


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Send to the leader `to`."""

    to: int
    request: Request


@dataclass(frozen=True, slots=True)
class SendReply:
    """Answer follower `to`. A fetch that succeeded carries the log's bytes from `read_offset`, which may lie up to the
    log end; it may be held back while there is nothing new in it."""

    to: int
    reply: Reply
    read_offset: int = -1


@dataclass(frozen=True, slots=True)
class ProposeIsr:
    """Ask the controller for another ISR (Kafka's AlterPartition, KIP-497, KIP-903).

    `isr` holds (broker id, broker epoch); the epoch is -1 for the leader itself and where it is not known.
    """

    leader_epoch: int
    partition_epoch: int
    isr: tuple[tuple[int, int], ...]
    recovering: bool = False


@dataclass(frozen=True, slots=True)
class Resign:
    """Ask the controller for another leader: this replica cannot serve what it must."""

    leader_epoch: int
    reason: str
    lost: bool = True
    """Whether committed records may be missing here: then this replica may not lead again before it has followed."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop this partition: going on would break `invariant` of docs/REPLICATION.md."""

    invariant: str
    reason: str


Effect = (
    AssignEpoch
    | AppendBatches
    | Truncate
    | StartOver
    | RaiseLogStart
    | AdvanceHighWatermark
    | RequestSync
    | Acknowledge
    | SendRequest
    | SendReply
    | ProposeIsr
    | Resign
    | Halt
)
