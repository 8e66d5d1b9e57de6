"""Every message in every version against kio, an independent codec: byte for byte, value for value.

kio reads what kstore wrote and must find the same values under the same names; what kio writes from them must be the
very bytes. The way back is covered by reading these bytes again.
"""

from __future__ import annotations

import datetime
import io
import random
import uuid
from typing import Any

import pytest

from kstore._native.wire_reader import read
from kstore.wire.apis import Api
from kstore.wire.layouts import layout
from support.wire_messages import every_message, message_bytes, message_type, random_struct

schema = pytest.importorskip("kio.schema", reason="kio is in the group 'test'")
serial = pytest.importorskip("kio.serial")
load = pytest.importorskip("kio.index")

MESSAGES_A_VERSION = 12


def kio_type(api: Api, direction: str, version: int) -> Any:
    from kio.static.constants import EntityType

    return load.load_payload_module(api.key, version, EntityType[direction])


def plain(value: Any) -> Any:
    """A value of kio's in kstore's terms."""
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, datetime.timedelta):
        return round(value / datetime.timedelta(milliseconds=1))
    if isinstance(value, datetime.datetime):
        return round(value.timestamp() * 1000)
    return value


def compare(path: str, ours: Any, theirs: Any) -> None:
    theirs = plain(theirs)
    if ours is None or theirs is None or not hasattr(type(ours), "TABLE"):
        if isinstance(ours, list):
            assert len(ours) == len(theirs), path
            for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                compare(f"{path}[{index}]", one, other)
        elif theirs is None and ours in (bytes(16), -1):
            pass  # the zero id, and the time that is none
        else:
            assert ours == theirs, path
        return
    names = {name.rstrip("_"): name for name in theirs.__dataclass_fields__}
    for line in ours.TABLE:
        if name := names.get(line.name):
            compare(f"{path}.{line.name}", getattr(ours, line.name), getattr(theirs, name))


@pytest.mark.parametrize(
    ("api", "direction"), every_message(), ids=lambda part: part if isinstance(part, str) else part.name
)
def test_bytes_and_values_are_kios(api: Api, direction: str, seed: int) -> None:
    rng = random.Random(seed)
    struct = message_type(api, direction)
    for version in range(api.first, api.last + 1):
        module = kio_type(api, direction, version)
        kio_class = getattr(module, struct.__name__)
        reader, writer = serial.entity_reader(kio_class), serial.entity_writer(kio_class)
        assert kio_class.__flexible__ == api.is_flexible(version)
        for _ in range(MESSAGES_A_VERSION):
            ours = random_struct(rng, struct, version)
            lay = layout(struct, version, api.is_flexible(version))
            data = message_bytes(lay, ours)
            theirs, _ = reader(data, 0)
            compare(f"{struct.__name__} v{version}", ours, theirs)
            again = io.BytesIO()
            writer(again, theirs)
            assert again.getvalue() == data
            back, end = read(lay, data)
            assert (back, end) == (ours, len(data))
