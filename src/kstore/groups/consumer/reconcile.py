"""From what a member owns to what it shall own, one heartbeat at a time (KIP-848).

Owns the step of one member: what it gives up, what it gets, which epoch it has then. A pure function: knows no
group but through the owners it asks for. Called by `consumer.heartbeat`.

Invariants
1. A member is given a partition only when nobody holds it (I16).
2. It stays in its epoch until it has given up what it must; then it goes towards the target's.
3. What it keeps it keeps with the epoch at which it got it (KIP-1251).

After org.apache.kafka.coordinator.group.modern.consumer.CurrentAssignmentBuilder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from kstore.groups.codes import Code, Refused
from kstore.groups.consumer.group import ConsumerMember, MemberState
from kstore.groups.records import NO_PARTITIONS, CurrentAssignment, Partitions
from kstore.groups.requests import TopicPartitions

Owned = tuple[TopicPartitions, ...] | None
"""What the member says it owns; None: it did not say."""


class TargetOf(NamedTuple):
    """Where a member is going: the epoch of the target assignment and its part of it."""

    epoch: int
    partitions: Mapping[bytes, tuple[int, ...]]


def reconcile(
    member: ConsumerMember, target: TargetOf, is_free: Callable[[bytes, int], bool], owned: Owned
) -> CurrentAssignment:
    """The member's next current assignment; the same one where it cannot move."""
    current = member.current
    match current.state:
        case MemberState.STABLE:
            return current if current.member_epoch == target.epoch else _step(member, target, is_free, owned)
        case MemberState.UNREVOKED_PARTITIONS:
            if _still_owns(current.pending_revocation, owned):
                return current
            return _step(member, target, is_free, owned, current.member_epoch + 1)
        case MemberState.UNRELEASED_PARTITIONS:
            return _step(member, target, is_free, owned)
        case _:
            # A state that a newer coordinator wrote: the member starts again with nothing.
            if owned is None or owned:
                raise Refused(Code.FENCED_MEMBER_EPOCH, "The member is in an unknown state. It must rejoin.")
            return _step(member, target, is_free, owned, target.epoch)


def _still_owns(partitions: Partitions, owned: Owned) -> bool:
    if owned is None:
        return True
    return any(number in partitions.get(topic.topic_id, {}) for topic in owned for number in topic.partitions)


def _step(
    member: ConsumerMember,
    target: TargetOf,
    is_free: Callable[[bytes, int], bool],
    owned: Owned,
    epoch: int | None = None,
) -> CurrentAssignment:
    current = member.current
    kept: dict[bytes, dict[int, int]] = {}
    given_up: dict[bytes, dict[int, int]] = {}
    for topic_id, numbers in current.assigned.items():
        wanted = target.partitions.get(topic_id, ())
        for number, since in numbers.items():
            (kept if number in wanted else given_up).setdefault(topic_id, {})[number] = since
    if given_up and _still_owns(given_up, owned):
        at = current.member_epoch if epoch is None else epoch
        return CurrentAssignment(at, current.member_epoch, MemberState.UNREVOKED_PARTITIONS, kept, given_up)
    waits = False
    for topic_id, wanted in target.partitions.items():
        for number in wanted:
            if number in kept.get(topic_id, {}):
                continue
            if is_free(topic_id, number):
                kept.setdefault(topic_id, {})[number] = target.epoch
            else:
                waits = True
    state = MemberState.UNRELEASED_PARTITIONS if waits else MemberState.STABLE
    return CurrentAssignment(target.epoch, current.member_epoch, state, kept, NO_PARTITIONS)
