"""`kstore top`: one page about a cluster that renews itself."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from kstore.cli import common

if TYPE_CHECKING:
    from kstore.apps.top import GroupRow, Look, TopicRow

CLEAR = "\x1b[H\x1b[J"
LINES_AROUND = 8
"""Heads, blank lines and the line at the bottom."""


def register(nouns: Any) -> None:
    """Add the verb to the parser."""
    parser = common.add_verb(
        nouns,
        "top",
        _top,
        "watch a broker: topics, rates, groups and their lag",
        examples="""
kstore top --bootstrap-server 127.0.0.1:9092
kstore top --bootstrap-server 127.0.0.1:9092 --count 2 --interval-ms 5000 --json
""",
        more="""
Works with any broker of Kafka's protocol. On a terminal the page renews itself until Ctrl-C; elsewhere it is printed
twice, an interval apart, since rates need two looks. Behind: how long the group needs at its pace to catch up.
""",
    )
    parser.add_argument(
        "--bootstrap-server", metavar="HOST:PORT", required=True, help="a broker (needs the extra 'client')"
    )
    parser.add_argument(
        "--interval-ms", metavar="MS", type=common.whole_number(100), default=2000, help="between looks (default 2000)"
    )
    parser.add_argument("--count", metavar="N", type=common.whole_number(1), help="end after so many looks")
    parser.add_argument("--internal", action="store_true", help="show topics whose names begin with __ too")
    common.add_json(parser)


def _top(args: argparse.Namespace) -> int:
    from kstore.apps.client import Client
    from kstore.apps.top import look

    client = Client(args.bootstrap_server)
    live = sys.stdout.isatty() and not args.json
    count = args.count or (None if live else 2)
    stop = threading.Event()
    code = common.stop_on_signal(stop.set)
    before: Look | None = None
    looks = 0
    while not stop.is_set():
        now = look(client, time.monotonic())
        looks += 1
        if args.json:
            _print_json(now, before)
        else:
            _print_page(args, now, before, live=live)
        sys.stdout.flush()
        before = now
        if looks == count or stop.wait(args.interval_ms / 1000):
            break
    return 0 if live else code()


def _rows(now: Look, before: Look | None, *, internal: bool) -> tuple[list[TopicRow], list[GroupRow]]:
    from kstore.apps.top import group_rows, topic_rows

    topics = [row for row in topic_rows(now, before) if internal or not row.topic.startswith("__")]
    return topics, group_rows(now, before)


def _print_json(now: Look, before: Look | None) -> None:
    topics, groups = _rows(now, before, internal=True)
    common.print_json(
        {
            "brokers": now.brokers,
            "topics": [dataclasses.asdict(row) for row in topics],
            "groups": [dataclasses.asdict(row) for row in groups],
        }
    )


def _print_page(args: argparse.Namespace, now: Look, before: Look | None, *, live: bool) -> None:
    topics, groups = _rows(now, before, internal=args.internal)
    room = max(shutil.get_terminal_size().lines - LINES_AROUND, 4) if live else sys.maxsize
    shown_groups = groups[: max(room - len(topics), room // 2)]
    shown_topics = topics[: room - len(shown_groups)]
    if live:
        sys.stdout.write(CLEAR)
    total = sum(row.rate or 0.0 for row in topics)
    print(
        f"{args.bootstrap_server}: {common.counted(now.brokers, 'broker')}, {common.counted(len(topics), 'topic')}, "
        f"{common.counted(len(groups), 'group')}" + ("" if before is None else f", {total:,.0f} records/s in")
    )
    print()
    common.print_table(
        ("topic", "partitions", "records", "records/s"),
        [(row.topic, row.partitions, row.records, _rate(row.rate)) for row in shown_topics],
    )
    if groups:
        print()
        common.print_table(
            ("group", "state", "members", "lag", "records/s", "behind"),
            [
                (row.group, row.state, row.members, row.lag, _rate(row.rate), _time(row, before))
                for row in shown_groups
            ],
        )
    hidden = len(topics) + len(groups) - len(shown_topics) - len(shown_groups)
    if hidden:
        print(f"({hidden} lines more: a taller window shows them)")
    if not live:
        print()


def _rate(rate: float | None) -> int | None:
    return None if rate is None else round(rate)


def _time(row: GroupRow, before: Look | None) -> str | None:
    if row.lag == 0:
        return "no"
    if row.seconds_behind is None:
        return None if before is None else "not gaining"
    minutes, seconds = divmod(round(row.seconds_behind), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
