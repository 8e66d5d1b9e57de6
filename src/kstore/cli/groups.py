"""`kstore groups`: what consumer groups have committed, and how far behind they are."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kstore.cli import common
from kstore.nearest import nearest

if TYPE_CHECKING:
    from kstore.store import Store


def register(nouns: Any) -> None:
    """Add the verbs to the parser."""
    verbs = common.add_noun(nouns, "groups", "committed offsets and lag of consumer groups")
    listing = common.add_verb(
        verbs, "list", _list, "groups that have committed, one a line", examples="kstore groups list --dir data"
    )
    common.add_directory(listing, json=True)
    describe = common.add_verb(
        verbs,
        "describe",
        _describe,
        "committed offset, log end and lag of each partition",
        examples="kstore groups describe copier --dir data --json",
    )
    describe.add_argument("group", metavar="GROUP", help="the group")
    common.add_directory(describe, json=True)


def _list(args: argparse.Namespace) -> int:
    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_groups

        return remote_groups.list_all(client, args)
    with common.open_store(args, read_only=True) as store:
        for name in store.groups.names():
            if args.json:
                common.print_json({"group": name})
            else:
                print(name)
    return 0


def _describe(args: argparse.Namespace) -> int:
    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_groups

        return remote_groups.describe(client, args)
    from kstore.errors import UsageError

    with common.open_store(args, read_only=True) as store:
        rows = _rows(store, args.group)
        if not rows:
            names = store.groups.names()
            there = f"it has {', '.join(names[:10])}" if names else "it has none"
            raise UsageError(
                f"no group {args.group!r} has committed in {store.path}{nearest(args.group, names)} ({there})"
            )
    if args.json:
        for row in rows:
            common.print_json(row)
    else:
        print(f"group {args.group}")
        common.print_table(
            ("topic", "partition", "committed", "log end", "lag", "when"),
            [
                (
                    *(row[key] for key in ("topic", "partition", "offset", "log_end_offset", "lag")),
                    _when(row["commit_timestamp_ms"]),
                )
                for row in rows
            ],
        )
    return 0


def _rows(store: Store, group: str) -> list[dict[str, Any]]:
    topics = store.topics()
    rows = []
    for (name, index), commit in sorted(store.groups.committed(group).items()):
        topic = topics.get(name)
        here = topic is not None and index in topic.partitions
        end = store.partition(name, index).high_watermark if here else None
        rows.append(
            {
                "group": group,
                "topic": name,
                "partition": index,
                "offset": commit.offset,
                "log_end_offset": end,
                "lag": None if end is None else max(end - commit.offset, 0),
                "metadata": commit.metadata,
                "commit_timestamp_ms": commit.commit_timestamp_ms,
            }
        )
    return rows


def _when(timestamp_ms: int) -> str:
    if timestamp_ms < 0:
        return "-"
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
