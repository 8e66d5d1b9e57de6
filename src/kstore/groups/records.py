"""Records of groups in `__consumer_offsets`: every one that a coordinator writes, to bytes and back.

Owns keys and values of classic groups (writing; `offsets` reads them) and of consumer groups (KIP-848), as named
tuples. Pure, no rule of any group. Called by the state machines, `replaying` and `compaction`.

Invariants
1. `decode(*encoded)` gives back what was encoded.
2. Bytes that are no such record raise `ValueError`; a type that is newer than this code is an `OtherRecord`.
3. Partitions are written in order, so that equal assignments are equal bytes.

Layouts from the ConsumerGroup*Key and *Value messages of Apache Kafka 4.3; what a key's number means stands in
`offsets`. Fields that this code does not use but Kafka does (the classic half of a migrating member) are kept as
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from kstore.groups.effects import Record
from kstore.groups.offsets import GroupMetadata, GroupState, OffsetCommit, OtherRecord
from kstore.groups.offsets import decode as decode_offset_or_group
from kstore.primitives import Reader, Writer

GROUP_VALUE_VERSION: Final = 3
"""The version of GroupMetadataValue that every Kafka since 2.3 writes (MetadataVersion.groupMetadataValueVersion)."""

GROUP_METADATA: Final = 2
CONSUMER_METADATA: Final = 3
CONSUMER_PARTITION_METADATA: Final = 4
CONSUMER_MEMBER: Final = 5
CONSUMER_TARGET_EPOCH: Final = 6
CONSUMER_TARGET: Final = 7
CONSUMER_CURRENT: Final = 8
CONSUMER_REGEX: Final = 16

Partitions = Mapping[bytes, Mapping[int, int]]
"""Topic id to partition to the epoch at which the member got it (KIP-1251)."""
NO_PARTITIONS: Final[Partitions] = MappingProxyType({})


class ConsumerGroupMetadata(NamedTuple):
    """A consumer group and its epoch; `epoch` None deletes it. The hash stands for what it is subscribed to."""

    group: str
    epoch: int | None
    metadata_hash: int = 0
    creation_time_ms: int = -1


class ConsumerGroupPartitionMetadata(NamedTuple):
    """What brokers before 4.1 stored in place of the hash: read, and deleted, never written."""

    group: str
    value: bytes | None


class MemberMetadata(NamedTuple):
    """What a member of a consumer group says of itself."""

    instance_id: str | None
    rack_id: str | None
    client_id: str
    client_host: str
    subscribed_topic_names: tuple[str, ...]
    subscribed_topic_regex: str | None
    rebalance_timeout_ms: int
    server_assignor: str | None
    classic: bytes | None = None
    """ClassicMemberMetadata as bytes: a member of a group under migration; None, in bytes a 0, for all others."""


class ConsumerGroupMember(NamedTuple):
    """A member's metadata; `value` None removes the member."""

    group: str
    member_id: str
    value: MemberMetadata | None


class ConsumerGroupTargetEpoch(NamedTuple):
    """The group epoch for which the target assignment was made; None deletes it."""

    group: str
    epoch: int | None
    timestamp_ms: int = 0


class ConsumerGroupTarget(NamedTuple):
    """What a member shall own in the end: partitions by topic id; None deletes it."""

    group: str
    member_id: str
    partitions: Mapping[bytes, tuple[int, ...]] | None


class CurrentAssignment(NamedTuple):
    """What a member owns now, at which epoch, and what it still has to give up."""

    member_epoch: int
    previous_member_epoch: int
    state: int
    assigned: Partitions
    pending_revocation: Partitions


class ConsumerGroupCurrent(NamedTuple):
    """A member's current assignment; `value` None deletes it."""

    group: str
    member_id: str
    value: CurrentAssignment | None


class ResolvedRegex(NamedTuple):
    """The topics that a regular expression matched, as of a version of the metadata."""

    topics: tuple[str, ...]
    version: int
    timestamp_ms: int


class ConsumerGroupRegex(NamedTuple):
    """A group's regular expression; `value` None deletes it."""

    group: str
    regex: str
    value: ResolvedRegex | None


ConsumerRecord = (
    ConsumerGroupMetadata
    | ConsumerGroupPartitionMetadata
    | ConsumerGroupMember
    | ConsumerGroupTargetEpoch
    | ConsumerGroupTarget
    | ConsumerGroupCurrent
    | ConsumerGroupRegex
)
Decoded = OffsetCommit | GroupMetadata | ConsumerRecord | OtherRecord


# -- writing -----------------------------------------------------------------------------------------------------


_NOT_CLASSIC = b"\0"
"""A nullable struct that is null: what Kafka 4.3 writes for a member of the consumer protocol."""


def _key(record_type: int, group: str, member_id: str | None = None) -> bytes:
    writer = Writer().int16(record_type).string(group)
    return bytes(writer if member_id is None else writer.string(member_id))


