"""Every message in every version against kafka-python, the second independent codec.

kafka-python has no tables of two APIs (KIP-848), and reads a refusal of ApiVersions as version 0 whatever was asked
for, on purpose: those are left to kio.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Iterator
from typing import Any

import pytest

from kstore.wire.apis import API_VERSIONS, Api
from kstore.wire.layouts import layout
from support.wire_messages import every_message, message_bytes, message_type, random_struct

protocol = pytest.importorskip("kafka.protocol", reason="kafka-python is in the group 'test'")

MESSAGES_A_VERSION = 8
LACKING = {"ConsumerGroupHeartbeat", "ConsumerGroupDescribe"}


@pytest.fixture(scope="module")
def oracles() -> dict[str, Any]:
    from kafka.protocol.api_message import ApiMessage

    for module in pkgutil.walk_packages(protocol.__path__, "kafka.protocol."):
        if ".old" not in module.name and "generate" not in module.name:
            importlib.import_module(module.name)
    return {one.__name__: one for one in _below(ApiMessage)}


def _below(kind: Any) -> Iterator[Any]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def compare(path: str, version: int, ours: Any, theirs: Any) -> None:
    if isinstance(ours, list | tuple) and not hasattr(ours, "TABLE"):
        assert len(ours) == len(theirs), path
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            compare(f"{path}[{index}]", version, one, other)
    elif ours is not None and hasattr(ours, "TABLE"):
        for line in ours.TABLE:
            value = getattr(ours, line.name)
            if not line.is_in(version) or line.name.endswith("authorized_operations"):
                continue  # kafka-python turns the bits of operations into sets
            if line.tag is not None and getattr(theirs, line.name) is None:
                assert value == line.default, path  # a tagged field that is not there
            else:
                compare(f"{path}.{line.name}", version, value, getattr(theirs, line.name))
    else:
        theirs = theirs.bytes if hasattr(theirs, "bytes") else theirs
        assert ours == theirs, path


@pytest.mark.parametrize(
    ("api", "direction"),
    [one for one in every_message() if one[0].name not in LACKING],
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_bytes_and_values_are_kafka_pythons(oracles: dict[str, Any], api: Api, direction: str, seed: int) -> None:
    rng = random.Random(seed)
    struct = message_type(api, direction)
    oracle = oracles[struct.__name__]
    for version in range(api.first, api.last + 1):
        for _ in range(MESSAGES_A_VERSION):
            ours = random_struct(rng, struct, version)
            if api.key == API_VERSIONS and direction == "response":
                ours = ours.replace(error_code=0)
            data = message_bytes(layout(struct, version, api.is_flexible(version)), ours)
            theirs = oracle.decode(data, version=version)
            compare(f"{struct.__name__} v{version}", version, ours, theirs)
            theirs._header = None
            assert theirs.encode(version=version) == data
