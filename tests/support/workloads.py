"""The workloads whose every crash state is recovered: each a short program over `Run`, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from kstore.log import names
from support.crash_run import Follower, Replica, Run

Workload = Callable[[Run], None]


def appends(run: Run) -> None:
    """Appends, durable or not, without a roll."""
    run.create("t")
    for _ in range(25):
        run.append(count=run.dice.choice((1, 1, 2, 5)), durable=run.dice.random() < 0.3)
    run.close()


def rolls(run: Run) -> None:
    """Segments fill every few appends; flushes come now and then."""
    run.create("t")
    for _ in range(40):
        run.append(count=run.dice.choice((1, 3)), durable=run.dice.random() < 0.1)
        if run.dice.random() < 0.08:
            run.flush_partition()
    run.close()


def checkpoints(run: Run) -> None:
    """Store-wide flushes write recovery points between appends."""
    run.create("t", 2)
    for _ in range(20):
        run.append(index=run.dice.randrange(2), count=2, durable=run.dice.random() < 0.2)
        if run.dice.random() < 0.25:
            run.flush()
    run.close()


def restarts(run: Run) -> None:
    """Clean stops and kills of the process between appends; the page cache outlives both."""
    run.create("t")
    for _ in range(24):
        run.append(count=run.dice.choice((1, 2)), durable=run.dice.random() < 0.2)
        choice = run.dice.random()
        if choice < 0.1:
            run.reopen()
        elif choice < 0.2:
            run.kill()
        elif choice < 0.3:
            run.flush_partition()
    run.close()


def large_batches(run: Run) -> None:
    """Batches over several pages, so that a write is torn inside and between pages."""
    run.create("t")
    for _ in range(8):
        run.append(count=2, size=run.dice.choice((3000, 6000)), durable=run.dice.random() < 0.3)
    run.close()


def truncations(run: Run) -> None:
    """A follower's log: appended, cut back, appended with another history."""
    run.create("t")
    follower = Follower(run)
    for _ in range(20):
        follower.append(count=run.dice.choice((1, 2)))
        choice = run.dice.random()
        if choice < 0.25:
            follower.truncate(max(0, run.end() - run.dice.randrange(1, 12)))
            follower.new_epoch()
        elif choice < 0.4:
            run.flush_partition()
        elif choice < 0.5:
            run.flush()


def leaders(run: Run) -> None:
    """Terms of leadership: appends of its own, then another's batches and a tail that has to go."""
    run.create("t")
    replica = Replica(run)
    for _ in range(9):
        replica.lead()
        for _ in range(run.dice.randrange(4)):
            replica.append(count=run.dice.choice((1, 2)))
        if run.dice.random() < 0.4:
            run.flush_partition()
        replica.follow()
        if run.dice.random() < 0.6:
            replica.truncate(max(0, run.end() - run.dice.randrange(8)))
        for _ in range(run.dice.randrange(3)):
            replica.fetch(run.dice.choice((1, 2)))
        choice = run.dice.random()
        if choice < 0.3:
            replica.restart(clean=choice < 0.1)
        elif choice < 0.5:
            run.flush()


def starting_over(run: Run) -> None:
    """A follower whose leader's log starts elsewhere: above its end, inside of it, below its start, inside a batch."""
    run.create("t")
    replica = Replica(run)
    for _ in range(9):
        for _ in range(run.dice.randrange(1, 5)):
            replica.fetch(run.dice.choice((1, 2, 3)))
        choice = run.dice.random()
        if choice < 0.3:
            run.flush_partition()
        elif choice < 0.5:
            run.flush()
        elif choice < 0.6:
            replica.restart(clean=choice < 0.55)
        offset = max(2, run.end() + run.dice.choice((-20, -9, -4, -1, 0, 1, 5, 20)))
        inside = run.dice.choice((0, 0, 1, 2))
        replica.start_over(offset, offset - inside)
        if run.dice.random() < 0.2:
            replica.restart(clean=run.dice.random() < 0.5)
        else:
            replica.fetch(inside + run.dice.choice((1, 2)), offset - inside)
            if run.dice.random() < 0.4:
                run.flush()


def deletions(run: Run) -> None:
    """The log start moves up and segments go."""
    run.create("t")
    start = 0
    for _ in range(30):
        run.append(count=2, durable=run.dice.random() < 0.2)
        if run.dice.random() < 0.2:
            start = run.dice.randrange(start, run.end() + 1)
            run.delete_records(start)
        if run.dice.random() < 0.1:
            run.flush()
    run.close()


def topics(run: Run) -> None:
    """Topics come and go, the last one under a name that was there before."""
    for number in range(3):
        run.create(f"t{number}", 2)
        run.append(f"t{number}", 1, count=2, durable=True)
        if number:
            run.delete(f"t{number - 1}")
    run.append("t2", 1, count=3)
    run.delete_records(4, "t2", 1)
    run.flush()
    run.delete("t2")
    run.create("t2", 2)
    run.append("t2", 1, count=2, durable=True)
    run.append("t2", 1, count=2)
    run.close()


WORKLOADS: dict[str, tuple[Workload, dict[str, int]]] = {
    "appends": (appends, {"segment_bytes": 100_000}),
    "rolls": (rolls, {"segment_bytes": 700}),
    "checkpoints": (checkpoints, {"segment_bytes": 900}),
    "restarts": (restarts, {"segment_bytes": 900}),
    "large batches": (large_batches, {"segment_bytes": 30_000}),
    "truncations": (truncations, {"segment_bytes": 600}),
    "leaders": (leaders, {"segment_bytes": 500}),
    "starting over": (starting_over, {"segment_bytes": 500}),
    "deletions": (deletions, {"segment_bytes": 600}),
    "topics": (topics, {"segment_bytes": 900}),
}


def run_workload(name: str, seed: int) -> Run:
    """Run a workload to its end; its disk holds the trace, which is the same in every process."""
    workload, options = WORKLOADS[name]
    with settled_ids(seed):
        run = Run(seed, **options)
        workload(run)
    return run


@contextmanager
def settled_ids(seed: int) -> Iterator[None]:
    """Draw from a seed what kstore takes from the system: ids of clusters and directories, names of what is deleted."""
    dice = random.Random(seed)
    uuid, digits = names.random_uuid, names.random_hex
    with patch.multiple(
        names, random_uuid=lambda: uuid(dice.randbytes), random_hex=lambda: digits(dice.randbytes)
    ):
        yield
