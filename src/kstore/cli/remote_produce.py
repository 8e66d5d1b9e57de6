"""`kstore produce` with a broker: the same records in the same partitions, through librdkafka.

Owns sending and the failure of the first record that is refused. Called by `produce`, whose reading of lines it shares.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import TYPE_CHECKING, BinaryIO

from kstore.cli import common, remote_topics
from kstore.cli.lines import pieces, spread

if TYPE_CHECKING:
    from kstore.apps.client import Client


def run(client: Client, args: argparse.Namespace) -> int:
    """Send one record a line, from a file or stdin."""
    from kstore.apps.sender import Sender
    from kstore.apps.sinks import keyed

    source: BinaryIO = sys.stdin.buffer if args.file == "-" else open(args.file, "rb")  # noqa: SIM115
    with source:
        partitions = remote_topics.find(client, args.topic)
        if args.partition is not None:
            partitions = (remote_topics.find_partition(args.topic, partitions, args.partition),)
        ends = client.offsets(args.topic, partitions)
        first = sum(end for _, end in ends.values()) % len(partitions)
        turns = itertools.cycle([*range(first, len(partitions)), *range(first)])
        sender = Sender(client, args.topic, args.compression)
        count = 0
        for lines in pieces(source):
            for number, records in spread(lines, count, args, len(partitions), turns):
                for record in records:
                    key, value = keyed(record)
                    sender.send(partitions[number], key, value)
            count += len(lines)
            sender.serve()
        sender.flush()
    if args.json:
        common.print_json({"topic": args.topic, "records": count})
    else:
        common.notice(f"sent {common.counted(count, 'record')} to {args.topic}")
    return 0
