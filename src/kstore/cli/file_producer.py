"""`kstore file-producer`: a file's lines into a topic, exactly once, and what is appended later."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from kstore.cli import common
from kstore.cli.files import require_readable
from kstore.cli.produce import CODECS

if TYPE_CHECKING:
    from kstore.apps.routing import Routing
    from kstore.apps.sinks import Sink
    from kstore.store import Store

MORE = """
A record is a line without its newline, byte for byte: empty lines, carriage returns and
bytes that are not UTF-8 are kept. A topic that is not there is made.

The position file remembers how far FILE was sent, so running the command again sends only
what is new. Killed at any moment, the next run goes on exactly where the log ends: no line
is lost and none is sent twice. --resend starts over.

With --follow it waits for more: lines appended, FILE rotated (the old file is finished
first), truncated or replaced (sent from its first byte). An unfinished last line waits for
its newline; without --follow the last line is sent at the end of the file, newline or not.
SIGTERM and Ctrl-C end it cleanly."""


def register(nouns: Any) -> None:
    """Add the verb to the parser."""
    parser = common.add_verb(
        nouns,
        "file-producer",
        _run,
        "send a file's lines to a topic, each exactly once; follow what is appended",
        more=MORE,
        examples="""
kstore file-producer access.log requests --dir data
kstore file-producer access.log requests --dir data --follow
kstore file-producer orders.csv orders --dir data --partitions 3 --key-field 2 --field-separator ,""",
    )
    parser.add_argument("file", metavar="FILE", help="the file")
    parser.add_argument("topic", metavar="TOPIC", help="the topic; made when absent")
    common.add_following(parser, "go on with what is appended, until SIGTERM")
    parser.add_argument("--position-file", metavar="F", help="remembers how far FILE was sent (default: in DIR)")
    parser.add_argument("--resend", action="store_true", help="forget the position: send FILE from its first line")
    parser.add_argument("--partitions", metavar="N", type=common.whole_number(1), help="partitions of a new topic")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--partition", metavar="P", type=common.whole_number(0), help="send all to one partition")
    where.add_argument(
        "--key-field", metavar="N", type=common.whole_number(1), default=0, help="the line's N-th field is its key"
    )
    parser.add_argument(
        "--field-separator", metavar="S", type=common.separator, default=b"\t", help="between fields (default: tab)"
    )
    parser.add_argument("--compression", metavar="C", choices=CODECS, help="codec: " + ", ".join(CODECS))
    parser.add_argument(
        "--max-line-bytes",
        metavar="N",
        type=common.whole_number(1, (1 << 30) - 1),
        default=64 * 1024 * 1024,
        help="longest line to accept (default 64 MiB)",
    )
    parser.add_argument(
        "--rotate-wait-ms",
        metavar="MS",
        type=common.whole_number(0),
        default=1000,
        help="how long a rotated file may still get lines (default 1000)",
    )
    common.add_directory(parser, json=True)


def _run(args: argparse.Namespace) -> int:
    from kstore.apps import positions
    from kstore.apps.sinks import StoreSink

    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_files

        return remote_files.produce(client, args, send)
    directory = common.directory_of(args)
    position_file = args.position_file or positions.default_path(directory, args.file, args.topic)
    require_readable(args.file, position_file)
    positions.load(position_file)
    with common.open_store(args, create=True) as store:
        routing = _routing(args, store)
        return send(args, StoreSink(store, args.topic, routing.partitions, args.compression), routing, position_file)


def send(args: argparse.Namespace, sink: Sink, routing: Routing, position_file: str) -> int:
    """Send the file to a directory or a broker, and tell what was done; returns the exit code."""
    import os

    from kstore.apps.file_producer import FileProducer
    from kstore.cli.progress import Progress

    begun_s = time.monotonic()
    if args.resend and os.path.exists(position_file):
        os.unlink(position_file)
    with Progress("sending", "bytes") as bar:
        producer = FileProducer(
            sink,
            args.file,
            routing,
            position_file=position_file,
            follow=args.follow,
            line_bytes_max=args.max_line_bytes,
            poll_ms=args.poll_ms,
            rotate_wait_ms=args.rotate_wait_ms,
            notice=common.notice,
            progress=bar.update,
        )
        ending = common.stop_on_signal(producer.stop) if args.follow else None
        summary = producer.run()
    seconds = time.monotonic() - begun_s
    if args.json:
        common.print_json(
            {
                "file": args.file,
                "topic": args.topic,
                "lines": summary.lines,
                "bytes": summary.size_bytes,
                "already_stored": summary.already_stored,
                "partitions": {str(k): v for k, v in sorted(summary.by_partition.items())},
                "position_file": position_file,
            }
        )
    common.notice(
        f"sent {common.counted(summary.lines, 'line')} ({common.size_text(summary.size_bytes)}) of {args.file} "
        f"to {args.topic} in {seconds:.1f} s; the position is in {position_file}"
    )
    return ending() if ending else 0


def _routing(args: argparse.Namespace, store: Store) -> Any:
    from kstore.apps.routing import Routing
    from kstore.errors import UsageError

    topics = store.topics()
    if args.topic not in topics:
        topic = store.create_topic(args.topic, args.partitions)
        common.notice(f"created topic {topic.name} with {common.counted(len(topic.partitions), 'partition')}")
    else:
        topic = topics[args.topic]
        if args.partitions not in (None, len(topic.partitions)):
            raise UsageError(
                f"topic {args.topic} has {common.counted(len(topic.partitions), 'partition')} already; "
                f"leave --partitions out"
            )
    if args.partition is not None:
        common.find_partition(topic, args.partition)
    return Routing(len(topic.partitions), args.key_field, args.field_separator, args.partition)
