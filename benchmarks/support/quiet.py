"""Waiting until the machine does little else: what is timed by the wall clock means nothing beside a busy neighbour.

Reads /proc/stat; where there is none, the load average. Owns the judgement "quiet", not what is done about it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

BUSY_MAX = 0.08
"""The share of all processors' time that others may take: below the noise of what is measured."""
LOOK_S = 0.25
"""How long one look takes: a scheduler's round of everybody."""


def ticks() -> tuple[int, int] | None:
    """Processor time so far, busy and in all, in the kernel's ticks; None where it is not told."""
    try:
        numbers = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    idle = numbers[3] + numbers[4]
    return sum(numbers) - idle, sum(numbers)


def busy_share() -> float:
    """How much of all processors others took while this process slept for a moment, 0 to 1."""
    before = ticks()
    time.sleep(LOOK_S)
    after = ticks()
    if before is None or after is None:
        return min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    return (after[0] - before[0]) / max(after[1] - before[1], 1)


def wait_for_quiet(limit_s: float) -> str:
    """Return when the machine is quiet, or after `limit_s` with the least busy moment there was, as a note."""
    deadline = time.monotonic() + limit_s
    least = 1.0
    while True:
        least = min(least, busy_share())
        if least <= BUSY_MAX:
            return ""
        if time.monotonic() > deadline:
            return f"neighbours took {least:.0%} of the processors (load {os.getloadavg()[0]:.1f})"
