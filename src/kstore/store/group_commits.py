"""How far consumer groups have read: Kafka's records in `__consumer_offsets`, and commits that wait to become them.

Owns the choice of where a commit goes and which of two commits counts. It must not know who consumes what. Called
by `Store` (`store.groups`), applications and the command line; `graduate` reads `waiting_commits`.

A writing store appends a commit to `__consumer_offsets`. A read-only store, the consumer beside a running writer,
may not touch a log: it keeps its group's commits in a file of its own in the root, `kstore-group-NAME`, replaced
atomically and checksummed, which Kafka ignores. Whoever has the directory open for writing folds what is newer in
there into `__consumer_offsets`: at open, on the background tick and at close. docs/decisions/0009-group-commits.md
tells why.

Invariants:
1. A commit is on the medium when `commit` returns.
2. Of two commits of a group for a partition the one with the later timestamp counts; this module never gives out a
   timestamp that is not above the one before it, whatever the clock does.
3. Folding twice changes nothing: what the log has already is not appended again.
4. Its lock is taken before the store's, never while the store's is held.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from kstore._native.crc32c import crc32c
from kstore.errors import CorruptionError, StoreLocked, UsageError
from kstore.groups import offsets
from kstore.limits import GROUP_METADATA_BYTES_MAX

if TYPE_CHECKING:
    from kstore._native.records import Record
    from kstore.log.disk import Disk, Lock
    from kstore.partition import Partition
    from kstore.store.store import Store

FILE_PREFIX = "kstore-group-"
LOCK_PREFIX = "kstore-consumer-"
MAGIC = b"kstore-group 1 "
PARTITIONS = 1
"""Partitions of `__consumer_offsets` where kstore makes it. Kafka's 50 spread coordinators over brokers; a single
directory has one, and Kafka takes the number from the topic that it finds."""
FILE_NAME_CHARS_MAX = 200
"""Longer group names are told apart by a hash in the file name, below the 255 bytes of file systems."""

TopicPartition = tuple[str, int]

_log = logging.getLogger(__name__)


class CommittedOffset(NamedTuple):
    """A group's place in one partition: the next record it will read is `offset`."""

    offset: int
    leader_epoch: int
    metadata: str
    """Free text of the consumer, at most 4096 bytes."""
    commit_timestamp_ms: int


_DELETED_OFFSET = -1
"""Offset of a commit that a tombstone took back; kept for its timestamp, never given out."""


