"""Send a file's lines to a topic, then follow what is appended to it: every line once, whatever happens between.

Owns the order of reading, sending and remembering. It must not know how lines are found (`tail`), spread
(`routing`), stored (`sinks`) or how a position is kept (`positions`). Called by `kstore file-producer`.

A line is the bytes up to a newline, without the newline; a carriage return stays in the value, an empty line is a
record with an empty value, no byte is changed. Joining the values of one partition with newlines gives back the
file's lines in order. A last line without a newline is sent when the file is finished: at the end of a run that
does not follow, and when a followed file was rotated away. While following, no half line is ever sent.

How it is exact. The file has an idempotent producer id of its own, kept in the position file, and every batch in the
log carries that id and the sequence of its first record (through a broker every record does, in a header: `sinks`).
The position file says: below this byte everything is durable in the log, and in partition p my next record has
sequence s. After a crash the log itself tells how many of our records it holds above that: the highest sequence of
ours behind the remembered log end. A resumed run reads on from the byte, spreads the lines as before (`Routing`
depends on the file alone) and leaves out, in each partition, as many lines as the log holds already.

Promises:
1. Killed at any moment, or the machine lost: no line is lost and none is sent twice, as long as the position file is
   there and the bytes of the file that were read have not been changed.
2. The position is never ahead of durable data: partitions are flushed before it is written.
3. Rotation (the file renamed, a new one in its place), also while no producer runs: the old one is finished, then
   the new one is read from its start. Truncation (also when it was written anew at once): from the start. Another
   file put in its place: from the start of that one.
What cannot be known: lines that were cut off or rotated away twice between two looks at the file, and lines written
to the old file later than `rotate_wait_ms` after its rotation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kstore.apps import positions
from kstore.apps.routing import Keyed, Routing
from kstore.apps.sinks import SEQUENCES, Sink
from kstore.apps.stopping import StopFlag
from kstore.apps.tail import Lines, State, Tail
from kstore.errors import UsageError

LINE_BYTES_MAX = 64 * 1024 * 1024
"""Default of `--max-line-bytes`: what one line may take in memory several times over."""
SAVE_BYTES = 16 * 1024 * 1024
"""Bytes sent between positions: bounds what a resumed run reads again, and makes the flush cost little."""
SAVE_MS = 1000
"""Time between positions while lines trickle in."""
RECORD_OVERHEAD_BYTES = 256
"""Room for the batch header and a record's own fields around one line."""


@dataclass
class Summary:
    """What a run did."""

    lines: int = 0
    size_bytes: int = 0
    already_stored: int = 0
    """Lines that a killed run had stored above its last saved position."""
    by_partition: dict[int, int] = field(default_factory=dict)


