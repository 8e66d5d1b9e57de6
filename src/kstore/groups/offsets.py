"""Records of `__consumer_offsets`: which partition a group's records go to, and what their keys and values mean.

Owns the bytes of committed offsets (both ways) and of classic group metadata (reading). Pure: knows no log, no disk
and no clock, so `commit_timestamp_ms` is always the caller's. Called by the store's group commits, by `graduate`
and by `log dump`.

Invariants
1. `decode(*encode_commit(...))` gives back what was encoded, for every version.
2. Bytes that are no such record raise `ValueError`; the caller knows the file and offset to blame.

The two-byte number that opens a key is the record's type: 0 and 1 are committed offsets, 2 is a classic group's
metadata, the others belong to consumer, share and streams groups (CoordinatorRecordType). A value opens with its
version. A record without a value deletes what its key named. Layouts from OffsetCommitKey, OffsetCommitValue,
GroupMetadataKey and GroupMetadataValue of Apache Kafka 4.3.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kstore.primitives import Reader, Writer

TOPIC: Final = "__consumer_offsets"
TOPIC_CONFIG: Final = {
    "cleanup.policy": "compact",
    "compression.type": "producer",
    "segment.bytes": "104857600",
}
"""How Kafka creates the topic (GroupCoordinatorService.groupMetadataTopicConfigs with its defaults)."""

COMMIT_VERSION: Final = 4
"""The version of values that Kafka 4.3 writes; 3 is what brokers before 4.1 can read too."""

_OFFSET_KEYS = (0, 1)
_GROUP_KEY = 2
_EXPIRE_VERSION = 1
_LEADER_EPOCH_VERSION = 3
_FLEXIBLE_VERSION = 4
_TOPIC_ID_TAG = 0


class OffsetKey(NamedTuple):
    """Whose position in which partition a committed offset is."""

    group: str
    topic: str
    partition: int


class OffsetValue(NamedTuple):
    """A committed position: the next record to read is `offset`.

    `leader_epoch` is the epoch of the record before it (-1: not known), `expire_timestamp_ms` is set by version 1
    alone (else -1), `topic_id` by version 4 where the coordinator knew it (else None).
    """

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    commit_timestamp_ms: int = -1
    expire_timestamp_ms: int = -1
    topic_id: bytes | None = None


class OffsetCommit(NamedTuple):
    """One record: `value` is None when it deletes the commit."""

    key: OffsetKey
    value: OffsetValue | None


class GroupMember(NamedTuple):
    """A member of a classic group as its metadata record keeps it."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: bytes
    assignment: bytes


class GroupState(NamedTuple):
    """A classic group between two rebalances; `state_timestamp_ms` is -1 before version 2."""

    protocol_type: str
    generation: int
    protocol: str | None
    leader: str | None
    state_timestamp_ms: int
    members: tuple[GroupMember, ...]


class GroupMetadata(NamedTuple):
    """One record of a classic group: `value` is None when it deletes the group."""

    group: str
    value: GroupState | None


class OtherRecord(NamedTuple):
    """A record of a consumer, share or streams group, or of a type newer than this code: known by type alone."""

    record_type: int


def java_string_hash(text: str) -> int:
    """Java's String.hashCode: over UTF-16 units, a signed 32-bit number."""
    value = 0
    data = text.encode("utf-16-be", "surrogatepass")
    for index in range(0, len(data), 2):
        value = (31 * value + (data[index] << 8 | data[index + 1])) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def partition_for(group: str, partitions: int) -> int:
    """The partition of `__consumer_offsets` that holds everything about `group`.

    `partitions` is how many the topic has (Utils.abs(groupId.hashCode()) % partitions, where abs of the smallest
    integer is 0).
    """
    value = java_string_hash(group)
    return (0 if value == -(1 << 31) else abs(value)) % partitions


# -- encoding ----------------------------------------------------------------------------------------------------


def encode_key(group: str, topic: str, partition: int) -> bytes:
    """The key of a committed offset (version 1, which every Kafka since 0.9 writes)."""
    return bytes(Writer().int16(1).string(group).string(topic).int32(partition))


