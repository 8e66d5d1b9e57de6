"""The command `python -m kstore.testing.simulation`: run seeds, and tell the story of one that fails.

Owns the options, what is printed, and the exit status: 0 where every promise held, 1 where one was broken, 2 for wrong
use, 130 where somebody ended it. Running is `batch`'s and `run`'s. Called by people, by `make simulate` and by the
build.

Invariant: whatever fails is printed with the promise that was broken, the seed, and one command that plays it again.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from kstore.testing.simulation import shrink as shrinking
from kstore.testing.simulation import timeline
from kstore.testing.simulation.batch import Outcome, outcome_of, replay_command, run_seeds
from kstore.testing.simulation.invariants import PROMISES
from kstore.testing.simulation.options import Options
from kstore.testing.simulation.run import MINUTES, Result, shape_of, simulate
from kstore.testing.simulation.schedule import Entry

HELD, BROKEN, WRONG_USE, ENDED = 0, 1, 2, 130
FAILURES_MAX = 10
"""After so many failures a run of many seeds ends: the first ones are what somebody looks at."""
STORY_LINES = 120
"""What a timeline shows unless asked for more: the end, where things break."""

DESCRIPTION = """\
Runs whole kstore clusters in this process, on virtual time, a simulated network and simulated
disks, with brokers, controllers, producers and consumers; breaks them in every way that the
seed draws, and checks after every step that nothing which was promised is lost. The same seed
always does the same, so a failure can be played again."""

EXAMPLES = """\
examples:
  python -m kstore.testing.simulation --seeds 100 --jobs 2     a hundred clusters
  python -m kstore.testing.simulation --seed 7 --schedule      what seed 7 stands for; runs nothing
  python -m kstore.testing.simulation --seed 7 --timeline      run it and tell its story
  python -m kstore.testing.simulation --seed 7 --timeline --whole --topic t1 --last 0
                                                               all of it, with every message of one topic
  python -m kstore.testing.simulation --seeds 50 --shrink      until one fails: the shortest part of
                                                               its schedule that still does, and its story

