"""The records of `__cluster_metadata`: every type that Kafka 4.3 knows, as tables, with one codec for all.

Owns the tables. Pure. Called by `metadata` (replay), `checkpoint` (writing) and `log dump`.

A record's value opens with a frame version (1), its type (`api_key`) and its version, all unsigned varints; then its
fields, all in flexible form (MetadataRecordSerde). Field names are those of Kafka's message definitions
(metadata/src/main/resources/common/metadata), so that dumps read as kafka-dump-log's.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kstore.kraft.schema import Field, Value, decode_fields, encode_fields
from kstore.primitives import Reader, Writer

FRAME_VERSION: Final = 1

REGISTER_BROKER: Final = 0
UNREGISTER_BROKER: Final = 1
TOPIC: Final = 2
PARTITION: Final = 3
CONFIG: Final = 4
PARTITION_CHANGE: Final = 5
REMOVE_TOPIC: Final = 9
FEATURE_LEVEL: Final = 12
PRODUCER_IDS: Final = 15
BEGIN_TRANSACTION: Final = 23
END_TRANSACTION: Final = 24
ABORT_TRANSACTION: Final = 25

TOPIC_RESOURCE: Final = 2
BROKER_RESOURCE: Final = 4
"""ConfigResource.Type, as `resourceType` of a config record holds it."""


class RecordType(NamedTuple):
    """One row of the tables: `name` as kafka-dump-log prints it, `version` the newest one."""

    api_key: int
    name: str
    version: int
    fields: tuple[Field, ...]


class MetadataRecord(NamedTuple):
    """A decoded record: `data` maps Kafka's field names to values, ids as 16 bytes.

    A type or version newer than these tables has `data` None: known by number alone.
    """

    api_key: int
    version: int
    data: dict[str, Value] | None

    @property
    def name(self) -> str:
        """The type as kafka-dump-log prints it."""
        known = TYPES.get(self.api_key)
        return known.name if known else f"UNKNOWN_RECORD_{self.api_key}"


_ENDPOINTS = (
    Field("name", "string"),
    Field("host", "string"),
    Field("port", "uint16"),
    Field("securityProtocol", "int16"),
)
_FEATURES = (
    Field("name", "string"),
    Field("minSupportedVersion", "int16"),
    Field("maxSupportedVersion", "int16"),
)

_ROWS = (
    RecordType(REGISTER_BROKER, "REGISTER_BROKER_RECORD", 4, (
        Field("brokerId", "int32"),
        Field("isMigratingZkBroker", "bool", since=2, default=False),
        Field("incarnationId", "uuid"),
        Field("brokerEpoch", "int64"),
        Field("endPoints", "[]", items=_ENDPOINTS),
        Field("features", "[]", items=_FEATURES),
        Field("rack", "string", nullable=True),
        Field("fenced", "bool", default=True),
        Field("inControlledShutdown", "bool", since=1, default=False),
        Field("logDirs", "[]uuid", since=3, tag=0, default=[]),
        Field("cordonedLogDirs", "[]uuid", since=4, nullable=True, tag=1),
    )),
    RecordType(UNREGISTER_BROKER, "UNREGISTER_BROKER_RECORD", 0, (
        Field("brokerId", "int32"),
        Field("brokerEpoch", "int64"),
    )),
    RecordType(TOPIC, "TOPIC_RECORD", 0, (
        Field("name", "string"),
        Field("topicId", "uuid"),
    )),
    RecordType(PARTITION, "PARTITION_RECORD", 2, (
        Field("partitionId", "int32"),
        Field("topicId", "uuid"),
        Field("replicas", "[]int32"),
        Field("isr", "[]int32"),
        Field("removingReplicas", "[]int32"),
        Field("addingReplicas", "[]int32"),
        Field("leader", "int32"),
        Field("leaderRecoveryState", "int8", tag=0, default=0),
        Field("leaderEpoch", "int32"),
        Field("partitionEpoch", "int32"),
        Field("directories", "[]uuid", since=1),
        Field("eligibleLeaderReplicas", "[]int32", since=2, nullable=True, tag=1),
        Field("lastKnownElr", "[]int32", since=2, nullable=True, tag=2),
    )),
    RecordType(CONFIG, "CONFIG_RECORD", 0, (
        Field("resourceType", "int8"),
        Field("resourceName", "string"),
        Field("name", "string"),
        Field("value", "string", nullable=True),
    )),
    RecordType(PARTITION_CHANGE, "PARTITION_CHANGE_RECORD", 2, (
        Field("partitionId", "int32"),
        Field("topicId", "uuid"),
        Field("isr", "[]int32", nullable=True, tag=0),
        Field("leader", "int32", tag=1, default=-2),
        Field("replicas", "[]int32", nullable=True, tag=2),
        Field("removingReplicas", "[]int32", nullable=True, tag=3),
        Field("addingReplicas", "[]int32", nullable=True, tag=4),
        Field("leaderRecoveryState", "int8", tag=5, default=-1),
        Field("directories", "[]uuid", since=1, nullable=True, tag=8),
        Field("eligibleLeaderReplicas", "[]int32", since=2, nullable=True, tag=6),
        Field("lastKnownElr", "[]int32", since=2, nullable=True, tag=7),
    )),
    RecordType(7, "FENCE_BROKER_RECORD", 0, (Field("id", "int32"), Field("epoch", "int64"))),
    RecordType(8, "UNFENCE_BROKER_RECORD", 0, (Field("id", "int32"), Field("epoch", "int64"))),
    RecordType(REMOVE_TOPIC, "REMOVE_TOPIC_RECORD", 0, (Field("topicId", "uuid"),)),
    RecordType(10, "DELEGATION_TOKEN_RECORD", 0, (
        Field("owner", "string"),
        Field("requester", "string"),
        Field("renewers", "[]string"),
        Field("issueTimestamp", "int64"),
        Field("maxTimestamp", "int64"),
        Field("expirationTimestamp", "int64"),
        Field("tokenId", "string"),
    )),
    RecordType(11, "USER_SCRAM_CREDENTIAL_RECORD", 0, (
        Field("name", "string"),
        Field("mechanism", "int8"),
        Field("salt", "bytes"),
        Field("storedKey", "bytes"),
        Field("serverKey", "bytes"),
        Field("iterations", "int32"),
    )),
    RecordType(FEATURE_LEVEL, "FEATURE_LEVEL_RECORD", 0, (
        Field("name", "string"),
        Field("featureLevel", "int16"),
    )),
    RecordType(14, "CLIENT_QUOTA_RECORD", 0, (
        Field("entity", "[]", items=(Field("entityType", "string"), Field("entityName", "string", nullable=True))),
        Field("key", "string"),
        Field("value", "float64"),
        Field("remove", "bool"),
    )),
    RecordType(PRODUCER_IDS, "PRODUCER_IDS_RECORD", 0, (
        Field("brokerId", "int32"),
        Field("brokerEpoch", "int64"),
        Field("nextProducerId", "int64"),
    )),
    RecordType(17, "BROKER_REGISTRATION_CHANGE_RECORD", 3, (
        Field("brokerId", "int32"),
        Field("brokerEpoch", "int64"),
        Field("fenced", "int8", tag=0, default=0),
        Field("inControlledShutdown", "int8", since=1, tag=1, default=0),
        Field("logDirs", "[]uuid", since=2, tag=2, default=[]),
        Field("cordonedLogDirs", "[]uuid", since=3, nullable=True, tag=3),
    )),
    RecordType(18, "ACCESS_CONTROL_ENTRY_RECORD", 0, (
        Field("id", "uuid"),
        Field("resourceType", "int8"),
        Field("resourceName", "string"),
        Field("patternType", "int8"),
        Field("principal", "string"),
        Field("host", "string"),
        Field("operation", "int8"),
        Field("permissionType", "int8"),
    )),
    RecordType(19, "REMOVE_ACCESS_CONTROL_ENTRY_RECORD", 0, (Field("id", "uuid"),)),
    RecordType(20, "NO_OP_RECORD", 0, ()),
    RecordType(21, "ZK_MIGRATION_STATE_RECORD", 0, (Field("zkMigrationState", "int8"),)),
    RecordType(22, "REMOVE_USER_SCRAM_CREDENTIAL_RECORD", 0, (Field("name", "string"), Field("mechanism", "int8"))),
    RecordType(BEGIN_TRANSACTION, "BEGIN_TRANSACTION_RECORD", 0, (
        Field("name", "string", nullable=True, tag=0),
    )),
    RecordType(END_TRANSACTION, "END_TRANSACTION_RECORD", 0, ()),
    RecordType(ABORT_TRANSACTION, "ABORT_TRANSACTION_RECORD", 0, (
        Field("reason", "string", nullable=True, tag=0),
    )),
    RecordType(26, "REMOVE_DELEGATION_TOKEN_RECORD", 0, (Field("tokenId", "string"),)),
    RecordType(27, "REGISTER_CONTROLLER_RECORD", 0, (
        Field("controllerId", "int32"),
        Field("incarnationId", "uuid"),
        Field("zkMigrationReady", "bool"),
        Field("endPoints", "[]", items=_ENDPOINTS),
        Field("features", "[]", items=_FEATURES),
    )),
    RecordType(28, "CLEAR_ELR_RECORD", 0, (Field("topicName", "string"),)),
)  # fmt: skip
TYPES: Final = {row.api_key: row for row in _ROWS}


def decode(value: bytes | memoryview) -> MetadataRecord:
    """One record's value; `ValueError` when its bytes are no metadata record."""
    reader = Reader(value)
    if (frame := reader.varint()) != FRAME_VERSION:
        raise ValueError(f"frame version {frame} of a metadata record, known is {FRAME_VERSION}")
    api_key, version = reader.varint(), reader.varint()
    row = TYPES.get(api_key)
    if row is None or version > row.version:
        return MetadataRecord(api_key, version, None)
    data = decode_fields(reader, row.fields, version)
    if reader.remaining:
        raise ValueError(f"{reader.remaining} bytes after a {row.name}")
    return MetadataRecord(api_key, version, data)


