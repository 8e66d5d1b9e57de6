"""The shrinker: a planted bug's schedule comes down to what it takes, and the replay breaks the same promise."""

from __future__ import annotations

import pytest

from kstore.replication import leader
from kstore.replication.leader import Leader
from kstore.testing.simulation import command
from kstore.testing.simulation.run import shape_of, simulate
from kstore.testing.simulation.schedule import Entry
from kstore.testing.simulation.shrink import shrink

MINUTES = 1.0


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that commits what it has on its own medium, whoever else lacks it."""

    def own_offset(state: Leader, now_ms: int) -> int:
        return state.own_offset

    monkeypatch.setattr(leader, "_committed", own_offset)


def failing_seed() -> int:
    for seed in range(1, 20):
        if simulate(seed, minutes=MINUTES).failed:
            return seed
    raise AssertionError("no seed notices a leader that waits for nobody")


@pytest.mark.usefixtures("hasty")
def test_a_bug_that_any_append_shows_takes_next_to_nothing() -> None:
    seed = failing_seed()
    whole = simulate(seed, minutes=MINUTES)
    found = shrink(seed, minutes=MINUTES)
    assert found is not None
    assert found.result.same_failure(whole)
    assert len(found.kept) <= 1 < found.of
    assert found.result.story[-1].what == "BROKEN"


@pytest.mark.usefixtures("hasty")
def test_what_is_kept_fails_again_by_number_alone(capsys: pytest.CaptureFixture[str]) -> None:
    seed = failing_seed()
    assert command.main(["--seed", str(seed), "--minutes", "1", "--shrink"]) == command.BROKEN
    printed = capsys.readouterr().out
    assert "entries are enough" in printed
    replays = [line.split("simulation ")[1] for line in printed.splitlines() if line.startswith("  replay: ")]
    assert len(replays) == 2
    assert "--only" in replays[1]
    assert command.main(replays[1].split()) == command.BROKEN
    assert "I3 BROKEN" in capsys.readouterr().out


def test_only_the_entries_that_matter_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that takes two particular entries of many, in this order."""
    from kstore.testing.simulation import faults

    done: list[str] = []
    do = faults.Faults.do

    def watched(self: faults.Faults, entry: Entry) -> None:
        done.append(entry.kind)
        do(self, entry)
        if done[-1:] == ["kill"] and "elect" in done:
            raise ZeroDivisionError("planted")

    monkeypatch.setattr(faults.Faults, "do", watched)
    seen = simulate

    def fresh(*args: object, **kwargs: object) -> object:
        done.clear()
        return seen(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("kstore.testing.simulation.shrink.simulate", fresh)
    options, entries = shape_of(5, MINUTES)
    noise = [entry for entry in entries if entry.kind not in ("kill", "elect")]
    planted = [Entry(4_000, "elect", ("t1", "preferred")), Entry(9_000, "kill", ("t1", "leader", 500))]
    mixed = sorted([*noise, *planted, Entry(2_000, "kill", ("t1", "leader", 500))], key=lambda entry: entry.at_ms)
    found = shrink(5, minutes=MINUTES, options=options, entries=mixed)
    assert found is not None
    assert [mixed[number] for number in found.kept] == planted
    assert found.heal_after < 0.2


def test_a_seed_that_holds_is_not_shrunk() -> None:
    assert shrink(3, minutes=0.2) is None
