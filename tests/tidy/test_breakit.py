"""The break-it list is no older than the code: every plant still fits, and the tests that must notice it are there."""

from __future__ import annotations

import ast
import sys
from collections import Counter

import pytest

from tidy.sources import ROOT

sys.path.insert(0, str(ROOT / "tests" / "breakit"))

from fault import Fault
from faults import FAULTS

BY_NAME = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def problems(fault: Fault) -> list[str]:
    """What keeps a fault from being planted, or from being noticed by the tests that it names."""
    file = ROOT / fault.file
    if not file.is_file():
        return [f"no file {fault.file}"]
    found = [problem for test in fault.tests if (problem := _missing(test))]
    if not fault.tests:
        found.append("no test is named")
    good = file.read_text(encoding="utf-8")
    if (count := good.count(fault.text)) != 1:
        return [*found, f"{fault.file} holds the text {count} times: {fault.text!r}"]
    if fault.text == fault.by:
        found.append("it changes nothing")
    if file.suffix == ".py":
        try:
            ast.parse(good.replace(fault.text, fault.by))
        except SyntaxError as error:
            found.append(f"any test would notice a {error!r}")
    elif not fault.modules:
        found.append("no native module is built again")
    return found


def _missing(test: str) -> str:
    path, _, names = test.partition("::")
    if not (ROOT / path).exists():
        return f"no {path}"
    if names:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        if not {name.split("[")[0] for name in names.split("::")} <= defined:
            return f"no {names} in {path}"
    return ""


@BY_NAME
def test_every_fault_can_be_planted_and_its_tests_are_there(fault: Fault) -> None:
    assert problems(fault) == []


def test_no_two_faults_have_one_name() -> None:
    assert [name for name, count in Counter(fault.name for fault in FAULTS).items() if count > 1] == []


@pytest.mark.parametrize(
    "stale",
    [
        Fault("a", "own", "src/kstore/absent.py", "a", "b", ("tests/tidy",)),
        Fault("a", "own", "src/kstore/errors.py", "no such text there", "b", ("tests/tidy",)),
        Fault("a", "own", "src/kstore/errors.py", "class KStoreError(", "class KStoreError(", ("tests/tidy",)),
        Fault("a", "own", "src/kstore/errors.py", "class KStoreError(", "class (", ("tests/tidy",)),
        Fault("a", "own", "src/kstore/errors.py", "class KStoreError(", "class KError(", ()),
        Fault("a", "own", "src/kstore/errors.py", "class KStoreError(", "class KError(", ("tests/absent.py",)),
        Fault("a", "own", "src/kstore/errors.py", "class KStoreError(", "class KError(", ("tests/conftest.py::no",)),
        Fault("a", "own", "src/kstore/_native/crc32c.h", "#ifndef ", "#ifdef ", ("tests/tidy",)),
    ],
)
def test_a_stale_fault_is_seen(stale: Fault) -> None:
    assert len(problems(stale)) == 1
