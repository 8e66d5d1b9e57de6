"""`kstore consume`: records to stdout, values a line each or JSON objects."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kstore.cli import common
from kstore.cli.lines import formatter

if TYPE_CHECKING:
    from kstore._native.records import Record
    from kstore.partition import Partition
    from kstore.store import Store
    from kstore.store.catalog import Topic

READ_BYTES = 1 << 20
POLL_S = 0.1


def register(nouns: Any) -> None:
    """Add the verb to the parser."""
    parser = common.add_verb(
        nouns,
        "consume",
        _consume,
        "print records: values a line each, or JSON objects",
        more="""
Where it starts: --offset N, --from-beginning, or the group's committed offsets. With none
of these it prints what is there from the beginning, and with --follow only what comes from
now on, as Kafka's console consumer does. A group without a commit starts at the beginning.
Partitions are read in turns: order holds within each. Reads beside a running writer.

JSON objects carry topic, partition, offset, timestamp_ms, key, value and headers (a list of
[name, value]). With --encoding utf-8 bytes that are not UTF-8 become lone surrogates
(U+DC80 to U+DCFF), so that nothing is lost; base64 and hex are plain.""",
        examples="""
kstore consume orders --dir data --from-beginning --max-messages 10
kstore consume orders --dir data --partition 0 --offset 4711 --json
kstore consume orders --dir data --group audit --follow""",
    )
    parser.add_argument("topic", metavar="TOPIC", help="the topic")
    parser.add_argument("--partition", metavar="P", type=common.whole_number(0), help="read one partition")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--from-beginning", action="store_true", help="start at the first record there is")
    start.add_argument("--offset", metavar="N", type=common.whole_number(0), help="start at this offset")
    parser.add_argument("--max-messages", metavar="N", type=common.whole_number(0), help="stop after N records")
    parser.add_argument("--group", metavar="G", help="go on where the group stopped, and commit what was printed")
    parser.add_argument("--follow", action="store_true", help="wait for more at the end")
    parser.add_argument(
        "--isolation",
        metavar="LEVEL",
        choices=("read_uncommitted", "read_committed"),
        default="read_uncommitted",
        help="read_committed hides records of open and aborted transactions",
    )
    common.add_encoding(parser)
    parser.add_argument("--skip-damaged", action="store_true", help="go on behind damaged batches")
    common.add_directory(parser, json=True)


def _consume(args: argparse.Namespace) -> int:
    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_consume

        return remote_consume.run(client, args)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(common.open_store(args, read_only=True))
        topic = common.find_topic(store, args.topic)
        if args.group is not None:
            held = store.groups.hold(args.group)
            stack.callback(held.release)
        printing = _Printing(args, store, topic)
        ending = common.stop_on_signal(printing.stop.set) if args.follow else None
        printing.run()
    if args.group is not None:
        common.fold_commits(args)
    return ending() if ending else 0


class _Printing:
    """One run of `consume`: offsets by partition, how many are left, what is not yet committed."""

    def __init__(self, args: argparse.Namespace, store: Store, topic: Topic) -> None:
        from kstore.apps.stopping import StopFlag

        self._args = args
        self._store = store
        indexes = topic.partitions if args.partition is None else (common.find_partition(topic, args.partition),)
        self._partitions = [store.partition(topic.name, index) for index in indexes]
        self._offsets = self._starts()
        self._committed = dict(self._offsets)
        self._left = args.max_messages
        self._line = formatter(args)
        self.stop = StopFlag()

    def _starts(self) -> dict[int, int]:
        args = self._args
        if args.offset is not None:
            return self._at(args.offset)
        committed = {} if args.group is None else self._store.groups.committed(args.group)
        starts = {}
        for partition in self._partitions:
            commit = committed.get((args.topic, partition.index))
            if commit is not None and not args.from_beginning:
                starts[partition.index] = commit.offset
            elif args.follow and args.group is None and not args.from_beginning:
                starts[partition.index] = partition.high_watermark
            else:
                starts[partition.index] = partition.log_start_offset
        return starts

    def _at(self, offset: int) -> dict[int, int]:
        """The asked offset where a partition has it, else its nearest; at least one partition must have it."""
        from kstore.errors import OffsetOutOfRange

        starts = {p.index: min(max(offset, p.log_start_offset), p.high_watermark) for p in self._partitions}
        if offset not in starts.values():
            first = self._partitions[0]
            where = f"{first.topic} partition {first.index}"
            raise OffsetOutOfRange(offset, first.log_start_offset, first.high_watermark, where)
        return starts

    def run(self) -> None:
        """Print until the end, the limit, or `stop`."""
        while not self._done():
            some = [self._turn(partition) for partition in self._partitions if not self._done()]
            sys.stdout.buffer.flush()
            self._commit()
            if any(some):
                continue
            if not self._args.follow:
                return
            self.stop.wait(POLL_S)
            for partition in self._partitions:
                partition.refresh()

    def _done(self) -> bool:
        return self._left == 0 or self.stop.is_set()

    def _turn(self, partition: Partition) -> bool:
        """Print up to a megabyte of one partition; False when there was nothing."""
        offset = self._offsets[partition.index]
        write = sys.stdout.buffer.write
        next_offset = offset
        for record, next_offset in self._records(partition, offset):  # noqa: B007
            if record is not None:
                write(self._line(partition, record))
                if self._left is not None:
                    self._left -= 1
                    if self._left == 0:
                        break
        self._offsets[partition.index] = next_offset
        return next_offset != offset

    def _records(self, partition: Partition, offset: int) -> Iterator[tuple[Record | None, int]]:
        """Records with the offset behind each; a None at the end tells where to read on."""
        from kstore.errors import CorruptionError, OffsetOutOfRange

        try:
            batches = partition.read(offset, max_bytes=READ_BYTES, isolation=self._args.isolation)
            for record in batches:
                if record.offset >= offset:
                    yield record, record.offset + 1
            yield None, batches.next_offset
        except OffsetOutOfRange as gone:
            if self._args.offset is not None:
                raise
            place = gone.log_start_offset if offset < gone.log_start_offset else gone.end_offset
            common.notice(f"{partition.topic} partition {partition.index}: {gone}; reading on at {place}")
            yield None, place
        except CorruptionError as damage:
            if not self._args.skip_damaged or damage.next_offset <= offset:
                raise
            common.notice(f"{damage}; skipped")
            yield None, damage.next_offset

    def _commit(self) -> None:
        if self._args.group is None or self._offsets == self._committed:
            return
        self._store.groups.commit(
            self._args.group, {(self._args.topic, index): offset for index, offset in self._offsets.items()}
        )
        self._committed = dict(self._offsets)
