"""Time that a test turns ahead: the wall clock and the timers of one broker, which agree.

Owns how far ahead they are. Must not know what waits for them. Made by `cluster`; the loop belongs to the broker's
thread.

Invariants
1. Time only goes ahead, and wall clock and timers by the same.
2. Nothing is skipped: what falls due while time is turned runs, once, as soon as the loop looks again.
"""

from __future__ import annotations

from kstore.broker.loop import Loop
from kstore.errors import UsageError
from kstore.store.store import wall_clock_ms


class TurnedClock:
    """Both clocks of a broker."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        """How far its time is ahead of the machine's."""

    def now_ms(self) -> int:
        """The broker's wall clock, in milliseconds since 1970."""
        return wall_clock_ms() + round(self.ahead_s * 1000)

    def loop(self) -> Loop:
        """An event loop whose timers go by this clock."""
        return _Loop(self)

    def turn(self, seconds: float) -> None:
        """Turn it ahead; raises `UsageError` for backwards."""
        if not seconds >= 0:
            raise UsageError(f"time goes forward only, not by {seconds} s")
        self.ahead_s += seconds


class _Loop(Loop):
    def __init__(self, clock: TurnedClock) -> None:
        self._clock = clock
        super().__init__()

    def time(self) -> float:
        return super().time() + self._clock.ahead_s
