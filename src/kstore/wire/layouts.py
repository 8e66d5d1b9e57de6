"""From a table to the layout of one version: made when a message is first read or written in it, and kept.

Owns the rules of versions: which fields are there, which may be null, which lengths are compact (KIP-482). Must not
know any message. Called by `codec` and `consumer_protocol`.

Invariants
1. A layout of a version is made once a process.
2. Importing this imports no table: a process that serves five APIs compiles five.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import cast

from kstore._native.wire_layout import KINDS, Layout
from kstore.errors import InvariantError
from kstore.wire.apis import api
from kstore.wire.schema import Field, Request, Response, Struct

_KIND = {name: number for number, name in enumerate(KINDS)}
_STRUCT, _ARRAY = _KIND["Struct"], _KIND["Array"]


@functools.cache
def request_type(key: int) -> type[Request]:
    """The table of an API's request; `UnsupportedVersion` for an unknown key."""
    row = api(key)
    return cast(type[Request], getattr(_module(row.module), f"{row.name}Request"))


@functools.cache
def response_type(key: int) -> type[Response]:
    """The table of an API's response; `UnsupportedVersion` for an unknown key."""
    row = api(key)
    return cast(type[Response], getattr(_module(row.module), f"{row.name}Response"))


@functools.cache
def request_layout(key: int, version: int) -> Layout:
    """How the request of an API lies in a version; `UnsupportedVersion` when there is none."""
    row = api(key, version)
    return layout(request_type(key), version, row.is_flexible(version))


@functools.cache
def response_layout(key: int, version: int) -> Layout:
    """How the response of an API lies in a version; `UnsupportedVersion` when there is none."""
    row = api(key, version)
    return layout(response_type(key), version, row.is_flexible(version))


@functools.cache
def layout(struct: type[Struct], version: int, flexible: bool, compact: bool | None = None) -> Layout:
    """How `struct` lies in `version`. `compact` says so of its lengths where `flexible` does not (RequestHeader)."""
    compact = flexible if compact is None else compact
    table = struct.TABLE
    slots = {line.name: slot for slot, line in enumerate(table)}
    present = [line for line in table if line.is_in(version)]
    plain = [line for line in present if line.tag is None]
    tagged = sorted((line for line in present if line.tag is not None), key=lambda line: line.tag or 0)
    if tagged and not flexible:
        raise InvariantError(f"{struct.__name__} version {version}: {tagged[0].name} is tagged in a rigid version")
    fields = [_field(struct, line, slots[line.name], version, flexible, compact) for line in [*plain, *tagged]]
    refused = [slots[line.name] for line in table if line not in present and not line.ignorable]
    names = [line.name for line in table]
    return Layout(struct, version, names, [line.default for line in table], fields, flexible, refused)


def _field(
    struct: type[Struct], line: Field, slot: int, version: int, flexible: bool, compact: bool
) -> tuple[int, int, int, bool, bool, int, Layout | None]:
    kind = _KIND.get(line.type, _STRUCT)
    inner = None
    if kind == _STRUCT:
        inner = layout(vars(sys.modules[struct.__module__])[line.type], version, flexible)
    nullable = line.nullable is not None and version >= line.nullable
    tag = -1 if line.tag is None else line.tag
    outer = (_ARRAY, kind) if line.is_array else (kind, 0)
    return slot, *outer, nullable, compact, tag, inner


def _module(name: str) -> object:
    return importlib.import_module(f"kstore.wire.messages.{name}")
