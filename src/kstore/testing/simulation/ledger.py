"""The ledger of the soak: which seeds were run, by which code, and what they found; a table that people read.

Owns the file: its rows, where the next run begins, and that a row is there whole or not at all. It must not run
anything or know what time it is. Called by tests/simulation/soak.py.

Invariants
1. Rows are only added, the last one excepted: that one grows while its run goes on.
2. What stands around the table stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kstore.errors import InvalidConfig

HEADER = "| date | commit | first seed | seeds | simulated hours | core-minutes | findings |"
RULE = "|---|---|---:|---:|---:|---:|---|"
NOTHING = "none"
COLUMNS = 7


class Row(NamedTuple):
    """One run of the soak."""

    date: str
    commit: str
    """Of the code that ran; a `+` behind it says that the sources had changes besides."""
    first_seed: int
    seeds: int
    simulated_hours: float
    core_minutes: float
    findings: tuple[str, ...] = ()
    """Each with its seed and the promise that was broken."""

    @property
    def next_seed(self) -> int:
        """The seed behind its last one."""
        return self.first_seed + self.seeds

    def __str__(self) -> str:
        cells = (
            self.date,
            self.commit,
            str(self.first_seed),
            str(self.seeds),
            f"{self.simulated_hours:.2f}",
            f"{self.core_minutes:.2f}",
            "; ".join(text.replace("|", "/") for text in self.findings) or NOTHING,
        )
        return f"| {' | '.join(cells)} |"


def parse_row(line: str) -> Row:
    """A row of the table. `InvalidConfig` where it is none."""
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    if len(cells) != COLUMNS:
        raise InvalidConfig(f"not a row of the ledger, which has {COLUMNS} columns: {line!r}")
    date, commit, first, seeds, hours, minutes, findings = cells
    found = () if findings == NOTHING else tuple(findings.split("; "))
    try:
        return Row(date, commit, int(first), int(seeds), float(hours), float(minutes), found)
    except ValueError as error:
        raise InvalidConfig(f"not a row of the ledger ({error}): {line!r}") from None


class Ledger:
    """The file at `path`, which has the table somewhere; without the file, an empty table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text("utf-8") if path.exists() else ""
        before, _, table = text.partition(HEADER)
        self._before = before
        lines = table.splitlines()[2:]  # the rest of the header's own line, and the rule
        end = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
        self.rows: list[Row] = [parse_row(line) for line in lines[:end]]
        self._after = "\n".join(lines[end:])

    @property
    def next_seed(self) -> int:
        """Where the next run begins: behind the highest seed so far; 1 in an empty ledger."""
        return max((row.next_seed for row in self.rows), default=1)

    def add(self, row: Row) -> None:
        """Begin a row; it is stored by `update`."""
        self.rows.append(row)

    def update(self, row: Row) -> None:
        """Put a longer form of the last row in its place, and store all of it."""
        self.rows[-1] = row
        lines = [HEADER, RULE, *map(str, self.rows)]
        text = self._before + "\n".join(lines) + "\n" + (self._after.rstrip() + "\n" if self._after.strip() else "")
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(text, "utf-8")
        os.replace(temporary, self.path)


def totals(rows: Iterable[Row]) -> str:
    """What all rows come to, in a line."""
    every = list(rows)
    seeds = sum(row.seeds for row in every)
    hours = sum(row.simulated_hours for row in every)
    minutes = sum(row.core_minutes for row in every)
    findings = sum(len(row.findings) for row in every)
    return (
        f"{seeds:,} seeds, {hours:,.0f} simulated hours, {minutes:,.0f} core-minutes, {findings} findings "
        f"in {len(every)} runs"
    )
