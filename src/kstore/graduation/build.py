"""`graduate`: from a log directory to one that a Kafka broker takes for its own after a clean stop.

Owns the order of steps. It must not know how logs recover (the store does that, on the copy) nor what a controller
wants to read (`cluster`). Called by programs and by `kstore graduate`.

Invariants
1. The source is locked while it is read, and no byte of it changes. It may have been stopped uncleanly: its copy
   recovers, as it would on any open.
2. The target appears whole, by one rename, or not at all.
3. The target is as after a clean stop: indexes complete, a snapshot of producer state, checkpoints at the log ends.
4. A log with damaged ranges does not graduate, and all of it is read to know: Kafka would fail on reads that kstore
   can step around.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kstore._native.segment import Range, Segment
from kstore.config import StoreConfig
from kstore.errors import CorruptionError, NotALogDirectory, StorageError, UsageError
from kstore.graduation import cluster
from kstore.graduation.cluster import GraduatedTopic, Identity
from kstore.graduation.copying import Copier, Traffic, remove_tree
from kstore.kraft import read_metadata
from kstore.kraft.checkpoint import encode_checkpoint
from kstore.kraft.metadata import BOOTSTRAP_FILE, METADATA_DIR
from kstore.limits import INT32_MAX, INT64_MAX
from kstore.log import names
from kstore.log.checkpoints import format_clean_shutdown
from kstore.log.damage import read_damage
from kstore.log.disk import OsDisk
from kstore.log.properties import MetaProperties, format_meta_properties, parse_meta_properties
from kstore.log.snapshots import load_snapshot
from kstore.log.twins import PartitionFiles, RootCheckpoints
from kstore.store.store import Store, wall_clock_ms
from kstore.store.topics import partition_dirs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kstore.log.disk import Disk

PROPERTIES_FILE: Final = "kstore-server.properties"
"""The broker's configuration, written into the target too; Kafka reads no file of that name."""


@dataclass(frozen=True)
class Graduated:
    """What was made. `server_properties` is the text of the file at `properties_path`."""

    path: str
    server_properties: str
    properties_path: str
    cluster_id: str
    node_id: int
    topics: dict[str, int]
    """Partitions of each topic."""
    records_end: dict[str, list[int]]
    """Log end offset of each partition, by topic."""
    next_producer_id: int
    linked_bytes: int
    copied_bytes: int


def graduate(
    source: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    node_id: int = 1,
    cluster_id: str | None = None,
    listener: str = "127.0.0.1:9092",
    disk: Disk | None = None,
    clock: Callable[[], int] = wall_clock_ms,
) -> Graduated:
    """Make `to` a log.dir on which a Kafka broker (KRaft, 4.3 or newer) boots and serves what `source` holds.

    Parameters
    ----------
    source
        A log directory that nobody has open for writing; it stays as it is. Its sealed segments are shared with the
        target by hard links where the file system allows; neither side writes them again.
    to
        Absent, or an empty directory.
    node_id, listener
        The broker's id, and HOST:PORT where its clients find it; the port next to it is the controller's.
    cluster_id
        22 characters of base64url; by default the source's own, or a random one.
    disk, clock
        Replaced by simulations.

    Raises `UsageError` (a target that is there, a source that is locked or no log directory, a bad argument),
    `CorruptionError` (the source has damaged ranges: repair it first), `StorageError`. Then there is no target.
    """
    disk = disk or OsDisk()
    source, to = os.path.abspath(os.fspath(source)), os.path.abspath(os.fspath(to))
    host, port = cluster.parse_listener(listener)
    _check_arguments(disk, source, to, node_id, cluster_id)
    fresh = f"{to}.kstore-{names.random_hex()[:8]}"
    lock = disk.lock(f"{source}/{names.LOCK_FILE}")
    try:
        identity = Identity(
            cluster_id=cluster_id or _cluster_id(disk, source),
            node_id=node_id,
            directory_id=names.random_uuid(),
            host=host,
            port=port,
            controller_port=cluster.controller_port(port),
        )
        disk.make_dir(fresh)
        done = _build(disk, clock, source, fresh, to, identity)
        disk.rename(fresh, to)
        disk.sync_dir(os.path.dirname(to))
        return done
    except OSError as error:
        file, reason = error.filename or to, error.strerror or "failed"
        raise StorageError(error.errno or 0, file, "graduate", reason, final=False) from error
    finally:
        if disk.exists(fresh):
            remove_tree(disk, fresh)
        lock.release()