def group_metadata_record(group: str, state: GroupState | None) -> Record:
    """A classic group's record; None deletes the group."""
    key = _key(GROUP_METADATA, group)
    if state is None:
        return key, None
    writer = Writer().int16(GROUP_VALUE_VERSION).string(state.protocol_type).int32(state.generation)
    writer.nullable_string(state.protocol).nullable_string(state.leader).int64(state.state_timestamp_ms)
    writer.int32(len(state.members))
    for member in state.members:
        writer.string(member.member_id).nullable_string(member.group_instance_id)
        writer.string(member.client_id).string(member.client_host)
        writer.int32(member.rebalance_timeout_ms).int32(member.session_timeout_ms)
        writer.int32(len(member.subscription)).raw(member.subscription)
        writer.int32(len(member.assignment)).raw(member.assignment)
    return key, bytes(writer)


def encode(record: ConsumerRecord) -> Record:
    """Key and value of a consumer group's record."""
    match record:
        case ConsumerGroupMetadata(group, epoch, metadata_hash, creation_ms):
            key = _key(CONSUMER_METADATA, group)
            if epoch is None:
                return key, None
            tags = {} if metadata_hash == 0 else {0: _int64(metadata_hash)}
            if creation_ms != -1:
                tags[1] = _int64(creation_ms)
            return key, bytes(Writer().int16(0).int32(epoch).tagged_fields(tags))
        case ConsumerGroupPartitionMetadata(group, value):
            return _key(CONSUMER_PARTITION_METADATA, group), value
        case ConsumerGroupMember(group, member_id, metadata):
            return _key(CONSUMER_MEMBER, group, member_id), None if metadata is None else _member(metadata)
        case ConsumerGroupTargetEpoch(group, epoch, timestamp_ms):
            key = _key(CONSUMER_TARGET_EPOCH, group)
            if epoch is None:
                return key, None
            tags = {} if timestamp_ms == 0 else {0: _int64(timestamp_ms)}
            return key, bytes(Writer().int16(0).int32(epoch).tagged_fields(tags))
        case ConsumerGroupTarget(group, member_id, target):
            return _key(CONSUMER_TARGET, group, member_id), None if target is None else _target(target)
        case ConsumerGroupCurrent(group, member_id, current):
            return _key(CONSUMER_CURRENT, group, member_id), None if current is None else _current(current)
        case ConsumerGroupRegex(group, regex, resolved):
            return _key(CONSUMER_REGEX, group, regex), None if resolved is None else _regex(resolved)


