"""What runs under callgrind: a few calls of one function, whose instructions are counted from its entry to its exit.

`python -m benchmarks.support.counted NAME`. `CASES` says which native symbol is counted and how many records one call
handles.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import kstore
from benchmarks.support import samples
from kstore._native import batch as native
from kstore._native.index import OFFSET_ENTRY, OffsetIndex
from kstore._native.records import Encoder

CALLS = 8


class Case(NamedTuple):
    """One function to count."""

    module: str
    symbol: str
    """A regular expression that finds the one native function among the module's symbols."""
    records: int
    make: Callable[[], Callable[[], object]]


def _encode(records: list[object]) -> Callable[[], object]:
    encoder = Encoder()
    return lambda: encoder.encode(records, timestamp_ms=samples.TIMESTAMP_MS)


def _encode_values() -> Callable[[], object]:
    return _encode([*samples.values(600, 100)])


def _encode_uneven() -> Callable[[], object]:
    return _encode([*samples.uneven(600)])


def _encode_pairs() -> Callable[[], object]:
    return _encode([*samples.pairs(600, 100)])


def _decode_columns() -> Callable[[], object]:
    batch = samples.batch()
    return lambda: kstore.decode_batches(batch).columns()


def _check() -> Callable[[], object]:
    batch = samples.batch()
    return lambda: native.check(batch)


def _decode_uneven() -> Callable[[], object]:
    batch = kstore.encode_batches(samples.uneven(600), timestamp_ms=samples.TIMESTAMP_MS)
    return lambda: kstore.decode_batches(batch).columns()


def _tuples() -> Callable[[], object]:
    batch = kstore.encode_batches(samples.pairs(600, 100), timestamp_ms=samples.TIMESTAMP_MS)
    return lambda: deque(kstore.decode_batches(batch).tuples(), maxlen=0)


def _records() -> Callable[[], object]:
    batch = kstore.encode_batches(samples.pairs(600, 100), timestamp_ms=samples.TIMESTAMP_MS)
    return lambda: deque(kstore.decode_batches(batch), maxlen=0)


def _lookups() -> Callable[[], object]:
    table = np.empty(10_000, OFFSET_ENTRY)
    table["relative_offset"] = np.arange(10_000) * 40
    table["position"] = np.arange(10_000) * 800
    index = OffsetIndex(0, table.tobytes())
    return lambda: [index.lookup(offset) for offset in range(7, 400_000, 667)]


CASES = {
    "encode values": Case("records", r"__pyx_pw_.*7Encoder_\d+encode", 600, _encode_values),
    "encode values of many sizes": Case("records", r"__pyx_pw_.*7Encoder_\d+encode", 600, _encode_uneven),
    "encode (key, value)": Case("records", r"__pyx_pw_.*7Encoder_\d+encode", 600, _encode_pairs),
    "decode to columns": Case("batches", r"__pyx_pw_.*7Batches_\d+columns", 600, _decode_columns),
    "decode many sizes to columns": Case("batches", r"__pyx_pw_.*7Batches_\d+columns", 600, _decode_uneven),
    "iterate over tuples": Case("batches", r"__pyx_pw_.*7_Tuples_\d+__next__", 600, _tuples),
    "iterate over records": Case("batches", r"__pyx_pw_.*8_Records_\d+__next__", 600, _records),
    "look an offset up": Case("index", r"__pyx_pw_.*11OffsetIndex_\d+lookup", 600, _lookups),
    "check a batch": Case("batch", r"__pyx_pw_6kstore_7_native_5batch_\d+check", 600, _check),
}

if __name__ == "__main__":
    np.empty(1)  # imported before the first call, or the first call would count the import
    work = CASES[sys.argv[1]].make()
    for _ in range(CALLS):
        work()
