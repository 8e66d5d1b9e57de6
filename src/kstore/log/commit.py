"""Group commit: one fsync serves every append that waits for one.

Owns who runs the next sync and who waits for it. It knows neither files nor partitions: the sync itself is a
callable. Called by `partition`. The scheme is the one of write-ahead logs: the first waiter becomes the leader and
syncs everything appended so far; those who arrive meanwhile wait, and one of them leads the next round.

Invariants:
1. At most one sync runs at a time, and never under the partition's writer lock.
2. `wait_for(offset)` returns only if a sync that began after `offset` was appended has succeeded.
3. A sync that fails is reported to everyone whose records it covered, and to everyone after.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class GroupCommit:
    """Shares fsyncs between waiting appends of one partition."""

    def __init__(self, sync: Callable[[], int], durable_offset: int) -> None:
        """`sync` makes all appended records durable and returns the offset up to which they are (exclusive)."""
        self._sync = sync
        self._changed = threading.Condition()
        self._busy = False
        self._durable_offset = durable_offset
        self._failure: BaseException | None = None

    @property
    def durable_offset(self) -> int:
        """Every record below this offset has been synced."""
        return self._durable_offset

    def wait_for(self, offset: int) -> None:
        """Return once every record below `offset` is durable; raises what a failed sync raised."""
        while self._durable_offset < offset:
            with self._changed:
                while self._busy and self._durable_offset < offset:
                    self._changed.wait()
                if self._failure is not None:
                    raise self._failure
                if self._durable_offset >= offset:
                    return
                self._busy = True
            self._lead()

    def _lead(self) -> None:
        durable_offset = self._durable_offset
        failure: BaseException | None = None
        try:
            durable_offset = self._sync()
        except BaseException as error:
            failure = error
            raise
        finally:
            with self._changed:
                self._busy = False
                self._durable_offset = max(self._durable_offset, durable_offset)
                if failure is not None and not getattr(failure, "retriable", False):
                    self._failure = failure
                self._changed.notify_all()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Keep syncs out for the length of a block that truncates, deletes or closes files."""
        with self._changed:
            while self._busy:
                self._changed.wait()
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def restart(self, offset: int) -> None:
        """After the log started over at `offset`, durably: nothing else has to be synced."""
        with self._changed:
            self._durable_offset = offset

    def rewind(self, offset: int) -> None:
        """After a truncation: nothing at or above `offset` counts as durable any more."""
        with self._changed:
            self._durable_offset = min(self._durable_offset, offset)
