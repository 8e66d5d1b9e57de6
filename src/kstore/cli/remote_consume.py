"""`kstore consume` with a broker: by partitions, or as a member of a group that shares them.

Owns where reading starts and when it is over. Called by `consume`, whose lines it prints.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kstore.cli import common, remote_topics
from kstore.cli.lines import formatter

if TYPE_CHECKING:
    from kstore.apps.broker_reader import Reader
    from kstore.apps.client import Client

WAIT_S = 0.1
COMMITTED = -1


@dataclass(frozen=True)
class Place:
    """A partition, for the lines of `consume`."""

    topic: str
    index: int


class Row(NamedTuple):
    """A record, for the lines of `consume`."""

    offset: int
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def run(client: Client, args: argparse.Namespace) -> int:
    """Print until the end, the limit, or a signal."""
    from kstore.apps.broker_reader import Reader
    from kstore.apps.stopping import StopFlag
    from kstore.errors import UsageError

    if args.skip_damaged:
        raise UsageError("--skip-damaged is for the files of a directory; a broker hands out whole batches only")
    partitions = remote_topics.find(client, args.topic)
    starts = _starts(client, args, partitions)
    stop = StopFlag()
    printing = _Printing(args, stop)
    reader = Reader(
        client,
        args.topic,
        group=args.group,
        starts=starts,
        from_beginning=args.from_beginning,
        isolation=args.isolation,
        on_revoke=lambda: printing.commit(reader),
    )
    ending = common.stop_on_signal(stop.set) if args.follow else None
    try:
        printing.run(reader)
    finally:
        reader.close()
    return ending() if ending else 0


def _starts(client: Client, args: argparse.Namespace, partitions: tuple[int, ...]) -> dict[int, int] | None:
    """Where to begin in each partition, -1 for the group's commit; None to share them with the group's others."""
    if args.partition is not None:
        partitions = (remote_topics.find_partition(args.topic, partitions, args.partition),)
    elif args.group is not None and args.offset is None:
        return None
    if args.group is not None and args.offset is None and not args.from_beginning:
        return dict.fromkeys(partitions, COMMITTED)
    bounds = client.offsets(args.topic, partitions)
    if args.offset is not None:
        return _at(args, bounds)
    from_now = args.follow and args.group is None and not args.from_beginning
    return {index: end if from_now else start for index, (start, end) in bounds.items()}


def _at(args: argparse.Namespace, bounds: dict[int, tuple[int, int]]) -> dict[int, int]:
    """The asked offset where a partition has it, else its nearest; at least one partition must have it."""
    from kstore.errors import OffsetOutOfRange

    starts = {index: min(max(args.offset, start), end) for index, (start, end) in bounds.items()}
    if args.offset not in starts.values():
        first = min(bounds)
        raise OffsetOutOfRange(args.offset, *bounds[first], f"{args.topic} partition {first}")
    return starts


class _Printing:
    """What was printed, and what of it is not committed yet."""

    def __init__(self, args: argparse.Namespace, stop: Any) -> None:
        self._args = args
        self._stop = stop
        self._left: int | None = args.max_messages
        self._line: Callable[[Any, Any], bytes] = formatter(args)
        self._committed: dict[int, int] = {}

    def run(self, reader: Reader) -> None:
        """Print and commit, until it is over."""
        write = sys.stdout.buffer.write
        while self._left != 0 and not self._stop.is_set():
            messages = reader.read(WAIT_S)
            for message in messages:
                _, timestamp_ms = message.timestamp()
                row = Row(message.offset(), timestamp_ms, message.key(), message.value(), message.headers() or [])
                write(self._line(Place(reader.topic, message.partition()), row))
                reader.take(message)
                if self._left is not None:
                    self._left -= 1
                    if self._left == 0:
                        break
            if messages:
                sys.stdout.buffer.flush()
                self.commit(reader)
            elif reader.at_end and not self._args.follow:
                return

    def commit(self, reader: Reader) -> None:
        """Commit what was printed and is not committed."""
        if self._args.group is None:
            return
        new = {
            index: offset for index, offset in reader.next_offsets.items() if self._committed.get(index) != offset
        }
        reader.commit(new)
        self._committed.update(new)
