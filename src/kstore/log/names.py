"""The names of Kafka's files and directories, topic names, and Kafka's 16-byte ids as text.

Pure text in, text out: no disk, no clock. Everything that lists a directory asks here what a name means, and a name
that is not Kafka's means nothing (`None`): such files are left alone, never deleted.

Invariants
1. A parser accepts exactly what the formatter writes: no leading zeros, no signs, no Unicode digits, no newline.
2. No topic name that passes `validate_topic_name` makes a path that leaves the log directory.

Names as in Apache Kafka's LogFileUtils, LocalLog, Topic and Uuid.
"""

from __future__ import annotations

import base64
import functools
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from kstore import limits
from kstore.errors import InvalidTopicName

# -- files of a partition directory --
LOG = "log"
INDEX = "index"
TIMEINDEX = "timeindex"
TXNINDEX = "txnindex"
SNAPSHOT = "snapshot"
DELETED = ".deleted"
CLEANED = ".cleaned"
SWAP = ".swap"
TEMPORARY = ".tmp"
CORRUPT = ".corrupt"
EPOCHS_FILE = "leader-epoch-checkpoint"
PARTITION_METADATA_FILE = "partition.metadata"

# -- files of the root --
RECOVERY_POINTS_FILE = "recovery-point-offset-checkpoint"
LOG_STARTS_FILE = "log-start-offset-checkpoint"
HIGH_WATERMARKS_FILE = "replication-offset-checkpoint"
CLEANER_OFFSETS_FILE = "cleaner-offset-checkpoint"
CLEAN_SHUTDOWN_FILE = ".kafka_cleanshutdown"
META_PROPERTIES_FILE = "meta.properties"
LOCK_FILE = ".lock"

# -- kstore's own sidecars: Kafka ignores them, and all may be lost --
TWIN_FILE = "kstore-checkpoints"
PARTITION_TWIN_FILE = "kstore-partition"
SEALS_FILE = "kstore-seals"
TAIL_FILES = ("kstore-tail-0", "kstore-tail-1")
QUARANTINE_FILE = "kstore-quarantine"

METADATA_TOPIC = "__cluster_metadata"
INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})

ZERO_UUID = bytes(16)
METADATA_TOPIC_ID = bytes(15) + b"\x01"

_FILE_NAME_CHARS_MAX = 255  # NAME_MAX of every file system that Kafka runs on
_NAMES_REMEMBERED = 4096  # opening a log reads each name of its directory several times
_TOPIC = re.compile(r"[a-zA-Z0-9._-]+")
_LIVE_DIR = re.compile(r"(?P<topic>[a-zA-Z0-9._-]+)-(?P<partition>0|[1-9][0-9]{0,9})")
_MARKED_DIR = re.compile(
    r"(?P<topic>[a-zA-Z0-9._-]*)-(?P<partition>0|[1-9][0-9]{0,9})\.(?P<id>[0-9a-f]{32})-(?P<kind>delete|stray|future)"
)
_FILE = re.compile(
    r"(?P<offset>[0-9]{20})\.(?P<kind>log|index|timeindex|txnindex|snapshot)(?P<suffix>\.deleted|\.cleaned|\.swap)?"
)
_CORRUPT = re.compile(r"[0-9]{20}\.log(\.(0|[1-9][0-9]*))?(-[1-9][0-9]*)?\.corrupt")


# -- topics ------------------------------------------------------------------------------------------------------


def validate_topic_name(topic: str) -> None:
    """Raises `InvalidTopicName` unless Kafka would create a topic of that name; the message says what is allowed."""
    if not topic:
        reason = "it is empty"
    elif topic in (".", ".."):
        reason = "'.' and '..' are directories"
    elif len(topic) > limits.TOPIC_NAME_CHARS_MAX:
        reason = f"it has {len(topic)} characters"
    elif not _TOPIC.fullmatch(topic):
        bad = next(char for char in topic if not _TOPIC.fullmatch(char))
        reason = f"{bad!r} is not allowed"
    else:
        return
    shown = topic if len(topic) <= 60 else topic[:60] + "..."
    raise InvalidTopicName(
        f"topic name {shown!r}: {reason}; use 1 to {limits.TOPIC_NAME_CHARS_MAX} ASCII letters, digits, '.', '_', '-'"
    )


def is_valid_topic_name(topic: str) -> bool:
    """Whether `validate_topic_name` lets the name pass."""
    try:
        validate_topic_name(topic)
    except InvalidTopicName:
        return False
    return True


def is_internal_topic(topic: str) -> bool:
    """Whether Kafka keeps its own state in the topic (Topic.isInternal; the metadata log does not count)."""
    return topic in INTERNAL_TOPICS


def topics_collide(first: str, second: str) -> bool:
    """Whether two names differ at most in '.' against '_': Kafka's metric names cannot tell them apart."""
    return first.replace(".", "_") == second.replace(".", "_")


# -- partition directories ---------------------------------------------------------------------------------------


class PartitionDir(NamedTuple):
    """What the name of a directory in the root says.

    `kind` is `live`, `delete` (topic deleted, files wait for removal), `stray` (belongs to no topic of this broker)
    or `future` (a copy that moves between disks). The topic of a `delete` or `stray` directory may be cut short.
    """

    topic: str
    partition: int
    kind: str
    unique_id: str


def partition_dir_name(topic: str, partition: int) -> str:
    """`topic-partition`."""
    return f"{topic}-{partition}"


