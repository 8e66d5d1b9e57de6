"""What a cluster does right now: two looks at it, and the rates between them.

Owns the arithmetic of `kstore top`: records in by topic, how far groups are behind and whether they gain. Pure but for
`look`, which asks a broker; it works with any that speaks Kafka's protocol. Called by `kstore top`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kstore.apps.client import Client

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True)
class GroupLook:
    """A group at one moment."""

    state: str
    members: int
    committed: dict[Place, int]
    """The offset that is committed for each partition."""


@dataclass(frozen=True)
class Look:
    """A cluster at one moment."""

    at_s: float
    """By a clock that only goes forward."""
    brokers: int
    starts: dict[Place, int]
    """Log start offsets."""
    ends: dict[Place, int]
    """High watermarks."""
    groups: dict[str, GroupLook] = field(default_factory=dict)


@dataclass(frozen=True)
class TopicRow:
    """One line about a topic."""

    topic: str
    partitions: int
    records: int
    """Offsets between log start and high watermark; a compacted topic holds fewer records."""
    records_in: int
    """High watermarks summed: all that ever came."""
    rate: float | None
    """Records a second since the look before; None where there was none."""


@dataclass(frozen=True)
class GroupRow:
    """One line about a group."""

    group: str
    state: str
    members: int
    partitions: int
    lag: int
    """Records behind the high watermarks of the partitions for which it has committed."""
    rate: float | None
    """Records committed a second since the look before."""
    seconds_behind: float | None
    """When the lag is gone at this pace, counting what comes in meanwhile; None where it does not shrink."""


def topic_rows(now: Look, before: Look | None) -> list[TopicRow]:
    """By topic: the busiest first, then by name."""
    rows = []
    for topic in {topic for topic, _ in now.ends}:
        places = [place for place in now.ends if place[0] == topic]
        ends = sum(now.ends[place] for place in places)
        held = ends - sum(now.starts.get(place, 0) for place in places)
        rows.append(TopicRow(topic, len(places), held, ends, _rate(now, before, places, _ends_of)))
    return sorted(rows, key=lambda row: (-(row.rate or 0.0), row.topic))


def group_rows(now: Look, before: Look | None) -> list[GroupRow]:
    """By group: the one farthest behind first, then by name."""
    rows = []
    for name, group in now.groups.items():
        places = [place for place in group.committed if place in now.ends]
        lag = sum(max(now.ends[place] - group.committed[place], 0) for place in places)
        was = None if before is None or name not in before.groups else before
        rate = _rate(now, was, places, lambda look, name=name: look.groups[name].committed)  # type: ignore[misc]
        incoming = _rate(now, was, places, _ends_of)
        gain = (rate or 0.0) - (incoming or 0.0)
        behind = 0.0 if lag == 0 else lag / gain if gain > 0 else None
        rows.append(GroupRow(name, group.state, group.members, len(group.committed), lag, rate, behind))
    return sorted(rows, key=lambda row: (-row.lag, row.group))


def _ends_of(look: Look) -> dict[Place, int]:
    return look.ends


def _rate(
    now: Look, before: Look | None, places: list[Place], numbers: Callable[[Look], dict[Place, int]]
) -> float | None:
    """How fast the numbers of those partitions grew together; one that was not there before counts from now on."""
    if before is None or now.at_s <= before.at_s:
        return None
    old, new = numbers(before), numbers(now)
    grown = sum(max(new[place] - old.get(place, new[place]), 0) for place in places)
    return grown / (now.at_s - before.at_s)


def look(client: Client, at_s: float) -> Look:
    """Ask the brokers. Raises `BrokerFailed`; a topic that goes away meanwhile is left out."""
    from kstore.errors import UnknownTopicOrPartition

    starts: dict[Place, int] = {}
    ends: dict[Place, int] = {}
    for topic, partitions in client.partitions_of().items():
        try:
            offsets = client.offsets(topic, partitions)
        except UnknownTopicOrPartition:
            continue
        for index, (start, end) in offsets.items():
            starts[topic, index], ends[topic, index] = start, end
    groups = {}
    for name, state, members in client.group_states():
        committed = {place: offset for place, (offset, _) in client.committed(name).items()}
        groups[name] = GroupLook(state, members, committed)
    return Look(at_s, client.brokers(), starts, ends, groups)
