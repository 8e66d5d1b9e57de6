"""`kstore bench`: contestants take turns, ratios come from rounds, and the directory is left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kstore.apps import bench
from kstore.apps.race import Race


class Clock:
    """Time that passes only by work."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def spend(self, nanoseconds: int) -> None:
        self.now += nanoseconds


def test_contestants_take_turns_and_only_work_is_timed() -> None:
    clock, order = Clock(), []

    def work(name: str, nanoseconds: int) -> None:
        order.append(name)
        clock.spend(nanoseconds)

    race = Race(rounds=2, clock=clock)
    race.add(
        "slow", lambda: work("slow", 600), units=2, before=lambda: clock.spend(10_000), after=lambda: clock.spend(7)
    )
    race.add("fast", lambda: work("fast", 100))
    result = race.run()
    assert order == ["fast", "slow", "slow", "fast", "fast", "slow"]  # a warm-up, then each begins once
    assert result.laps == {"slow": [300, 300], "fast": [100, 100]}
    assert result.time_ratio("slow", "fast") == 3
    assert result.speed_ratio("fast", "slow") == 3
    assert result.nanoseconds("slow") == 300


def test_a_disturbed_round_does_not_count() -> None:
    clock = Clock()
    weather = iter([1, 1, 1, 1, 50, 1, 1, 1, 1, 1, 1, 1])
    race = Race(rounds=5, clock=clock)
    race.add("a", lambda: clock.spend(20 * next(weather)))
    race.add("b", lambda: clock.spend(10 * next(weather)))
    assert race.run().time_ratio("a", "b") == 2


def test_the_best_lap_of_a_long_round_counts() -> None:
    clock = Clock()
    weather = iter(range(10_000))
    race = Race(rounds=3, clock=clock, round_ns=60e9)
    race.add("a", lambda: clock.spend(20 if next(weather) % 4 else 900))
    race.add("b", lambda: clock.spend(10 if next(weather) % 7 else 900))
    result = race.run()
    assert result.laps == {"a": [20] * 3, "b": [10] * 3}


def test_work_that_takes_no_time_divides_nothing_by_zero() -> None:
    race = Race(rounds=1, clock=Clock())
    race.add("a", lambda: None)
    race.add("b", lambda: None)
    assert race.run().speed_ratio("a", "b") == 1


@pytest.mark.slow
def test_a_quick_run(tmp_path: Path) -> None:
    measures = bench.run(True, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert {m["limit"] for m in measures} >= {"memcpy", "os.write", "os.pread", "PyPI crc32c", "one fsync each"}
    assert all(m["kstore_ns"] > 0 and m["limit_ns"] > 0 and m["speed"] > 0 for m in measures)
    assert json.loads(json.dumps(measures)) == measures
    assert len(bench.draw(measures).splitlines()) == len(measures) + 1


def test_bars_show_shares_of_the_limit() -> None:
    def measure(speed: float) -> bench.Measure:
        return {"name": "n", "limit": "l", "kstore_ns": 2.0, "limit_ns": 1.0, "bytes": 10, "speed": speed}

    half, beyond, nothing = bench.draw([measure(0.5), measure(3), measure(0.001)]).splitlines()[1:]
    assert "[###############...............]   0.50x" in half
    assert "5.00 GB/s of 10.00 GB/s" in half
    assert "[#############################>]" in beyond
    assert "[#............" in nothing
