"""`kstore log repair`: a plan first, then the plan done, then a directory that verifies.

Owns what is done about each kind of finding. Damaged batches are replaced by a batch without records that covers the
same offsets, the form in which Kafka's own compaction leaves a hole, so that offsets stay dense and a broker boots;
the damaged bytes are kept beside the segment in a `.corrupt` file. Everything else is derived from the log and is
removed, to be rebuilt by the recovery that ends a repair.

Invariants:
1. No byte of a good batch is changed; no damaged byte is thrown away.
2. Each file is replaced whole, by rename; a repair that is interrupted can be run again.
3. The directory's lock is held throughout.
"""

from __future__ import annotations

import os
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kstore._native import batch as native
from kstore._native.crc32c import crc32c
from kstore._native.scan import Range
from kstore._native.segment import Segment
from kstore.config import StoreConfig
from kstore.errors import UsageError
from kstore.inspect.report import Finding, Report
from kstore.inspect.segments import Checked, check_segments
from kstore.inspect.verification import is_partition, partition_directories, verify
from kstore.limits import BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES, INT32_MAX
from kstore.log import kept, names
from kstore.log.disk import OsDisk
from kstore.store.store import Store, wall_clock_ms
from kstore.store.trust import Trust

if TYPE_CHECKING:
    from kstore.log.disk import Disk

_HEADER = struct.Struct(">qiibIhiqqqhii")
DERIVED = frozenset({"index", "timeindex", "txnindex", "snapshot", "epochs", "checkpoint"})
"""Kinds of findings that the log itself can make good."""


@dataclass(frozen=True)
class Action:
    """One step of a repair."""

    file: str
    what: str
    """For a reader: what is done to the file."""
    kept_as: str = ""
    """Where the removed bytes go; empty where none are removed but zeros."""

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        where = f"; removed bytes are kept in {self.kept_as}" if self.kept_as else ""
        return f"{self.file}: {self.what}{where}"


def plan_repair(path: str | os.PathLike[str], *, disk: Disk | None = None) -> list[Action]:
    """Verify a log directory and say what `repair` would do; changes nothing. Raises as `verify` does."""
    disk = disk or OsDisk()
    return _plan(disk, verify(path, disk=disk).findings)


def _plan(disk: Disk, findings: list[Finding]) -> list[Action]:
    actions: list[Action] = []
    for finding in findings:
        if finding.kind == "gap" and finding.end_position >= 0:
            actions.append(Action(finding.file, f"byte {finding.position}: {finding.repair}"))
        elif finding.kind in ("batch", "tail", "digest") and finding.end_position >= 0:
            what = f"bytes {finding.position} to {finding.end_position}: {finding.repair}"
            actions.append(Action(finding.file, what, _kept_as(disk, finding)))
        elif finding.kind in DERIVED:
            actions.append(Action(finding.file, finding.repair))
    return actions


def _kept_as(disk: Disk, finding: Finding) -> str:
    """Where the damaged bytes are kept: beside the segment, under a name that Kafka ignores."""
    file = disk.open_file(finding.file, writable=False)
    try:
        damaged = file.read_at(finding.position, finding.end_position - finding.position)
    finally:
        file.close()
    return kept.place_of(disk, finding.file, finding.position, damaged)


def repair(path: str | os.PathLike[str], *, disk: Disk | None = None) -> list[Action]:
    """Repair a log directory and recover it; returns what was done. `verify` it afterwards.

    Raises `StoreLocked` while someone else has the directory open, `UsageError` for one partition's directory (give
    its parent), `NotALogDirectory`, `StorageError`.
    """
    disk = disk or OsDisk()
    root = os.fspath(path).rstrip("/") or "/"
    if is_partition(disk, root):
        raise UsageError(f"{root} is one partition's directory; repair its parent, whose checkpoints belong to it")
    lock = disk.lock(f"{root}/{names.LOCK_FILE}")
    try:
        findings = verify(root, disk=disk).findings
        actions = _plan(disk, findings)
        trust = Trust.read(disk, root)
        for partition in partition_directories(disk, root):
            if not partition.endswith(f"/{names.METADATA_TOPIC}-0"):
                _repair_partition(disk, partition, trust)
        _remove_derived(disk, findings)
        for partition in partition_directories(disk, root):
            _rebuild_indexes(disk, partition)
        if actions:  # the clean marker goes as it does when a store opens; else the next would think a Kafka took it
            Trust.read(disk, root, writable=True).begin(disk, root)
    finally:
        lock.release()
    if actions:
        Store(root, StoreConfig(), disk, wall_clock_ms, create=False, background=False).close()
    return actions


