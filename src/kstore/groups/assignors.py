"""Server-side assignors of consumer groups: who shall own what in the end.

Owns the two assignors that Kafka brings, `uniform` and `range`, as functions of subscriptions, topics and the target
before. Knows no epoch and no record. Called by `consumer.target`.

Invariants
1. Every partition of a topic that a member reads has exactly one owner, and that owner reads the topic.
2. `uniform` where all read the same: no two members differ by more than one partition, and as much stays where it
   was as that allows. Where they read different topics: nobody has two more than a member that could take one.
3. `range`: each topic in ranges along the members in order, so topics of equal count are split alike.
4. The same input gives the same output, on any machine.

After UniformAssignor and RangeAssignor of Kafka's group-coordinator module; the properties are theirs, the way to
them is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from kstore.groups.settings import RANGE, UNIFORM

Partition = tuple[bytes, int]
"""Topic id and number."""
Target = dict[str, dict[bytes, tuple[int, ...]]]


class Subscriber(NamedTuple):
    """A member as an assignor sees it: topics that exist, and what its target was."""

    instance_id: str | None
    topics: frozenset[bytes]
    target: Mapping[bytes, tuple[int, ...]]


Assignor = Callable[[Mapping[str, Subscriber], Mapping[bytes, int]], Target]
"""Members by id and partition counts by topic id, to everybody's target."""


def assign_range(members: Mapping[str, Subscriber], counts: Mapping[bytes, int]) -> Target:
    """Ranges of every topic along its members: static ones first, by instance id, then the others by id."""
    order = sorted(members, key=lambda one: (members[one].instance_id is None, members[one].instance_id or one))
    target: Target = {member_id: {} for member_id in members}
    for topic_id, count in counts.items():
        readers = [member_id for member_id in order if topic_id in members[member_id].topics]
        start = 0
        for index, member_id in enumerate(readers):
            size = count // len(readers) + (index < count % len(readers))
            if size:
                target[member_id][topic_id] = tuple(range(start, start + size))
            start += size
    return target


def assign_uniform(members: Mapping[str, Subscriber], counts: Mapping[bytes, int]) -> Target:
    """Equal numbers for everyone, moving as little as possible."""
    if not members:
        return {}
    order = sorted(members)
    owned = _kept(order, members, counts)
    if len({members[member_id].topics for member_id in order}) == 1:
        _cut_to_quota(order, owned, sum(counts.get(topic_id, 0) for topic_id in members[order[0]].topics))
    _give_out(order, members, counts, owned)
    if len({members[member_id].topics for member_id in order}) > 1:
        _even_out(order, members, owned)
    return {member_id: _by_topic(owned[member_id]) for member_id in members}


def _kept(
    order: list[str], members: Mapping[str, Subscriber], counts: Mapping[bytes, int]
) -> dict[str, list[Partition]]:
    """What everyone may keep: partitions that exist, of topics that are read still, and of one owner."""
    taken: set[Partition] = set()
    owned: dict[str, list[Partition]] = {}
    for member_id in order:
        member = members[member_id]
        kept = [
            (topic_id, number)
            for topic_id, numbers in sorted(member.target.items())
            if topic_id in member.topics
            for number in sorted(numbers)
            if number < counts.get(topic_id, 0) and (topic_id, number) not in taken
        ]
        taken.update(kept)
        owned[member_id] = kept
    return owned


def _cut_to_quota(order: list[str], owned: dict[str, list[Partition]], total: int) -> None:
    """Let nobody keep more than its share; the shares that are one larger go to those who have most."""
    quota, larger = divmod(total, len(order))
    for member_id in sorted(order, key=lambda one: -len(owned[one])):
        share = quota + (larger > 0)
        if len(owned[member_id]) >= share and larger > 0:
            larger -= 1
        elif len(owned[member_id]) > quota:
            share = quota
        del owned[member_id][share:]


def _give_out(
    order: list[str], members: Mapping[str, Subscriber], counts: Mapping[bytes, int], owned: dict[str, list[Partition]]
) -> None:
    """Give what nobody has to whoever has least; topics with few readers first, they have least choice."""
    taken = {partition for partitions in owned.values() for partition in partitions}
    readers = {topic: [one for one in order if topic in members[one].topics] for topic in counts}
    for topic_id in sorted(counts, key=lambda topic: (len(readers[topic]), topic)):
        if not readers[topic_id]:
            continue
        for number in range(counts[topic_id]):
            if (topic_id, number) not in taken:
                least = min(readers[topic_id], key=lambda one: len(owned[one]))
                owned[least].append((topic_id, number))


def _even_out(order: list[str], members: Mapping[str, Subscriber], owned: dict[str, list[Partition]]) -> None:
    """Move partitions from who has more to who has at least two less, until nobody can give.

    Each move lowers the sum of the squares of the sizes, so this ends.
    """
    moved = True
    while moved:
        moved = False
        for giver in sorted(order, key=lambda one: -len(owned[one])):
            for partition in list(owned[giver]):
                takers = [one for one in order if partition[0] in members[one].topics]
                least = min(takers, key=lambda one: len(owned[one]))
                if len(owned[giver]) - len(owned[least]) > 1:
                    owned[giver].remove(partition)
                    owned[least].append(partition)
                    moved = True


def _by_topic(partitions: list[Partition]) -> dict[bytes, tuple[int, ...]]:
    found: dict[bytes, list[int]] = {}
    for topic_id, number in sorted(partitions):
        found.setdefault(topic_id, []).append(number)
    return {topic_id: tuple(numbers) for topic_id, numbers in found.items()}


ASSIGNORS: Final[Mapping[str, Assignor]] = {UNIFORM: assign_uniform, RANGE: assign_range}
