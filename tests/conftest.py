"""What every test shares: `tests/support` importable as `support`, hypothesis profiles, and replayable seeds.

A test that draws random numbers takes the fixture `seed` and makes its own `random.Random(seed)` from it. When such a
test fails, the report ends with the one command that runs it again with the same numbers. Hypothesis prints its own
replay (`@reproduce_failure`), because every profile sets `print_blob`.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

# No deadline anywhere: a busy two-core machine stalls for longer than any useful limit; pytest-timeout ends a hang.
_SHARED: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("default", max_examples=100, **_SHARED)
settings.register_profile("quick", max_examples=20, **_SHARED)
settings.register_profile("ci", max_examples=300, **_SHARED)
settings.register_profile("soak", max_examples=20_000, **_SHARED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

SEED_VARIABLE = "KSTORE_SEED"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A fresh random seed, or the one in the environment: `KSTORE_SEED=7 pytest path::test`."""
    given = os.environ.get(SEED_VARIABLE)
    value = int(given) if given else secrets.randbits(32)
    request.node.stash[_SEED] = value
    return value


_SEED = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.failed and _SEED in item.stash:
        command = f"{SEED_VARIABLE}={item.stash[_SEED]} python -m pytest '{item.nodeid}'"
        report.sections.append(("replay", command))
    return report