class GroupCommits:
    """The committed offsets of one directory. Threads may share it."""

    def __init__(self, store: Store) -> None:
        """`store` may be writing or read-only; nothing is read yet."""
        self._store = store
        self._mutex = threading.Lock()
        self._logged: dict[str, dict[TopicPartition, CommittedOffset]] = {}
        self._count = 0
        """Partitions of the topic; it never changes, since a group's partition hangs on it. 0: not there yet."""
        self._read_to: dict[int, int] = {}
        self._folded: dict[str, int] = {}
        """CRC-32C of each file as it was folded last, by file name."""

    # -- looking --------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Every group that has a commit, sorted. Raises `StorageError` where the disk fails to read."""
        with self._mutex:
            self._read_logs(range(self._partition_count()))
            groups = {name for name, commits in self._logged.items() if _live(commits)}
            with self._reading():
                groups.update(waiting_commits(self._store.disk, self._store.path))
        return sorted(groups)

    def committed(self, group: str) -> dict[TopicPartition, CommittedOffset]:
        """The group's committed offsets by `(topic, partition)`; empty for a group that never committed.

        Raises `StorageError` where the disk fails to read.
        """
        with self._mutex:
            return _live(self._newest(group))

    def _newest(self, group: str) -> dict[TopicPartition, CommittedOffset]:
        count = self._partition_count()
        if count:
            self._read_logs([offsets.partition_for(group, count)])
        with self._reading():
            waiting = _read_file(self._store.disk, self._file(group), group)
        return _merge(self._logged.get(group, {}), waiting)

    def _reading(self) -> AbstractContextManager[None]:
        """Around what only looks: a failure costs this call, not the directory."""
        return self._store.health.guard("read commits of groups in", self._store.path, final=False)

    def _partition_count(self) -> int:
        if not self._count:
            topic = self._store.topics().get(offsets.TOPIC)
            self._count = 0 if topic is None else topic.partition_count
        return self._count

    def _read_logs(self, numbers: Iterable[int]) -> None:
        """Take in the records of `__consumer_offsets` that came since the last look."""
        for number in numbers:
            partition = self._store.partition(offsets.TOPIC, number)
            partition.refresh()
            end = partition.last_stable_offset
            offset = self._read_to.get(number, 0)
            if offset > end:
                offset = 0
            offset = max(offset, partition.log_start_offset)
            while offset < end:
                offset = self._read_some(partition, offset)
            self._read_to[number] = offset

    def _read_some(self, partition: Partition, offset: int) -> int:
        try:
            batches = partition.read(offset, isolation="read_committed")
            for record in batches:
                self._take(record)
        except CorruptionError as damage:
            if damage.next_offset <= offset:
                raise
            _log.warning("committed offsets: %s", damage)
            return damage.next_offset
        return batches.next_offset

    def _take(self, record: Record) -> None:
        try:
            found = offsets.decode(record.key or b"", record.value)
        except ValueError as error:
            _log.warning("%s, offset %d: %s", offsets.TOPIC, record.offset, error)
            return
        if not isinstance(found, offsets.OffsetCommit):
            return
        commits = self._logged.setdefault(found.key.group, {})
        place = (found.key.topic, found.key.partition)
        if found.value is None:
            commits[place] = CommittedOffset(_DELETED_OFFSET, -1, "", record.timestamp_ms or 0)
        else:
            commits[place] = CommittedOffset(
                found.value.offset,
                found.value.leader_epoch,
                found.value.metadata,
                found.value.commit_timestamp_ms,
            )

    # -- committing -----------------------------------------------------------------------------------------

    def commit(self, group: str, positions: Mapping[TopicPartition, int], *, metadata: str = "") -> None:
        """Commit the next offset to read of each partition; on the medium when this returns.

        Raises `UsageError` for an empty group, a negative offset or metadata above 4096 bytes; `StorageError` or,
        from a read-only store, `OSError` where the disk refuses.
        """
        if not group:
            raise UsageError("a group needs a name of at least one character")
        if len(metadata.encode()) > GROUP_METADATA_BYTES_MAX:
            raise UsageError(f"commit metadata is at most {GROUP_METADATA_BYTES_MAX} bytes")
        if any(offset < 0 for offset in positions.values()):
            raise UsageError("a committed offset is 0 or more")
        with self._mutex:
            known = self._newest(group)
            last_ms = max((commit.commit_timestamp_ms for commit in known.values()), default=-1)
            now_ms = max(self._store.clock(), last_ms + 1)
            commits = {place: CommittedOffset(offset, -1, metadata, now_ms) for place, offset in positions.items()}
            if self._store.read_only:
                data = _encode_file(group, _live(known) | commits)
                self._store.disk.write_file_atomic(self._file(group), data)
            else:
                self._append(group, commits)

    def fold(self) -> int:
        """Append the commits that wait in files to `__consumer_offsets`; returns how many there were.

        For a writing store. Raises `StorageError`.
        """
        with self._mutex:
            count = 0
            with self._reading():
                files = _files(self._store.disk, self._store.path)
            for name in files:
                with self._reading():
                    data = self._store.disk.read_file(f"{self._store.path}/{name}")
                if self._folded.get(name) != crc32c(data):
                    found = _decode_file(data)
                    if found is not None and _file_name(found[0]) == name:
                        count += self._fold_group(*found)
                    self._folded[name] = crc32c(data)
            return count

    def _fold_group(self, group: str, waiting: Mapping[TopicPartition, CommittedOffset]) -> int:
        partitions = self._partition_count()
        if partitions:
            self._read_logs([offsets.partition_for(group, partitions)])
        logged = self._logged.get(group, {})
        newer = {place: commit for place, commit in waiting.items() if _counts(commit, logged.get(place))}
        if newer:
            self._append(group, newer)
        return len(newer)

    def _append(self, group: str, commits: Mapping[TopicPartition, CommittedOffset]) -> None:
        if not self._partition_count():
            self._store.create_topic(offsets.TOPIC, PARTITIONS, offsets.TOPIC_CONFIG)
        records = [
            offsets.encode_commit(
                group,
                topic,
                partition,
                commit.offset,
                commit_timestamp_ms=commit.commit_timestamp_ms,
                leader_epoch=commit.leader_epoch,
                metadata=commit.metadata,
            )
            for (topic, partition), commit in commits.items()
        ]
        number = offsets.partition_for(group, self._partition_count())
        stamp_ms = max(commit.commit_timestamp_ms for commit in commits.values())
        self._store.partition(offsets.TOPIC, number).append(records, timestamp_ms=stamp_ms, durable=True)

    # -- one consumer at a time -----------------------------------------------------------------------------

    def hold(self, group: str) -> Lock:
        """Be the one consumer of a group in this directory until `release()` of what this returns.

        No coordinator shares out partitions here, so a second consumer of the group would read every record again.
        Raises `UsageError`, naming the holder.
        """
        if not group:
            raise UsageError("a group needs a name of at least one character")
        try:
            return self._store.disk.lock(f"{self._store.path}/{LOCK_PREFIX}{_plain(group)}")
        except StoreLocked as locked:
            raise UsageError(
                f"group {group} is being read by {locked.holder}; stop that consumer first, or use another group"
            ) from None

    def _file(self, group: str) -> str:
        return f"{self._store.path}/{_file_name(group)}"


