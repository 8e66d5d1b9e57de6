"""Append records of a broker's topic to a file, sharing its partitions with the other members of a group.

Owns the order of writing, syncing and committing while partitions come and go. It must not know librdkafka
(`broker_reader`). Called by `kstore file-consumer --bootstrap-server`.

Each value becomes a line, as with a directory (`file_consumer`), and a commit carries the size that FILE had. Several
runs with files of their own share the work: before a partition goes to another member, FILE is synced and what was
written of it is committed.

Invariants
1. A commit never covers a record that is not in FILE on the medium: at least once, and a rebalance repeats nothing.
2. A member that was too slow for its group loses its partitions; what it wrote since its last commit another one
   writes again, and that is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kstore.apps.broker_reader import Reader
from kstore.apps.output import Output, Summary, end_last_line, metadata_of, show_window, size_in
from kstore.apps.stopping import StopFlag

if TYPE_CHECKING:
    from kstore.apps.client import Client

WAIT_S = 0.1
COMMIT_EVERY = 1000
IDLE_COMMIT_S = 0.5
"""While records trickle in they are committed after that time at the latest."""


class BrokerConsumer:
    """One topic, one FILE, one member of a group. `run` does everything; another thread may call `stop`."""

    def __init__(
        self,
        client: Client,
        topic: str,
        path: str,
        group: str,
        *,
        follow: bool = False,
        commit: str = "sync",
        commit_every: int = COMMIT_EVERY,
        exactly: bool = False,
        max_records: int | None = None,
        notice: Callable[[str], None] = lambda text: None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """`notice` gets one line for each thing a user should know; `progress` gets records read."""
        self._client = client
        self._topic = topic
        self._path = path
        self._group = group
        self._follow = follow
        self._waits = commit == "sync"
        self._commit_every = commit_every
        self._exactly = exactly
        self._max_records = max_records
        self._notice = notice
        self._progress = progress
        self._stop = StopFlag()
        self._uncommitted = 0
        self._since_s = time.monotonic()
        self._committed: dict[int, int] = {}
        self._known: dict[int, tuple[int, str]] = {}
        self.summary = Summary()

    def stop(self) -> None:
        """Let a following `run` write and commit what it has read, and return."""
        self._stop.set()

    def run(self) -> Summary:
        """Read to the end of what the group gives us; with `follow`, go on until `stop`. Raises `OSError` for FILE."""
        self._output = Output(self._path)
        try:
            self._resume()
            self._reader = Reader(
                self._client,
                self._topic,
                group=self._group,
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
            try:
                self._consume()
            finally:
                self._reader.close()
        finally:
            self._output.close()
        return self.summary

    def _resume(self) -> None:
        """Find the newest commit that tells of this FILE: those of other partitions may be older, or of other files."""
        committed = self._client.committed(self._group)
        self._known = {index: place for (topic, index), place in committed.items() if topic == self._topic}
        if not self._known:
            end_last_line(self._output, self._notice)
            return
        self.summary.resumed = True
        places = ", ".join(f"{index}: {offset}" for index, (offset, _) in sorted(self._known.items()))
        self._notice(f"group {self._group} resumes at its committed offsets ({places})")
        sizes = [size_in(metadata, self._output.path) for _, metadata in self._known.values()]
        size_bytes = max((size for size in sizes if size is not None), default=None)
        if size_bytes is None and not self._output.size_bytes:
            return  # a new member with a file of its own
        show_window(self._output, size_bytes, self.summary, self._notice, exactly=self._exactly)

    # -- the group ------------------------------------------------------------------------------------------

    def _assigned(self, partitions: list[int]) -> None:
        self._committed.clear()
        self._uncommitted = 0
        shown = ", ".join(map(str, partitions)) or "none: the group has more members than the topic has partitions"
        self._notice(f"partitions of {self._topic} given to this member: {shown}")

    def _revoked(self) -> None:
        self._commit(wait=True)

    def _lost(self, partitions: list[int]) -> None:
        self._uncommitted = 0
        self._notice(
            f"the group took partitions {', '.join(map(str, partitions))} away: this member did not answer in time; "
            f"what it wrote since its last commit another one writes again"
        )

    # -- reading and writing --------------------------------------------------------------------------------

    def _consume(self) -> None:
        while not self._stop.is_set() and not self._is_full():
            messages = self._reader.read(WAIT_S)
            while messages and not self._is_full():
                room = self._commit_every - self._uncommitted
                if self._max_records is not None:
                    room = min(room, self._max_records - self.summary.records)
                self._write(messages[:room])
                del messages[:room]
                if self._uncommitted >= self._commit_every:
                    self._commit(wait=self._waits)
            if self._uncommitted and time.monotonic() - self._since_s >= IDLE_COMMIT_S:
                self._commit(wait=self._waits)
            if self._reader.at_end and not self._follow:
                break
        self._commit(wait=True)
        self.summary.next_offsets = dict(self._reader.next_offsets)

    def _is_full(self) -> bool:
        return self._max_records is not None and self.summary.records >= self._max_records

    def _write(self, messages: list[object]) -> None:
        values = [message.value() or b"" for message in messages]  # type: ignore[attr-defined]
        data = b"\n".join(values) + b"\n"
        self._output.write(data)
        for message in messages:
            self._reader.take(message)
        if not self._uncommitted:
            self._since_s = time.monotonic()
        self._uncommitted += len(messages)
        self.summary.records += len(messages)
        self.summary.size_bytes += len(data)
        self._progress(self.summary.records, self.summary.records)

    def _commit(self, *, wait: bool) -> None:
        """Make FILE durable, then commit what moved; every commit tells the size of FILE."""
        self._uncommitted = 0
        self._since_s = time.monotonic()
        offsets = dict(self._reader.next_offsets)
        if offsets == self._committed:
            return
        self._output.sync()
        self._reader.commit(offsets, metadata_of(self._output.path, self._output.size_bytes), wait=wait)
        self._committed = offsets
        self.summary.commits += 1
