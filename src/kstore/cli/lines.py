"""Records as lines, in and out: what `produce` reads and `consume` prints, of a directory or of a broker.

Owns the cutting of input into records and the shape of printed ones. Knows neither stores nor brokers.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from kstore.cli import common

READ_BYTES = 1 << 20


def pieces(source: BinaryIO) -> Iterator[list[bytes]]:
    """Whole lines, about a megabyte at a time; from a terminal or pipe as they come."""
    rest = b""
    descriptor = source.fileno()
    while data := os.read(descriptor, READ_BYTES):
        cut = data.rfind(b"\n")
        if cut < 0:
            rest += data
            continue
        yield (rest + data[:cut]).split(b"\n")
        rest = data[cut + 1 :]
    if rest:
        yield [rest]


def spread(
    lines: list[bytes], before: int, args: argparse.Namespace, partitions: int, turns: Iterator[int]
) -> list[tuple[int, list[Any]]]:
    """Records of some lines by partition; raises `UsageError` before any of them is sent."""
    if args.key_separator is None:
        return [(next(turns), list(lines))]
    from kstore.apps.partitioner import partition_of_key
    from kstore.errors import UsageError

    spread: dict[int, list[Any]] = {}
    for number, line in enumerate(lines, before + 1):
        key, found, value = line.partition(args.key_separator)
        if not found:
            raise UsageError(
                f"line {number} has no key separator {args.key_separator.decode(errors='backslashreplace')!r}; "
                f"{before} records before it were sent, line {before + 1} and all behind it were not"
            )
        spread.setdefault(partition_of_key(key, partitions), []).append((key, value))
    return sorted(spread.items())


def formatter(args: argparse.Namespace) -> Callable[[Any, Any], bytes]:
    """What makes a line of a partition (`topic`, `index`) and a record, as the options say."""
    if not args.json:
        return lambda partition, record: (record.value or b"") + b"\n"
    text = common.encoder(args.encoding)

    def line(partition: Any, record: Any) -> bytes:
        fields = {
            "topic": partition.topic,
            "partition": partition.index,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": text(record.key),
            "value": text(record.value),
            "headers": [[_name(name), text(value)] for name, value in record.headers],
        }
        return json.dumps(fields).encode() + b"\n"

    return line


def _name(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode(errors="surrogateescape")
