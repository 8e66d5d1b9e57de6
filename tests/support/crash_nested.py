"""Crashes inside recovery: what is left of each is recovered, and that recovery crashes too, and so on.

A recovery that nothing disturbs says what the directory must look like in the end; every chain of crashes must end the
same, byte for byte in every file. A power loss takes what recovery had not synced; `kill -9` leaves all of it to the
next recovery, in a page cache that a power loss may take after all.

What a clean stop left is opened without a recovery, but with one after a crash on the way: each leaves other entries in
the indexes of the segment that takes appends, all of them right. There the ends are compared after another clean stop,
which brings all files to their ends.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from kstore.log import names
from kstore.log.epochs import format_epochs
from kstore.log.sidecars import unseal
from kstore.log.tails import parse_tail, tail_fits
from kstore.store import Store
from kstore.testing.crash_states import CrashState, Walk
from kstore.testing.operations import ROOT, Image, Operation, Trace
from kstore.testing.simdisk import SimDisk
from support.crash_check import CLEAN_MARKER
from support.promises import BrokenPromise, reopen
from support.workloads import settled_ids

ID_SEED = 7
NO_EPOCHS = format_epochs(())
FIRST_LEVEL = 60
"""Leftovers of one recovery that are looked at; of many topics' names there are thousands."""
LOSABLE = (names.SEALS_FILE, *names.TAIL_FILES)
"""Sidecars that recovery does not make anew: what a crash destroys stays lost. A partition's twin may say less."""


class Died(BaseException):
    """The process is gone: nothing that it would have done next happens."""


class MortalDisk(SimDisk):
    """A disk whose user dies after so many changes; it is recorded, so that the power may go later on."""

    def __init__(self, start: Image) -> None:
        super().__init__(start, record=True)
        self.left = 0

    def _record(self, operation: Operation) -> None:
        super()._record(operation)
        self.left -= 1
        if self.left == 0:
            raise Died

    def recover(self, operations: int = 0) -> bool:
        """Recover as a new process that dies after so many changes, 0 for never; returns whether it lived."""
        self.kill()
        self.left = operations
        with settled_ids(ID_SEED):
            try:
                self._open()
            except Died:
                return False
        return True

    def _open(self) -> Store:
        store = reopen(self)
        for topic in store.topics().values():  # after a clean stop each partition is looked at when it is used
            for index in topic.partitions:
                store.partition(topic.name, index)
        return store

    def end(self, *, stopped: bool) -> dict[str, bytes]:
        """Every file after an undisturbed recovery; where the start was `stopped`, after one more and a clean stop.

        Of these nothing is recorded: a crash in a clean stop is none in a recovery, and may look as if a Kafka had run.
        """
        self.recover()
        if not stopped:
            return self.files()
        copy = MortalDisk(self.image())
        with settled_ids(ID_SEED):
            copy._open().close()
        return copy.files()


def recovered(image: Image) -> MortalDisk:
    """A disk over `image` after a recovery that nothing disturbed."""
    disk = MortalDisk(image)
    disk.recover()
    return disk


def crash_states(trace: Trace, seed: int, dice: random.Random, torn: int) -> Iterable[CrashState]:
    """What a crash at each step of a recovery may leave; of states with a torn write, `torn` drawn ones."""
    tears: list[CrashState] = []
    for state in Walk(trace, seed, limit=8, samples=2):
        if "torn" in state.what:
            tears.append(state)
        else:
            yield state
    yield from dice.sample(tears, min(torn, len(tears)))


def crash_inside(image: Image, seed: int, depth: int, *, width: int = 3) -> Counter[int]:
    """Crash the recovery of `image` at its steps, that of `width` drawn leftovers again, and so on, `depth` deep.

    Raises `BrokenPromise` where an end differs from the undisturbed one; returns how many ends there were by depth.
    """
    stopped = CLEAN_MARKER in image.files()
    descent = _Descent(MortalDisk(image).end(stopped=stopped), seed, depth, width, stopped)
    descent.go_down(image, 1, "")
    return descent.ends


