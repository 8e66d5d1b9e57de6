"""A partition's replicas before, during and after a reassignment, as lists.

Owns the arithmetic of Kafka's PartitionReassignmentReplicas and PartitionReassignmentRevert. It must not know the
cluster. Called by `change`, which completes reassignments, and by `reassignment`, which begins and ends them.
"""

from __future__ import annotations

from typing import NamedTuple

from kstore.replication.state import Assignment


class Moving(NamedTuple):
    """Replica lists of an assignment; a reassignment is under way while `adding` or `removing` has members."""

    replicas: tuple[int, ...]
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()

    @property
    def is_moving(self) -> bool:
        """Whether a reassignment is under way."""
        return bool(self.adding or self.removing)

    @property
    def original(self) -> tuple[int, ...]:
        """The replicas that there were before, and will be if it is cancelled."""
        return tuple(r for r in self.replicas if r not in self.adding)

    @property
    def target(self) -> tuple[int, ...]:
        """The replicas that there will be when it is done."""
        return tuple(r for r in self.replicas if r not in self.removing)


def moving(assignment: Assignment) -> Moving:
    """The lists of an assignment."""
    return Moving(assignment.replicas, assignment.adding, assignment.removing)


def towards(now: Moving, target: tuple[int, ...]) -> Moving:
    """The lists once a move to `target` has begun: the target in its order, then those that go, by id.

    A move that begins while another is under way keeps the other's origin, so that cancelling leads back to where it
    all began; what the other was adding and this one does not want is both added and removed. Kafka forgets the origin.
    """
    replicas = (*target, *sorted(r for r in now.replicas if r not in target))
    return Moving(
        replicas,
        tuple(sorted(r for r in replicas if r not in now.original)),
        tuple(sorted(r for r in replicas if r not in target)),
    )


def completed(now: Moving, isr: tuple[int, ...]) -> tuple[Moving, tuple[int, ...]] | None:
    """Replicas and ISR once the move is over, or None while it is not: all that stay must be in sync."""
    if not now.is_moving:
        return None
    stay = tuple(r for r in isr if r not in now.removing)
    if not stay or not now.target or not set(now.target) <= set(stay):
        return None
    return Moving(now.target), stay
