"""Rows as a table of text, and as JSON with what a reader needs to judge them: machine, versions, when."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.support.rows import Row, amount
from kstore._native import crc32c

PEERS = ("numpy", "crc32c", "awscrt", "aiokafka", "lmdb", "rocksdict")
HEADINGS = ("goal", "what", "kstore", "against", "takes", "ratio", "floor", "", "note")


def machine() -> dict[str, Any]:
    """What the numbers were made on."""
    versions: dict[str, str | None] = {}
    for name in PEERS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "crc32c": crc32c.rung(),
        "packages": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def judged(row: Row) -> str:
    """`met`, `MISSED`, or nothing to judge."""
    return {True: "met", False: "MISSED", None: "" if row.ratio is not None else "skipped"}[row.met]


def cells(row: Row) -> tuple[str, ...]:
    """A row as words."""
    mark = ">=" if row.sense == "speed" else "<="
    return (
        row.goal,
        row.what,
        amount(row.kstore_ns, row.unit_bytes) + ("" if row.unit_bytes or not row.kstore_ns else f"/{row.unit}"),
        row.against,
        amount(row.against_ns, row.unit_bytes),
        "" if row.ratio is None else f"{row.ratio:.3g}x {row.sense}",
        "" if row.floor is None else f"{mark} {row.floor:g}",
        judged(row),
        row.note,
    )


def text(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    return aligned([HEADINGS, *(cells(row) for row in rows)])


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of equally many cells, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table for the documentation."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells(row)) + " |" for row in rows]
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """One sentence."""
    met = sum(row.met is True for row in rows)
    missed = [f"{row.goal} ({row.what} against {row.against})" for row in rows if row.met is False]
    skipped = sum(row.ratio is None for row in rows)
    told = f"{met} floors met, {len(missed)} missed, {skipped} rows skipped"
    return told + ("; missed: " + ", ".join(missed) if missed else "")


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Everything, for programs."""
    path.write_text(json.dumps({"machine": machine(), "rows": [row.as_json() for row in rows]}, indent=1) + "\n")
