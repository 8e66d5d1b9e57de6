"""How well the simulator sees: plant each bug of replication, and count what it takes until a run fails.

    python tests/breakit/seeds.py [--only NAME] [--seeds N] [--json FILE] [--markdown FILE] [--list]

In a scratch copy of the tree, for each fault of `faults_replication.py`: the directed scenarios, all of them, and then
the seeds 1, 2, 3, ... until one breaks a promise. The tree as it is comes first: what fails without a bug detects
nothing. With `--json` outcomes are added to those that the file holds, so that a long run may be cut into portions
(`--missing` leaves out what is there). Exit status 0: every fault was caught, by seeds or by a scenario; 1: one was
not. The tree itself is never touched; it must have been built.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fault import Fault
from faults_replication import REPLICATION
from run import copy_tree

SCENARIOS = "tests/simulation"
SCENARIO_FILES = "test_scenarios_*.py"
SCENARIOS_LIMIT_S = 300
SILENCE_LIMIT_S = 60
"""A seed takes a third of a second: one that takes so long never ends."""
NOTHING = Fault("nothing: the tree as it is", "-", "", "", "", ())


@dataclass
class Found:
    """What became of one fault."""

    name: str
    origin: str
    seed: int = 0
    """The first seed that failed, so also how many it took; 0 for none."""
    invariant: str = ""
    """Which promise that seed broke."""
    seeds: int = 0
    """How many were tried at most."""
    scenarios: tuple[str, ...] = ()
    """The directed scenarios that failed."""
    seconds: float = 0.0
    problem: str = ""
    """Why it could not be tried; empty where it was."""

    @property
    def caught(self) -> bool:
        """Whether the simulator has seen it."""
        return not self.problem and bool(self.seed or self.scenarios)


def main() -> int:
    arguments = parse()
    known = read(arguments.json)
    chosen = [f for f in (NOTHING, *REPLICATION) if not arguments.only or any(n in f.name for n in arguments.only)]
    if arguments.missing:
        chosen = [f for f in chosen if f.name not in known]
    if arguments.list:
        print("\n".join(f"{fault.name:70} {fault.origin}" for fault in chosen))
        return 0
    with tempfile.TemporaryDirectory(prefix="kstore-seeds-") as place:
        scratch = copy_tree(Path(place))
        for fault in chosen:
            known[fault.name] = found = examine(scratch, fault, arguments.seeds)
            print(describe(found), flush=True)
            if arguments.json:
                Path(arguments.json).write_text(json.dumps([asdict(one) for one in known.values()], indent=1) + "\n")
    ordered = [known[f.name] for f in (NOTHING, *REPLICATION) if f.name in known]
    bugs = [found for found in ordered if found.name != NOTHING.name]
    if arguments.markdown:
        Path(arguments.markdown).write_text(table(bugs))
    print(summary(bugs))
    healthy = all(not found.caught and not found.problem for found in ordered if found.name == NOTHING.name)
    return 0 if healthy and all(found.caught for found in bugs) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="plant bugs of replication, see whether the simulator notices")
    parser.add_argument("--only", metavar="NAME", action="append", help="faults whose name contains NAME; may repeat")
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many seeds are tried for each (200)")
    parser.add_argument("--json", metavar="FILE", help="add the outcomes to this file")
    parser.add_argument("--missing", action="store_true", help="leave out the faults that FILE knows of")
    parser.add_argument("--markdown", metavar="FILE", help="write all outcomes as a table")
    parser.add_argument("--list", action="store_true", help="show the faults and plant none")
    return parser.parse_args()


def read(path: str | None) -> dict[str, Found]:
    if path is None or not Path(path).exists():
        return {}
    rows = json.loads(Path(path).read_text())
    return {row["name"]: Found(**row | {"scenarios": tuple(row["scenarios"])}) for row in rows}


# -- one fault ---------------------------------------------------------------------------------------------------


def examine(scratch: Path, fault: Fault, seeds: int) -> Found:
    """Plant a fault, run everything, take it out again."""
    found = Found(fault.name, fault.origin, seeds=seeds)
    began = time.monotonic()
    file = scratch / fault.file
    good = file.read_text() if fault.file else ""
    if fault.file and good.count(fault.text) != 1:
        found.problem = "the text to replace is not there exactly once"
        return found
    try:
        if fault.file:
            file.write_text(good.replace(fault.text, fault.by))
        found.scenarios, found.problem = failing_scenarios(scratch)
        found.seed, found.invariant = failing_seed(scratch, seeds)
    finally:
        if fault.file:
            file.write_text(good)
    found.seconds = round(time.monotonic() - began, 1)
    return found


def environment(scratch: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(scratch / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


def failing_scenarios(scratch: Path) -> tuple[tuple[str, ...], str]:
    """The directed scenarios that fail, each once however many parameters it has, and what kept them from running."""
    files = sorted(str(path.relative_to(scratch)) for path in (scratch / SCENARIOS).glob(SCENARIO_FILES))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *files]
    try:
        done = subprocess.run(
            command,
            cwd=scratch,
            env=environment(scratch),
            capture_output=True,
            text=True,
            timeout=SCENARIOS_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ("by the clock",), ""
    if done.returncode not in (0, 1):
        return (), (done.stdout + done.stderr).strip().splitlines()[-1]
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    names = [line.split("::")[-1].split(" - ")[0].split("[")[0].removeprefix("test_") for line in failed]
    return tuple(dict.fromkeys(names)), ""


def failing_seed(scratch: Path, seeds: int) -> tuple[int, str]:
    """The first of the seeds 1..N that breaks a promise, and which; (0, "") where none does."""
    command = [sys.executable, "-m", "kstore.testing.simulation", "--seed", "1", "--seeds", str(seeds), "--json"]
    running = subprocess.Popen(command, cwd=scratch, env=environment(scratch), stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    seed = 0
    try:
        while True:
            watch = threading.Timer(SILENCE_LIMIT_S, running.kill)
            watch.start()
            line = running.stdout.readline()
            watch.cancel()
            if not line:
                break
            outcome = json.loads(line)
            if "seed" in outcome:
                seed = outcome["seed"]
                if outcome["failed"]:
                    return seed, outcome["invariant"]
    finally:
        running.kill()
        running.wait()
        running.stdout.close()
    return (seed + 1, "by the clock") if seed < seeds else (0, "")


# -- what is told ------------------------------------------------------------------------------------------------


def describe(found: Found) -> str:
    if found.problem:
        return f"UNTRIED   {found.name}: {found.problem}"
    by_seed = f"seed {found.seed} ({found.invariant})" if found.seed else f"no seed of {found.seeds}"
    outcome = "caught" if found.caught else "not seen"
    by_scenario = ", ".join(found.scenarios) or "none"
    return f"{outcome:9} {found.seconds:6.1f} s  {found.name}: {by_seed}; scenarios: {by_scenario}"


def summary(bugs: list[Found]) -> str:
    by_seed = sorted(found.seed for found in bugs if found.seed)
    by_scenario = sum(bool(found.scenarios) for found in bugs)
    caught = sum(found.caught for found in bugs)
    median = f"{statistics.median(by_seed):g}" if by_seed else "-"
    return (
        f"{caught} of {len(bugs)} bugs caught: {len(by_seed)} by seeds (median {median}, at most "
        f"{by_seed[-1] if by_seed else '-'}), {by_scenario} by directed scenarios"
    )


def table(bugs: list[Found]) -> str:
    """All outcomes as Markdown, in the order of the faults."""
    rows = ["| bug | from | seeds needed | promise broken | directed scenarios that fail |", "|---|---|---|---|---|"]
    for found in bugs:
        names = [name.split("_")[0] for name in found.scenarios]
        scenarios = ", ".join(dict.fromkeys(name.upper() for name in names)) or "none"
        seed = str(found.seed) if found.seed else f"more than {found.seeds}"
        name = found.name.removeprefix("replication: ")
        rows.append(f"| {name} | {found.origin} | {seed} | {found.invariant or '-'} | {scenarios} |")
    return "\n".join([*rows, "", summary(bugs), ""])


if __name__ == "__main__":
    sys.exit(main())
