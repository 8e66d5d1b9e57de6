"""The promises of docs/DURABILITY.md: each names at least one test, and every test that it names is there."""

from __future__ import annotations

import ast
import re

import pytest

from docs.pages import ROOT

PAGE = ROOT / "docs" / "DURABILITY.md"
ROWS = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| S\d+ ", line)]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_fault_has_a_row() -> None:
    numbers = [int(re.match(r"\| S(\d+) ", row).group(1)) for row in ROWS]  # type: ignore[union-attr]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_the_tests_of_a_row_exist(row: str) -> None:
    named = NAMED.findall(row)
    assert named, f"no test is named in: {row}"
    for path, function in named:
        assert (ROOT / path).is_file(), path
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert function in defined, f"{path} has no {function}"
