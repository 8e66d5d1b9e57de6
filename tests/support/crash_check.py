"""One crash state: recovered by the real recovery, compared with what was promised, recovered again."""

from __future__ import annotations

from collections import Counter

from kstore.testing.crash_states import CrashState, Walk
from kstore.testing.operations import Note, Trace
from kstore.testing.simdisk import SimDisk
from support.promises import BrokenPromise, Promises, check, reopen


def promises_by_note(trace: Trace) -> list[Promises]:
    """What was promised after each note; nothing before the first."""
    noted = [operation.what for operation in trace.operations if isinstance(operation, Note)]
    return [Promises(), *(what for what in noted if isinstance(what, Promises))]


def recover(state: CrashState, promises: Promises, *, again: bool = False) -> SimDisk:
    """Recover a crash state and check it; with `again` a second recovery must leave logs and indexes alone (I18)."""
    before = state.image.files()
    disk = SimDisk(state.image)
    store = reopen(disk)
    check(store, promises, power_loss=state.kind == "power loss")
    after = disk.files()
    _bytes_are_old(before, after)
    if again:
        disk.kill()
        check(reopen(disk), promises, power_loss=state.kind == "power loss")
        changed = [path for path in differing(after, disk.files()) if path.endswith((".log", ".index", ".timeindex"))]
        if changed:
            raise BrokenPromise(f"a second recovery changed {changed}")
    return disk


def differing(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """The paths at which two directories differ."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _bytes_are_old(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Recovery writes no byte of a record: a log afterwards is a prefix of what it was."""
    for path, data in after.items():
        if path.endswith(".log") and not before.get(path, b"").startswith(data):
            raise BrokenPromise(f"recovery wrote into {path}")


def walk(
    trace: Trace, seed: int, *, every: int = 1, again_every: int = 4, limit: int = 32, samples: int = 6
) -> Counter[str]:
    """Recover every crash state of a trace (or one in `every`) and check each; returns how many of each kind."""
    promised = promises_by_note(trace)
    done: Counter[str] = Counter()
    for state in Walk(trace, seed, limit=limit, samples=samples):
        if state.number % every == seed % every:
            try:
                recover(state, promised[state.notes], again=state.number % again_every == 0)
            except Exception as error:
                raise BrokenPromise(f"{state}: {type(error).__name__}: {error}") from error
            done[state.kind] += 1
    return done