def _int64(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def _member(value: MemberMetadata) -> bytes:
    writer = Writer().int16(0)
    writer.compact_string(value.instance_id).compact_string(value.rack_id)
    writer.compact_string(value.client_id).compact_string(value.client_host)
    writer.compact_array(value.subscribed_topic_names, writer.compact_string)
    writer.compact_string(value.subscribed_topic_regex).int32(value.rebalance_timeout_ms)
    writer.compact_string(value.server_assignor)
    return bytes(writer.tagged_fields({0: _NOT_CLASSIC if value.classic is None else value.classic}))


def _target(partitions: Mapping[bytes, tuple[int, ...]]) -> bytes:
    writer = Writer().int16(0)

    def topic(item: tuple[bytes, tuple[int, ...]]) -> None:
        writer.uuid(item[0]).compact_array(sorted(item[1]), writer.int32).tagged_fields()

    return bytes(writer.compact_array(sorted(partitions.items()), topic).tagged_fields())


def _current(value: CurrentAssignment) -> bytes:
    writer = Writer().int16(0).int32(value.member_epoch).int32(value.previous_member_epoch).int8(value.state)
    _owned(writer, value.assigned)
    _owned(writer, value.pending_revocation)
    return bytes(writer.tagged_fields())


def _owned(writer: Writer, partitions: Partitions) -> None:
    def topic(item: tuple[bytes, Mapping[int, int]]) -> None:
        rows = sorted(item[1].items())
        epochs = Writer()
        epochs.compact_array([epoch for _, epoch in rows], epochs.int32)
        writer.uuid(item[0]).compact_array([partition for partition, _ in rows], writer.int32)
        writer.tagged_fields({0: bytes(epochs)})

    writer.compact_array(sorted(partitions.items(), key=lambda item: item[0]), topic)


def _regex(value: ResolvedRegex) -> bytes:
    writer = Writer().int16(0)
    writer.compact_array(sorted(value.topics), writer.compact_string)
    return bytes(writer.int64(value.version).int64(value.timestamp_ms).tagged_fields())


# -- reading -----------------------------------------------------------------------------------------------------


def decode(key: bytes | memoryview, value: bytes | memoryview | None) -> Decoded:
    """What one record of `__consumer_offsets` says; `ValueError` when its bytes are no such record."""
    record_type = Reader(key).int16()
    read = _READERS.get(record_type)
    if read is None:
        return decode_offset_or_group(key, value)
    keys = Reader(key)
    keys.int16()
    group = keys.string()
    name = keys.string() if record_type in _NAMED else ""
    if keys.remaining:
        raise ValueError(f"{keys.remaining} bytes after the end of a group record's key")
    if value is None:
        return read(group, name, None)
    values = Reader(value)
    version = values.int16()
    if version != 0:
        raise ValueError(f"version {version} of a record of type {record_type}, known is 0")
    found = read(group, name, values)
    if values.remaining:
        raise ValueError(f"{values.remaining} bytes after the end of a group record")
    return found


def _tag_int64(tags: Mapping[int, bytes], tag: int, default: int) -> int:
    return Reader(tags[tag]).int64() if tag in tags else default


def _read_metadata(group: str, _name: str, reader: Reader | None) -> Decoded:
    if reader is None:
        return ConsumerGroupMetadata(group, None)
    epoch = reader.int32()
    tags = reader.tagged_fields()
    return ConsumerGroupMetadata(group, epoch, _tag_int64(tags, 0, 0), _tag_int64(tags, 1, -1))


def _read_partition_metadata(group: str, _name: str, reader: Reader | None) -> Decoded:
    if reader is None:
        return ConsumerGroupPartitionMetadata(group, None)
    rest = reader.take(reader.remaining)
    return ConsumerGroupPartitionMetadata(group, b"\0\0" + rest)


def _read_member(group: str, member_id: str, reader: Reader | None) -> Decoded:
    if reader is None:
        return ConsumerGroupMember(group, member_id, None)
    text, optional = reader.compact_string, reader.compact_nullable_string
    instance_id, rack_id, client_id, client_host = optional(), optional(), text(), text()
    topics, regex = tuple(reader.compact_array(text)), optional()
    timeout_ms, assignor = reader.int32(), optional()
    classic = reader.tagged_fields().get(0, _NOT_CLASSIC)
    value = MemberMetadata(
        instance_id,
        rack_id,
        client_id,
        client_host,
        topics,
        regex,
        timeout_ms,
        assignor,
        None if classic == _NOT_CLASSIC else classic,
    )
    return ConsumerGroupMember(group, member_id, value)


def _read_target_epoch(group: str, _name: str, reader: Reader | None) -> Decoded:
    if reader is None:
        return ConsumerGroupTargetEpoch(group, None)
    epoch = reader.int32()
    return ConsumerGroupTargetEpoch(group, epoch, _tag_int64(reader.tagged_fields(), 0, 0))


def _read_target(group: str, member_id: str, reader: Reader | None) -> Decoded:
    if reader is None:
        return ConsumerGroupTarget(group, member_id, None)

    def topic() -> tuple[bytes, tuple[int, ...]]:
        found = reader.uuid(), tuple(reader.compact_array(reader.int32))
        reader.tagged_fields()
        return found

    partitions = dict(reader.compact_array(topic))
    reader.tagged_fields()
    return ConsumerGroupTarget(group, member_id, partitions)


def _read_current(group: str, member_id: str, reader: Reader | None) -> Decoded:
    if reader is None:
        return ConsumerGroupCurrent(group, member_id, None)
    member_epoch, previous, state = reader.int32(), reader.int32(), reader.int8()

    def topic() -> tuple[bytes, dict[int, int]]:
        topic_id, partitions = reader.uuid(), reader.compact_array(reader.int32)
        tags = reader.tagged_fields()
        # Before KIP-1251 no epochs were stored: what a member owns it owns since its present epoch.
        epochs = [member_epoch] * len(partitions)
        if 0 in tags:
            inner = Reader(tags[0])
            epochs = inner.compact_array(inner.int32) or epochs
        if len(epochs) != len(partitions):
            raise ValueError(f"{len(epochs)} epochs for {len(partitions)} partitions")
        return topic_id, dict(zip(partitions, epochs, strict=True))

    assigned, pending = dict(reader.compact_array(topic)), dict(reader.compact_array(topic))
    reader.tagged_fields()
    return ConsumerGroupCurrent(group, member_id, CurrentAssignment(member_epoch, previous, state, assigned, pending))


def _read_regex(group: str, regex: str, reader: Reader | None) -> Decoded:
    if reader is None:
        return ConsumerGroupRegex(group, regex, None)
    topics = tuple(reader.compact_array(reader.compact_string))
    value = ResolvedRegex(topics, reader.int64(), reader.int64())
    reader.tagged_fields()
    return ConsumerGroupRegex(group, regex, value)


_READERS: Final = {
    CONSUMER_METADATA: _read_metadata,
    CONSUMER_PARTITION_METADATA: _read_partition_metadata,
    CONSUMER_MEMBER: _read_member,
    CONSUMER_TARGET_EPOCH: _read_target_epoch,
    CONSUMER_TARGET: _read_target,
    CONSUMER_CURRENT: _read_current,
    CONSUMER_REGEX: _read_regex,
}
_NAMED: Final = frozenset({CONSUMER_MEMBER, CONSUMER_TARGET, CONSUMER_CURRENT, CONSUMER_REGEX})
