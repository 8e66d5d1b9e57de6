"""A progress bar on a terminal; silence everywhere else.

Owns the one status line on stderr. Uses rich where it is installed and a plain line where it is not. Called by the
verbs that run long.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_STEP_S = 0.1
_shown: Progress | None = None


class Progress:
    """`with Progress("reading", "bytes") as bar: bar.update(done, total)`."""

    def __init__(self, what: str, unit: str = "bytes") -> None:
        """`unit` is `bytes`, or a plural noun for counts."""
        self._what = what
        self._unit = unit
        self._on = sys.stderr.isatty()
        self._drawn_s = 0.0
        self._bar: Any = None
        self._task: Any = None
        self._dirty = False

    def __enter__(self) -> Progress:
        global _shown
        if self._on:
            _shown = self
            self._bar = _rich_bar(self._unit)
            if self._bar is not None:
                self._bar.start()
                self._task = self._bar.add_task(self._what, total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _shown
        if self._bar is not None:
            self._bar.stop()
        self.clear()
        _shown = None

    def update(self, done: int, total: int) -> None:
        """Show how far it is; drawn ten times a second at most."""
        if not self._on:
            return
        now_s = time.monotonic()
        if now_s - self._drawn_s < _STEP_S and done < total:
            return
        self._drawn_s = now_s
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total or None)
            return
        share = done / total if total else 1.0
        filled = int(30 * min(share, 1.0))
        bar = "#" * filled + "." * (30 - filled)
        sys.stderr.write(f"\r{self._what} [{bar}] {share:4.0%} of {total} {self._unit} ")
        sys.stderr.flush()
        self._dirty = True

    def clear(self) -> None:
        """Take the plain bar off the screen."""
        if self._dirty:
            sys.stderr.write("\r\x1b[K")
            self._dirty = False


def clear() -> None:
    """Make room for a line on stderr."""
    if _shown is not None:
        _shown.clear()


def _rich_bar(unit: str) -> Any:
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        return None
    amount = DownloadColumn(binary_units=True) if unit == "bytes" else MofNCompleteColumn()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        amount,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
