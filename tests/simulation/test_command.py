"""The command: what it prints, its exit status, and that a failure names its seed and its replay."""

from __future__ import annotations

import json

import pytest

from kstore.replica import Replica
from kstore.testing.simulation import command

SHORT = ["--minutes", "0.3"]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every append raises what nobody expects."""

    def refuse(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Replica, "append_batches", refuse)


def test_a_run_ends_with_what_it_came_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "3", "--seeds", "2", *SHORT]) == command.HELD
    printed = capsys.readouterr()
    assert printed.out.startswith("2 seeds, 0 failed; ")
    assert "simulated hours" in printed.out
    assert "seeds/s" in printed.out
    assert printed.err == "", "progress is for terminals"


@pytest.mark.usefixtures("broken")
def test_a_failure_names_promise_seed_and_replay(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "3", "--seeds", "1", *SHORT]) == command.BROKEN
    out = capsys.readouterr().out
    assert out.startswith("seed 3: error BROKEN at ")
    assert "ZeroDivisionError: planted" in out
    assert "\n  replay: python -m kstore.testing.simulation --seed 3 --minutes 0.3 --timeline\n" in out
    assert out.splitlines()[-1].startswith("1 seed, 1 failed; ")


@pytest.mark.usefixtures("broken")
def test_many_failures_end_the_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "FAILURES_MAX", 2)
    assert command.main(["--seed", "3", "--seeds", "9", *SHORT]) == command.BROKEN
    out = capsys.readouterr().out
    assert out.count("BROKEN at") == 2
    assert "2 failures: the seeds from 5 on are left out" in out


def test_json_is_a_line_a_seed_and_one_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "3", "--seeds", "2", "--json", "--jobs", "2", *SHORT]) == command.HELD
    first, second, total = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["seed"], second["seed"]) == (3, 4)
    assert first["trace_hash"] != second["trace_hash"]
    assert not first["failed"]
    assert total["seeds"] == 2
    assert total["jobs"] == 2


def test_the_timeline_has_a_column_for_each_broker(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "3", "--timeline", "--last", "0", *SHORT]) == command.HELD
    out = capsys.readouterr().out
    assert "min.insync.replicas" in out
    assert all(f" {name} " in out for name in ("control", "b1", "b2", "b3"))
    assert "!! heal" in out


def test_a_part_of_a_schedule_is_run_by_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "3", "--schedule", *SHORT]) == command.HELD
    listed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert len(listed) > 2
    assert command.main(["--seed", "3", "--only", "0,1", "--heal-after", "0.2", "--timeline", *SHORT]) == command.HELD
    out = capsys.readouterr().out
    assert listed[0] in out
    assert listed[1] in out
    assert listed[2] not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seeds", "0"], "0 is not at least 1"),
        (["--seed", "-1"], "-1 is negative"),
        (["--minutes", "0"], "0 is not from 0.01 to 10000 minutes"),
        (["--seeds", "2", "--timeline"], "about one seed"),
    ],
)
def test_wrong_use_is_explained(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == command.WRONG_USE
    assert says in capsys.readouterr().err


def test_an_entry_that_is_not_there_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "3", "--only", "9999", *SHORT]) == command.WRONG_USE
    assert "--only 9999: the schedule has" in capsys.readouterr().err
