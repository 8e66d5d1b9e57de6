"""What a broker counts while requests go through it.

Changed on the broker's loop alone, an addition here and there. Must not know who reads it (`metrics`).
"""

from __future__ import annotations

from kstore.wire.apis import APIS


class Traffic:
    """Totals since the start."""

    __slots__ = ("accepted", "received_bytes", "requests", "sent_bytes")

    def __init__(self) -> None:
        self.requests = [0] * (max(APIS) + 1)
        """By API key."""
        self.received_bytes = 0
        self.sent_bytes = 0
        self.accepted = 0
        """Connections that were let in."""
