"""Every client goes through the same scenarios at kstore and at a real Kafka, and sees the same.

Both brokers run once for the module, told the same; a scenario runs at both at the same time. Everything that was seen
is left as JSON lines in build/reports/judges, one file a client and broker.
"""

from __future__ import annotations

import fnmatch
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from interop import differences, scenarios, scenarios_admin, scenarios_groups, scenarios_tools
from interop.brokers import Broker, Kafka, Kstore
from interop.judges import JUDGES, Judge
from interop.scenarios import Stage

from kstore.wire.messages.groups import FindCoordinatorRequest
from support import kafka
from support.wire_client import WireClient

pytestmark = pytest.mark.interop

SCENARIOS = (
    scenarios.produce, scenarios.refused, scenarios.consume, scenarios.watermarks,
    *scenarios_groups.SCENARIOS, *scenarios_admin.SCENARIOS, *scenarios_tools.SCENARIOS,
    scenarios.restart,
)  # fmt: skip
met: set[differences.Difference] = set()
looked_at: set[str] = set()
"""What this run has met, and what it looked at."""
REPORTS = Path(__file__).parents[2] / "build" / "reports" / "judges"


def await_groups(bootstrap: str) -> None:
    """Return once a group has a coordinator: Kafka makes the topic behind it when it is asked for the first time."""
    deadline = time.monotonic() + scenarios.WAIT_S
    with WireClient(bootstrap) as client:
        while client.ask(FindCoordinatorRequest(key="any"), 3).error_code:
            assert time.monotonic() < deadline, "no coordinator"
            time.sleep(scenarios.PAUSE_S)


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Broker]]:
    if reason := kafka.why_not():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("judged")
    ours, theirs = Kstore(home / "kstore"), Kafka(home / "kafka")
    try:
        ours.start()
        theirs.start()
        for broker in (ours, theirs):
            await_groups(broker.bootstrap)
        yield ours, theirs
    finally:
        ours.kill()
        theirs.kill()


@pytest.fixture(scope="module", params=JUDGES)
def stages(request: pytest.FixtureRequest, brokers: tuple[Broker, Broker]) -> Iterator[list[Stage]]:
    """One client, twice: at kstore and at Kafka."""
    if reason := JUDGES[request.param].why_not():
        pytest.skip(reason)
    made = [Stage(Judge(request.param, broker.bootstrap), broker) for broker in brokers]
    yield made
    for stage in made:
        stage.judge.close()
        REPORTS.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"seen": name, "value": value}) + "\n" for name, value in stage.seen.items()]
        (REPORTS / f"{request.param}-{stage.broker.name}.jsonl").write_text("".join(lines))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_sees_the_same(stages: list[Stage], scenario: scenarios.Scenario) -> None:
    failures: dict[str, BaseException] = {}

    def play(stage: Stage) -> None:
        stage.scenario = scenario.__name__
        try:
            scenario(stage)
        except BaseException as error:
            failures[stage.broker.name] = error

    threads = [threading.Thread(target=play, args=(stage,)) for stage in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        told = "\n".join(f"{scenario.__name__} at {name}: {failure}" for name, failure in failures.items())
        raise AssertionError(told) from next(iter(failures.values()))
    ours, theirs = (
        {name: value for name, value in stage.seen.items() if name.startswith(f"{scenario.__name__}: ")}
        for stage in stages
    )
    assert list(ours) == list(theirs), "the two brokers led to different scenes"
    judge = stages[0].judge.name
    found = list(differences.between(ours, theirs, judge))
    listed = [differences.listed(place.replace("/", " ", 1)) for place, _, _ in found]
    met.update(one for one in listed if one is not None)
    looked_at.update(place.replace("/", " ", 1) for place in differences.places(ours, judge))
    unlisted = [row for row, entry in zip(found, listed, strict=True) if entry is None]
    lines = [f"{place}\n  kstore: {mine}\n  kafka:  {other}" for place, mine, other in unlisted]
    assert not lines, "\n".join(lines)


def test_every_listed_difference_is_met() -> None:
    """Of those whose place was looked at in this run."""
    for one in differences.LISTED:
        if fnmatch.filter(looked_at, one.where):
            assert one in met, f"{one.where} differs no longer: take it out of the list and of docs/COMPATIBILITY.md"
