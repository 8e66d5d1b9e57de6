"""docs/replication/detection.md tells of every bug of replication that can be planted."""

from __future__ import annotations

import sys

from docs.pages import ROOT

sys.path.insert(0, str(ROOT / "tests" / "breakit"))

from faults_replication import REPLICATION

ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in (ROOT / "docs" / "replication" / "detection.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
][1:]


def test_every_planted_bug_has_a_row_and_was_caught() -> None:
    told = {row[0]: row for row in ROWS}
    planted = {fault.name.removeprefix("replication: "): fault.origin for fault in REPLICATION}
    assert told.keys() == planted.keys(), "python tests/breakit/seeds.py --markdown FILE makes the table anew"
    for name, origin in planted.items():
        _, theirs, seeds, _, scenarios = told[name]
        assert theirs == origin
        assert seeds.isdecimal() or scenarios != "none", f"nothing caught: {name}"


def test_thirty_of_them_are_of_other_peoples_history() -> None:
    assert sum(not row[1].startswith("own") for row in ROWS) >= 30
