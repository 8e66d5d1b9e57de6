"""What a start costs: modules that nobody asked for are not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["kstore.broker.service", "kstore.cli.main", "kstore.store"])
def test_numpy_waits_until_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in sys.modules if name in ('numpy', 'importlib.metadata')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_entries_of_an_index_have_a_numpy_type() -> None:
    from kstore._native import index

    assert index.OFFSET_ENTRY.itemsize == 8
    assert index.TIME_ENTRY.itemsize == 12
    with pytest.raises(AttributeError, match="no attribute 'OTHER'"):
        _ = index.OTHER  # type: ignore[attr-defined]
