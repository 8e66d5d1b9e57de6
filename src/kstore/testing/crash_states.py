"""CRASH STATES: every state in which a crash may leave a disk, for a recorded run.

Owns the walk: after each operation of a `Trace` it yields what a power loss there may leave (`medium` says what is
legal), what `kill -9` leaves, and both with the last write torn at each byte. It must not know what files mean: the
workload's `Note`s travel along, so that a checker knows what had been promised by then.

Invariants:
1. The same trace and seed give the same states in the same order: `(seed, number)` names a state for ever.
2. A state is yielded once for each promise: after a `Note` the states of that moment come again, though their files
   are the same, because now they must keep what was noted.
3. Small choices are taken exhaustively (up to `limit` combinations for each file and for the names), larger ones are
   sampled, with nothing-arrived and everything-arrived always among them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from kstore.testing.medium import PAGE_BYTES, Content, Medium
from kstore.testing.operations import FailedSync, Image, Note, Operation, Resize, Sync, SyncDirectory, Trace, Write

TEAR_ALL_BYTES = 512
"""Writes up to this size are torn at each byte, longer ones at their ends, at pages and at sampled bytes."""


@dataclass(slots=True)
class CrashState:
    """A disk after a crash."""

    number: int
    boundary: int
    """How many operations of the trace had been started."""
    kind: str
    """`power loss` or `kill`."""
    what: str
    """What did not arrive, for people."""
    notes: int
    """How many notes of the workload came before."""
    image: Image

    def __str__(self) -> str:
        return f"state {self.number}: {self.kind} after {self.boundary} operations, {self.what}"


class Walk:
    """Walks a trace; iterate it for its states."""

    def __init__(
        self, trace: Trace, seed: int = 0, *, limit: int = 64, samples: int = 8, tear_all: bool = False
    ) -> None:
        """`limit` bounds what is taken exhaustively, `samples` is the number of random mixes at each operation."""
        self.trace = trace
        self.seed = seed
        self.limit = limit
        self.samples = samples
        self.tear_all = tear_all
        self.medium = Medium(trace.start)
        self._newest = dict(trace.start.contents)
        self._notes = 0
        self._number = 0
        self._seen: set[int] = set()

    def __iter__(self) -> Iterator[CrashState]:
        yield from self._states(0, None, b"")
        for boundary, operation in enumerate(self.trace.operations, 1):
            if isinstance(operation, Note):
                self._notes += 1
                self._seen.clear()
                yield from self._states(boundary, None, b"")
                continue
            before = b""
            if isinstance(operation, Write):
                before = self._newest.get(operation.node, b"")
            self.medium.apply(operation)
            if isinstance(operation, Write | Resize):
                self._newest[operation.node] = self.medium.contents[operation.node].newest()
            yield from self._states(boundary, operation, before)

    def _states(self, boundary: int, operation: Operation | None, before: bytes) -> Iterator[CrashState]:
        dice = random.Random(f"{self.seed}/{boundary}")
        changes = list(self.medium.names.choices(dice, self.limit))
        names = [self.medium.names.with_changes(chosen) for chosen in changes]
        unsafe = {number: self.medium.contents[number] for number in sorted(self.medium.unsafe)}
        oldest = {**self._contents(), **{number: content.oldest() for number, content in unsafe.items()}}
        newest = self._contents()
        mixes = self._mixes(operation, before, names, unsafe, oldest, newest, dice)
        for kind, what, image in mixes:
            key = _fingerprint(image)
            if key not in self._seen:
                self._seen.add(key)
                self._number += 1
                yield CrashState(self._number, boundary, kind, what, self._notes, image)

    def _contents(self) -> dict[int, bytes]:
        for number in self.medium.contents:
            if number not in self._newest:
                self._newest[number] = b""
        return dict(self._newest)

    def _mixes(
        self,
        operation: Operation | None,
        before: bytes,
        names: list[dict[int, dict[str, int]]],
        unsafe: dict[int, Content],
        oldest: dict[int, bytes],
        newest: dict[int, bytes],
        dice: random.Random,
    ) -> Iterator[tuple[str, str, Image]]:
        """States at one boundary; `names[0]` has all changes of names, `names[-1]` may have none."""
        none = names[1] if len(names) > 1 else names[0]
        yield "kill", "nothing is missing", Image(names[0], newest)
        yield "power loss", "nothing unsynced arrived", Image(none, oldest)
        yield "power loss", "names arrived, bytes did not", Image(names[0], oldest)
        yield "power loss", "bytes arrived, names did not", Image(none, newest)
        if isinstance(operation, Write):
            yield from self._torn(operation, before, names[0], oldest, newest, dice)
        if isinstance(operation, Write | Resize):
            node = operation.node
            for content in self.medium.contents[node].contents(dice, self.limit):
                yield "power loss", f"some pages of file {node} arrived", Image(names[0], {**newest, node: content})
                yield "power loss", f"only pages of file {node} arrived", Image(names[0], {**oldest, node: content})
        elif operation is not None and not isinstance(operation, Sync | FailedSync | Note):
            for number, chosen in enumerate(names):
                yield "power loss", f"set {number} of the names arrived", Image(chosen, newest)
                yield "power loss", f"set {number} of the names arrived, no bytes", Image(chosen, oldest)
        if not unsafe and len(names) == 1:
            return
        candidates = {number: content.contents(dice, 16) for number, content in unsafe.items()}
        for i in range(self.samples if not isinstance(operation, SyncDirectory) else 2):
            mixed = {number: dice.choice(contents) for number, contents in candidates.items()}
            yield "power loss", f"mix {i}", Image(dice.choice(names), {**newest, **mixed})

    def _torn(
        self,
        write: Write,
        before: bytes,
        names: dict[int, dict[str, int]],
        oldest: dict[int, bytes],
        newest: dict[int, bytes],
        dice: random.Random,
    ) -> Iterator[tuple[str, str, Image]]:
        """The write cut at each byte: as `kill -9` leaves it, and with the size grown but zeros behind the cut."""
        node, position, data = write
        head = before[:position].ljust(position, b"\0")
        size = max(len(before), position + len(data))
        for cut in self._cuts(len(data), position, dice):
            torn = head + data[:cut] + before[position + cut :]
            where = f"file {node} torn at byte {position + cut}"
            yield "kill", where, Image(names, {**newest, node: torn})
            if len(torn) < size:
                yield "power loss", f"{where}, zeros behind", Image(names, {**newest, node: torn.ljust(size, b"\0")})
            if cut % 16 == 0:
                yield "power loss", f"{where}, nothing else arrived", Image(names, {**oldest, node: torn})
        grown = max(0, len(oldest[node]) - position)  # what lies below has its place on the medium: old or new
        if grown < len(data):
            nonsense = data[:grown] + dice.randbytes(len(data) - grown)
            garbage = head + nonsense + before[position + len(data) :]
            yield "power loss", f"file {node} has its size and nonsense in it", Image(names, {**newest, node: garbage})

    def _cuts(self, length: int, position: int, dice: random.Random) -> list[int]:
        if self.tear_all or length <= TEAR_ALL_BYTES:
            return list(range(1, length))
        cuts = {*range(1, 128), *range(length - 64, length)}
        first_page = PAGE_BYTES - position % PAGE_BYTES
        for page in range(first_page, length, PAGE_BYTES):
            cuts.update((page - 1, page, page + 1))
        cuts.update(dice.randrange(1, length) for _ in range(64))
        return sorted(cut for cut in cuts if 0 < cut < length)


def _fingerprint(image: Image) -> int:
    """A number for what can be reached by a path: bytes remember their hash, so this is cheap."""
    reached: list[object] = []
    waiting = [(0, "")]
    while waiting:
        directory, prefix = waiting.pop()
        for name, node in sorted(image.names[directory].items()):
            if node in image.names:
                waiting.append((node, f"{prefix}/{name}"))
                reached.append((prefix, name))
            else:
                reached.append((prefix, name, hash(image.contents[node])))
    return hash(tuple(reached))
