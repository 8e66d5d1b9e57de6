"""The soak's ledger: where a run goes on, what is stored when it is ended; people may write around the table."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

from kstore.errors import InvalidConfig
from kstore.testing.simulation.ledger import HEADER, RULE, Ledger, Row, parse_row, totals

ROW = Row("2030-01-02", "0123456789+", 101, 50, 10.0, 0.5, ("seed 120: I3", "seed 121: error"))
COMMITTED = Path(__file__).parent / "LEDGER.md"


def test_a_row_comes_back_as_it_was_written() -> None:
    assert parse_row(str(ROW)) == ROW
    assert parse_row(str(ROW._replace(findings=()))) == ROW._replace(findings=())
    assert ROW.next_seed == 151


@pytest.mark.parametrize("line", ["| a | b |", "", str(ROW).replace("101", "many"), str(ROW) + " more |"])
def test_what_is_no_row_is_named(line: str) -> None:
    with pytest.raises(InvalidConfig, match="not a row of the ledger"):
        parse_row(line)


def test_a_run_begins_behind_the_highest_seed_and_grows_one_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.md"
    ledger = Ledger(path)
    assert (ledger.next_seed, ledger.rows) == (1, [])
    ledger.add(ROW._replace(seeds=0))
    ledger.update(ROW)
    ledger.update(ROW._replace(seeds=60))
    assert path.read_text("utf-8").splitlines() == [HEADER, RULE, str(ROW._replace(seeds=60))]
    again = Ledger(path)
    assert again.next_seed == 161
    again.add(ROW._replace(first_seed=1, seeds=5))  # an earlier seed again, by newer code
    again.update(again.rows[-1])
    assert Ledger(path).next_seed == 161
    assert totals(Ledger(path).rows) == "65 seeds, 20 simulated hours, 1 core-minutes, 4 findings in 2 runs"


def test_what_stands_around_the_table_stays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.md"
    path.write_text(f"# Soak\n\nBefore.\n\n{HEADER}\n{RULE}\n{ROW}\n\nBehind.\n", "utf-8")
    ledger = Ledger(path)
    ledger.add(ROW)
    ledger.update(ROW)
    assert path.read_text("utf-8") == f"# Soak\n\nBefore.\n\n{HEADER}\n{RULE}\n{ROW}\n{ROW}\n\nBehind.\n"


def soak_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulation_soak", Path(__file__).parent / "soak.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_soak_stores_what_it_ran_and_goes_on_in_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soak = soak_module()
    monkeypatch.setattr(soak, "MINUTES", 0.2)
    monkeypatch.setattr(soak, "BLOCK", 2)
    path, code = tmp_path / "ledger.md", soak.commit()
    for call in (1, 2):
        ledger = Ledger(path)
        row = soak.begin(ledger, "2030-01-02", code, 7 if call == 1 else ledger.next_seed)
        row = soak.soak(ledger, row, math.inf, 3, 1)
        (stored,) = Ledger(path).rows
        assert (stored.first_seed, stored.seeds, stored.findings) == (7, 3 * call, ())
        assert row.simulated_hours > 0.01 * call
    for date, of, first in (("2030-01-03", code, 13), ("2030-01-02", "other", 13), ("2030-01-02", code, 14)):
        assert soak.begin(Ledger(path), date, of, first) == Row(date, of, first, 0, 0.0, 0.0)


def test_the_committed_ledger_can_be_read() -> None:
    assert Ledger(COMMITTED).next_seed > 1
