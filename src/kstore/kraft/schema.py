"""Flexible Kafka messages by table: a message is a tuple of fields, and one encoder and one decoder serve them all.

Owns how field types, versions, nullability and tags become bytes; knows no message. Called by `records`.

Invariants
1. `decode_fields` gives every field that the version has; a tagged field that is not in the bytes has its default.
2. A tagged field that equals its default is not written, as Kafka's generated code does, so bytes come out equal.
3. Unknown tags are skipped: a newer Kafka may add them to a version (KIP-482).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kstore.primitives import Reader, Writer

Value = Any  # int, bool, str, bytes, None, or lists and dicts of these


class Field(NamedTuple):
    """One field. `since` is the first version that has it, `tag` its number when it is tagged, `items` the fields of
    an array's structs. A nullable field may be None."""

    name: str
    type: str
    since: int = 0
    nullable: bool = False
    tag: int | None = None
    default: Value = None
    items: tuple[Field, ...] = ()


_READERS: dict[str, Callable[[Reader], Value]] = {
    "int8": Reader.int8,
    "int16": Reader.int16,
    "uint16": Reader.uint16,
    "int32": Reader.int32,
    "int64": Reader.int64,
    "float64": Reader.float64,
    "bool": Reader.boolean,
    "uuid": Reader.uuid,
    "string": Reader.compact_nullable_string,
    "bytes": Reader.compact_bytes,
}
_WRITERS: dict[str, Callable[[Writer, Value], Writer]] = {
    "int8": Writer.int8,
    "int16": Writer.int16,
    "uint16": Writer.uint16,
    "int32": Writer.int32,
    "int64": Writer.int64,
    "float64": Writer.float64,
    "bool": Writer.boolean,
    "uuid": Writer.uuid,
    "string": Writer.compact_string,
    "bytes": Writer.compact_bytes,
}


def decode_fields(reader: Reader, fields: tuple[Field, ...], version: int) -> dict[str, Value]:
    """One struct of `fields` as `version` lays it out, its tagged fields included; `ValueError` for other bytes."""
    present = [field for field in fields if field.since <= version]
    found: dict[str, Value] = {}
    for field in present:
        # Tagged fields come last in the bytes; their place is kept now, so that the result has the table's order.
        found[field.name] = field.default if field.tag is not None else _read(reader, field, version)
    tagged = reader.tagged_fields()
    for field in present:
        if field.tag in tagged:
            inner = Reader(tagged[field.tag])
            found[field.name] = _read(inner, field, version)
            if inner.remaining:
                raise ValueError(f"{inner.remaining} bytes after {field.name}")
    return found


def encode_fields(writer: Writer, fields: tuple[Field, ...], version: int, values: Mapping[str, Value]) -> None:
    """Writes one struct; `ValueError` for a value that `version` has no field for, or a missing one."""
    present = [field for field in fields if field.since <= version]
    if unknown := set(values) - {field.name for field in present}:
        raise ValueError(f"version {version} has no field {', '.join(sorted(unknown))}")
    tagged: dict[int, bytes] = {}
    for field in present:
        value = values.get(field.name, field.default)
        if value is None and not field.nullable and field.tag is None:
            raise ValueError(f"{field.name} is missing")
        if field.tag is None:
            _write(writer, field, version, value)
        elif value != field.default:
            inner = Writer()
            _write(inner, field, version, value)
            tagged[field.tag] = bytes(inner)
    writer.tagged_fields(tagged)


def _read(reader: Reader, field: Field, version: int) -> Value:
    if field.type.startswith("[]"):
        return _read_array(reader, field, version)
    value = _READERS[field.type](reader)
    if value is None and not field.nullable:
        raise ValueError(f"{field.name} is null")
    return value


def _read_array(reader: Reader, field: Field, version: int) -> list[Value] | None:
    if field.nullable and reader.peek() == 0:
        reader.varint()
        return None
    if field.items:
        return reader.compact_array(lambda: decode_fields(reader, field.items, version))
    read = _READERS[field.type[2:]]
    return reader.compact_array(lambda: read(reader))


def _write(writer: Writer, field: Field, version: int, value: Value) -> None:
    if not field.type.startswith("[]"):
        _WRITERS[field.type](writer, value)
    elif value is None:
        writer.varint(0)
    elif field.items:
        writer.compact_array(value, lambda item: encode_fields(writer, field.items, version, item))
    else:
        write = _WRITERS[field.type[2:]]
        writer.compact_array(value, lambda item: write(writer, item))
