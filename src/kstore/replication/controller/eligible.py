"""Eligible leader replicas (KIP-966): who may lead, besides the ISR, without losing anything committed.

Owns which replicas are in the ELR after a change. A leader commits nothing while its ISR is smaller than
min.insync.replicas; so whoever was in sync when it became smaller holds everything committed until it is large enough
again. It must not know elections. Called by `change`.
"""

from __future__ import annotations

from collections.abc import Collection

from kstore.replication.state import NO_LEADER, Assignment


def eligible(
    before: Assignment, isr: tuple[int, ...], replicas: tuple[int, ...], min_isr: int, lost: Collection[int]
) -> tuple[int, ...]:
    """The ELR once the ISR is `isr` (PartitionChangeBuilder.maybePopulateTargetElr).

    Empty when the ISR is large enough; else who was in the ISR or ELR and is a replica still, but for those that may
    have `lost` records. Kafka keeps removed replicas in the list, where no election ever looks.
    """
    if len(isr) >= min_isr:
        return ()
    candidates = {*before.isr, *before.elr}
    return tuple(sorted(r for r in candidates if r in replicas and r not in isr and r not in lost))


def last_known(before: Assignment, leader: int, isr: tuple[int, ...], replicas: tuple[int, ...]) -> tuple[int, ...]:
    """The last known leader, noted while there is none (PartitionChangeBuilder.maybeUpdateLastKnownLeader)."""
    if leader != NO_LEADER:
        return ()
    if before.isr and not isr and before.leader != NO_LEADER:
        return (before.leader,) if before.leader in replicas else ()
    return tuple(r for r in before.last_known_elr if r in replicas)