def _check_arguments(disk: Disk, source: str, to: str, node_id: int, cluster_id: str | None) -> None:
    if not 0 <= node_id <= INT32_MAX:
        raise UsageError(f"node id {node_id} is outside 0 to {INT32_MAX}")
    if cluster_id is not None:
        try:
            names.uuid_from_text(cluster_id)
        except ValueError as error:
            raise UsageError(f"cluster id: {error}") from None
    if not disk.exists(source) or not disk.is_dir(source):
        raise NotALogDirectory(f"{source} is no directory; graduate takes a log directory")
    if not partition_dirs(disk, source):
        raise NotALogDirectory(f"{source} holds no partition; graduate takes a log directory with topics")
    if disk.exists(to) and (not disk.is_dir(to) or disk.list(to)):
        raise UsageError(f"{to} is not an empty directory; graduate makes a new one")
    if f"{to}/".startswith(f"{source}/"):
        raise UsageError(f"{to} lies inside {source}; choose a target outside the source")
    if "," in to:
        raise UsageError(f"{to}: Kafka's log.dirs cannot name a path with a comma; choose another")
    if not disk.exists(os.path.dirname(to)):
        raise UsageError(f"{os.path.dirname(to)} does not exist; make it first")


def _cluster_id(disk: Disk, source: str) -> str:
    path = f"{source}/{names.META_PROPERTIES_FILE}"
    meta = parse_meta_properties(disk.read_file(path)) if disk.exists(path) else None
    return (meta.cluster_id if meta else None) or names.uuid_to_text(names.random_uuid())


def _build(disk: Disk, clock: Callable[[], int], source: str, fresh: str, to: str, identity: Identity) -> Graduated:
    """All of the target, under the name `fresh`; `to` is how it will be called."""
    traffic = _copy_logs(disk, source, fresh)
    inherited = read_metadata(disk, fresh)
    topics, ends = _settle(disk, clock, source, fresh, inherited.topic_configs)
    if disk.exists(f"{fresh}/{METADATA_DIR}"):  # of the cluster that the source belonged to; it has told its configs
        remove_tree(disk, f"{fresh}/{METADATA_DIR}")
    next_producer_id = max(inherited.next_producer_id, _next_producer_id(disk, fresh, topics))
    now_ms = clock()
    values = cluster.metadata_records(identity, topics, next_producer_id)
    properties = cluster.server_properties(identity, to, {topic.name: len(topic.leader_epochs) for topic in topics})
    meta = MetaProperties(identity.cluster_id, identity.node_id, identity.directory_id)
    for name, data in {
        BOOTSTRAP_FILE: encode_checkpoint(values, now_ms),
        names.META_PROPERTIES_FILE: format_meta_properties(meta, now_ms=now_ms),
        PROPERTIES_FILE: properties.encode("ascii"),
        names.CLEAN_SHUTDOWN_FILE: format_clean_shutdown(cluster.BROKER_EPOCH),
    }.items():
        disk.write_file_atomic(f"{fresh}/{name}", data)
    return Graduated(
        path=to,
        server_properties=properties,
        properties_path=f"{to}/{PROPERTIES_FILE}",
        cluster_id=identity.cluster_id,
        node_id=identity.node_id,
        topics={topic.name: len(topic.leader_epochs) for topic in topics},
        records_end=ends,
        next_producer_id=next_producer_id,
        linked_bytes=traffic.linked_bytes,
        copied_bytes=traffic.copied_bytes,
    )


def _copy_logs(disk: Disk, source: str, fresh: str) -> Traffic:
    roots = RootCheckpoints.open(disk, source, writable=False)
    copier = Copier(disk)
    listing = disk.list(source)
    dirs = partition_dirs(disk, source)
    copier.root_files(source, fresh, listing)
    for name in listing:
        if name == METADATA_DIR:
            copier.metadata_log(f"{source}/{name}", f"{fresh}/{name}")
        parsed = dirs.get(name)
        if parsed is None or parsed.kind != "live" or parsed.topic == names.METADATA_TOPIC:
            continue
        scan_from = None if roots.was_clean else roots.recovery_point(parsed.topic, parsed.partition).scan_from
        copier.partition(f"{source}/{name}", f"{fresh}/{name}", scan_from)
    return copier.traffic


