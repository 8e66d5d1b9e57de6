"""The processes of the recovery benchmark: one fills a log and dies, one opens what it left, says how long, and dies.

`python -m benchmarks.support.unclean fill DIR BYTES` and `... open DIR`. Neither stops cleanly, so that the directory
stays one that needs recovery.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time

import kstore
from benchmarks.support import samples
from benchmarks.support.bench import CONFIG


def fill(directory: str, size_bytes: int) -> None:
    """One partition with one segment of nearly `size_bytes`, flushed now and then as a store with a ticker does."""
    batch = samples.batch()
    store = kstore.open(directory, config=CONFIG)
    store.create_topic("t")
    log = store.partition("t", 0)
    times = size_bytes // len(batch)
    for i in range(times):
        log.append_batches(batch)
        if i % 1024 == 0 or i == times - 32:  # the last two megabytes are the tail that no checkpoint covers
            log.flush()
    os._exit(0)


def reopen(directory: str) -> None:
    """Prints as JSON how long the open took and what it found. Another store comes first: imports do not count."""
    with tempfile.TemporaryDirectory() as other, kstore.open(other, config=CONFIG) as store:
        store.create_topic("t")
        store.partition("t", 0).append([b"value"])
    begun = time.perf_counter_ns()
    store = kstore.open(directory, config=CONFIG)
    log = store.partition("t", 0)
    took = time.perf_counter_ns() - begun
    print(json.dumps({"ns": took, "size_bytes": log.segments[-1].size_bytes, "end": log.log_end_offset}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(sys.argv[2], int(sys.argv[3]))
    else:
        reopen(sys.argv[2])
