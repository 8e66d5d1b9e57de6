"""`Appended`: what an append returns."""

from __future__ import annotations

from typing import NamedTuple


class Appended(NamedTuple):
    """Where an append went."""

    base_offset: int
    """Offset of the first record."""
    next_offset: int
    """Offset behind the last record (exclusive end)."""
    timestamp_ms: int
    """Largest timestamp of the records as stored; -1 where none carries one."""
    duplicate: bool = False
    """True when an idempotent producer's batch was there already: the offsets are the old ones."""