def _settle(
    disk: Disk, clock: Callable[[], int], source: str, fresh: str, configs: Mapping[str, Mapping[str, str]]
) -> tuple[list[GraduatedTopic], dict[str, list[int]]]:
    """Opens the copy, which recovers it where it must, closes it cleanly, and takes kstore's root sidecars away."""
    ends: dict[str, list[int]] = {}
    with Store(fresh, StoreConfig(), disk, clock, create=False, background=False) as store:
        found = store.topics()
        for name, topic in found.items():
            if topic.partitions != tuple(range(len(topic.partitions))):
                missing = min(set(range(topic.partition_count)) - set(topic.partitions))
                raise UsageError(f"topic {name} has no partition {missing} here; a lone broker needs all of them")
            ends[name] = [store.partition(name, number).log_end_offset for number in topic.partitions]
    _refuse_damage(disk, source, fresh, ends)
    topics = []
    for name, topic in found.items():
        config = {**configs.get(name, {}), **topic.config.changed()}
        topics.append(_settled(disk, fresh, name, topic.topic_id, config, len(ends[name])))
    for name in disk.list(fresh):
        if name.startswith("kstore-") or name == names.LOCK_FILE:
            disk.unlink(f"{fresh}/{name}")
    return topics, ends


def _refuse_damage(disk: Disk, source: str, fresh: str, topics: Mapping[str, Sequence[int]]) -> None:
    """Raises `CorruptionError`, naming the file of the source, when any log has a damaged range, known or not.

    Every byte is read: Kafka would take the marker of the clean stop at its word, and fail its consumers later.
    """
    for name, ends in topics.items():
        for number, end in enumerate(ends):
            directory = names.partition_dir_name(name, number)
            for base, bad in _damaged_ranges(disk, f"{fresh}/{directory}", end):
                raise CorruptionError(
                    f"{source}/{directory}/{names.log_name(base)}",
                    bad.position,
                    f"{bad.reason}; a log with damage does not graduate: run `kstore log repair` on it first",
                    offset=bad.first_offset,
                    next_offset=bad.next_offset,
                )


def _damaged_ranges(disk: Disk, directory: str, end: int) -> Iterator[tuple[int, Range]]:
    """With the base offset of its segment: what was put aside before, then what a scan finds."""
    for known in read_damage(disk, directory):
        yield known.segment_base_offset, Range(
            known.position, known.end_position, known.first_offset, known.next_offset, known.reason
        )
    files = (names.parse_file_name(name) for name in disk.list(directory))
    bases = sorted(file.offset for file in files if file and file.kind == names.LOG and not file.suffix)
    for base, next_base in itertools.pairwise([*bases, end]):
        for found in Segment(disk, directory, base).scan_damage(next_base).bad:
            yield base, found


def _settled(
    disk: Disk, fresh: str, name: str, topic_id: str, config: Mapping[str, str], partitions: int
) -> GraduatedTopic:
    """One topic after the clean close, every partition of it with the same id; without one it gets a new id."""
    uuid = names.uuid_from_text(topic_id) if topic_id else names.random_uuid()
    epochs = []
    for number in range(partitions):
        directory = f"{fresh}/{names.partition_dir_name(name, number)}"
        files = PartitionFiles.open(disk, directory)
        if files.topic_id != uuid:
            files.write_topic_id(uuid)
        epochs.append(files.epochs.latest_epoch)
    return GraduatedTopic(name, uuid, config, epochs)


def _next_producer_id(disk: Disk, fresh: str, topics: list[GraduatedTopic]) -> int:
    """One more than the highest producer id that any log remembers."""
    highest = -1
    for topic in topics:
        for number in range(len(topic.leader_epochs)):
            directory = f"{fresh}/{names.partition_dir_name(topic.name, number)}"
            entries = load_snapshot(disk, directory, INT64_MAX).entries
            highest = max([highest, *(entry.producer_id for entry in entries)])
    return highest + 1
