"""Topics as directories: how they come to be, end, and are found again.

Owns the steps of creating and deleting a topic, in an order that a crash at any point leaves finishable. Called by
`store` under its lock.

Invariants: the catalogue says `creating` before the first directory exists and `deleting` before the first is gone;
`finish_interrupted` brings either to its end, any number of times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kstore._native.segment import Segment
from kstore.errors import UsageError
from kstore.log import names
from kstore.log.checkpoints import parse_partition_metadata
from kstore.log.twins import PartitionFiles
from kstore.nearest import nearest
from kstore.store.catalog import Catalog, Entry
from kstore.store.directory import METADATA_TOPIC

if TYPE_CHECKING:
    from kstore.kraft import KraftMetadata
    from kstore.log.disk import Disk

UNKNOWN_TO_KAFKA = (
    "the Kafka of %s does not know topic %s: its next boot sets the directories aside as -stray; "
    "create the topic by Kafka's own tools, or graduate to a new directory"
)

_log = logging.getLogger(__name__)


def partition_dirs(disk: Disk, root: str) -> dict[str, names.PartitionDir]:
    """The directories of partitions in a log directory, of whatever kind, by name.

    A file may be called like one (`kstore-group-1`), so each is looked at. A symbolic link is none, wherever it leads.
    """
    named = {name: parsed for name in disk.list(root) if (parsed := names.parse_dir_name(name)) is not None}
    return {name: parsed for name, parsed in named.items() if disk.is_dir(f"{root}/{name}", follow=False)}


def partitions_of(disk: Disk, root: str) -> dict[str, list[int]]:
    """Partition numbers of each topic by the directories there are; Kafka's metadata log is none of them."""
    found: dict[str, list[int]] = {}
    for parsed in partition_dirs(disk, root).values():
        if parsed.kind == "live" and parsed.topic != METADATA_TOPIC:
            found.setdefault(parsed.topic, []).append(parsed.partition)
    return {topic: sorted(numbers) for topic, numbers in found.items()}


def create(
    disk: Disk,
    root: str,
    catalog: Catalog,
    name: str,
    partitions: int,
    config: Mapping[str, Any],
    topic_id: str | None,
) -> None:
    """Make the directories of a topic. Raises `UsageError` for a bad id and `OSError`, with nothing left behind."""
    if topic_id is None:
        topic_id = names.uuid_to_text(names.random_uuid())
    try:
        names.uuid_from_text(topic_id)
    except ValueError:
        raise UsageError(f"topic id {topic_id!r} is not 22 characters of base64url") from None
    entry = catalog.new_entry(topic_id, partitions, config)
    if catalog.entry(name).state == "deleting":
        delete(disk, root, catalog, name, partitions_of(disk, root).get(name, []))
    catalog.put(name, entry)
    try:
        _make_directories(disk, root, name, entry)
    except OSError:
        _remove_directories(disk, root, name, range(partitions))
        catalog.remove(name)
        raise
    catalog.put(name, entry._replace(state="live"))


def grow(disk: Disk, root: str, catalog: Catalog, name: str, numbers: list[int], partitions: int) -> list[int]:
    """Make a topic's missing directories up to `partitions`; returns all its numbers.

    Raises `UsageError` where it has as many, and `OSError`: the next open finishes what was begun.
    """
    if partitions <= numbers[-1] + 1:
        raise UsageError(f"topic {name} has {numbers[-1] + 1} partitions; it can grow, but not to {partitions}")
    topic_id = catalog.topic_id(name) or stored_id(disk, root, name, numbers)
    entry = catalog.entry(name)._replace(partitions=partitions, topic_id=topic_id)
    catalog.put(name, entry._replace(state="creating"))
    _make_directories(disk, root, name, entry)
    catalog.put(name, entry._replace(state="live"))
    return list(range(partitions))


