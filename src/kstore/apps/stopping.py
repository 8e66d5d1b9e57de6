"""A flag that a signal handler or another thread raises, and that a polling loop waits on.

`threading.Event` must not be set in a signal handler: the handler runs in the thread that may hold the event's own
lock at that moment, and would wait for itself. This flag has no lock. Called by the applications that follow.
"""

from __future__ import annotations

import time

SLICE_S = 0.1
"""Longest sleep between two looks at the flag: how late a stop may be noticed."""


class StopFlag:
    """Raised once, never lowered."""

    def __init__(self) -> None:
        self._raised = False

    def set(self) -> None:
        """Raise it; safe in signal handlers and from any thread."""
        self._raised = True

    def is_set(self) -> bool:
        """Whether it was raised."""
        return self._raised

    def wait(self, seconds: float) -> bool:
        """Sleep until it is raised or the time is over; returns whether it is raised."""
        until_s = time.monotonic() + seconds
        while not self._raised and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, SLICE_S))
        return self._raised
