"""Pages of promises: each row names at least one test, and every test that a row names is there."""

from __future__ import annotations

import ast
import re

import pytest

from docs.pages import ROOT

PAGES = {"DURABILITY.md": {"S": 31}, "HOSTILE.md": {"N": 19, "G": 3}}
"""The letters that number a page's rows, and how many there are at least."""
ROW = re.compile(r"\| ([SNG])(\d+) ")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(page: str) -> list[str]:
    return [line for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines() if ROW.match(line)]


@pytest.mark.parametrize("page", PAGES)
def test_every_fault_has_a_row(page: str) -> None:
    found = [ROW.match(row) for row in rows(page)]
    for letter, least in PAGES[page].items():
        numbers = [int(one.group(2)) for one in found if one is not None and one.group(1) == letter]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= least


ALL = [row for page in PAGES for row in rows(page)]


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.split("|")[1].strip())
def test_the_tests_of_a_row_exist(row: str) -> None:
    named = NAMED.findall(row)
    assert named, f"no test is named in: {row}"
    for path, function in named:
        assert (ROOT / path).is_file(), path
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for node in tree.body:
            if isinstance(node, ast.Assign):  # a state machine's test case
                defined |= {name.id for name in node.targets if isinstance(name, ast.Name)}
        assert function in defined, f"{path} has no {function}"
