"""Waiting for what another thread does: looked at again and again, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable

TIMEOUT_S = 30.0
LOOK_S = 0.001


def until(is_so: Callable[[], bool]) -> None:
    """Return as soon as it holds; fails where that takes too long."""
    end = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < end, "not in time"
        time.sleep(LOOK_S)