How to read a timeline, and how to add a fault, a checker or a scenario: docs/SIMULATOR.md.
Exit status: 0 all promises held, 1 one was broken, 2 wrong use."""


@dataclass
class Totals:
    """Of all seeds so far."""

    seeds: int = 0
    failures: int = 0
    simulated_us: int = 0
    steps: int = 0
    cpu_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.seeds += 1
        self.failures += outcome.failed
        self.simulated_us += outcome.simulated_us
        self.steps += outcome.steps
        self.cpu_s += outcome.cpu_s


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    logging.disable(logging.CRITICAL)  # simulated disks fail all the time
    arguments = _parse(argv)
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    try:
        if arguments.schedule:
            return _show_schedule(arguments)
        if (arguments.timeline and not arguments.shrink) or arguments.only is not None or arguments.heal_after:
            return _tell(arguments)
        return _run_many(arguments, seeds)
    except KeyboardInterrupt:
        return ENDED
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return ENDED


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m kstore.testing.simulation",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_argument_group("which runs")
    which.add_argument("--seed", type=_natural, default=1, metavar="N", help="the first seed, or the only one (1)")
    which.add_argument("--seeds", type=_positive, default=1, metavar="M", help="how many seeds, from N on (1)")
    which.add_argument(
        "--minutes",
        type=_minutes,
        default=MINUTES,
        metavar="X",
        help=f"simulated time that faults last; another value is another schedule ({MINUTES:g})",
    )
    which.add_argument("--jobs", type=_positive, default=1, metavar="P", help="processes to spread the seeds over (1)")
    cut = parser.add_argument_group("a part of one seed's schedule, as a shrunk failure is replayed")
    cut.add_argument("--only", type=_numbers, metavar="I,J,K", help="do only these entries of the schedule, or none")
    cut.add_argument(
        "--heal-after", type=_minutes, default=0.0, metavar="X", help="end all faults after so many minutes"
    )
    told = parser.add_argument_group("what is told")
    told.add_argument("--schedule", action="store_true", help="print the options and the schedule, and run nothing")
    told.add_argument("--shrink", action="store_true", help="cut the first seed that fails down, and draw it")
    told.add_argument("--timeline", action="store_true", help="draw what happened, a column for each broker")
    told.add_argument(
        "--last", type=_natural, default=STORY_LINES, metavar="L", help=f"its last L lines; 0: all ({STORY_LINES})"
    )
    told.add_argument("--whole", action="store_true", help="with every request, answer and acknowledgement")
    told.add_argument("--topic", action="append", default=[], metavar="T", help="only this topic; may be repeated")
    told.add_argument("--json", action="store_true", help="a line of JSON for each seed, and one for all of them")
    arguments = parser.parse_args(argv)
    part = arguments.only is not None or arguments.heal_after
    if arguments.shrink and (part or arguments.json):
        parser.error("--shrink takes a whole schedule and tells its story: leave out --only, --heal-after and --json")
    if arguments.seeds > 1 and (arguments.timeline or arguments.schedule or part):
        parser.error("--timeline, --schedule, --only and --heal-after are about one seed: leave out --seeds")
    return arguments


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _minutes(text: str) -> float:
    number = float(text)
    if not 0.01 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.01 to 10000 minutes")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(_natural(number) for number in text.split(","))


# -- many seeds --------------------------------------------------------------------------------------------------


def _run_many(arguments: argparse.Namespace, seeds: range) -> int:
    totals, started_s = Totals(), time.monotonic()
    shown = _Status(len(seeds))
    outcomes = run_seeds(seeds, arguments.minutes, arguments.jobs)
    try:
        for outcome in outcomes:
            totals.add(outcome)
            shown.clear()
            if arguments.json:
                print(json.dumps(_as_json(outcome)), flush=True)
            elif outcome.failed:
                print(describe_failure(outcome), flush=True)
            if outcome.failed and arguments.shrink:
                _shrink(outcome, arguments)
                break
            shown.draw(totals)
            if totals.failures >= FAILURES_MAX and totals.seeds < len(seeds):
                if not arguments.json:
                    print(f"{FAILURES_MAX} failures: the seeds from {outcome.seed + 1} on are left out")
                break
    finally:
        shown.clear()
        outcomes.close()  # type: ignore[attr-defined]
        print(closing_line(totals, time.monotonic() - started_s, arguments.jobs, as_json=arguments.json), flush=True)
    return BROKEN if totals.failures else HELD


def _shrink(outcome: Outcome, arguments: argparse.Namespace) -> None:
    """Cut a failure down and tell its story."""
    shown = _Status(1)
    found = shrinking.shrink(
        outcome.seed,
        minutes=outcome.minutes,
        told=lambda runs, left: shown.say(f"shrinking: {left} entries left after {runs} runs"),
    )
    shown.clear()
    if found is None or found.result.failure is None:
        print("  it does not fail again: something besides the seed decides what happens, which is a bug of its own")
        return
    print(f"\n{len(found.kept)} of {found.of} entries are enough, by {found.runs} runs:")
    print(describe_options(found.result.options))
    print(describe_schedule(list(zip(found.kept, found.result.entries, strict=True))))
    print(draw(found.result, arguments))
    replay = replay_command(outcome.seed, outcome.minutes, only=found.kept, heal_after=found.heal_after)
    print(describe_failure(outcome_of(found.result, outcome.minutes, 0.0), replay))


class _Status:
    """One line on a terminal's stderr that is drawn over and over; nothing elsewhere."""

    _EVERY_S = 0.2

    def __init__(self, total: int) -> None:
        self._total = total
        self._on = sys.stderr.isatty()
        self._started_s = time.monotonic()
        self._drawn_s = 0.0

    def draw(self, totals: Totals) -> None:
        """How far it is."""
        if self._total > 1:
            rate = totals.seeds / max(time.monotonic() - self._started_s, 1e-9)
            self.say(
                f"{totals.seeds} of {self._total} seeds, {totals.simulated_us / 3.6e9:.1f} simulated hours, "
                f"{totals.failures} failures; {(self._total - totals.seeds) / rate:.0f} s to go "
            )

    def say(self, text: str) -> None:
        """Show a text, a few times a second at most."""
        now_s = time.monotonic()
        if self._on and now_s - self._drawn_s >= self._EVERY_S:
            self._drawn_s = now_s
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Make room for a line."""
        if self._on and self._drawn_s:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def describe_failure(outcome: Outcome, replay: str = "") -> str:
    """What was broken, by which seed, and the command that plays it again, the whole seed's or a shorter one."""
    promise = PROMISES.get(outcome.invariant, "")
    lines = [f"seed {outcome.seed}: {outcome.invariant} BROKEN at {outcome.failed_at_us / 1e6:.6f} s"]
    lines += [f"  {outcome.invariant} promises: {promise}"] if promise else []
    lines.append(textwrap.indent(outcome.what, "  "))
    if outcome.error:
        lines.append(textwrap.indent(outcome.error.rstrip(), "  | "))
    lines.append(f"  replay: {replay or outcome.replay}")
    return "\n".join(lines)


