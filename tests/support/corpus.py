"""Log directories that a real Kafka wrote, each with its oracle.

The committed cases are `tests/fixtures/<case>.tar.xz`, written by `tests/interop/make_fixtures.py`; more come from
the directory that KSTORE_CORPUS names, unpacked, one directory a case. A case holds what Kafka left, and

- `case.json`: what it is about, topic configs, checkpoint entries, the harm done by hand after Kafka stopped;
- `expected.jsonl.gz`: a line a record, from Kafka's own reader: dir, segment, offset, timestamp, timestampType, key,
  value, headers (bytes in hex), producerId, producerEpoch, sequence, isTransactional, isControl, leaderEpoch, batch;
- `batches.jsonl.gz`: a line a batch, with position, size, crc, codec, ...;
- `dump.txt`: DumpLogSegments over every file it knows.
"""

from __future__ import annotations

import atexit
import functools
import gzip
import json
import os
import shutil
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
OWN_FILES = {"case.json", "expected.jsonl.gz", "batches.jsonl.gz", "dump.txt"}

Row = dict[str, Any]


@functools.cache
def _unpacked() -> Path:
    root = Path(tempfile.mkdtemp(prefix="kstore-fixtures-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


class Case:
    """One directory of the corpus. Read only: work on a `copy`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.info: Row = json.loads((path / "case.json").read_text())

    @functools.cached_property
    def records(self) -> dict[str, list[Row]]:
        """Every record by its partition directory, control records too."""
        return self._rows("expected")

    @functools.cached_property
    def batches(self) -> dict[str, list[Row]]:
        return self._rows("batches")

    @functools.cached_property
    def dump(self) -> str:
        return (self.path / "dump.txt").read_text(encoding="utf-8")

    @property
    def is_root(self) -> bool:
        """Whether the case is a whole log directory, with the files of its root."""
        return (self.path / "meta.properties").exists()

    @property
    def harmed(self) -> bool:
        return bool(self.info["edits"])

    @property
    def directories(self) -> list[str]:
        """The partition directories with a log, relative to the case; deleted ones left out."""
        found = {path.parent.relative_to(self.path).as_posix() for path in self.path.rglob("*.log")}
        return sorted(name for name in found if not name.endswith("-delete"))

    @property
    def roots(self) -> list[str]:
        """The log directories in the case, relative to it: '.', or one a broker."""
        return sorted({Path(name).parent.as_posix() for name in self.directories})

    def config(self, directory: str) -> dict[str, str]:
        """The configs of the topic that a partition directory belongs to."""
        return dict(self.info["configs"].get(Path(directory).name.rpartition("-")[0], {}))

    def checkpoint(self, directory: str, name: str) -> int | None:
        """A partition's entry in `<name>-checkpoint`, e.g. `recovery-point-offset`."""
        return self.info["checkpoints"].get(directory, {}).get(name)

    def copy(self, to: Path) -> Path:
        """The log directories alone, without the oracle, where they may be written to."""
        shutil.copytree(self.path, to, ignore=lambda _, names: OWN_FILES.intersection(names))
        return to

    def _rows(self, name: str) -> dict[str, list[Row]]:
        rows = defaultdict(list)
        with gzip.open(self.path / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                rows[row["dir"]].append(row)
        return dict(rows)

    def __repr__(self) -> str:
        return self.name


def case(name: str) -> Case:
    """The case of that name, from KSTORE_CORPUS where it has it, else a committed one."""
    outside = os.environ.get("KSTORE_CORPUS")
    if outside and (Path(outside) / name / "case.json").exists():
        return _case(Path(outside) / name)
    target = _unpacked() / name
    if not target.exists():
        with tarfile.open(FIXTURES / f"{name}.tar.xz") as archive:
            archive.extractall(target.parent, filter="data")
    return _case(target)


@functools.cache
def _case(path: Path) -> Case:
    return Case(path)


def case_names() -> list[str]:
    """All cases that are there, for parametrize."""
    names = {path.name.removesuffix(".tar.xz") for path in FIXTURES.glob("*.tar.xz")}
    if outside := os.environ.get("KSTORE_CORPUS"):
        names |= {path.parent.name for path in Path(outside).glob("*/case.json")}
    return sorted(names)
