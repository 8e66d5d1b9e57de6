"""What a broker counts while requests go through it.

Changed on the broker's loop alone, an addition here and there. Must not know who reads it (`metrics`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kstore.wire.apis import APIS


@dataclass(slots=True)
class Traffic:
    """Totals since the start."""

    requests: list[int] = field(default_factory=lambda: [0] * (max(APIS) + 1))
    """By API key."""
    received_bytes: int = 0
    sent_bytes: int = 0
    accepted: int = 0
    """Connections that were let in."""
