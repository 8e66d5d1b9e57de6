"""What consumers put into the bytes of a group's join and sync: their subscriptions and assignments.

Owns the two payloads of the protocol type `consumer` (org.apache.kafka.clients.consumer.internals.ConsumerProtocol).
Must not know groups: a coordinator passes these bytes on unread, but for DescribeGroups, OffsetDelete and assignors.
Called by the coordinator and by kstore's own consumer.

Invariants
1. A version above the last known one is read as the last: fields are only ever added, behind the others.
2. Bytes behind the last field are let pass for the same reason.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeVar

from kstore._native.wire_reader import read
from kstore._native.wire_writer import Writer
from kstore.errors import MalformedMessage
from kstore.limits import REQUEST_ELEMENTS_MAX
from kstore.wire.layouts import layout
from kstore.wire.schema import Array, Bytes, Int32, String, Struct, field

if TYPE_CHECKING:
    from typing_extensions import Buffer

PROTOCOL_TYPE = "consumer"
VERSION_MAX = 3

_VERSION = struct.Struct(">h")
_Payload = TypeVar("_Payload", bound=Struct)


class TopicPartition(Struct):
    """Partitions of one topic."""

    topic: String
    partitions: Array[Int32]


class Subscription(Struct):
    """The metadata of a member in JoinGroup: what it reads, and since version 1 what it owns already (KIP-429)."""

    topics: Array[String]
    user_data: Bytes | None = field(default=None)
    owned_partitions: Array[TopicPartition] = field(1, default=(), ignorable=True)
    generation_id: Int32 = field(2, default=-1, ignorable=True)
    rack_id: String | None = field(3, default=None, ignorable=True)


class Assignment(Struct):
    """The assignment of a member in SyncGroup."""

    assigned_partitions: Array[TopicPartition]
    user_data: Bytes | None = field(default=None)


def encode(payload: Subscription | Assignment, version: int = VERSION_MAX) -> bytes:
    """A payload behind its version."""
    writer = Writer()
    writer.int16(version)
    writer.struct(layout(type(payload), min(version, VERSION_MAX), False), payload)
    return b"".join(writer.buffers())


def decode_subscription(data: Buffer) -> Subscription:
    """A subscription out of a member's metadata; `MalformedMessage` for other bytes."""
    return _decode(Subscription, data)


def decode_assignment(data: Buffer) -> Assignment:
    """An assignment; no bytes at all are an empty one, as a member gets that joined too late."""
    return _decode(Assignment, data) if memoryview(data).nbytes else Assignment(assigned_partitions=())


def _decode(kind: type[_Payload], data: Buffer) -> _Payload:
    view = memoryview(data)
    if view.nbytes < _VERSION.size:
        raise MalformedMessage(kind.__name__, 0, "version", 0, "the bytes end before the version")
    version = _VERSION.unpack_from(view)[0]
    if version < 0:
        raise MalformedMessage(kind.__name__, version, "version", 0, "a version below 0")
    rows = layout(kind, min(version, VERSION_MAX), False)
    payload, _ = read(rows, view, _VERSION.size, elements_max=REQUEST_ELEMENTS_MAX)
    found: _Payload = payload
    return found
