"""What an interrupted roll, compaction or deletion leaves in a partition directory, and how it is resolved.

Owns the meaning of the suffixes `.deleted`, `.cleaned`, `.swap` and `.tmp`. Called by `loader` before any segment
is opened, on writable directories only. Follows LogLoader.removeTempFilesAndCollectSwapFiles and completeSwapOperations
of Apache Kafka.

Invariants: resolving twice is the same as once, from any point at which the first was interrupted; files that are
neither Kafka's nor ours are never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore._native import batch as native
from kstore.log import names
from kstore.log.names import LogFile

if TYPE_CHECKING:
    from kstore.log.disk import Disk

OWN_TEMPORARY = ".tmp"


def resolve(disk: Disk, directory: str) -> list[str]:
    """Finish or undo what was interrupted; returns a line for each thing done. Raises `OSError`."""
    done: list[str] = []
    files = {name: names.parse_file_name(name) for name in disk.list(directory)}
    for name, file in files.items():
        deleted = file is not None and file.suffix == ".deleted"
        if deleted or (name.endswith(OWN_TEMPORARY) and _is_temporary(name)):
            disk.unlink(f"{directory}/{name}")
            done.append(f"removed {name}")
    live = {name: file for name, file in files.items() if file is not None and file.suffix != ".deleted"}
    done += _drop_unfinished_cleaning(disk, directory, live)
    done += _finish_swaps(disk, directory, live)
    if done:
        disk.sync_dir(directory)
    return done


def _is_temporary(name: str) -> bool:
    """Whether a file was on its way to a name that is replaced whole: a segment's, a sidecar's, a checkpoint's."""
    base = name.removesuffix(OWN_TEMPORARY)
    file = names.parse_file_name(base)
    if file is not None:
        return not file.suffix
    known = (names.EPOCHS_FILE, names.PARTITION_METADATA_FILE)
    return base.startswith("kstore-") or base in known or names.is_corrupt_name(base)


def _drop_unfinished_cleaning(disk: Disk, directory: str, live: dict[str, LogFile]) -> list[str]:
    """`.cleaned` files are unfinished output; a `.swap` at or above them belongs to the same unfinished split."""
    cleaned = [file.offset for file in live.values() if file.suffix == ".cleaned"]
    if not cleaned:
        return []
    doomed = [
        name
        for name, file in live.items()
        if file.suffix == ".cleaned" or (file.suffix == ".swap" and file.offset >= min(cleaned))
    ]
    for name in doomed:
        disk.unlink(f"{directory}/{name}")
        del live[name]
    return [f"removed {name}: its cleaning was not finished" for name in doomed]


def _finish_swaps(disk: Disk, directory: str, live: dict[str, LogFile]) -> list[str]:
    """A `.swap` log is complete: it replaces every segment within its range of offsets."""
    swaps = {file.offset: name for name, file in live.items() if file.suffix == ".swap" and file.kind == "log"}
    done: list[str] = []
    if swaps:
        low = min(swaps)
        high = max(_next_offset(disk, f"{directory}/{name}", base) for base, name in swaps.items())
        for name, file in live.items():
            if not file.suffix and file.kind in ("log", "index", "timeindex", "txnindex") and low <= file.offset < high:
                disk.unlink(f"{directory}/{name}")
                done.append(f"removed {name}: compaction has replaced it")
        if done:
            disk.sync_dir(directory)  # a power loss must not keep an old segment beside the one that replaces it
    # A log before its indexes: as long as it is a swap, the indexes of its name count as the old segment's.
    for name, file in sorted(live.items(), key=lambda item: (item[1].kind != "log", item[0])):
        if file.suffix == ".swap":
            disk.rename(f"{directory}/{name}", f"{directory}/{name.removesuffix('.swap')}")
            done.append(f"renamed {name}: its swap is finished")
    return done


def _next_offset(disk: Disk, path: str, base_offset: int) -> int:
    """The end of a swap file by its headers: at least its own base, so that its namesake is replaced too."""
    next_offset = base_offset + 1
    for header in native.headers(disk.read_file(path)):
        next_offset = max(next_offset, header.next_offset)
    return next_offset
