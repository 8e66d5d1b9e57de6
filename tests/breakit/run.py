"""Break it: plant each fault of `faults.py` in a scratch copy, run the tests that must notice, tell which did not.

    python tests/breakit/run.py [--list] [--only NAME] [--python-only] [--json FILE]

Exit status 0: every fault was caught; 1: one survived, or could not be planted. The tree itself is never touched. It
must have been built (`make native`); a native fault builds only its modules again, in the scratch copy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fault import Fault
from faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300
TESTS_FAILED = 1
"""pytest's exit status; others mean that the tests did not run."""


def main() -> int:
    arguments = parse()
    chosen = [f for f in FAULTS if not arguments.only or any(name in f.name for name in arguments.only)]
    if arguments.python_only:
        chosen = [f for f in chosen if not f.modules]
    if arguments.list:
        for fault in chosen:
            print(f"{fault.name:50} {fault.origin:14} {fault.file}")
        return 0
    with tempfile.TemporaryDirectory(prefix="kstore-breakit-") as place:
        scratch = copy_tree(Path(place))
        results = [judge(scratch, fault) for fault in chosen]
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1))
    caught = sum(result["outcome"] == "caught" for result in results)
    print(f"{caught} of {len(results)} faults caught")
    return 0 if caught == len(results) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="plant bugs, see whether the tests notice")
    parser.add_argument("--list", action="store_true", help="show the faults and plant none")
    parser.add_argument(
        "--only", metavar="NAME", action="append", help="faults whose name contains NAME; may be repeated"
    )
    parser.add_argument("--python-only", action="store_true", help="leave out those that need a compiler")
    parser.add_argument("--json", metavar="FILE", help="write the outcomes there too")
    return parser.parse_args()


def copy_tree(place: Path) -> Path:
    scratch = place / "tree"
    skip = shutil.ignore_patterns("__pycache__", ".hypothesis", ".pytest_cache")
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, scratch / folder, ignore=skip)
    for name in ("pyproject.toml", "CMakeLists.txt"):
        shutil.copy(ROOT / name, scratch / name)
    return scratch


def judge(scratch: Path, fault: Fault) -> dict[str, object]:
    began = time.monotonic()
    if (scratch / fault.file).read_text().count(fault.text) != 1:
        outcome, detail = "unplanted", "the text to replace is not there exactly once"
    else:
        with planted(scratch, fault) as problem:
            outcome, detail = ("unplanted", problem) if problem else run_tests(scratch, fault)
    seconds = time.monotonic() - began
    print(
        f"{outcome:9} {seconds:5.1f} s  {fault.name}  ({fault.origin}){'  ' + detail if detail else ''}", flush=True
    )
    return {
        "name": fault.name,
        "origin": fault.origin,
        "outcome": outcome,
        "seconds": round(seconds, 1),
        "by": detail,
    }


@contextmanager
def planted(scratch: Path, fault: Fault) -> Iterator[str]:
    """The scratch copy with the fault in it; yields what kept it out, an empty string for nothing."""
    file = scratch / fault.file
    good = file.read_text()
    binaries = [
        scratch / "src/kstore/_native" / (module + sysconfig.get_config_var("EXT_SUFFIX")) for module in fault.modules
    ]
    kept = {binary: binary.read_bytes() for binary in binaries}
    file.write_text(good.replace(fault.text, fault.by))
    try:
        yield build(scratch, fault)
    finally:
        file.write_text(good)
        for binary, data in kept.items():
            binary.write_bytes(data)


def build(scratch: Path, fault: Fault) -> str:
    """Build the fault's modules; returns the compiler's last words where it fails."""
    if not fault.modules:
        return ""
    out = scratch / "build"
    steps = [["cmake", "--build", str(out), *(f"--target=native_{module}" for module in fault.modules)]]
    if not out.exists():
        python = f"-DPython_EXECUTABLE={sys.executable}"
        steps.insert(
            0, ["cmake", "-S", str(scratch), "-B", str(out), "-G", "Ninja", python, "-DCMAKE_BUILD_TYPE=Release"]
        )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stdout + done.stderr).strip().splitlines()[-1]
    for module in fault.modules:
        name = module + sysconfig.get_config_var("EXT_SUFFIX")
        shutil.copy(next(out.rglob(name)), scratch / "src/kstore/_native" / name)
    return ""


def run_tests(scratch: Path, fault: Fault) -> tuple[str, str]:
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--hypothesis-seed=0", "--tb=no"]
    environment = os.environ | {
        "PYTHONPATH": str(scratch / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "KSTORE_SEED": "1",
    }
    command = [sys.executable, "-m", "pytest", *options, *fault.tests]
    try:
        done = subprocess.run(
            command, cwd=scratch, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "caught", "by the clock"
    if done.returncode == 0:
        return "survived", ""
    if done.returncode == TESTS_FAILED:
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return "caught", failed[0].split("::")[-1].split(" - ")[0] if failed else ""
    if done.returncode < 0:
        return "caught", f"by signal {-done.returncode}"
    return "unplanted", (done.stdout + done.stderr).strip().splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
