"""`kstore file-producer` and `kstore file-consumer` with a broker.

Owns which topic, which partitions and which position file a run takes; what it does is the applications'. Called by
`file_producer` and `file_consumer`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kstore.cli import common, remote_topics
from kstore.cli.files import require_readable, require_writable

if TYPE_CHECKING:
    from kstore.apps.client import Client
    from kstore.apps.output import Summary

WAIT_S = 0.2


def produce(client: Client, args: argparse.Namespace, send: Callable[..., int]) -> int:
    """Send a file's lines; the position is kept beside the file unless it is named."""
    from kstore.apps import positions
    from kstore.apps.sinks import BrokerSink

    folder = os.path.dirname(os.path.abspath(args.file))
    position_file = args.position_file or positions.default_path(folder, args.file, args.topic)
    require_readable(args.file, position_file)
    positions.load(position_file)
    routing = _routing(client, args)
    sink = BrokerSink(client, args.topic, routing.partitions, args.compression)
    return send(args, sink, routing, position_file)


def _routing(client: Client, args: argparse.Namespace) -> Any:
    from kstore.apps.routing import Routing
    from kstore.errors import UsageError

    partitions = client.partitions_of().get(args.topic)
    if partitions is None:
        client.create_topic(args.topic, args.partitions, {})
        partitions = remote_topics.find(client, args.topic)
        common.notice(f"created topic {args.topic} with {common.counted(len(partitions), 'partition')}")
    elif args.partitions not in (None, len(partitions)):
        raise UsageError(
            f"topic {args.topic} has {common.counted(len(partitions), 'partition')} already; leave --partitions out"
        )
    if args.partition is not None:
        remote_topics.find_partition(args.topic, partitions, args.partition)
    return Routing(len(partitions), args.key_field, args.field_separator, args.partition)


def consume(
    client: Client, args: argparse.Namespace, report: Callable[[argparse.Namespace, Summary, float], None]
) -> int:
    """Append a topic's records to a file as a member of a group."""
    from kstore.apps.broker_consumer import BrokerConsumer
    from kstore.cli.progress import Progress
    from kstore.errors import UsageError

    if args.skip_damaged:
        raise UsageError("--skip-damaged is for the files of a directory; a broker hands out whole batches only")
    begun_s = time.monotonic()
    require_writable(args.file)
    if args.follow:
        common.wait_for_topic(args.topic, client.topic_names, WAIT_S)
    remote_topics.find(client, args.topic)
    with Progress("reading", "records") as bar:
        consumer = BrokerConsumer(
            client,
            args.topic,
            args.file,
            args.group,
            follow=args.follow,
            commit=args.commit,
            commit_every=args.commit_every,
            exactly=args.exactly,
            max_records=args.max_messages,
            notice=common.notice,
            progress=bar.update,
        )
        ending = common.stop_on_signal(consumer.stop) if args.follow else None
        summary = consumer.run()
    report(args, summary, time.monotonic() - begun_s)
    return ending() if ending else 0
