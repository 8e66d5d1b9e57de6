"""Instructions per record, counted by callgrind: exact, immune to neighbours, compared with a recorded baseline.

The counts depend on the compiler and the interpreter, which the baseline names; another pair is shown and not judged.
`python -m benchmarks --record bench_instructions` records a new baseline. valgrind has no AVX-512, hence KSTORE_CPU.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.support.bench import Bench
from benchmarks.support.counted import CALLS, CASES, Case
from benchmarks.support.rows import Row

ROOT = Path(__file__).resolve().parents[1]
BASELINE = Path(__file__).with_name("baseline") / "instructions.json"
TOLERANCE = 1.02


def tools() -> str:
    """The compiler and the interpreter that a count belongs to."""
    compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=False).stdout
    return f"{compiler.splitlines()[0] if compiler else 'no cc'}; {sys.implementation.cache_tag}"


def symbol(case: Case) -> str | None:
    path = importlib.import_module(f"kstore._native.{case.module}").__file__ or ""
    names = subprocess.run(["nm", "--defined-only", path], capture_output=True, text=True, check=False).stdout
    found = {word for word in names.split() if re.fullmatch(case.symbol, word)}
    return found.pop() if len(found) == 1 else None


def count(name: str) -> float | str:
    """Instructions per record, or why they cannot be counted."""
    case = CASES[name]
    function = symbol(case)
    if function is None:
        return f"no symbol {case.symbol} in the module (stripped?)"
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "callgrind"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", f"--toggle-collect={function}"]
        command = [*command, sys.executable, "-m", "benchmarks.support.counted", name]
        if shutil.which("setarch"):
            command = ["setarch", "-R", *command]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
            "KSTORE_CPU": "sse42",
            "PYTHONHASHSEED": "0",
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"valgrind: {done.stderr.strip().splitlines()[-1]}"
        total = re.search(r"^(?:totals|summary):\s*(\d+)", output.read_text(), re.MULTILINE)
    return int(total.group(1)) / CALLS / case.records if total else "callgrind counted nothing"


def bench_instructions(bench: Bench) -> None:
    """G14: within 2 % of the recorded counts."""
    if not shutil.which("valgrind"):
        bench.skip("G14", "instructions per record", "the baseline", TOLERANCE, "valgrind is not installed", "time")
        return
    recorded: dict[str, Any] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"tools": "", "counts": {}}
    counts: dict[str, float] = {}
    for name in CASES:
        found = count(name)
        if isinstance(found, str):
            bench.skip("G14", name, "the baseline", TOLERANCE, found, "time")
            continue
        counts[name] = round(found, 2)
        before = recorded["counts"].get(name)
        comparable = before is not None and recorded["tools"] == tools()
        note = f"{found:.1f} instructions a record" + (f", recorded {before:.1f}" if before else ", no baseline")
        if before and not comparable:
            note += f" with {recorded['tools']}"
        ratio = found / before if comparable else None
        bench.add(Row("G14", name, "the baseline", "limit", "time", TOLERANCE, ratio, unit="record", note=note))
    if bench.record:
        BASELINE.parent.mkdir(exist_ok=True)
        BASELINE.write_text(json.dumps({"tools": tools(), "counts": counts}, indent=2) + "\n")
