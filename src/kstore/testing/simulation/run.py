"""One run: boot, the faults of a schedule, healing, and the judgement of the whole.

Owns the phases and what a run reports. Safety is checked at every step of the first phase; liveness has a phase of its
own, after everything is healed. Called by the command, by tests and by the shrinker.

Invariant: a run is a function of its seed, its options and its schedule: nothing else decides what happens.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, field

from kstore.replication.state import NO_LEADER
from kstore.testing.simulation import options as shapes
from kstore.testing.simulation import schedule as schedules
from kstore.testing.simulation.checkers import liveness
from kstore.testing.simulation.checkers.base import Violation
from kstore.testing.simulation.clients import Consumer, Producer
from kstore.testing.simulation.cluster import SimCluster, settled_ids
from kstore.testing.simulation.faults import Faults
from kstore.testing.simulation.options import Options
from kstore.testing.simulation.schedule import Entry
from kstore.testing.simulation.world import Told, World

MINUTES = 12.0
"""Simulated time of a seed: long enough for several waves of faults to meet what earlier ones have left."""


@dataclass
class Result:
    """What became of a run."""

    seed: int
    options: Options
    entries: list[Entry]
    failure: Violation | None = None
    error: str = ""
    """The traceback, where kstore or the simulator raised what nobody expects."""
    trace_hash: str = ""
    simulated_us: int = 0
    events: int = 0
    steps: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    story: list[Told] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a promise was broken."""
        return self.failure is not None

    def same_failure(self, other: Result) -> bool:
        """Whether another run broke the same invariant, or raised an exception of the same type."""
        mine, theirs = self.failure, other.failure
        if mine is None or theirs is None or mine.invariant != theirs.invariant:
            return False
        return mine.invariant != "error" or mine.what.split(":")[0] == theirs.what.split(":")[0]


def shape_of(seed: int, minutes: float = MINUTES) -> tuple[Options, list[Entry]]:
    """The options and the schedule that a seed stands for."""
    world = World(seed)
    options = shapes.draw(world.dice("options"))
    return options, schedules.draw(world.dice("schedule"), options, minutes)


def simulate(
    seed: int,
    *,
    minutes: float = MINUTES,
    options: Options | None = None,
    entries: list[Entry] | None = None,
    record: bool = False,
) -> Result:
    """Run a seed; a broken promise is in the result, not raised.

    `options` and `entries` replace what the seed stands for; `record` keeps the story for the timeline.
    """
    drawn_options, drawn = shape_of(seed, minutes)
    options = drawn_options if options is None else options
    entries = drawn if entries is None else entries
    world = World(seed, record=record)
    result = Result(seed, options, entries)
    collecting = gc.isenabled()
    gc.disable()  # a run makes few circles, and looking for them all the time costs a fifth of it
    try:
        with settled_ids(world.dice("ids")):
            cluster = SimCluster(world, options)
            _run(cluster, entries, minutes)
    except Violation as violation:
        result.failure = violation
    except Exception as error:  # whatever else is raised is a failure of the code under test as well
        import traceback

        result.error = traceback.format_exc()
        result.failure = Violation("error", f"{type(error).__name__}: {error}", world.now_us)
    finally:
        if collecting:
            gc.enable()
    result.trace_hash = world.trace_hash()
    result.simulated_us, result.events = world.now_us, world.happened
    result.steps, result.counts = cluster.judge.checked, cluster.judge.history.counts
    result.story = world.story
    return result


def _run(cluster: SimCluster, entries: list[Entry], minutes: float) -> None:
    cluster.boot()
    liveness.check_boot(cluster)
    make_clients(cluster)
    faults = Faults(cluster)
    faults.arrange(entries)
    world = cluster.world
    world.run_until(world.now_us + int(minutes * 60_000_000))
    faults.heal()
    liveness.check(cluster)


def make_clients(cluster: SimCluster) -> None:
    """Producers of every kind and consumers of both, spread over the topics."""
    options = cluster.options
    dice = cluster.world.dice("clients")
    for number in range(1, options.producers + 1):
        key = options.keys[(number - 1) % len(options.keys)]
        idempotent = number == 1 or dice.random() < 0.5
        acks = -1 if idempotent else dice.choice((-1, -1, 1, 0))
        name = f"p{number}"
        cluster.producers[name] = Producer(
            cluster, name, key, acks=acks, idempotent=idempotent, retries=dice.choice((0, 3, 20))
        )
    for number in range(1, options.consumers + 1):
        key = options.keys[(number - 1) % len(options.keys)]
        name = f"r{number}"
        cluster.consumers[name] = Consumer(
            cluster, name, key, follower_reads=dice.random() < 0.5, poll_us=options.consumer_poll_us
        )


def leaders(cluster: SimCluster) -> dict[str, int]:
    """Who leads each topic, for reports."""
    return {
        key: assignment.leader if (assignment := cluster.assignment(key)) is not None else NO_LEADER
        for key in cluster.options.keys
    }
