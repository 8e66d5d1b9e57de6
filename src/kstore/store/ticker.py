"""The background thread of a store: it calls one function at a fixed interval until it is stopped.

Owns the thread and nothing else; what a tick does is the store's. A tick that raises is logged, and the next one
comes all the same: background work must not end because one partition failed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Ticker:
    """Calls `tick` every `interval_ms` on a daemon thread, from `start` to `stop`."""

    def __init__(self, name: str, interval_ms: int, tick: Callable[[], object]) -> None:
        self._interval_s = interval_ms / 1000
        self._tick = tick
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin ticking; the first tick comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """Return once the thread has ended; a tick under way is waited for."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            try:
                self._tick()
            except Exception:
                _log.exception("%s: background work failed; it is tried again", self._thread.name)