def encode(api_key: int, version: int, **values: Value) -> bytes:
    """The value of one record; fields with a default may be left out. `ValueError` for a wrong field or value."""
    row = TYPES[api_key]
    if not 0 <= version <= row.version:
        raise ValueError(f"{row.name} has versions 0 to {row.version}, not {version}")
    writer = Writer().varint(FRAME_VERSION).varint(api_key).varint(version)
    encode_fields(writer, row.fields, version, values)
    return bytes(writer)


def to_json(record: MetadataRecord) -> dict[str, Any]:
    """The record as kafka-dump-log prints it: ids as text, tagged fields that have their default left out."""
    row = TYPES.get(record.api_key)
    if row is None or record.data is None:
        return {"type": record.name, "version": record.version, "data": None}
    return {"type": row.name, "version": record.version, "data": _json_struct(row.fields, record.data)}


def _json_struct(fields: tuple[Field, ...], data: Mapping[str, Value]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for field in fields:
        if field.name not in data or (field.tag is not None and data[field.name] == field.default):
            continue
        value = data[field.name]
        if field.items:
            shown[field.name] = [_json_struct(field.items, item) for item in value]
        elif isinstance(value, list):
            shown[field.name] = [_json_scalar(field.type[2:], item) for item in value]
        else:
            shown[field.name] = _json_scalar(field.type, value)
    return shown


def _json_scalar(kind: str, value: Value) -> Any:
    if not isinstance(value, bytes):
        return value
    if kind == "uuid":
        return base64.urlsafe_b64encode(value).decode().rstrip("=")
    return base64.b64encode(value).decode()
