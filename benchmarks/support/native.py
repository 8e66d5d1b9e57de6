"""Builds and imports the few lines of C that limits are measured with: `limits.pyx`, and what others bring.

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

BUILD = Path(__file__).resolve().parents[2] / "build" / "bench"


def limits() -> ModuleType | str:
    """The module of `limits.pyx`, or why it cannot be had."""
    return built(Path(__file__).with_name("limits.pyx"))


def built(source: Path) -> ModuleType | str:
    """The module of a Cython source, or why it cannot be had."""
    library = BUILD / f"{source.stem}{sysconfig.get_config_var('EXT_SUFFIX')}"
    stale = not library.exists() or library.stat().st_mtime < source.stat().st_mtime
    if stale and (reason := _build(source, library)):
        return reason
    loader = importlib.machinery.ExtensionFileLoader(source.stem, str(library))
    spec = importlib.util.spec_from_file_location(source.stem, library, loader=loader)
    if spec is None:
        return f"{library} cannot be imported"
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _build(source: Path, library: Path) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return f"no C compiler for {source.name}"
    BUILD.mkdir(parents=True, exist_ok=True)
    generated = BUILD / f"{source.stem}.c"
    include = sysconfig.get_paths()["include"]
    for command in (
        [sys.executable, "-m", "cython", "-3", str(source), "-o", str(generated)],
        [compiler, "-O3", "-fPIC", "-shared", f"-I{include}", str(generated), "-o", str(library)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{source.name} does not build: {done.stderr.strip().splitlines()[-1:]}"
    return ""