def encode_value(value: OffsetValue, *, version: int = COMMIT_VERSION) -> bytes:
    """The value of a committed offset; fields that `version` has no room for are left out."""
    if not 0 <= version <= COMMIT_VERSION:
        raise ValueError(f"offset commit values have versions 0 to {COMMIT_VERSION}, not {version}")
    writer = Writer().int16(version).int64(value.offset)
    if version >= _LEADER_EPOCH_VERSION:
        writer.int32(value.leader_epoch)
    if version >= _FLEXIBLE_VERSION:
        tags = {} if value.topic_id is None else {_TOPIC_ID_TAG: value.topic_id}
        return bytes(writer.compact_string(value.metadata).int64(value.commit_timestamp_ms).tagged_fields(tags))
    writer.string(value.metadata).int64(value.commit_timestamp_ms)
    if version == _EXPIRE_VERSION:
        writer.int64(value.expire_timestamp_ms)
    return bytes(writer)


def encode_commit(
    group: str,
    topic: str,
    partition: int,
    offset: int,
    *,
    commit_timestamp_ms: int,
    leader_epoch: int = -1,
    metadata: str = "",
    topic_id: bytes | None = None,
    version: int = COMMIT_VERSION,
) -> tuple[bytes, bytes]:
    """Key and value of the record by which `group` commits `offset` as the next one it will read."""
    value = OffsetValue(offset, leader_epoch, metadata, commit_timestamp_ms, topic_id=topic_id)
    return encode_key(group, topic, partition), encode_value(value, version=version)


# -- decoding ----------------------------------------------------------------------------------------------------


def decode(key: bytes | memoryview, value: bytes | memoryview | None) -> OffsetCommit | GroupMetadata | OtherRecord:
    """What one record of `__consumer_offsets` says; `ValueError` when its bytes are no such record."""
    reader = Reader(key)
    record_type = reader.int16()
    if record_type in _OFFSET_KEYS:
        offset_key = OffsetKey(reader.string(), reader.string(), reader.int32())
        _expect_end(reader)
        return OffsetCommit(offset_key, None if value is None else decode_value(value))
    if record_type == _GROUP_KEY:
        group = reader.string()
        _expect_end(reader)
        return GroupMetadata(group, None if value is None else _decode_group(Reader(value)))
    if record_type < 0:
        raise ValueError(f"{record_type} is no type of a group record")
    return OtherRecord(record_type)


def decode_value(value: bytes | memoryview) -> OffsetValue:
    """The value of a committed offset, versions 0 to 4; `ValueError` for anything else."""
    reader = Reader(value)
    version = _version(reader)
    offset = reader.int64()
    leader_epoch = reader.int32() if version >= _LEADER_EPOCH_VERSION else -1
    flexible = version >= _FLEXIBLE_VERSION
    metadata = reader.compact_string() if flexible else reader.string()
    commit_timestamp_ms = reader.int64()
    expire_timestamp_ms = reader.int64() if version == _EXPIRE_VERSION else -1
    topic_id = reader.tagged_fields().get(_TOPIC_ID_TAG) if flexible else None
    if topic_id is not None and len(topic_id) != 16:
        raise ValueError(f"a topic id of {len(topic_id)} bytes")
    _expect_end(reader)
    return OffsetValue(offset, leader_epoch, metadata, commit_timestamp_ms, expire_timestamp_ms, topic_id)


def _decode_group(reader: Reader) -> GroupState:
    version = _version(reader)
    flexible = version >= _FLEXIBLE_VERSION
    text = reader.compact_string if flexible else reader.string
    optional = reader.compact_nullable_string if flexible else reader.nullable_string
    blob = reader.compact_bytes if flexible else reader.bytes32

    def member() -> GroupMember:
        member_id = text()
        instance = optional() if version >= 3 else None
        client_id, client_host = text(), text()
        rebalance_ms = reader.int32() if version >= 1 else -1
        session_ms = reader.int32()
        found = GroupMember(member_id, instance, client_id, client_host, rebalance_ms, session_ms, blob(), blob())
        if flexible:
            reader.tagged_fields()
        return found

    protocol_type, generation, protocol, leader = text(), reader.int32(), optional(), optional()
    state_timestamp_ms = reader.int64() if version >= 2 else -1
    members = reader.compact_array(member) if flexible else reader.array(member)
    if flexible:
        reader.tagged_fields()
    _expect_end(reader)
    return GroupState(protocol_type, generation, protocol, leader, state_timestamp_ms, tuple(members))


def _version(reader: Reader) -> int:
    version = reader.int16()
    if not 0 <= version <= COMMIT_VERSION:
        raise ValueError(f"version {version} of a group record, known are 0 to {COMMIT_VERSION}")
    return version


def _expect_end(reader: Reader) -> None:
    if reader.remaining:
        raise ValueError(f"{reader.remaining} bytes after the end of a group record")
