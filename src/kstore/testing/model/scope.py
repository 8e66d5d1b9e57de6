"""Scopes: how large a cluster is, what may happen to it, and how often.

Owns the bounds of an exploration and the named sets of them. It must not know how a state is made. Called by everything
in this package; docs/MODEL.md has the results.
"""

from __future__ import annotations

from dataclasses import dataclass

from kstore.replication.state import Rules, Sync

NEVER_MS = 1 << 40
"""Beyond every deadline of a model: appends wait until something becomes of them."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The bounds of one exploration; within them everything happens in every order."""

    name: str
    what: str
    """What it is made for, in a sentence."""
    replicas: int = 3
    absent: int = 0
    """Of these, the last so many are not alive yet when the partition is made: not in sync, they come later."""
    records: int = 3
    """Appended in all, by whichever leader."""
    epochs: int = 3
    """Leader epochs; a term without a leader is one too."""
    changes: int = 6
    """Partition epochs: every change of leader, ISR or ELR takes one."""
    crashes: int = 0
    """Processes that die and start again."""
    fences: int = 0
    """Sessions that the controller takes for lost, though the broker lives."""
    moves: int = 0
    """Preferred leader elections."""
    lags: int = 0
    """Times that a leader finds a follower too slow."""
    retries: int = 0
    """Proposals that are asked again because no answer came."""
    stale: int = 0
    """Messages of each follower that are kept beside the newest: late, out of order."""
    prompt: int = 0
    """Of the replicas, the last so many hear at once what the controller publishes; the others late."""
    swift: bool = False
    """Whether the answer to a request arrives with it, or never; else it may be late as well."""
    calls: int = 2
    """Messages between leaders and controller under way at once; a further one replaces the oldest."""
    repeats: bool = False
    """Whether a request that was delivered may be delivered again."""
    min_isr: int = 2
    sync: Sync = Sync.ALL
    slow_fsync: bool = False
    """Whether an fsync takes time, in which other things happen; else it ends with what asked for it."""
    power_loss: bool = False
    """Whether a crash may take what was not fsynced."""
    stale_checkpoint: bool = False
    """Whether a crash may find a high watermark of 0 in its checkpoint instead of the last."""
    wipes: int = 0
    """Disks that are lost with everything on them."""
    truncate_on_fetch: bool = True
    """Whether divergence is found by the fetch, or by OffsetForLeaderEpoch before it."""

    def rules(self) -> Rules:
        """What the machines are given: deadlines of one tick, but for the lag limit, which is an event of its own."""
        return Rules(
            min_insync_replicas=self.min_isr,
            lag_time_max_ms=1_000,
            fetch_timeout_ms=1,
            fetch_backoff_ms=1,
            proposal_timeout_ms=1,
            sync=self.sync,
            truncate_on_fetch=self.truncate_on_fetch,
        )
