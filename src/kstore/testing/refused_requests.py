"""The answer that refuses a request: its topics, partitions and names, an error at each, and nothing done.

Owns which part of a request answers to which part of its response (AbstractRequest.getErrorResponse, for each API).
Must not know who refuses, nor why. Called by `interference`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

from kstore.errors import UsageError
from kstore.wire import error_codes
from kstore.wire.apis import APIS
from kstore.wire.layouts import response_type
from kstore.wire.schema import NO_ID, Field, Request, Response, Struct

REFUSABLE = (
    "Produce", "Fetch", "ListOffsets", "OffsetCommit", "FindCoordinator", "JoinGroup", "Heartbeat", "LeaveGroup",
    "SyncGroup", "CreateTopics", "DeleteTopics", "DeleteRecords", "InitProducerId", "OffsetForLeaderEpoch",
    "IncrementalAlterConfigs", "CreatePartitions", "DeleteGroups", "ConsumerGroupHeartbeat",
)  # fmt: skip
"""APIs whose requests can be refused: those that a program meets."""

_ANSWERED_BY = {
    "responses": ("topic_data", "topics", "topic_names", "resources"),
    "partition_responses": ("partition_data",),
    "coordinators": ("coordinator_keys",),
    "results": ("topics", "groups_names"),
}
"""Arrays of a response, and those of a request that they answer, where the names differ."""
_NAMES = ("key", "name", "group_id")
"""What an element is called that stands in the request as a bare string."""
_EMPTY = {"String": "", "Bytes": b"", "Records": b"", "Uuid": NO_ID, "Bool": False, "throttle_time_ms": 0}


def refusal(request: Request, version: int, code: int) -> Response | None:
    """The answer in that version, with `code` wherever it has an error; None for acks=0, which wants no answer.

    Raises `UsageError` for an API that is not `REFUSABLE`.
    """
    name = APIS[request.API_KEY].name
    if name not in REFUSABLE:
        raise UsageError(f"no answer refuses {name}; these can be refused: {', '.join(REFUSABLE)}")
    if name == "Produce" and getattr(request, "acks", None) == 0:
        return None
    made = _made(response_type(request.API_KEY), version, request, code)
    if name == "Fetch" and made.responses:
        made = made.replace(error_code=error_codes.NONE)  # an error up there would be the session's
    return cast(Response, made)


def _made(cls: type[Struct], version: int, asked: Any, code: int) -> Any:
    return cls(**{line.name: _value(cls, line, version, asked, code) for line in cls.TABLE})


def _value(cls: type[Struct], line: Field, version: int, asked: Any, code: int) -> Any:
    if not line.is_in(version) and not line.required:
        return line.default
    may_be_null = line.nullable is not None and version >= line.nullable
    if line.name == "error_code":
        return code
    if line.name == "error_message":
        return error_codes.of(code).message
    if line.is_array:
        element = vars(sys.modules[cls.__module__]).get(line.type)
        if isinstance(element, type) and issubclass(element, Struct) and _tells_errors(element):
            return tuple(_made(element, version, one, code) for one in _asked_for(line, asked, element))
        return None if may_be_null and line.required else ()
    found = getattr(asked, line.name, None)
    if found is not None:
        return found
    if not line.required:
        return line.default
    return None if may_be_null else _EMPTY.get(line.name, _EMPTY.get(line.type, -1))


def _tells_errors(cls: type[Struct]) -> bool:
    """Whether a struct, or one inside it, has an error code: other arrays of a response tell of what was done."""
    inner = (vars(sys.modules[cls.__module__]).get(line.type) for line in cls.TABLE if line.is_array)
    return any(line.name == "error_code" for line in cls.TABLE) or any(
        _tells_errors(one) for one in inner if isinstance(one, type) and issubclass(one, Struct)
    )


def _asked_for(line: Field, asked: Any, element: type[Struct]) -> Sequence[Any]:
    """The elements of the request that this array answers; bare strings as something with a name."""
    for name in (line.name, *_ANSWERED_BY.get(line.name, ())):
        found = getattr(asked, name, None)
        if found:
            fields = [one.name for one in element.TABLE]
            called = next((one for one in _NAMES if one in fields), "")
            return [_Named(called, one) if isinstance(one, str) else one for one in found]
    return ()


class _Named:
    def __init__(self, field: str, value: str) -> None:
        setattr(self, field, value)
