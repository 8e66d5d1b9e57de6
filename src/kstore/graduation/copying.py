"""The logs of one directory in another: sealed segments as hard links, all else as copies.

Owns what is linked, copied and left behind. Called by `build`, with the source locked.

Invariants
1. No byte of the source changes, then or later through a shared file: only logs that nobody will write or cut again
   are linked, and every other file gets an inode of its own.
2. What recovery may still cut is copied: after an unclean stop everything from the point on where its scan begins.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kstore.kraft.metadata import BOOTSTRAP_FILE
from kstore.log import names

if TYPE_CHECKING:
    from kstore.log.disk import Disk

COPY_BYTES: Final = 1 << 20


@dataclass
class Traffic:
    """How the bytes came across."""

    linked_files: int = 0
    linked_bytes: int = 0
    copied_files: int = 0
    copied_bytes: int = 0


class Copier:
    """Brings files across; hard links stop at the first refusal (another file system, or one without links)."""

    def __init__(self, disk: Disk) -> None:
        self.traffic = Traffic()
        self._disk = disk
        self._links = True

    def root_files(self, source: str, target: str, listing: list[str]) -> None:
        """Copies checkpoints and kstore's sidecars, so that the target opens as the source would."""
        for name in listing:
            path = f"{source}/{name}"
            ours = name.startswith("kstore-") and name not in _HOLDERS
            if (ours or name in _ROOT_FILES) and not self._disk.is_dir(path):
                self._copy(path, f"{target}/{name}")

    def partition(self, source: str, target: str, scan_from: int | None) -> None:
        """Brings one partition across. `scan_from` is where recovery would begin, None after a clean stop."""
        disk = self._disk
        disk.make_dir(target)
        listing = disk.list(source)
        files = (names.parse_file_name(name) for name in listing)
        logs = sorted(file.offset for file in files if file and file.kind == names.LOG and not file.suffix)
        ends = dict(itertools.pairwise(logs))  # the active segment has no end, so it is copied
        for name in listing:
            file = names.parse_file_name(name)
            if name.endswith(_DROPPED) or (file is None and not _belongs(name)):
                continue
            final = (
                file is not None
                and file.kind == names.LOG
                and not file.suffix
                and file.offset in ends
                and (scan_from is None or ends[file.offset] <= scan_from)
            )
            self._bring(f"{source}/{name}", f"{target}/{name}", link=final)
        disk.sync_dir(target)

    def metadata_log(self, source: str, target: str) -> None:
        """Copies Kafka's metadata log, which tells the configs of the topics, and whether it ran since kstore did."""
        self._disk.make_dir(target)
        for name in self._disk.list(source):
            if name.endswith((".log", ".checkpoint")) or name == "quorum-state":
                self._copy(f"{source}/{name}", f"{target}/{name}")

    def _bring(self, source: str, target: str, *, link: bool) -> None:
        if link and self._links:
            try:
                self._disk.link(source, target)
            except OSError:
                self._links = False
            else:
                self.traffic.linked_files += 1
                self.traffic.linked_bytes += self._disk.size(target)
                return
        self._copy(source, target)

    def _copy(self, source: str, target: str) -> None:
        reader = self._disk.open_file(source, writable=False)
        try:
            writer = self._disk.open_file(target, create=True)
            try:
                position = 0
                while chunk := reader.read_at(position, COPY_BYTES):
                    writer.write_at(chunk, position)
                    position += len(chunk)
                writer.sync()
            finally:
                writer.close()
        finally:
            reader.close()
        self.traffic.copied_files += 1
        self.traffic.copied_bytes += position


_ROOT_FILES = frozenset(
    {
        names.RECOVERY_POINTS_FILE,
        names.LOG_STARTS_FILE,
        names.HIGH_WATERMARKS_FILE,
        names.CLEANER_OFFSETS_FILE,
        names.CLEAN_SHUTDOWN_FILE,
        BOOTSTRAP_FILE,
    }
)
_HOLDERS = frozenset({"kstore-holder"})
_DROPPED = (names.DELETED, ".corrupt", names.TEMPORARY)


def _belongs(name: str) -> bool:
    return name in (names.EPOCHS_FILE, names.PARTITION_METADATA_FILE) or name.startswith("kstore-")


def remove_tree(disk: Disk, path: str) -> None:
    """Removes a directory and all in it; for one that this package made."""
    for name in disk.list(path):
        inner = f"{path}/{name}"
        if disk.is_dir(inner):
            remove_tree(disk, inner)
        else:
            disk.unlink(inner)
    disk.remove_dir(path)
