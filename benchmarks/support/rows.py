"""One row of the table: kstore against a limit of the machine or a peer, measured in one run, and the floor.

Pure data. `speed` rows want a ratio at or above their floor, `time` rows one at or below it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured; `ratio` is None where it could not be, and `note` says why."""

    goal: str
    what: str
    against: str
    kind: str
    """`limit`: what the machine can do; `peer`: what others do."""
    sense: str
    """`speed` or `time`: what the ratio is of, kstore's over the other's."""
    floor: float | None
    ratio: float | None = None
    kstore_ns: float | None = None
    against_ns: float | None = None
    unit: str = ""
    """What one of those nanoseconds is per."""
    unit_bytes: int = 0
    """Bytes in one unit, for rows that are read as bandwidth; 0 for others."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the floor is met; None for rows without a floor or a ratio."""
        if self.floor is None or self.ratio is None:
            return None
        return self.ratio >= self.floor if self.sense == "speed" else self.ratio <= self.floor

    @property
    def score(self) -> float | None:
        """How far above (over 1) or below the floor, whatever the sense: for pictures."""
        if self.floor is None or self.ratio is None:
            return None
        return self.ratio / self.floor if self.sense == "speed" else self.floor / self.ratio

    def as_json(self) -> dict[str, Any]:
        """Every field, and whether the floor is met."""
        return {**asdict(self), "met": self.met}


def amount(nanoseconds: float | None, unit_bytes: int) -> str:
    """A time for people; as bandwidth where the unit has bytes."""
    if nanoseconds is None:
        return ""
    if unit_bytes:
        return f"{unit_bytes / nanoseconds:.2f} GB/s"
    for size, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {name}"
    return f"{nanoseconds:.3g} ns"