class FileProducer:
    """One FILE, one topic. `run` does everything; another thread may call `stop`."""

    def __init__(
        self,
        sink: Sink,
        path: str,
        routing: Routing,
        *,
        position_file: str,
        follow: bool = False,
        line_bytes_max: int = LINE_BYTES_MAX,
        poll_ms: int = 100,
        rotate_wait_ms: int = 1000,
        notice: Callable[[str], None] = lambda text: None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """`notice` gets one line for each thing a user should know; `progress` gets bytes done and in all."""
        self._sink = sink
        self._path = os.path.abspath(path)
        self._topic = sink.topic
        self._routing = routing
        self._position_file = position_file
        self._follow = follow
        self._line_bytes_max = line_bytes_max
        self._poll_s = poll_ms / 1000
        self._rotate_wait_s = rotate_wait_ms / 1000
        self._notice = notice
        self._progress = progress
        self._stop = StopFlag()
        self._next_sequences = [0] * routing.partitions
        self._stored = [0] * routing.partitions
        """Records above the position that the log holds already: so many lines are left out, by partition."""
        self._unterminated = False
        self._unsaved_bytes = 0
        self._saved_s = time.monotonic()
        self.summary = Summary()

    def stop(self) -> None:
        """Let a following `run` finish what it has read and return."""
        self._stop.set()

    def run(self) -> Summary:
        """Send what is there; with `follow`, go on until `stop`. The position is saved before it returns.

        Raises `OSError` for the file, the errors of `Partition.append_batches` for the log; the next run goes on
        exactly behind what was stored.
        """
        self._tail = self._start()
        try:
            while not self._stop.is_set():
                lines = self._tail.read()
                if lines is not None:
                    self._send(lines)
                elif not self._at_end():
                    break
            self._save()
        finally:
            self._tail.close()
        return self.summary

    # -- start and resume -----------------------------------------------------------------------------------

    def _start(self) -> Tail:
        saved = positions.load(self._position_file)
        if saved is not None and (saved.file, saved.topic) != (self._path, self._topic):
            raise UsageError(
                f"{self._position_file} remembers {saved.file} sent to {saved.topic}, not {self._path} sent to "
                f"{self._topic}; name another --position-file"
            )
        topic_id = self._sink.topic_id()
        if saved is not None and saved.topic_id != topic_id:
            self._notice(f"topic {self._topic} was made anew since the last run: the file starts over")
            saved = None
        if saved is None:
            return self._start_over(_new_producer_id())
        self._producer_id = saved.producer_id
        added = (0,) * (self._routing.partitions - len(saved.next_sequences))
        self._next_sequences = [*saved.next_sequences, *added]
        stored = [
            self._sink.count_stored(index, saved.producer_id, sequence, end)
            for index, (sequence, end) in enumerate(
                zip(self._next_sequences, (*saved.log_end_offsets, *added), strict=True)
            )
        ]
        if any(count < 0 for count in stored):
            self._notice(f"topic {self._topic} lost records since the last run; see `kstore log verify`")
            return self._resume_unmatched(saved)
        tail, why = Tail.resume(self._path, saved.fingerprint, line_bytes_max=self._line_bytes_max)
        if tail is None:
            self._notice(f"{self._path} was {why} since the last run: it is sent from its first byte")
            self._next_sequences = [(s + n) % SEQUENCES for s, n in zip(self._next_sequences, stored, strict=True)]
            return self._start_over(saved.producer_id)
        if any(stored) and saved.routing != self._routing.describe():
            tail.close()
            raise UsageError(
                f"the last run was killed while it spread lines by {saved.routing}; run once with the same key and "
                f"partition options, so that what it had sent is known again"
            )
        self._note_resumed(tail, why, sum(stored))
        unterminated = saved.unterminated
        if saved.rest_bytes and sum(stored) == 1:
            tail.step(saved.rest_bytes)
            self._advance(stored.index(1), 1)
            unterminated = True
        else:
            self._stored = stored
        self._join_newline(tail, unterminated)
        return tail

    def _resume_unmatched(self, saved: positions.Position) -> Tail:
        """Go on at the byte under a new producer id: its sequences start at 0 whatever the log has lost."""
        tail, why = Tail.resume(self._path, saved.fingerprint, line_bytes_max=self._line_bytes_max)
        if tail is None:
            return self._start_over(_new_producer_id())
        self._producer_id = _new_producer_id()
        self._next_sequences = [0] * self._routing.partitions
        self._note_resumed(tail, why, 0)
        self._tail = tail
        self._save()
        return tail

    def _start_over(self, producer_id: int) -> Tail:
        self._producer_id = producer_id
        self._tail = Tail(self._path, line_bytes_max=self._line_bytes_max)
        self._save()
        return self._tail

    def _note_resumed(self, tail: Tail, why: str, stored: int) -> None:
        text = f"{self._path} goes on at byte {tail.position}"
        if why != "continued":
            text += f" ({why}; finished first)"
        if stored:
            text += f"; the log holds {stored} of the lines behind it already"
        if tail.position or stored:
            self._notice(text)

    def _join_newline(self, tail: Tail, unterminated: bool) -> None:
        """What comes behind a last line that was sent without its newline."""
        if not unterminated or tail.size_bytes == tail.position:
            self._unterminated = unterminated
        elif not tail.skip_newline():
            self._notice(
                f"{self._path} ended without a newline at byte {tail.position} when its last line was sent, and "
                f"that line has grown since: the rest of it is sent as a line of its own"
            )

    # -- sending --------------------------------------------------------------------------------------------

    def _send(self, lines: Lines) -> None:
        for partition, records in self._routing.split(lines.values, lines.start).items():
            known = min(self._stored[partition], len(records))
            if known:
                self._stored[partition] -= known
                self._advance(partition, known)
                self.summary.already_stored += known
                records = records[known:]
            if records:
                self._append(partition, records)
        self._unterminated = not lines.terminated
        self.summary.size_bytes += lines.end - lines.start
        self._unsaved_bytes += lines.end - lines.start
        self._progress(lines.end, self._tail.size_bytes)
        if self._unsaved_bytes >= SAVE_BYTES or (self._follow and self._save_is_due()):
            self._save()

    def _append(self, partition: int, records: list[bytes] | list[Keyed]) -> None:
        self._admit(max(map(_size, records)))
        self._sink.append(partition, records, self._producer_id, self._next_sequences[partition])
        self._advance(partition, len(records))
        self.summary.lines += len(records)
        self.summary.by_partition[partition] = self.summary.by_partition.get(partition, 0) + len(records)

    def _advance(self, partition: int, count: int) -> None:
        self._next_sequences[partition] = (self._next_sequences[partition] + count) % SEQUENCES

    def _admit(self, line_bytes: int) -> None:
        """Raise the topic's max.message.bytes for a line above it: a line is neither dropped nor cut."""
        needed = line_bytes + RECORD_OVERHEAD_BYTES
        if needed <= self._sink.message_bytes_max:
            return
        raised = 1 << (needed - 1).bit_length()
        self._notice(
            f"a line of {line_bytes} bytes: max.message.bytes of topic {self._topic} raised from "
            f"{self._sink.message_bytes_max} to {raised}"
        )
        self._sink.raise_limit(raised)

    # -- the end of the file --------------------------------------------------------------------------------

    def _at_end(self) -> bool:
        """Act on what became of the file; False when the run is done."""
        state = self._tail.state()
        if state is State.TRUNCATED:
            dropped = self._tail.rewind()
            rest = f" (an unfinished line of {dropped} bytes went with it)" if dropped else ""
            self._notice(f"{self._path} was truncated{rest}: it is sent from its first byte")
            self._started_file()
        elif state is State.REPLACED:
            if self._wait_for_late_lines():
                return True
            self._send_rest()
            self._save()
            try:
                self._tail.switch()
            except FileNotFoundError:
                return self._follow
            self._notice(f"{self._path} is another file now: the old one is finished, the new one begun")
            self._started_file()
        elif not self._follow:
            self._send_rest()
            return False
        else:
            if self._unsaved_bytes and self._save_is_due():
                self._save()
            self._stop.wait(self._poll_s)
        return True

    def _wait_for_late_lines(self) -> bool:
        """Whether more came to a rotated file: its writer may hold it open a little longer."""
        if not self._follow:
            return False
        until_s = time.monotonic() + self._rotate_wait_s
        read_end = self._tail.read_end
        while time.monotonic() < until_s and not self._stop.wait(self._poll_s):
            if self._tail.size_bytes != read_end:
                return True
        return self._stop.is_set()

    def _send_rest(self) -> None:
        """Send a last line without a newline, after noting its length: it may have grown when a run resumes."""
        if self._tail.rest_bytes:
            self._save(rest_bytes=self._tail.rest_bytes)
            rest = self._tail.take_rest()
            if rest is not None:
                self._send(rest)

    def _started_file(self) -> None:
        """Remember the new beginning before anything of it is sent (invariant 2 of `positions`)."""
        self._stored = [0] * self._routing.partitions
        self._unterminated = False
        self._save()

    # -- remembering ----------------------------------------------------------------------------------------

    def _save_is_due(self) -> bool:
        return (time.monotonic() - self._saved_s) * 1000 >= SAVE_MS

    def _save(self, *, rest_bytes: int = 0) -> None:
        self._sink.flush()
        positions.save(
            self._position_file,
            positions.Position(
                file=self._path,
                topic=self._topic,
                topic_id=self._sink.topic_id(),
                producer_id=self._producer_id,
                routing=self._routing.describe(),
                unterminated=self._unterminated,
                rest_bytes=rest_bytes,
                fingerprint=self._tail.fingerprint(),
                next_sequences=tuple(self._next_sequences),
                log_end_offsets=self._sink.end_offsets(),
            ),
        )
        self._unsaved_bytes = 0
        self._saved_s = time.monotonic()


def _size(record: bytes | Keyed) -> int:
    if isinstance(record, bytes):
        return len(record)
    key, value = record
    return len(value) + (len(key) if key else 0)


def _new_producer_id() -> int:
    """An id that no other file has: 2^40 and up, far above what Kafka's own allocation reaches.

    `graduate` tells the broker to allocate above the highest id in the logs, and 2^41 leaves it 2^63 to go.
    """
    return (1 << 40) | int.from_bytes(os.urandom(5))
