"""The segments of one partition, checked byte by byte: batches, continuity, indexes, seals.

Called by `verify` for findings and by `repair` for what to do about them. Opens segments read-only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kstore._native import batch as native
from kstore._native.scan import Range
from kstore._native.segment import Segment
from kstore.inspect.report import Finding, Report
from kstore.limits import OFFSET_INDEX_ENTRY_BYTES, TIME_INDEX_ENTRY_BYTES
from kstore.log import names
from kstore.log.damage import damaged_below
from kstore.log.digests import FileDigest
from kstore.log.epochs import LeaderEpochs, parse_epochs
from kstore.log.replay import missing_front
from kstore.log.seals import SegmentSeal, read_seals
from kstore.log.sidecars import crc32c
from kstore.log.tails import TailFiles
from kstore.log.transactions import parse_aborted
from kstore.log.twins import PartitionFiles

if TYPE_CHECKING:
    from kstore._native.scan import Scan
    from kstore.log.disk import Disk
    from kstore.store.trust import Trust

OFFSET_ENTRY = np.dtype([("relative_offset", ">i4"), ("position", ">i4")])
TIME_ENTRY = np.dtype([("timestamp", ">i8"), ("relative_offset", ">i4")])


@dataclass(frozen=True)
class Checked:
    """One segment as it was found."""

    segment: Segment
    scan: Scan
    last: bool
    missing: Range | None = None
    """Offsets between this segment and the next one, where the topic may have no holes."""


def check_segments(
    disk: Disk, path: str, trust: Trust, report: Report, progress: Callable[[int], None] | None = None
) -> list[Checked]:
    """Check every segment of a partition directory; findings go to `report`. `trust` is that of the root."""
    bases = sorted(
        file.offset
        for name in disk.list(path)
        if (file := names.parse_file_name(name)) and file.kind == "log" and not file.suffix
    )
    seals = read_seals(disk, path) if trust.undisturbed else {}
    epochs = _epochs(disk, path)
    dense = _is_dense(disk, path, trust)
    checked: list[Checked] = []
    for i, base in enumerate(bases):
        segment = Segment(disk, path, base)
        last = i + 1 == len(bases)
        scan = segment.scan_damage(-1 if last else bases[i + 1], dense=dense)
        if last:
            scan = _as_recovered(scan, _durable(disk, path, trust, bases))
        missing = _missing(scan, base, bases[i + 1]) if dense and not last else None
        checked.append(Checked(segment, scan, last, missing))
        report.segments += 1
        report.batches += scan.batches
        report.records += scan.records
        report.size_bytes += scan.size_bytes
        _batches(checked[-1], report)
        if not last:
            _continuity(checked[-1], bases[i + 1], report)
        if not scan.bad:
            columns = native.header_columns(segment.read(0, scan.size_bytes))
            _lineage(segment, columns, epochs, report)
            _indexes(disk, segment, columns, sealed=not last, report=report)
        if base in seals and not last:
            _seal(disk, path, segment, scan, seals[base], report)
        if progress is not None:
            progress(report.size_bytes)
    if dense and checked:
        _ends(disk, path, trust, bases[0], checked[-1].scan, report)
    _transaction_indexes(disk, path, bases, report)
    return checked


def _is_dense(disk: Disk, path: str, trust: Trust) -> bool:
    """Whether this log is known never to have left out an offset."""
    parsed = names.parse_dir_name(path.rpartition("/")[2])
    expected = None if parsed is None else trust.dense_id(parsed.topic, parsed.partition)
    return expected is not None and PartitionFiles.open(disk, path).topic_id == expected


def _durable(disk: Disk, path: str, trust: Trust, bases: list[int]) -> int:
    """The end of what was on the medium, by the checkpoints that recovery goes by."""
    tail = TailFiles(disk, path).usable({base: f"{path}/{names.log_name(base)}" for base in bases})
    return max(trust.durable(*_key(path)), -1 if tail is None else tail.next_offset)


def _as_recovered(scan: Scan, durable: int) -> Scan:
    """What a scan found in the last segment, with the offsets of the damage in it as recovery would have them."""
    damage = damaged_below(scan.bad, scan.size_bytes, durable)
    bad = damage + scan.bad[len(damage) :]
    return scan._replace(bad=bad, next_offset=max([scan.next_offset, *(r.next_offset for r in damage)]))


def _key(path: str) -> tuple[str, int]:
    parsed = names.parse_dir_name(path.rpartition("/")[2])
    return ("", 0) if parsed is None else (parsed.topic, parsed.partition)


def _ends(disk: Disk, path: str, trust: Trust, first: int, last: Scan, report: Report) -> None:
    """Lost segments that no other one follows or precedes: below the first, and behind the end of the last."""
    key = _key(path)
    lost = missing_front(PartitionFiles.open(disk, path), trust.log_start(*key), first)
    if lost is not None:
        report.findings.append(
            Finding(
                path, 0, "gap", "no segment has them: the first one is gone", "nothing: the log begins behind them",
                first_offset=lost, next_offset=first,
            )
        )  # fmt: skip
    end = max((r.next_offset for r in (*last.good, *last.bad)), default=last.next_offset)
    if end < trust.durable(*key):
        report.findings.append(
            Finding(
                path, 0, "gap", "they were on the medium, and are gone", "nothing: the log goes on behind them",
                first_offset=end, next_offset=trust.durable(*key),
            )
        )  # fmt: skip


def _epochs(disk: Disk, path: str) -> LeaderEpochs | None:
    file = f"{path}/{names.EPOCHS_FILE}"
    entries = parse_epochs(disk.read_file(file)) if disk.exists(file) else None
    return LeaderEpochs(entries) if entries else None


def _batches(checked: Checked, report: Report) -> None:
    for r in checked.scan.bad:
        tail = checked.last and r.end_position == checked.scan.size_bytes and r.next_offset <= r.first_offset
        report.findings.append(
            Finding(
                checked.segment.path,
                r.position,
                "tail" if tail else "batch",
                r.reason,
                "cut it off, keep the bytes in a .corrupt file"
                if tail
                else "put a batch without records in its place, keep the bytes in a .corrupt file",
                r.end_position,
                r.first_offset,
                max(r.next_offset, r.first_offset),
            )
        )


def _missing(scan: Scan, base: int, next_base: int) -> Range | None:
    end = max((r.next_offset for r in (*scan.good, *scan.bad)), default=base)
    return Range(scan.size_bytes, scan.size_bytes, end, next_base, "offsets are missing") if end < next_base else None


def _continuity(checked: Checked, next_base: int, report: Report) -> None:
    """A segment ends where the next one begins, or compaction has taken the batches between."""
    end = checked.scan.next_offset
    gap = checked.missing
    if gap is not None:
        report.findings.append(
            Finding(
                checked.segment.path, gap.position, "gap", gap.reason, "put a batch without records in their place",
                gap.end_position, gap.first_offset, gap.next_offset,
            )
        )  # fmt: skip
    if end > next_base:
        report.findings.append(
            Finding(
                checked.segment.path, checked.scan.size_bytes, "gap",
                f"its records reach {end}, past the next segment at {next_base}", "nothing: two histories overlap",
            )
        )  # fmt: skip


def _lineage(segment: Segment, columns: dict[str, Any], epochs: LeaderEpochs | None, report: Report) -> None:
    """Leader epochs stand outside the checksum: hold them against the epoch checkpoint, and against their order."""
    stored = columns["leader_epoch"]
    if not len(stored):
        return
    changes = np.flatnonzero(np.concatenate(([True], stored[1:] != stored[:-1])))
    for at in changes:
        offset, epoch = int(columns["base_offset"][at]), int(stored[at])
        if epochs is not None and not epochs.fits(offset, epoch):
            report.findings.append(
                Finding(
                    segment.path, int(columns["position"][at]), "batch",
                    f"leader epoch {epoch} does not fit {names.EPOCHS_FILE}", "take the epoch of the checkpoint",
                    first_offset=offset, next_offset=int(columns["last_offset"][at]) + 1,
                )
            )  # fmt: skip


def _indexes(disk: Disk, segment: Segment, columns: dict[str, Any], *, sealed: bool, report: Report) -> None:
    base = segment.base_offset
    directory = segment.path.rsplit("/", 1)[0]
    for kind, check in (("index", bad_offset_entry), ("timeindex", bad_time_entry)):
        file = f"{directory}/{names.file_name(base, kind)}"
        if not disk.exists(file):
            report.findings.append(Finding(file, 0, kind, "it is missing", "rebuild it from the log"))
            continue
        position = check(disk.read_file(file), base, columns, sealed)
        if position >= 0:
            report.findings.append(
                Finding(file, position, kind, "an entry that its log contradicts", "rebuild it from the log")
            )


def bad_offset_entry(data: bytes, base: int, columns: dict[str, Any], sealed: bool) -> int:
    """Byte position of the first wrong entry of an offset index, -1 where all are right.

    The zero padding of an index that was not closed (Kafka preallocates) is right in the last segment only.
    """
    usable = len(data) if sealed else len(data.rstrip(b"\0"))
    whole = -(-usable // OFFSET_INDEX_ENTRY_BYTES) * OFFSET_INDEX_ENTRY_BYTES
    if whole > len(data):
        return whole - OFFSET_INDEX_ENTRY_BYTES
    entries = np.frombuffer(data[:whole], OFFSET_ENTRY)
    if not len(entries):
        return -1
    offsets = entries["relative_offset"].astype(np.int64) + base
    positions = entries["position"].astype(np.int64)
    at = np.searchsorted(columns["position"], positions)
    at_safe = np.minimum(at, max(len(columns["position"]) - 1, 0))
    if not len(columns["position"]):
        return 0
    good = (columns["position"][at_safe] == positions) & (columns["last_offset"][at_safe] == offsets)
    good[1:] &= (np.diff(positions) > 0) & (np.diff(offsets) > 0)
    wrong = np.flatnonzero(~good)
    return int(wrong[0]) * OFFSET_INDEX_ENTRY_BYTES if len(wrong) else -1


def bad_time_entry(data: bytes, base: int, columns: dict[str, Any], sealed: bool) -> int:
    """Byte position of the first wrong entry of a time index, -1 where all are right.

    Each entry is a running maximum and the last offset of the batch that set it; a closed index ends with the
    segment's maximum.
    """
    usable = len(data) if sealed else len(data.rstrip(b"\0"))
    whole = -(-usable // TIME_INDEX_ENTRY_BYTES) * TIME_INDEX_ENTRY_BYTES
    if whole > len(data):
        return whole - TIME_INDEX_ENTRY_BYTES
    entries = np.frombuffer(data[:whole], TIME_ENTRY)
    maxima = np.maximum.accumulate(columns["max_timestamp_ms"]) if len(columns["position"]) else np.empty(0, np.int64)
    if len(entries):
        if not len(maxima):
            return 0
        stamps = entries["timestamp"].astype(np.int64)
        offsets = entries["relative_offset"].astype(np.int64) + base
        at = np.minimum(np.searchsorted(columns["last_offset"], offsets), len(maxima) - 1)
        good = (columns["last_offset"][at] == offsets) & (maxima[at] == stamps)
        good &= columns["max_timestamp_ms"][at] == stamps
        good[1:] &= np.diff(stamps) > 0
        wrong = np.flatnonzero(~good)
        if len(wrong):
            return int(wrong[0]) * TIME_INDEX_ENTRY_BYTES
    newest = int(maxima[-1]) if len(maxima) else -1
    if sealed and newest >= 0 and (not len(entries) or int(entries["timestamp"][-1]) != newest):
        return whole
    return -1


def _seal(disk: Disk, path: str, segment: Segment, scan: Scan, seal: SegmentSeal, report: Report) -> None:
    """A sealed segment must still be, bit for bit, what was sealed."""
    if not scan.bad and (scan.size_bytes != seal.size_bytes or scan.header_digest != seal.header_digest):
        report.findings.append(
            Finding(segment.path, 0, "digest", "not the bytes that were sealed: a header changed", "see the batches")
        )
    for kind, digest in (("index", seal.offset_index), ("timeindex", seal.time_index)):
        file = f"{path}/{names.file_name(segment.base_offset, kind)}"
        if disk.exists(file):
            data = disk.read_file(file)
            known = any(f.file == file for f in report.findings)
            if FileDigest(len(data), crc32c(data)) != digest and not known:
                report.findings.append(Finding(file, 0, kind, "not the bytes that were sealed", "rebuild it"))


def _transaction_indexes(disk: Disk, path: str, bases: list[int], report: Report) -> None:
    for base in bases:
        file = f"{path}/{names.txnindex_name(base)}"
        if disk.exists(file) and parse_aborted(disk.read_file(file), base) is None:
            report.findings.append(
                Finding(file, 0, "txnindex", "no log can have written it", "rebuild it from the log")
            )
