"""The workloads whose every crash state is recovered: each a short program over `Run`, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable

from support.crash_run import Follower, Run

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
    """Topics come and go."""
    for number in range(3):
        run.create(f"t{number}", 2)
        run.append(f"t{number}", 1, count=2, durable=True)
        if number:
            run.delete(f"t{number - 1}")
    run.close()


WORKLOADS: dict[str, tuple[Workload, dict[str, int]]] = {
    "appends": (appends, {"segment_bytes": 100_000}),
    "rolls": (rolls, {"segment_bytes": 700}),
    "checkpoints": (checkpoints, {"segment_bytes": 900}),
    "restarts": (restarts, {"segment_bytes": 900}),
    "large batches": (large_batches, {"segment_bytes": 30_000}),
    "truncations": (truncations, {"segment_bytes": 600}),
    "deletions": (deletions, {"segment_bytes": 600}),
    "topics": (topics, {"segment_bytes": 900}),
}


def run_workload(name: str, seed: int) -> Run:
    """Run a workload to its end; its disk holds the trace."""
    workload, options = WORKLOADS[name]
    run = Run(seed, **options)
    workload(run)
    return run
