"""kstore: the Kafka log as a Python library, with a native hot path.

It writes, reads, indexes, recovers and verifies partitioned segment logs in Kafka's own on-disk format, byte for
byte. Start with `kstore.open`.

What it is not: a client of a Kafka broker. A thin broker over it is `kstore.broker`. Names are loaded when they are
first used, so that `import kstore` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kstore import errors as errors
    from kstore._native.batches import Batches as Batches
    from kstore._native.columns import Columns as Columns
    from kstore._native.crc32c import crc32c as crc32c
    from kstore._native.records import Record as Record
    from kstore._native.segment import Segment as Segment
    from kstore.config import StoreConfig as StoreConfig
    from kstore.config import TopicConfig as TopicConfig
    from kstore.graduation import graduate as graduate
    from kstore.inspect import Finding as Finding
    from kstore.inspect import Report as Report
    from kstore.inspect import repair as repair
    from kstore.inspect import verify as verify
    from kstore.log.appended import Appended as Appended
    from kstore.partition import Partition as Partition
    from kstore.records import decode_batches as decode_batches
    from kstore.records import encode_batches as encode_batches
    from kstore.store import Store as Store
    from kstore.store import Topic as Topic
    from kstore.store import open as open

_HOMES = {
    "Appended": "kstore.log.appended",
    "Batches": "kstore._native.batches",
    "Columns": "kstore._native.columns",
    "Finding": "kstore.inspect",
    "Partition": "kstore.partition",
    "Record": "kstore._native.records",
    "Report": "kstore.inspect",
    "Segment": "kstore._native.segment",
    "Store": "kstore.store",
    "StoreConfig": "kstore.config",
    "Topic": "kstore.store",
    "TopicConfig": "kstore.config",
    "crc32c": "kstore._native.crc32c",
    "decode_batches": "kstore.records",
    "encode_batches": "kstore.records",
    "graduate": "kstore.graduation",
    "open": "kstore.store",
    "repair": "kstore.inspect",
    "verify": "kstore.inspect",
}
"""Where each public name lives."""


def __getattr__(name: str) -> Any:
    import importlib

    home = _HOMES.get(name)
    if home is not None:
        value = getattr(importlib.import_module(home), name)
    elif name == "errors":
        value = importlib.import_module("kstore.errors")
    else:
        errors = importlib.import_module("kstore.errors")
        value = getattr(errors, name, None)
        if not (isinstance(value, type) and issubclass(value, errors.KStoreError)):
            raise AttributeError(f"module 'kstore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "errors"})
