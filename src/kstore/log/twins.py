"""Checksummed copies of Kafka's checkpoints, and whom to believe when a file and its copy differ.

Kafka's checkpoint files have no checksum: a flipped digit makes another number. So kstore keeps twins: the sidecars
`kstore-checkpoints` (root) and `kstore-partition` (each partition) hold, for each file, the digest of the bytes that
it must have and what they say. Every write goes to the twin first, with the digest before and after, and then to the
file; a crash between the two leaves a file that matches one of both.

A file that matches neither was damaged, or written by a Kafka that ran here since. What tells them apart is
`others_ran`: Kafka's clean marker carries the epoch with which the broker registered at that boot, and the twin knows
the one in kstore's; Kafka removes a marker at its start; the metadata log `__cluster_metadata-0` changes with every
boot. Then:

    file                       nobody else ran                others ran
    recovery points            the smaller number to scan     the smaller number to scan
                               from, the twin's is durable    from, the file's is durable
    high watermarks, cleaner   the smaller number             the smaller number
    log starts                 the twin                       the file, the twin if that is unreadable
    meta.properties            the twin                       the file, the twin if that is unreadable
    leader-epoch-checkpoint    the file, the twin if that is unreadable; to be checked against the log
    partition.metadata         the twin: the id of a topic's directory never changes

A recovery point file that is unreadable, or that has no twin, lets recovery scan from 0: whoever wrote it kept no
checksum. Otherwise a file without a twin (absent or damaged) is believed as far as it can be read.

Invariants
1. While nobody else ran, no single flipped bit, truncation or deletion of any of these files, twins included, raises
   a recovery point above what was flushed, makes an unclean stop a clean one, or raises a log start.
2. `RootCheckpoints.begin` has removed the clean marker, durably, before it returns; only the twin changes earlier.
3. Reading changes nothing.

Used by the store (root) and the loader (partitions). Knows no clock and no segments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kstore.errors import UsageError
from kstore.log import names
from kstore.log.checkpoints import (
    NO_BROKER_EPOCH,
    format_clean_shutdown,
    format_offsets,
    format_partition_metadata,
    parse_clean_shutdown,
    parse_offsets,
    parse_partition_metadata,
)
from kstore.log.digests import NO_FILE, FileDigest, digest_of
from kstore.log.epochs import LeaderEpochs, format_epochs, parse_epochs
from kstore.log.properties import MetaProperties, format_meta_properties, parse_meta_properties
from kstore.log.sidecars import read_optional, read_sealed, seal

if TYPE_CHECKING:
    from kstore.log.disk import Disk

Offsets = dict[tuple[str, int], int]

KIND_ROOT = b"root"
KIND_PARTITION = b"part"
VERSION = 1
_OFFSET_FILES = (
    names.RECOVERY_POINTS_FILE,
    names.LOG_STARTS_FILE,
    names.HIGH_WATERMARKS_FILE,
    names.CLEANER_OFFSETS_FILE,
)


class RecoveryPoint(NamedTuple):
    """Where recovery of one log begins, and what it may cut.

    Batches below `scan_from` need no check. Bad bytes below `durable` were on the medium once: they are damage, not
    the torn tail of a crash. `scan_from <= durable`.
    """

    scan_from: int
    durable: int


class Twin(NamedTuple):
    """What a sidecar remembers of one file."""

    now: FileDigest
    was: FileDigest  # before the last write: what the file still has if that write did not happen
    text: str  # the file's content as believed, in its own format (Latin-1)
    low: str = ""  # recovery points: the numbers to scan from, where they differ from `text`

    def matches(self, data: bytes | None) -> bool:
        """Whether a file with these bytes (None: absent) is as it was written."""
        return digest_of(data or b"") in (self.now, self.was)


class _Belief(NamedTuple):
    """What an offset checkpoint is taken to say; `low` and `high` differ for recovery points only."""

    low: Offsets
    high: Offsets
    damaged: bool = False


class RootCheckpoints:
    """The root's offset checkpoints, `meta.properties`, the clean marker, and their twin. One writer."""

    def __init__(self, disk: Disk, root: str) -> None:
        """Use `open`."""
        self._disk = disk
        self._root = root
        self._twins: dict[str, Twin] = {}
        self._beliefs: dict[str, _Belief] = {}
        self._cleaned: set[tuple[str, int]] = set()
        self._writable = True
        self._marker_epoch = NO_BROKER_EPOCH
        self.was_clean = False
        """The last stop was clean: no log needs recovery."""
        self.others_ran = False
        """There is evidence that someone else wrote here since kstore last did."""
        self.cleaner_ran = False
        """The cleaner checkpoint is not as kstore left it, and kstore never changes one: a log may be compacted."""
        self.damaged: tuple[str, ...] = ()
        """Names of the files judged damaged, for reports and counters."""
        self.meta: MetaProperties | None = None
        """Whose directory it is; None when nothing says."""

    @classmethod
    def open(cls, disk: Disk, root: str, *, writable: bool = True) -> RootCheckpoints:
        """Reads everything and decides what to believe. Changes nothing; without `writable` nothing ever will."""
        self = cls(disk, root)
        self._writable = writable
        marker_data = read_optional(disk, self._path(names.CLEAN_SHUTDOWN_FILE))
        marker = None if marker_data is None else parse_clean_shutdown(marker_data)
        self.was_clean = marker is not None
        known = _read_twins(disk, self._path(names.TWIN_FILE), KIND_ROOT)
        if known is not None:
            self._twins = known[1]
            closed, stamp = known[0]["closed"], known[0]["others"]
            own = known[0].get("marker", NO_BROKER_EPOCH)
            foreign = marker != own if marker is not None else closed and marker_data is None
            self.others_ran = foreign or stamp != self._others_stamp()
        self._marker_epoch = NO_BROKER_EPOCH if marker is None else marker
        damaged = [names.CLEAN_SHUTDOWN_FILE] if marker_data is not None and marker is None else []
        for name in _OFFSET_FILES:
            belief = _judge(name, read_optional(disk, self._path(name)), self._twins.get(name), self.others_ran)
            self._beliefs[name] = belief
            if belief.damaged:
                damaged.append(name)
        if self._read_meta():
            damaged.append(names.META_PROPERTIES_FILE)
        self.damaged = tuple(damaged)
        self._read_cleaned()
        return self

    # -- what they say --

    def recovery_point(self, topic: str, partition: int) -> RecoveryPoint:
        """Where the recovery of a log begins; (0, 0) without an entry."""
        belief = self._beliefs[names.RECOVERY_POINTS_FILE]
        low, high = belief.low.get((topic, partition), 0), belief.high.get((topic, partition), 0)
        return RecoveryPoint(low, max(low, high))

    @property
    def vouched(self) -> bool:
        """Whether there is a twin: kstore wrote here before, and what it wrote is checksummed."""
        return bool(self._twins)

    def log_start(self, topic: str, partition: int) -> int | None:
        """The log start offset; None when it is the first segment's base offset."""
        return self._beliefs[names.LOG_STARTS_FILE].low.get((topic, partition))

    def high_watermark(self, topic: str, partition: int) -> int | None:
        """The last known high watermark, or one below it; None when none is known."""
        return self._beliefs[names.HIGH_WATERMARKS_FILE].low.get((topic, partition))

    def cleaner_offset(self, topic: str, partition: int) -> int | None:
        """Up to where the log is compacted, or less; None when nothing is known to be."""
        return self._beliefs[names.CLEANER_OFFSETS_FILE].low.get((topic, partition))

    def was_cleaned(self, topic: str, partition: int) -> bool:
        """Whether the cleaner checkpoint, or its twin where the two differ, says that the log was compacted once."""
        return (topic, partition) in self._cleaned

    # -- changes --

    def begin(self) -> None:
        """To be called before anything in the directory is changed: takes the clean marker away, durably.

        The twin is renewed first, so that a crash in between is not taken for someone else's work; then files judged
        damaged are written anew from what is believed. Raises `OSError`.
        """
        if not self._writable:
            raise UsageError(f"{self._root} was opened read-only")
        for name, belief in self._beliefs.items():
            data = read_optional(self._disk, self._path(name)) or b""
            text, low = _text(belief.high), _text(belief.low)
            self._twins[name] = Twin(digest_of(data), digest_of(data), text, "" if low == text else low)
        if self.meta is not None and names.META_PROPERTIES_FILE not in self.damaged:
            data = read_optional(self._disk, self._path(names.META_PROPERTIES_FILE)) or b""
            self._twins[names.META_PROPERTIES_FILE] = Twin(digest_of(data), digest_of(data), data.decode("latin-1"))
        self._write_twin(self._twins, closed=False)
        if self._disk.exists(self._path(names.CLEAN_SHUTDOWN_FILE)):
            self._disk.unlink(self._path(names.CLEAN_SHUTDOWN_FILE))
        self._disk.sync_dir(self._root)
        for name in self.damaged:
            if name in self._beliefs:
                low = _text(self._beliefs[name].low)
                self._write(name, low.encode("ascii"), self._twins[name].text, self._twins[name].low)
            elif name in self._twins:
                self._write(name, self._twins[name].text.encode("latin-1"), self._twins[name].text)

    def write_recovery_points(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Writes `recovery-point-offset-checkpoint`, durably; equal content is not written again. `OSError`."""
        self._write_offsets(names.RECOVERY_POINTS_FILE, offsets)

    def write_log_starts(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Writes `log-start-offset-checkpoint`: only logs that start above their first segment belong into it."""
        self._write_offsets(names.LOG_STARTS_FILE, offsets)

    def write_high_watermarks(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Writes `replication-offset-checkpoint`."""
        self._write_offsets(names.HIGH_WATERMARKS_FILE, offsets)

    def write_cleaner_offsets(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Writes `cleaner-offset-checkpoint`."""
        self._write_offsets(names.CLEANER_OFFSETS_FILE, offsets)

    def set_log_start(self, topic: str, partition: int, offset: int) -> None:
        """Writes the log start offset of one log and leaves the others as they are."""
        known = self._beliefs[names.LOG_STARTS_FILE].low
        self.write_log_starts({**known, (topic, partition): offset})

    def lower_recovery_point(self, topic: str, partition: int, offset: int) -> None:
        """Writes a recovery point no higher than `offset` for one log and leaves the others as they are."""
        known = self._beliefs[names.RECOVERY_POINTS_FILE].high
        if known.get((topic, partition), 0) > offset:
            self.write_recovery_points({**known, (topic, partition): offset})

    def forget(self, topic: str) -> None:
        """Drops what is said of a topic's logs, durably, before a topic of that name is made anew. Raises `OSError`.

        A log that inherited a log start would begin there, and one that inherited a recovery point would take its
        torn tail for damage.
        """
        for name, belief in list(self._beliefs.items()):
            low, high = (_without(topic, offsets) for offsets in (belief.low, belief.high))
            if (low, high) != (belief.low, belief.high):
                text = _text(low)
                self._write(name, text.encode("ascii"), _text(high), "" if low == high else text)
                self._beliefs[name] = _Belief(low, high)
        self._cleaned = {key for key in self._cleaned if key[0] != topic}

    def write_meta(self, meta: MetaProperties, *, now_ms: int) -> None:
        """Writes `meta.properties`. Whoever writes that file past this method looks like damage to the next open."""
        data = format_meta_properties(meta, now_ms=now_ms)
        self._write(names.META_PROPERTIES_FILE, data, data.decode("latin-1"))
        self.meta = meta

    def finish(self, broker_epoch: int = NO_BROKER_EPOCH) -> None:
        """The last act of a clean close, after the last checkpoints: the marker, durably. Raises `OSError`.

        `broker_epoch` is the one with which the broker of this directory registered last, where Kafka's metadata
        tells it: a controller that reads another one takes the broker's stop for an unclean one (KIP-966).
        """
        self._marker_epoch = broker_epoch
        self._write_twin(self._twins, closed=True)
        self._disk.write_file_atomic(self._path(names.CLEAN_SHUTDOWN_FILE), format_clean_shutdown(broker_epoch))

    # -- inside --

    def _write_offsets(self, name: str, offsets: Mapping[tuple[str, int], int]) -> None:
        data = format_offsets(offsets)
        known = self._twins.get(name)
        text = data.decode("ascii")
        if known is None or (known.now, known.text, known.low) != (digest_of(data), text, ""):
            self._write(name, data, text)
        kept = dict(offsets)
        self._beliefs[name] = _Belief(kept, kept)

    def _write(self, name: str, data: bytes, text: str, low: str = "") -> None:
        """Twin first, then the file. What fails leaves the memory as it was, and a disk that `matches` explains."""
        known = self._twins.get(name)
        twin = Twin(digest_of(data), known.now if known is not None else NO_FILE, text, low)
        self._write_twin({**self._twins, name: twin}, closed=False)
        self._disk.write_file_atomic(self._path(name), data)
        self._twins[name] = twin

    def _write_twin(self, twins: Mapping[str, Twin], *, closed: bool) -> None:
        head = {"closed": closed, "others": self._others_stamp(), "marker": self._marker_epoch}
        self._disk.write_file_atomic(self._path(names.TWIN_FILE), _format_twins(KIND_ROOT, head, twins))

    def _read_cleaned(self) -> None:
        data = read_optional(self._disk, self._path(names.CLEANER_OFFSETS_FILE))
        said = parse_offsets(data or b"") or {}
        twin = self._twins.get(names.CLEANER_OFFSETS_FILE)
        self.cleaner_ran = bool(said) and twin is not None and not twin.matches(data)
        self._cleaned = {*said, *self._beliefs[names.CLEANER_OFFSETS_FILE].low}

    def _read_meta(self) -> bool:
        """Decides what `meta.properties` says; whether the file is damaged."""
        data = read_optional(self._disk, self._path(names.META_PROPERTIES_FILE))
        twin = self._twins.get(names.META_PROPERTIES_FILE)
        self.meta = None if data is None else parse_meta_properties(data)
        if twin is None or twin.matches(data):
            return data is not None and self.meta is None
        if self.meta is not None and self.others_ran:
            return False
        self.meta = parse_meta_properties(twin.text.encode("latin-1"))
        return True

    def _others_stamp(self) -> int:
        """Changes whenever a KRaft broker or controller has run here: its metadata log grows at every boot."""
        directory = self._path(names.partition_dir_name(names.METADATA_TOPIC, 0))
        if not self._disk.is_dir(directory):
            return 0
        seen = [
            f"{name} {self._disk.size(f'{directory}/{name}')}"
            for name in self._disk.list(directory)
            if name.endswith((".log", ".checkpoint"))
        ]
        state = read_optional(self._disk, f"{directory}/quorum-state") or b""
        return digest_of("\n".join(seen).encode() + b"\n" + state).crc

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _judge(name: str, data: bytes | None, twin: Twin | None, others_ran: bool) -> _Belief:
    """What an offset checkpoint with these bytes (None: absent) is taken to say: the table of the module header."""
    said = None if data is None else parse_offsets(data)
    if twin is None:
        offsets = said or {}
        low = {} if name == names.RECOVERY_POINTS_FILE else offsets
        return _Belief(low, offsets, damaged=data is not None and said is None)
    high = parse_offsets(twin.text.encode("latin-1")) or {}
    low = parse_offsets(twin.low.encode("latin-1")) or {} if twin.low else high
    if twin.matches(data):
        return _Belief(low, high)
    if name == names.LOG_STARTS_FILE:
        if others_ran and said is not None:
            return _Belief(said, said)
        return _Belief(high, high, damaged=True)
    if others_ran and said is not None:
        return _Belief({key: min(offset, low.get(key, offset)) for key, offset in said.items()}, said)
    if name == names.RECOVERY_POINTS_FILE:
        smaller = {key: min(offset, (said or {}).get(key, 0)) for key, offset in low.items()}
        return _Belief(smaller, {} if others_ran else high, damaged=True)
    smaller = {key: min(offset, (said or {}).get(key, offset)) for key, offset in low.items()}
    return _Belief(smaller, smaller, damaged=True)


def _without(topic: str, offsets: Offsets) -> Offsets:
    return {key: offset for key, offset in offsets.items() if key[0] != topic}


def _text(offsets: Offsets) -> str:
    return format_offsets(offsets).decode("ascii")


# -- one partition -----------------------------------------------------------------------------------------------


class PartitionFiles:
    """`leader-epoch-checkpoint` and `partition.metadata` of one partition, and their twin. One writer."""

    def __init__(self, disk: Disk, directory: str) -> None:
        """Use `open`."""
        self._disk = disk
        self._directory = directory
        self._twins: dict[str, Twin] = {}
        self._held: dict[str, bytes | None] = {}
        """What each file holds, as far as is known; None where there is none."""
        self.epochs = LeaderEpochs()
        """The lineage as the files have it; the log changes it and hands it to `write_epochs`."""
        self.epochs_trusted = False
        """False: check `epochs` against the headers of the log, or rebuild it from them, then `write_epochs`."""
        self.topic_id: bytes | None = None
        """None when nothing says."""
        self.damaged: tuple[str, ...] = ()
        """Names of the files judged damaged, for reports and counters."""

    @classmethod
    def open(cls, disk: Disk, directory: str) -> PartitionFiles:
        """Reads both files and decides what to believe. Changes nothing."""
        self = cls(disk, directory)
        known = _read_twins(disk, self._path(names.PARTITION_TWIN_FILE), KIND_PARTITION)
        self._twins = {} if known is None else known[1]
        damaged = []
        if self._read_epochs():
            damaged.append(names.EPOCHS_FILE)
        if self._read_topic_id():
            damaged.append(names.PARTITION_METADATA_FILE)
        self.damaged = tuple(damaged)
        return self

    def write_epochs(self, epochs: LeaderEpochs) -> None:
        """Writes `leader-epoch-checkpoint`, durably: before the first batch of a new epoch. Raises `OSError`.

        What file and twin say already is not written again; a log without epochs is given no file to say so.
        """
        held = self._held.get(names.EPOCHS_FILE)
        if epochs or names.EPOCHS_FILE in self._twins or (held is not None and parse_epochs(held) != ()):
            self._write(names.EPOCHS_FILE, format_epochs(epochs.entries))
        self.epochs, self.epochs_trusted = epochs, True

    def write_topic_id(self, topic_id: bytes) -> None:
        """Writes `partition.metadata`, durably: before the first batch of a log. Raises `OSError`."""
        self._write(names.PARTITION_METADATA_FILE, format_partition_metadata(topic_id))
        self.topic_id = topic_id

    def heal(self) -> None:
        """Writes a damaged `partition.metadata` anew. The epochs are healed by `write_epochs`, once checked."""
        if names.PARTITION_METADATA_FILE in self.damaged and self.topic_id is not None:
            self.write_topic_id(self.topic_id)

    def _read_epochs(self) -> bool:
        """Decides what the lineage is; whether the file is damaged for certain.

        A file from before a write that did not happen is as good as the twin, which tells of it: no batch is appended
        in an epoch, and no epoch is forgotten of batches that stay, before both are written. After a write that failed
        the log has gone on with what the file says.
        """
        data = self._held[names.EPOCHS_FILE] = read_optional(self._disk, self._path(names.EPOCHS_FILE))
        twin = self._twins.get(names.EPOCHS_FILE)
        said = None if data is None else parse_epochs(data)
        self.epochs_trusted = twin is not None and twin.matches(data)
        if twin is not None and said is None:
            said = parse_epochs(twin.text.encode("latin-1"))
        self.epochs = LeaderEpochs(said or ())
        return data is not None and parse_epochs(data) is None

    def _read_topic_id(self) -> bool:
        """Decides what the topic's id is; whether the file is damaged."""
        data = self._held[names.PARTITION_METADATA_FILE] = read_optional(
            self._disk, self._path(names.PARTITION_METADATA_FILE)
        )
        twin = self._twins.get(names.PARTITION_METADATA_FILE)
        self.topic_id = parse_partition_metadata(data or b"")
        if twin is None:
            return data is not None and self.topic_id is None
        said, self.topic_id = self.topic_id, parse_partition_metadata(twin.text.encode("latin-1"))
        return said != self.topic_id

    def _write(self, name: str, data: bytes) -> None:
        """Twin first, then the file. The twin is not synced: a torn or older one makes the file be checked."""
        known = self._twins.get(name)
        now, text = digest_of(data), data.decode("latin-1")
        if known is not None and (known.now, known.text) == (now, text) and self._held.get(name) == data:
            return
        twins = {**self._twins, name: Twin(now, known.now if known is not None else NO_FILE, text)}
        self._held.pop(name, None)
        self._disk.write_file(self._path(names.PARTITION_TWIN_FILE), _format_twins(KIND_PARTITION, {}, twins))
        self._disk.write_file_atomic(self._path(name), data)
        self._twins, self._held[name] = twins, data

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"


# -- the sidecars ------------------------------------------------------------------------------------------------


def _format_twins(kind: bytes, head: Mapping[str, Any], twins: Mapping[str, Twin]) -> bytes:
    payload = json.dumps({**head, "files": twins}, separators=(",", ":"))
    return seal(kind, VERSION, payload.encode("ascii"))


def _read_twins(disk: Disk, path: str, kind: bytes) -> tuple[dict[str, Any], dict[str, Twin]] | None:
    """The head and the twins in a sidecar; None when it is absent or damaged."""
    payload = read_sealed(disk, path, kind, VERSION)
    if payload is None:
        return None
    head = json.loads(payload)
    files = head.pop("files")
    twins = {name: Twin(FileDigest(*now), FileDigest(*was), text, low) for name, (now, was, text, low) in files.items()}
    return head, twins
