"""One crash state: recovered by the real recovery, compared with what was promised, recovered again."""

from __future__ import annotations

from collections import Counter

from kstore.log import names
from kstore.testing.crash_states import CrashState, Walk
from kstore.testing.operations import Note, Trace
from kstore.testing.simdisk import SimDisk
from support.promises import ROOT, BrokenPromise, Promises, check, reopen

CLEAN_MARKER = f"{ROOT}/{names.CLEAN_SHUTDOWN_FILE}"


def promises_by_note(trace: Trace) -> list[Promises]:
    """What was promised after each note; nothing before the first."""
    noted = [operation.what for operation in trace.operations if isinstance(operation, Note)]
    return [Promises(), *(what for what in noted if isinstance(what, Promises))]


def recover(state: CrashState, promises: Promises, *, again: bool = False) -> SimDisk:
    """Recover a crash state and check it; with `again` a second recovery must change no byte of any file (I18).

    No file is left out: what a new process writes by its nature (`kstore-holder`) only a real disk has. A state with
    a clean marker is opened without a recovery, which takes the marker away; there the two that follow are compared.
    """
    power_loss = state.kind == "power loss"
    before = state.image.files()
    disk = SimDisk(state.image)
    check(reopen(disk), promises, power_loss=power_loss)
    after = disk.files()
    _bytes_are_old(before, after)
    if again:
        if CLEAN_MARKER in before:
            after = _recovered_again(disk, promises, power_loss)
        changed = differing(after, _recovered_again(disk, promises, power_loss))
        if changed:
            raise BrokenPromise(f"a second recovery changed {changed}")
    return disk


def _recovered_again(disk: SimDisk, promises: Promises, power_loss: bool) -> dict[str, bytes]:
    disk.kill()
    check(reopen(disk), promises, power_loss=power_loss)
    return disk.files()


def differing(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """The paths at which two directories differ."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _bytes_are_old(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Recovery writes no byte of a record: a log afterwards is a prefix of what it was."""
    for path, data in after.items():
        if path.endswith(".log") and not before.get(path, b"").startswith(data):
            raise BrokenPromise(f"recovery wrote into {path}")


def states(trace: Trace, seed: int) -> Walk:
    """The crash states that the suites look at; the same trace and seed give the same ones, in the same order."""
    return Walk(trace, seed, limit=32, samples=6)


def walk(trace: Trace, seed: int, *, every: int = 1, first: int = 0, again_every: int = 4) -> Counter[str]:
    """Recover the crash states of a trace whose number is `first` modulo `every`, all by default; count each kind."""
    promised = promises_by_note(trace)
    done: Counter[str] = Counter()
    for state in states(trace, seed):
        if state.number % every == first:
            try:
                recover(state, promised[state.notes], again=state.number // every % again_every == 0)
            except Exception as error:
                raise BrokenPromise(f"{state}: {type(error).__name__}: {error}") from error
            done[state.kind] += 1
    return done