def _make_directories(disk: Disk, root: str, name: str, entry: Entry) -> None:
    for number in range(entry.partitions):
        path = f"{root}/{names.partition_dir_name(name, number)}"
        if not disk.is_dir(path, follow=False):
            disk.make_dir(path)
        PartitionFiles.open(disk, path).write_topic_id(names.uuid_from_text(entry.topic_id))
        if not disk.exists(f"{path}/{names.log_name(0)}"):  # so that a reader finds a log, if an empty one
            first = Segment(disk, path, 0, writable=True)
            first.create()
            first.close(sync=False)
        disk.sync_dir(path)
    disk.sync_dir(root)


def note_deletion(catalog: Catalog, name: str, numbers: Sequence[int]) -> None:
    """Decide that a topic goes; on the medium when this returns. Raises `OSError`, and nothing is decided."""
    catalog.put(name, Entry(catalog.topic_id(name), len(numbers), {}, "deleting"))


def delete(disk: Disk, root: str, catalog: Catalog, name: str, numbers: Iterable[int]) -> None:
    """Remove the directories and the entry of a topic whose deletion is noted.

    Raises `OSError`; the next open, or the next creation under that name, finishes what was begun.
    """
    _remove_directories(disk, root, name, numbers)
    catalog.remove(name)


def _remove_directories(disk: Disk, root: str, name: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        path = f"{root}/{names.partition_dir_name(name, number)}"
        if disk.is_dir(path, follow=False):
            doomed = f"{root}/{names.delete_dir_name(name, number)}"
            disk.rename(path, doomed)
            disk.sync_dir(root)
            _remove_directory(disk, doomed)
    disk.sync_dir(root)


def _remove_directory(disk: Disk, path: str) -> None:
    """Remove a directory of ours or Kafka's; a file that is neither's keeps it there."""
    strangers = False
    for name in disk.list(path):
        if is_log_file(name):
            disk.unlink(f"{path}/{name}")
        else:
            strangers = True
    if strangers:
        _log.warning("%s holds files that are not Kafka's; it is left where it is", path)
    else:
        disk.remove_dir(path)


def is_log_file(name: str) -> bool:
    """Whether a file of a partition directory is Kafka's or kstore's."""
    return (
        names.parse_file_name(name) is not None
        or name in (names.EPOCHS_FILE, names.PARTITION_METADATA_FILE)
        or name.startswith("kstore-")
        or name.endswith((".corrupt", ".tmp"))
    )


def finish_interrupted(disk: Disk, root: str, catalog: Catalog) -> None:
    """Bring creations and deletions that a crash interrupted to their end. Raises `OSError`."""
    dirs = partition_dirs(disk, root)
    for name, entry in catalog.unfinished().items():
        if entry.state == "creating":
            _make_directories(disk, root, name, entry)
            catalog.put(name, entry._replace(state="live"))
        else:
            _remove_directories(disk, root, name, partitions_of(disk, root).get(name, []))
            catalog.remove(name)
    for name, parsed in dirs.items():
        if parsed.kind == "delete":
            _remove_directory(disk, f"{root}/{name}")


def stored_id(disk: Disk, root: str, name: str, numbers: Sequence[int]) -> str:
    """The topic id that a partition's own file tells, or an empty string."""
    path = f"{root}/{names.partition_dir_name(name, numbers[0])}/{names.PARTITION_METADATA_FILE}"
    if not disk.exists(path):
        return ""
    topic_id = parse_partition_metadata(disk.read_file(path))
    return "" if topic_id is None else names.uuid_to_text(topic_id)


def unknown(name: str, root: str, known: Iterable[str]) -> str:
    """The message for a topic that is not there, with the nearest one that is."""
    hint = nearest(name, known) or f"; `kstore topics list --dir {root}` shows what is there"
    return f"no topic {name} in {root}{hint}"


def kafkas_metadata(disk: Disk, root: str) -> KraftMetadata | None:
    """What Kafka's own metadata in this directory tells of topics and brokers; None where there is none."""
    if not disk.exists(f"{root}/{METADATA_TOPIC}-0") and not disk.exists(f"{root}/bootstrap.checkpoint"):
        return None
    from kstore.kraft import read_metadata

    return read_metadata(disk, root)