def delete_dir_name(topic: str, partition: int, unique_id: str | None = None) -> str:
    """The name under which a deleted partition waits for its removal, the topic cut so that it fits a file name."""
    return _marked_dir_name(topic, partition, unique_id, "delete", capped=True)


def stray_dir_name(topic: str, partition: int, unique_id: str | None = None) -> str:
    """The name for a partition that no topic of this broker owns, cut as `delete_dir_name`."""
    return _marked_dir_name(topic, partition, unique_id, "stray", capped=True)


def future_dir_name(topic: str, partition: int, unique_id: str | None = None) -> str:
    """The name of a copy that moves to another disk; not cut, because the topic must be read back from it."""
    return _marked_dir_name(topic, partition, unique_id, "future", capped=False)


def _marked_dir_name(topic: str, partition: int, unique_id: str | None, kind: str, *, capped: bool) -> str:
    tail = f"-{partition}.{random_hex() if unique_id is None else unique_id}-{kind}"
    return (topic[: _FILE_NAME_CHARS_MAX - len(tail)] if capped else topic) + tail


@functools.lru_cache(maxsize=_NAMES_REMEMBERED)
def parse_dir_name(name: str) -> PartitionDir | None:
    """Reads the name of a directory in the root; None when it is not a partition of Kafka's."""
    match = _MARKED_DIR.fullmatch(name)
    if match:
        topic, kind, unique_id = match["topic"], match["kind"], match["id"]
    else:
        match = _LIVE_DIR.fullmatch(name)
        if not match:
            return None
        topic, kind, unique_id = match["topic"], "live", ""
    partition = int(match["partition"])
    if partition > limits.INT32_MAX or not is_valid_topic_name(topic):
        return None
    return PartitionDir(topic, partition, kind, unique_id)


# -- files of a segment ------------------------------------------------------------------------------------------


class LogFile(NamedTuple):
    """What the name of a file in a partition directory says.

    `offset` is the segment's base offset, or for a snapshot the exclusive end of what it covers. `kind` is the
    extension without its dot, `suffix` is empty, `.deleted`, `.cleaned` or `.swap`.
    """

    offset: int
    kind: str
    suffix: str


def file_name(offset: int, kind: str, suffix: str = "") -> str:
    """The name of a segment's file: 20 digits, so that names sort as offsets do."""
    return f"{offset:020d}.{kind}{suffix}"


def log_name(base_offset: int) -> str:
    """The record batches of a segment."""
    return file_name(base_offset, LOG)


def index_name(base_offset: int) -> str:
    """The offset index of a segment."""
    return file_name(base_offset, INDEX)


def timeindex_name(base_offset: int) -> str:
    """The time index of a segment."""
    return file_name(base_offset, TIMEINDEX)


def txnindex_name(base_offset: int) -> str:
    """The aborted transactions whose markers lie in a segment."""
    return file_name(base_offset, TXNINDEX)


def snapshot_name(offset: int) -> str:
    """The producer states below an offset."""
    return file_name(offset, SNAPSHOT)


@functools.lru_cache(maxsize=_NAMES_REMEMBERED)
def parse_file_name(name: str) -> LogFile | None:
    """Reads the name of a file in a partition directory; None when it does not belong to a segment."""
    match = _FILE.fullmatch(name)
    if not match:
        return None
    offset = int(match["offset"])
    if offset > limits.INT64_MAX:
        return None
    return LogFile(offset, match["kind"], match["suffix"] or "")


def corrupt_name(name: str, position: int | None, number: int = 1) -> str:
    """The name for bytes taken out of the log file `name` at a position, or for all of it (None).

    `number` tells apart what was taken out of the same place at different times; the first has none.
    """
    place = "" if position is None else f".{position}"
    count = "" if number == 1 else f"-{number}"
    return f"{name}{place}{count}{CORRUPT}"


def is_corrupt_name(name: str) -> bool:
    """Whether `corrupt_name` may have made this name."""
    return _CORRUPT.fullmatch(name) is not None


# -- ids ---------------------------------------------------------------------------------------------------------


def uuid_to_text(uuid: bytes) -> str:
    """16 bytes as Kafka prints ids: base64url without padding, 22 characters."""
    if len(uuid) != 16:
        raise ValueError(f"an id has 16 bytes, not {len(uuid)}")
    return base64.urlsafe_b64encode(uuid)[:22].decode("ascii")


def uuid_from_text(text: str) -> bytes:
    """The 16 bytes of an id; `ValueError` unless the text is exactly what `uuid_to_text` writes for some id."""
    try:
        uuid = base64.b64decode(text.encode("ascii") + b"==", altchars=b"-_", validate=True)
    except ValueError:
        uuid = b""
    # Python's and Java's decoders both ignore the four spare bits of the last character: a flip there must not pass.
    if len(uuid) != 16 or uuid_to_text(uuid) != text:
        raise ValueError(f"{text[:40]!r} is not a Kafka id: 22 characters of base64url")
    return uuid


def random_uuid(random_bytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """A new id (UUID version 4) whose text does not start with '-', which command lines would take for an option."""
    while True:
        raw = bytearray(random_bytes(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        uuid = bytes(raw)
        if not uuid_to_text(uuid).startswith("-"):
            return uuid


def random_hex(random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """The 32 hex digits that make the name of a `-delete`, `-stray` or `-future` directory unique."""
    return random_bytes(16).hex()
