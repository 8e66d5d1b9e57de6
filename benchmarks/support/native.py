"""Builds and imports `limits.pyx`: the few lines of C that limits are measured with.

Not a part of the package: only whoever runs the benchmarks builds it, into build/bench. Where Cython or a C compiler
is missing, the rows that need it say so.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

SOURCE = Path(__file__).with_name("limits.pyx")
BUILD = Path(__file__).resolve().parents[2] / "build" / "bench"


def limits() -> ModuleType | str:
    """The module, or why it cannot be had."""
    library = BUILD / f"limits{sysconfig.get_config_var('EXT_SUFFIX')}"
    stale = not library.exists() or library.stat().st_mtime < SOURCE.stat().st_mtime
    if stale and (reason := _build(library)):
        return reason
    loader = importlib.machinery.ExtensionFileLoader("limits", str(library))
    spec = importlib.util.spec_from_file_location("limits", library, loader=loader)
    if spec is None:
        return f"{library} cannot be imported"
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _build(library: Path) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return "no C compiler for the limits"
    BUILD.mkdir(parents=True, exist_ok=True)
    generated = BUILD / "limits.c"
    include = sysconfig.get_paths()["include"]
    for command in (
        [sys.executable, "-m", "cython", "-3", str(SOURCE), "-o", str(generated)],
        [compiler, "-O3", "-fPIC", "-shared", f"-I{include}", str(generated), "-o", str(library)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"the limits do not build: {done.stderr.strip().splitlines()[-1:]}"
    return ""
