"""`kstore verify`: reads every byte of a directory, changes none, says what is wrong and what repair would do.

Owns the list of things that must hold in a log directory. Opens files itself, read-only and without the lock, since
a directory that is too damaged to open is just what it is for. Called by users, the command line and `repair`.

Invariant: no check trusts what another file says about the one it reads; contradictions are findings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kstore.errors import NotALogDirectory
from kstore.inspect.report import Finding, Report
from kstore.inspect.segments import check_segments
from kstore.log import names
from kstore.log.checkpoints import parse_clean_shutdown, parse_offsets, parse_partition_metadata
from kstore.log.disk import OsDisk
from kstore.log.epochs import parse_epochs
from kstore.log.properties import parse_meta_properties
from kstore.log.snapshots import parse_snapshot
from kstore.store.directory import look
from kstore.store.topics import partition_dirs
from kstore.store.trust import Trust

if TYPE_CHECKING:
    from kstore.log.disk import Disk

Progress = Callable[[int, int], None]
"""Called with bytes read so far and bytes in all."""

OFFSET_CHECKPOINTS = (
    names.RECOVERY_POINTS_FILE,
    names.LOG_STARTS_FILE,
    names.HIGH_WATERMARKS_FILE,
    names.CLEANER_OFFSETS_FILE,
)


def verify(
    path: str | os.PathLike[str], *, disk: Disk | None = None, progress: Progress | None = None
) -> Report:
    """Read everything under a log directory, or one partition directory, and report what is wrong.

    Every checksum, every index entry against the batch it points to, every sidecar against the file it seals. The
    report's findings name file, position, kind and what repair would do; `ok` is True where there are none.

    Raises `NotALogDirectory` for a path that holds no log, `OSError` where a file cannot be read.
    """
    disk = disk or OsDisk()
    root = os.fspath(path).rstrip("/") or "/"
    report = Report(root)
    partitions = [root] if is_partition(disk, root) else partition_directories(disk, root)
    if partitions != [root]:
        look(disk, root, create=False)
        check_root(disk, root, report)
    trust = Trust.read(disk, root if partitions != [root] else parent_of(root))
    total = sum(disk.size(f"{p}/{name}") for p in partitions for name in disk.list(p) if name.endswith(".log"))
    for partition in partitions:
        check_partition(disk, partition, trust, report, None if progress is None else lambda n: progress(n, total))
    return report


def parent_of(path: str) -> str:
    """The log directory that a partition's directory lies in."""
    parent, slash, _ = path.rpartition("/")
    return parent or slash or "."


def is_partition(disk: Disk, path: str) -> bool:
    """Whether a path is one partition's directory rather than a log directory."""
    if not disk.exists(path):
        raise NotALogDirectory(f"{path} does not exist; give a log directory or one partition's directory")
    return disk.is_dir(path) and any(
        (file := names.parse_file_name(name)) is not None and file.kind == "log" for name in disk.list(path)
    )


def partition_directories(disk: Disk, root: str) -> list[str]:
    """The live partition directories of a log directory, Kafka's metadata log included."""
    if not disk.is_dir(root):
        raise NotALogDirectory(f"{root} is a file; give a log directory or one partition's directory")
    return [f"{root}/{name}" for name, parsed in partition_dirs(disk, root).items() if parsed.kind == "live"]


def check_root(disk: Disk, root: str, report: Report) -> None:
    """The files beside the partition directories."""
    present = set(disk.list(root))
    report.files += sum(1 for name in present if not disk.is_dir(f"{root}/{name}"))

    def data(name: str) -> bytes:
        return disk.read_file(f"{root}/{name}")

    for name in OFFSET_CHECKPOINTS:
        if name in present and parse_offsets(data(name)) is None:
            report.findings.append(
                Finding(f"{root}/{name}", 0, "checkpoint", "not a checkpoint that Kafka reads", "write it anew")
            )
    if names.CLEAN_SHUTDOWN_FILE in present:
        marker = data(names.CLEAN_SHUTDOWN_FILE)
        report.clean_stop = parse_clean_shutdown(marker) is not None
        if marker and not report.clean_stop:
            report.findings.append(
                Finding(
                    f"{root}/{names.CLEAN_SHUTDOWN_FILE}", 0, "checkpoint", "not a clean-shutdown marker",
                    "remove it, recover, write it anew",
                )
            )  # fmt: skip
    if names.META_PROPERTIES_FILE in present and parse_meta_properties(data(names.META_PROPERTIES_FILE)) is None:
        report.findings.append(
            Finding(
                f"{root}/{names.META_PROPERTIES_FILE}", 0, "metadata", "not what Kafka accepts as its identity",
                "write it anew from its twin, where there is one",
            )
        )  # fmt: skip


def check_partition(
    disk: Disk, path: str, trust: Trust, report: Report, progress: Callable[[int], None] | None
) -> None:
    """One partition directory: its segments, then the files beside them."""
    report.partitions += 1
    report.files += len(disk.list(path))
    check_segments(disk, path, trust, report, progress)
    report.findings += _beside(disk, path)


def _beside(disk: Disk, path: str) -> Iterator[Finding]:
    present = set(disk.list(path))
    if names.EPOCHS_FILE in present and parse_epochs(disk.read_file(f"{path}/{names.EPOCHS_FILE}")) is None:
        yield Finding(
            f"{path}/{names.EPOCHS_FILE}", 0, "epochs", "not a leader epoch checkpoint", "rebuild it from the batches"
        )
    if names.PARTITION_METADATA_FILE in present:
        file = f"{path}/{names.PARTITION_METADATA_FILE}"
        if parse_partition_metadata(disk.read_file(file)) is None:
            yield Finding(file, 0, "metadata", "not a partition.metadata", "write the topic id anew where it is known")
    for name in sorted(present):
        parsed = names.parse_file_name(name)
        if parsed is not None and parsed.kind == "snapshot" and not parsed.suffix:
            file = f"{path}/{name}"
            if parse_snapshot(disk.read_file(file)) is None:
                yield Finding(file, 0, "snapshot", "its checksum or form is wrong", "rebuild it from the batches")