def closing_line(totals: Totals, seconds: float, jobs: int, *, as_json: bool = False) -> str:
    """What all seeds come to, and how fast they were."""
    hours = totals.simulated_us / 3.6e9
    rate = totals.seeds / max(seconds, 1e-9)
    if as_json:
        return json.dumps({
            "seeds": totals.seeds,
            "failures": totals.failures,
            "simulated_hours": round(hours, 3),
            "steps_judged": totals.steps,
            "seconds": round(seconds, 2),
            "cpu_seconds": round(totals.cpu_s, 2),
            "seeds_per_second": round(rate, 3),
            "jobs": jobs,
        })  # fmt: skip
    each_s = totals.cpu_s / max(totals.seeds, 1)
    return (
        f"{totals.seeds} seed{'s' if totals.seeds != 1 else ''}, {totals.failures} failed; "
        f"{hours:.1f} simulated hours, {totals.steps:,} steps judged in {seconds:.1f} s: "
        f"{rate:.2f} seeds/s, {each_s:.2f} s of processor a seed"
    )


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {**asdict(outcome), "failed": outcome.failed, "replay": outcome.replay}


# -- one seed ----------------------------------------------------------------------------------------------------


def _show_schedule(arguments: argparse.Namespace) -> int:
    options, entries = shape_of(arguments.seed, arguments.minutes)
    print(describe_options(options))
    print(describe_schedule(list(enumerate(entries))))
    return HELD


def describe_options(options: Options) -> str:
    """A cluster's shape in a few lines."""
    rules = options.rules
    return (
        f"{options.brokers} brokers, {options.controllers} controllers, {options.topics} topics on "
        f"{options.replication_factor} replicas, min.insync.replicas {rules.min_insync_replicas}, "
        f"sync {rules.sync.name}, unclean election {options.unclean.name}\n"
        f"{options.producers} producers, {options.consumers} consumers, segments of {options.segment_bytes} bytes, "
        f"clocks up to {options.drift_ppm} ppm off, fsync in {options.sync_latency_us / 1000:g} ms, lag limit "
        f"{rules.lag_time_max_ms} ms, sessions of {options.session_timeout_ms} ms"
    )


def describe_schedule(numbered: Sequence[tuple[int, Entry]]) -> str:
    """Entries with their numbers, which `--only` takes."""
    return "\n".join(f"{number:5}  {entry}" for number, entry in numbered)


def _tell(arguments: argparse.Namespace) -> int:
    """Run one seed, or a part of its schedule, and draw it."""
    options, entries = shape_of(arguments.seed, arguments.minutes)
    numbered = list(enumerate(entries))
    if arguments.only is not None:
        beyond = [number for number in arguments.only if number >= len(entries)]
        if beyond:
            count = len(entries)
            print(f"--only {beyond[0]}: the schedule has {count} entries; --schedule lists them", file=sys.stderr)
            return WRONG_USE
        numbered = [numbered[number] for number in sorted(set(arguments.only))]
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    result = simulate(
        arguments.seed,
        minutes=arguments.heal_after or arguments.minutes,
        options=options,
        entries=[entry for _, entry in numbered],
        record=True,
    )
    outcome = outcome_of(result, arguments.minutes, time.process_time() - started_cpu_s)
    totals = Totals()
    totals.add(outcome)
    if arguments.json:
        print(json.dumps(_as_json(outcome)))
    elif arguments.timeline:
        print(describe_options(options))
        if arguments.only is not None:
            print(describe_schedule(numbered))
        print(draw(result, arguments))
    if outcome.failed and not arguments.json:
        part = {"only": arguments.only, "heal_after": arguments.heal_after}
        print(describe_failure(outcome, replay_command(outcome.seed, outcome.minutes, **part)))
    print(closing_line(totals, time.monotonic() - started_s, 1, as_json=arguments.json))
    return BROKEN if outcome.failed else HELD


def draw(result: Result, arguments: argparse.Namespace) -> str:
    """The timeline of a run as the arguments want it."""
    return timeline.draw(result.story, last=arguments.last, whole=arguments.whole, topics=arguments.topic)