def _repair_partition(disk: Disk, path: str, trust: Trust) -> None:
    for checked in check_segments(disk, path, trust, Report(path)):
        if checked.scan.bad or checked.missing:
            _rewrite(disk, checked)


def _rewrite(disk: Disk, checked: Checked) -> None:
    """Write the segment anew: good stretches as they are, a hole's batch in place of each damaged one."""
    file = checked.segment.path
    data = memoryview(disk.read_file(file))
    parts: list[bytes | memoryview] = []
    epoch = 0
    missing = [] if checked.missing is None else [checked.missing]
    for stretch in sorted([*checked.scan.good, *checked.scan.bad, *missing]):
        piece = data[stretch.position : stretch.end_position]
        if stretch in checked.scan.good:
            parts.append(piece)
            epoch = list(native.headers(piece))[-1].leader_epoch
            continue
        kept.keep(disk, file, stretch.position, piece)
        parts += _holes(stretch, epoch)
    directory = file.rsplit("/", 1)[0]
    _remove_sidecars(disk, directory)  # first: they speak of the old bytes, and a repair may be interrupted
    disk.write_file_atomic(file, b"".join(parts))
    for kind in ("index", "timeindex"):
        derived = f"{directory}/{names.file_name(checked.segment.base_offset, kind)}"
        if disk.exists(derived):
            disk.unlink(derived)
    disk.sync_dir(directory)


def _remove_sidecars(disk: Disk, directory: str) -> None:
    for sidecar in (names.SEALS_FILE, names.QUARANTINE_FILE, *names.TAIL_FILES):
        if disk.exists(f"{directory}/{sidecar}"):
            disk.unlink(f"{directory}/{sidecar}")
    disk.sync_dir(directory)


def _rebuild_indexes(disk: Disk, path: str) -> None:
    """Make the indexes of every segment that lacks one; recovery does so only above the recovery point."""
    listing = set(disk.list(path))
    for name in sorted(listing):
        parsed = names.parse_file_name(name)
        if parsed is None or parsed.kind != names.LOG or parsed.suffix:
            continue
        if {names.index_name(parsed.offset), names.timeindex_name(parsed.offset)} <= listing:
            continue
        segment = Segment(disk, path, parsed.offset, writable=True)
        segment.recover()
        segment.close()


def _holes(stretch: Range, leader_epoch: int) -> list[bytes]:
    """Batches without records for the offsets of a damaged stretch; none for a torn tail, whose offsets are free."""
    holes: list[bytes] = []
    offset = stretch.first_offset
    while offset < stretch.next_offset:
        delta = min(stretch.next_offset - offset - 1, INT32_MAX)
        holes.append(empty_batch(offset, delta, leader_epoch))
        offset += delta + 1
    return holes


def empty_batch(base_offset: int, last_offset_delta: int, leader_epoch: int) -> bytes:
    """A batch of no records over a range of offsets, as DefaultRecordBatch.writeEmptyHeader makes it."""
    fields = [base_offset, BATCH_HEADER_BYTES - BATCH_OVERHEAD_BYTES, leader_epoch, 2, 0, 0, last_offset_delta]
    fields += [-1, -1, -1, -1, -1, 0]
    draft = _HEADER.pack(*fields)
    fields[4] = crc32c(draft[21:])
    return _HEADER.pack(*fields)


def _remove_derived(disk: Disk, findings: list[Finding]) -> None:
    """Remove what is wrong and will be made anew; an index made anew is not the one that was sealed."""
    for finding in findings:
        if finding.kind == "txnindex":
            continue  # recovery makes a damaged one anew; without the file it would take it that nothing was aborted
        if finding.kind in ("index", "timeindex"):
            _remove_sidecars(disk, finding.file.rsplit("/", 1)[0])
        if finding.kind in DERIVED and disk.exists(finding.file):
            disk.unlink(finding.file)