@dataclass
class _Descent:
    """The crashes inside the recovery of one image."""

    expected: dict[str, bytes]
    seed: int
    depth: int
    width: int
    stopped: bool
    ends: Counter[int] = field(default_factory=Counter)

    def go_down(self, image: Image, level: int, way: str) -> None:
        dice = random.Random(f"{self.seed}/{level}/{way}")
        trace = recovered(image).trace
        states = list(crash_states(trace, self.seed, dice, torn=3 * self.width))
        most = 3 * self.width if level > 1 else FIRST_LEVEL
        states = dice.sample(states, min(len(states), most))
        for state in states:
            _compare(MortalDisk(state.image).end(stopped=self.stopped), self.expected, f"{way} / {state}")
            self.ends[level] += 1
        if level < self.depth:
            for state in dice.sample(states, min(len(states), self.width)):
                self.go_down(state.image, level + 1, f"{way} / {state}")


def kill_inside(image: Image, seed: int, depth: int) -> Counter[int]:
    """Kill the recovery of `image` at every step, the next one at a drawn step, `depth` times; then let it end.

    At each end, and where the power goes at a drawn moment of the whole story, the next recovery ends as always.
    """
    stopped = CLEAN_MARKER in image.files()
    undisturbed = MortalDisk(image)
    expected, steps = undisturbed.end(stopped=stopped), len(undisturbed.trace.operations)
    dice = random.Random(seed)
    ends: Counter[int] = Counter()
    for first in range(1, steps + 1):
        disk = MortalDisk(image)
        kills = [first, *(dice.randrange(1, steps + 1) for _ in range(depth - 1))]
        died = sum(not disk.recover(after) for after in kills)
        _compare(disk.end(stopped=stopped), expected, f"killed after {kills} changes")
        ends[died] += 1
        states = list(Walk(disk.trace, seed, limit=4, samples=1))
        for state in dice.sample(states, min(len(states), 4)):
            found = MortalDisk(state.image).end(stopped=stopped)
            _compare(found, expected, f"killed after {kills} changes, then {state}")
            ends[died] += 1
    return ends


def _compare(files: dict[str, bytes], expected: dict[str, bytes], way: str) -> None:
    """Every file as without a crash.

    A sidecar that may be lost may be lost, or made anew where the undisturbed end has lost it; a twin's older digests
    are history, and no index is as good as an empty one, no lineage as one without entries.
    """
    for path in sorted(files.keys() | expected.keys()):
        name = path.rpartition("/")[2]
        found, wanted = files.get(path), expected.get(path)
        if found == wanted:
            continue
        if name.endswith("index") and not found and not wanted:
            continue
        if name == names.EPOCHS_FILE and {found, wanted} == {None, NO_EPOCHS}:
            continue
        if name in LOSABLE and _payload(found) is None:
            continue
        if name in names.TAIL_FILES and _payload(wanted) is None and _is_true(path, files):
            continue
        if name == names.PARTITION_TWIN_FILE and _without_history(found).items() <= _without_history(wanted).items():
            continue
        raise BrokenPromise(f"recovery ended with another {path}: {way}")


def _payload(sidecar: bytes | None) -> bytes | None:
    return None if sidecar is None else unseal(sidecar[8:12], 1, sidecar)


def _is_true(path: str, files: dict[str, bytes]) -> bool:
    """Whether the tail checkpoint at `path` says of its log what is so."""
    tail = parse_tail(_payload(files[path]) or b"")
    directory = path.rpartition("/")[0]
    if tail is None:
        return False
    log = SimDisk(Image({ROOT: {"log": 1}}, {1: files[f"{directory}/{names.log_name(tail.segment_base_offset)}"]}))
    return tail_fits(tail, log.open_file("/log"))


def _without_history(twin: bytes | None) -> dict[str, tuple[object, object]]:
    files = json.loads(_payload(twin) or b'{"files":{}}')["files"]
    return {name: (now, text) for name, (now, _, text, _) in files.items()}
