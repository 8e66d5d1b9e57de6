"""Many seeds, one after the other or on several processes, with what became of each in a few plain values.

Owns the processes. It must not print. Called by the command and by the soak.

Invariant: what becomes of a seed depends on no other seed: outcomes are the same on any number of processes.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from kstore.testing.simulation.run import MINUTES, Result, simulate


@dataclass(frozen=True)
class Outcome:
    """What became of one seed, without the run itself: small, and fit to cross processes."""

    seed: int
    minutes: float
    """How long its faults lasted, in simulated time."""
    trace_hash: str
    simulated_us: int
    events: int
    steps: int
    """How many steps of replicas were judged."""
    cpu_s: float
    """Processor time that it took here."""
    counts: dict[str, int] = field(default_factory=dict)
    invariant: str = ""
    """Which promise was broken; empty where none was."""
    what: str = ""
    failed_at_us: int = 0
    error: str = ""
    """A traceback, where something was raised that nobody expects."""

    @property
    def failed(self) -> bool:
        """Whether a promise was broken."""
        return bool(self.invariant)

    @property
    def replay(self) -> str:
        """The one command that plays this seed again and tells its story."""
        return replay_command(self.seed, self.minutes)


def replay_command(
    seed: int, minutes: float = MINUTES, *, only: Iterable[int] | None = None, heal_after: float = 0.0
) -> str:
    """The command that plays a seed again; `only` and `heal_after` (minutes) for one that was cut down."""
    command = f"python -m kstore.testing.simulation --seed {seed}"
    if minutes != MINUTES:
        command += f" --minutes {minutes:g}"
    if only is not None:
        command += f" --only {','.join(map(str, only)) or 'none'}"
    if heal_after:
        command += f" --heal-after {heal_after:g}"
    return command + " --timeline"


def outcome_of(result: Result, minutes: float, cpu_s: float) -> Outcome:
    """A run in a few values."""
    failure = result.failure
    return Outcome(
        seed=result.seed,
        minutes=minutes,
        trace_hash=result.trace_hash,
        simulated_us=result.simulated_us,
        events=result.events,
        steps=result.steps,
        cpu_s=cpu_s,
        counts=result.counts,
        invariant="" if failure is None else failure.invariant,
        what="" if failure is None else failure.what,
        failed_at_us=0 if failure is None else failure.time_us,
        error=result.error,
    )


def run_seed(seed: int, minutes: float = MINUTES) -> Outcome:
    """One seed, here."""
    started_s = time.process_time()
    result = simulate(seed, minutes=minutes)
    return outcome_of(result, minutes, time.process_time() - started_s)


def run_seeds(seeds: range, minutes: float = MINUTES, jobs: int = 1) -> Iterator[Outcome]:
    """Every seed in order, on `jobs` processes; closing the iterator ends them."""
    if jobs <= 1 or len(seeds) <= 1:
        yield from (run_seed(seed, minutes) for seed in seeds)
        return
    with multiprocessing.Pool(min(jobs, len(seeds)), _be_quiet) as pool:
        yield from pool.imap(partial(run_seed, minutes=minutes), seeds)


def _be_quiet() -> None:
    """A simulated disk fails all the time; nobody needs to read it in the log."""
    logging.disable(logging.CRITICAL)
