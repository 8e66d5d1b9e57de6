"""Opening a log whose process died: every byte checked again, and only the tail where a sidecar vouches for the rest.

Kafka 4.3.1 needs 0.8 s for a gigabyte of active segment with the page cache warm: its own log's clock, on a machine of
the class that the floors were made on. No JVM is started here; the figure is stated, not measured.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.support.bench import Bench
from benchmarks.support.rows import Row
from kstore._native.crc32c import crc32c
from kstore.apps.race import Race

KAFKA_NS_PER_BYTE = 0.8
TAIL_NS_MAX = 10e6
ROOT = Path(__file__).resolve().parents[1]


def run(*words: str) -> str:
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "benchmarks.support.unclean", *words]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    return done.stdout


def opened(directory: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(run("open", directory))
    return found


def forget(directory: str) -> None:
    """Take away what would spare a recovery its work: kstore's sidecars, recovery points, indexes."""
    for path in Path(directory).rglob("*"):
        if path.name.startswith("kstore-") or path.suffix in {".index", ".timeindex"} or "recovery-point" in path.name:
            path.unlink()


def bench_recovery(bench: Bench) -> None:
    """An unclean segment of 1 GiB by full check in at most 1/5 of Kafka's time; with the sidecar within 10 ms."""
    size_bytes = (256 << 20) if bench.quick else (1 << 30) - (1 << 20)
    with bench.place() as place:
        run("fill", f"{place}/data", str(size_bytes))
        tails, notes = [], []
        for _ in range(5):
            shutil.copytree(f"{place}/data", f"{place}/tail", copy_function=os.link)
            for name in os.listdir(f"{place}/tail/t-0"):  # a recovery writes: only the log itself may be shared
                if not name.endswith(".log"):
                    os.unlink(f"{place}/tail/t-0/{name}")
                    shutil.copy(f"{place}/data/t-0/{name}", f"{place}/tail/t-0/{name}")
            notes.append(bench.quiet())
            tails.append(opened(f"{place}/tail")["ns"])
            shutil.rmtree(f"{place}/tail")
        fulls = []
        for _ in range(5):
            forget(f"{place}/data")
            notes.append(bench.quiet())
            found = opened(f"{place}/data")
            fulls.append(found["ns"])
        (log,) = Path(place).rglob("*.log")
        race = Race(rounds=3)
        race.add("CRC-32C over the mapped file", lambda: checksum(log))
        limit = race.run().nanoseconds("CRC-32C over the mapped file")
    size, best = found["size_bytes"], min(fulls)
    kafka_ns, what = KAFKA_NS_PER_BYTE * size, f"open after a crash, {size >> 20} MiB checked"
    name = "Kafka 4.3's 0.8 s/GB"
    more: dict[str, Any] = {"unit": "open", "unit_bytes": size}
    # the best of five counts, so one quiet one is enough
    note = "" if "" in notes[5:] else notes[5 + fulls.index(best)]
    said = f"stated; {note}" if note else "stated"
    bench.add(Row("R1", what, name, "peer", "time", 0.2, best / kafka_ns, best, kafka_ns, note=said, **more))
    bench.add(Row("R1", what, "CRC-32C of the mapped file", "limit", "time", None, best / limit, best, limit, **more))
    tail, what = min(tails), f"open after a crash, {size >> 20} MiB, by its tail"
    note = "" if "" in notes[:5] else notes[tails.index(tail)]
    bench.add(Row("R2", what, "10 ms", "limit", "time", 1.0, tail / TAIL_NS_MAX, tail, TAIL_NS_MAX, "open", note=note))


def checksum(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        crc32c(mapped)
