"""Random messages of the wire protocol, made from the field tables, and what oracles say to their bytes.

The tables say which values fit, so a new message needs no generator of its own.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from kstore._native.wire_layout import Layout
from kstore._native.wire_writer import Writer
from kstore.wire.apis import APIS, Api
from kstore.wire.layouts import request_type, response_type
from kstore.wire.schema import Field, Struct

INTEGER_BITS = {"Int8": 8, "Int16": 16, "Int32": 32, "Int64": 64}
TEXTS = ("", "t", "topic-7", "grüße", "日本", "🙂", "x" * 200)
ERROR_CODES = (0, 1, 3, 6, 16, 35, 87, -1)
ITEMS_MAX = 3


def struct_named(struct: type[Struct], name: str) -> type[Struct]:
    """The class of a nested struct, as the table of `struct` names it."""
    found: type[Struct] = vars(sys.modules[struct.__module__])[name]
    return found


def random_struct(rng: random.Random, struct: type[Struct], version: int) -> Any:
    """An instance with a random value in every field that `version` has."""
    values = {line.name: random_value(rng, struct, line, version) for line in struct.TABLE if line.is_in(version)}
    return struct(**values)


def random_value(rng: random.Random, struct: type[Struct], line: Field, version: int) -> Any:
    nullable = line.nullable is not None and version >= line.nullable
    if nullable and rng.random() < 0.25:
        return None
    if line.tag is not None and rng.random() < 0.3:
        return line.default
    if line.is_array:
        items = [_one(rng, struct, line, version) for _ in range(rng.randint(0, ITEMS_MAX))]
        return items if items or line.tag is None else line.default  # tagged and empty: not written
    return _one(rng, struct, line, version)


def _one(rng: random.Random, struct: type[Struct], line: Field, version: int) -> Any:
    if line.name == "error_code" or line.name.endswith("_error_code"):
        return rng.choice(ERROR_CODES)
    if line.name.endswith("_ms"):
        return rng.randint(-1, 10**6)  # oracles turn them into time spans, which have less room
    if bits := INTEGER_BITS.get(line.type):
        return rng.choice((0, -1, 1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, rng.randrange(2 ** (bits - 1))))
    match line.type:
        case "Bool":
            return rng.random() < 0.5
        case "UInt16":
            return rng.randrange(2**16)
        case "UInt32":
            return rng.randrange(2**32)
        case "Float64":
            return rng.choice((0.0, -1.5, 2.0**80, rng.random()))
        case "String":
            return rng.choice(TEXTS)
        case "Uuid":
            return rng.randbytes(16)
        case "Bytes" | "Records":
            return rng.randbytes(rng.choice((0, 1, 100, 700)))
    return random_struct(rng, struct_named(struct, line.type), version)


def every_message() -> list[tuple[Api, str]]:
    """Each API with "request" and "response"."""
    return [(api, direction) for api in APIS.values() for direction in ("request", "response")]


def message_type(api: Api, direction: str) -> type[Struct]:
    return request_type(api.key) if direction == "request" else response_type(api.key)


def message_bytes(layout: Layout, message: Struct) -> bytes:
    """The message alone, without a header."""
    writer = Writer()
    writer.struct(layout, message)
    return b"".join(bytes(piece) for piece in writer.buffers())
