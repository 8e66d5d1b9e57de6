"""`kstore graduate`: a directory on which a real Kafka broker boots."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from kstore.cli import common


def register(nouns: Any) -> None:
    """Add the verb to the parser."""
    parser = common.add_verb(
        nouns,
        "graduate",
        _graduate,
        "make a log.dir that a real Kafka broker (KRaft) boots on and serves at once",
        more="""
Topics, configurations, records, producer states and committed group offsets go along. Sealed
segments are hard links where the file system allows, everything else is copied; DIR stays
as it is and must not be open for writing. The broker's server.properties is printed.""",
        examples="""
kstore graduate data --to /var/lib/kafka
kstore graduate data --to /var/lib/kafka --node-id 1 --listener 127.0.0.1:9092""",
    )
    parser.add_argument("directory", metavar="DIR", help="the log directory to hand over")
    parser.add_argument("--to", metavar="KAFKA_DIR", required=True, help="the new directory; absent or empty")
    parser.add_argument("--node-id", metavar="N", type=common.whole_number(0, 2**31 - 1), default=1, help="default 1")
    parser.add_argument("--cluster-id", metavar="ID", help="22 characters of base64url (default: random)")
    parser.add_argument("--listener", metavar="HOST:PORT", default="127.0.0.1:9092", help="default 127.0.0.1:9092")
    common.add_json(parser)


def _graduate(args: argparse.Namespace) -> int:
    from kstore.graduation import graduate

    done = graduate(args.directory, args.to, node_id=args.node_id, cluster_id=args.cluster_id, listener=args.listener)
    if args.json:
        common.print_json(dataclasses.asdict(done))
    else:
        print(done.server_properties, end="")
        common.notice(f"{args.to} is ready: save the lines above as server.properties and start Kafka with them")
    return 0
