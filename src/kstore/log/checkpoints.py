"""The text of Kafka's small files: offset checkpoints, `partition.metadata`, the clean shutdown marker.

Bytes in, values out and back; no disk. A parser takes exactly what the formatter (and Kafka) writes and gives None
for everything else: a truncated or flipped file must never read as a shorter or smaller one. What passes here may
still be wrong in a digit, which only the checksummed copies in `twins` can tell.

Formats as in Apache Kafka's CheckpointFile, OffsetCheckpointFile, PartitionMetadataFile, CleanShutdownFileHandler.
"""

from __future__ import annotations

from collections.abc import Mapping

from kstore import limits
from kstore.log import names

NO_BROKER_EPOCH = -1
_METADATA_HEAD = b"version: 0\ntopic_id: "
_SHUTDOWN_HEAD = b'{"version":0,"brokerEpoch":'


def format_offsets(offsets: Mapping[tuple[str, int], int]) -> bytes:
    """An offset checkpoint: version 0, the count, a line `topic partition offset` each.

    Sorted, so that equal offsets give equal bytes; Kafka writes the order of its hash map and reads any.
    """
    lines = [f"{topic} {partition} {offset}" for (topic, partition), offset in sorted(offsets.items())]
    return "\n".join(["0", str(len(lines)), *lines, ""]).encode("ascii")


def parse_offsets(data: bytes) -> dict[tuple[str, int], int] | None:
    """Reads an offset checkpoint; None means damaged. 0 bytes are no entries: Kafka makes the files empty."""
    if not data:
        return {}
    try:
        version, count, *lines, last = data.decode("ascii").split("\n")
    except ValueError:
        return None
    if version != "0" or last or count != str(len(lines)):
        return None
    offsets: dict[tuple[str, int], int] = {}
    for line in lines:
        topic, _, rest = line.partition(" ")
        partition, _, offset = rest.partition(" ")
        key = topic, _number(partition, limits.INT32_MAX)
        value = _number(offset, limits.INT64_MAX)
        if key[1] < 0 or value < 0 or key in offsets or not names.is_valid_topic_name(topic):
            return None
        offsets[key] = value
    return offsets


def _number(text: str, largest: int) -> int:
    """The number that a canonical decimal text of at most 19 digits means, -1 for any other text."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and len(text) > 1):
        return -1
    number = int(text)
    return number if number <= largest else -1


def format_partition_metadata(topic_id: bytes) -> bytes:
    """`partition.metadata` for a topic's id of 16 bytes. Kafka ends it without a newline."""
    return _METADATA_HEAD + names.uuid_to_text(topic_id).encode("ascii")


def parse_partition_metadata(data: bytes) -> bytes | None:
    """The topic id in `partition.metadata`; None means damaged. Kafka refuses the zero id, so do we."""
    if not data.startswith(_METADATA_HEAD):
        return None
    try:
        topic_id = names.uuid_from_text(data[len(_METADATA_HEAD) :].decode("ascii"))
    except ValueError:
        return None
    return None if topic_id == names.ZERO_UUID else topic_id


def format_clean_shutdown(broker_epoch: int = NO_BROKER_EPOCH) -> bytes:
    """`.kafka_cleanshutdown`. kstore has no broker epoch, and the one it writes says so to a controller."""
    return _SHUTDOWN_HEAD + b"%d}" % broker_epoch


def parse_clean_shutdown(data: bytes) -> int | None:
    """The broker epoch in `.kafka_cleanshutdown`; None means that the shutdown must not be taken for clean.

    So does a file of 0 bytes: Kafka before 3.8 wrote those, but a truncation looks the same, and recovery only costs
    time.
    """
    if not (data.startswith(_SHUTDOWN_HEAD) and data.endswith(b"}")):
        return None
    digits = data[len(_SHUTDOWN_HEAD) : -1].decode("latin-1")
    epoch = _number(digits.removeprefix("-"), limits.INT64_MAX)
    if digits.startswith("-"):
        return NO_BROKER_EPOCH if epoch == 1 else None
    return epoch if epoch >= 0 else None
