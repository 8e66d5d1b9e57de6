"""The fixture `bench` under pytest: rows become pytest-benchmark's extra info, and nothing fails on timing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support import table
from benchmarks.support.bench import Bench
from kstore.apps.race import Contestant


@pytest.fixture
def bench(tmp_path: Path, benchmark: Any, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A quick bench; its rows are printed with `-s` and kept with what pytest-benchmark stores."""
    benchmark.group = request.node.path.stem
    collected = Bench(str(tmp_path), quick=True)

    def time_once(contestant: Contestant) -> None:
        """pytest-benchmark times one thing a test: the first contestant of the first race, alone."""
        collected.on_race = lambda another: None
        benchmark.name = f"{request.node.name}: {contestant.name}"
        benchmark.pedantic(contestant.work, setup=contestant.before, teardown=contestant.after, rounds=5)

    collected.on_race = time_once
    yield collected
    benchmark.extra_info["rows"] = [row.as_json() for row in collected.rows]
    print(table.text(collected.rows))
