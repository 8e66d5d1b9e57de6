"""The committed offsets of every group of a coordinator, in memory, with the transactions that are still open.

Owns the map and the rule which of two commits counts. Checks no member and writes no record. Called by `committed`
and `replaying`.

Invariants
1. Of two commits for a partition the one with the higher record offset counts, in whatever order they are told.
2. A transactional commit shows only when its transaction commits; until then it is pending.

After OffsetMetadataManager.Offsets and its replay methods.
"""

from __future__ import annotations

from typing import NamedTuple

from kstore.groups.offsets import OffsetValue


class Stored(NamedTuple):
    """A committed position and the offset of its record in `__consumer_offsets`."""

    value: OffsetValue
    record_offset: int


Place = tuple[str, int]
"""Topic and partition."""


class Offsets:
    """Committed positions by group and place."""

    __slots__ = ("_groups", "_pending")

    def __init__(self) -> None:
        self._groups: dict[str, dict[Place, Stored]] = {}
        self._pending: dict[int, dict[str, dict[Place, Stored]]] = {}
        """By producer id, group and place."""

    def of_group(self, group_id: str) -> dict[Place, Stored]:
        """Everything that a group has committed; not to be changed."""
        return self._groups.get(group_id, {})

    def group_ids(self) -> list[str]:
        """Groups that have a commit."""
        return list(self._groups)

    def put(self, group_id: str, place: Place, stored: Stored) -> None:
        """Take a commit in, unless a later record was told before."""
        places = self._groups.setdefault(group_id, {})
        known = places.get(place)
        if known is None or stored.record_offset > known.record_offset:
            places[place] = stored

    def delete(self, group_id: str, place: Place) -> None:
        """Forget a commit, pending ones too."""
        for groups in (self._groups, *self._pending.values()):
            places = groups.get(group_id)
            if places is not None:
                places.pop(place, None)
                if not places:
                    del groups[group_id]

    # -- transactions ---------------------------------------------------------------------------------------

    def put_pending(self, producer_id: int, group_id: str, place: Place, stored: Stored) -> None:
        """Take a commit in that counts once the producer's transaction commits."""
        self._pending.setdefault(producer_id, {}).setdefault(group_id, {})[place] = stored

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """A transaction marker: its commits count now, or never."""
        groups = self._pending.pop(producer_id, {})
        if committed:
            for group_id, places in groups.items():
                for place, stored in places.items():
                    self.put(group_id, place, stored)

    def is_unstable(self, group_id: str, place: Place) -> bool:
        """Whether an open transaction has a commit for the place."""
        return any(place in groups.get(group_id, {}) for groups in self._pending.values())

    def pending_places(self, group_id: str) -> set[Place]:
        """Places of a group with a commit in an open transaction."""
        return {place for groups in self._pending.values() for place in groups.get(group_id, {})}
