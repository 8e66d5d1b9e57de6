"""Elections: who leads a partition, given who is in sync, who is eligible and who is alive.

Owns the order in which candidates are tried (PartitionChangeBuilder.electLeader). It must not know epochs, or what
becomes of ISR and ELR, which are `change`'s. Called by `change`.

Invariants
1. A clean election picks from the ISR, or from the ELR when the ISR is empty.
2. A present leader that can stay stays, unless the preferred one was asked for and can lead.
3. Nothing is elected uncleanly but by the topic's rules or an operator's word, and only where a clean election fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kstore.replication.controller.cluster import Unclean
from kstore.replication.state import NO_LEADER, Assignment

Acceptable = Callable[[int], bool]
"""Whether a broker may lead as far as the cluster is concerned: registered, not fenced, not shutting down."""


class Elected(NamedTuple):
    """The leader, or `NO_LEADER`, and whether it may lack committed records."""

    leader: int
    unclean: bool = False


class Field(NamedTuple):
    """Who stands for election, after a change."""

    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    elr: tuple[int, ...]


def elect(before: Assignment, field: Field, acceptable: Acceptable, unclean: Unclean, preferred: bool) -> Elected:
    """Choose a leader; see the invariants for the order."""
    members = field.isr or field.elr

    def can_lead(replica: int) -> bool:
        return replica in members and acceptable(replica)

    if preferred and can_lead(field.replicas[0]):
        return Elected(field.replicas[0])
    if before.leader in field.replicas and can_lead(before.leader):
        return Elected(before.leader)
    for replica in field.replicas:
        if can_lead(replica):
            return Elected(replica)
    return _elect_uncleanly(before, field, acceptable, unclean)


def _elect_uncleanly(before: Assignment, field: Field, acceptable: Acceptable, unclean: Unclean) -> Elected:
    """The last known leader first: it had the longest log (canElectLastKnownLeader). It must be alive (KAFKA-19522)."""
    if unclean >= Unclean.LAST_LEADER and not field.isr and not field.elr and len(before.last_known_elr) == 1:
        (last,) = before.last_known_elr
        if last in field.replicas and acceptable(last):
            return Elected(last, unclean=True)
    if unclean is Unclean.ANY:
        for replica in field.replicas:
            if acceptable(replica):
                return Elected(replica, unclean=True)
    return Elected(NO_LEADER)
