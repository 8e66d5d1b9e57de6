"""`kstore groups` with a broker.

Owns what the verbs print of a broker's groups; the time of a commit is one thing that a broker does not tell. Called by
`groups`.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kstore.cli import common
from kstore.nearest import nearest

if TYPE_CHECKING:
    from kstore.apps.client import Client


def list_all(client: Client, args: argparse.Namespace) -> int:
    """Groups, one a line."""
    for name in client.groups():
        if args.json:
            common.print_json({"group": name})
        else:
            print(name)
    return 0


def describe(client: Client, args: argparse.Namespace) -> int:
    """Committed offset, log end and lag of each partition."""
    from kstore.errors import UsageError

    rows = _rows(client, args.group)
    if not rows:
        names = client.groups()
        there = f"it has {', '.join(names[:10])}" if names else "it has none"
        raise UsageError(
            f"no group {args.group!r} has committed at {client.bootstrap}{nearest(args.group, names)} ({there})"
        )
    if args.json:
        for row in rows:
            common.print_json(row)
        return 0
    print(f"group {args.group}")
    columns = ("topic", "partition", "offset", "log_end_offset", "lag", "commit_timestamp_ms")
    common.print_table(
        ("topic", "partition", "committed", "log end", "lag", "when"),
        [tuple(row[key] for key in columns) for row in rows],
    )
    return 0


def _rows(client: Client, group: str) -> list[dict[str, Any]]:
    committed = client.committed(group)
    there = client.partitions_of()
    ends: dict[tuple[str, int], int] = {}
    for topic in {topic for topic, _ in committed}:
        here = tuple(index for index in there.get(topic, ()) if (topic, index) in committed)
        ends.update({(topic, index): end for index, (_, end) in client.offsets(topic, here).items()})
    rows = []
    for (topic, index), (offset, metadata) in sorted(committed.items()):
        end = ends.get((topic, index))
        rows.append(
            {
                "group": group,
                "topic": topic,
                "partition": index,
                "offset": offset,
                "log_end_offset": end,
                "lag": None if end is None else max(end - offset, 0),
                "metadata": metadata,
                "commit_timestamp_ms": None,
            }
        )
    return rows
