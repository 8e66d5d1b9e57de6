"""`kstore produce`: one record a line, from a file or stdin."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from kstore.cli import common
from kstore.cli.lines import pieces, spread

if TYPE_CHECKING:
    from kstore.partition import Partition

READ_BYTES = 1 << 20
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def register(nouns: Any) -> None:
    """Add the verb to the parser."""
    parser = common.add_verb(
        nouns,
        "produce",
        _produce,
        "append one record a line, from a file or stdin",
        more="""
A record's value is the line without its newline, byte for byte. With a key separator the
line is KEY, the separator's first occurrence, VALUE; the key chooses the partition as
Kafka's Java client does. Without keys, each piece of about a megabyte goes to the next
partition, beginning at another one each time. To send a file that grows, or exactly once
across restarts: `kstore file-producer`.""",
        examples="""
printf 'created\\npaid\\n' | kstore produce orders --dir data
kstore produce orders lines.txt --dir data --compression zstd
kstore produce users --dir data --key-separator : < users.txt""",
    )
    parser.add_argument("topic", metavar="TOPIC", help="the topic; it must exist")
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="lines to send (default: stdin)")
    parser.add_argument("--partition", metavar="P", type=common.whole_number(0), help="send all to one partition")
    parser.add_argument("--key-separator", metavar="S", type=common.separator, help="what stands after the key")
    parser.add_argument("--compression", metavar="C", choices=CODECS, help="codec: " + ", ".join(CODECS))
    common.add_directory(parser, json=True)


def _produce(args: argparse.Namespace) -> int:
    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_produce

        return remote_produce.run(client, args)
    common.directory_of(args)
    source: BinaryIO = sys.stdin.buffer if args.file == "-" else open(args.file, "rb")  # noqa: SIM115
    with source, common.open_store(args) as store:
        topic = common.find_topic(store, args.topic)
        indexes = topic.partitions if args.partition is None else (common.find_partition(topic, args.partition),)
        partitions = [store.partition(topic.name, index) for index in indexes]
        count = 0
        first = sum(partition.log_end_offset for partition in partitions) % len(partitions)
        turns = itertools.cycle([*range(first, len(partitions)), *range(first)])
        for lines in pieces(source):
            for number, records in spread(lines, count, args, len(partitions), turns):
                _append(partitions[number], records, args.compression)
            count += len(lines)
        for partition in partitions:
            partition.flush()
    if args.json:
        common.print_json({"topic": args.topic, "records": count})
    else:
        common.notice(f"appended {common.counted(count, 'record')} to {args.topic}")
    return 0


def _append(partition: Partition, records: list[Any], compression: str | None) -> None:
    from kstore.errors import BatchTooLarge, UsageError

    try:
        partition.append(records, compression=compression)
    except BatchTooLarge as error:
        raise UsageError(
            f"{error}; raise it: `kstore topics alter {partition.topic} --dir {os.path.dirname(partition.path)} "
            f"--config {error.key}={1 << (error.size_bytes - 1).bit_length()}`"
        ) from error