def waiting_commits(disk: Disk, root: str) -> dict[str, dict[TopicPartition, CommittedOffset]]:
    """Commits in the files of a directory's root, by group, whether or not a writer has folded them."""
    found: dict[str, dict[TopicPartition, CommittedOffset]] = {}
    for name in _files(disk, root):
        decoded = _decode_file(disk.read_file(f"{root}/{name}"))
        if decoded is not None and _file_name(decoded[0]) == name:
            found[decoded[0]] = decoded[1]
    return found


def _counts(commit: CommittedOffset, other: CommittedOffset | None) -> bool:
    return other is None or commit.commit_timestamp_ms > other.commit_timestamp_ms


def _merge(
    logged: Mapping[TopicPartition, CommittedOffset], waiting: Mapping[TopicPartition, CommittedOffset]
) -> dict[TopicPartition, CommittedOffset]:
    newer = {place: commit for place, commit in waiting.items() if _counts(commit, logged.get(place))}
    return {**logged, **newer}


def _live(commits: Mapping[TopicPartition, CommittedOffset]) -> dict[TopicPartition, CommittedOffset]:
    return {place: commit for place, commit in commits.items() if commit.offset != _DELETED_OFFSET}


# -- the files ---------------------------------------------------------------------------------------------------


def _plain(group: str) -> str:
    """A group's name as part of a file name: percent-encoded, or a hash where that grows too long.

    Dots are encoded too, so that a file with a dot is one that is being written (`.tmp`) or a lock's holder.
    """
    from urllib.parse import quote  # for a consumer without a broker; it brings much that nobody else needs

    name = quote(group, safe="", errors="surrogatepass").replace(".", "%2E")
    if len(name) <= FILE_NAME_CHARS_MAX:
        return name
    import hashlib

    return hashlib.sha256(group.encode(errors="surrogatepass")).hexdigest()


def _file_name(group: str) -> str:
    return FILE_PREFIX + _plain(group)


def _files(disk: Disk, root: str) -> list[str]:
    return sorted(name for name in disk.list(root) if name.startswith(FILE_PREFIX) and "." not in name)


def _encode_file(group: str, commits: Mapping[TopicPartition, CommittedOffset]) -> bytes:
    """A group's file: a header line with the CRC-32C of the body, then the body in JSON."""
    rows = [
        {"topic": topic, "partition": partition, **commit._asdict()}
        for (topic, partition), commit in sorted(commits.items())
    ]
    body = json.dumps({"group": group, "commits": rows}, indent=1).encode()
    return MAGIC + b"%08x\n" % crc32c(body) + body


def _decode_file(data: bytes) -> tuple[str, dict[TopicPartition, CommittedOffset]] | None:
    """Group and commits of a file, or None where its check fails."""
    head, _, body = data.partition(b"\n")
    if not head.startswith(MAGIC) or head[len(MAGIC) :] != b"%08x" % crc32c(body):
        return None
    raw = json.loads(body)
    commits = {(row.pop("topic"), row.pop("partition")): CommittedOffset(**row) for row in map(dict, raw["commits"])}
    return str(raw["group"]), commits


def _read_file(disk: Disk, path: str, group: str) -> dict[TopicPartition, CommittedOffset]:
    """The commits of a group's file; empty where there is none or it fails its check."""
    if not disk.exists(path):
        return {}
    found = _decode_file(disk.read_file(path))
    if found is None or found[0] != group:
        _log.warning("%s fails its check: commits of group %s since the last fold are lost", path, group)
        return {}
    return found[1]
