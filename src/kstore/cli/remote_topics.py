"""`kstore topics` with a broker.

Owns what the verbs print of a broker's topics; where a broker cannot tell, a field is null. Called by `topics`.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kstore.cli import common
from kstore.nearest import nearest

if TYPE_CHECKING:
    from kstore.apps.client import Client

TOPIC_SOURCE = 1
COLUMNS = ("partition", "start", "end", "high watermark", "segments", "bytes")


def create(client: Client, args: argparse.Namespace) -> int:
    """Make a topic; the broker checks name and configuration."""
    client.create_topic(args.name, args.partitions, common.parse_settings(args.config))
    count = args.partitions or len(client.partitions_of().get(args.name, ()))
    common.notice(f"created topic {args.name} with {common.counted(count, 'partition')}")
    return 0


def list_all(client: Client, args: argparse.Namespace) -> int:
    """Names, one a line."""
    for name, partitions in client.partitions_of().items():
        if args.json:
            common.print_json({"topic": name, "partitions": len(partitions), "topic_id": client.topic_id(name)})
        else:
            print(name)
    return 0


def find(client: Client, name: str) -> tuple[int, ...]:
    """Partition numbers of a topic; raises `UnknownTopicOrPartition` that names the nearest right one."""
    from kstore.errors import UnknownTopicOrPartition

    topics = client.partitions_of()
    if name in topics:
        return topics[name]
    names = list(topics)
    there = f"its topics: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}" if names else "it has none"
    raise UnknownTopicOrPartition(
        f"no topic {name!r} at {client.bootstrap}{nearest(name, names)} ({there}); "
        f"`kstore topics create {name} --bootstrap-server {client.bootstrap}` makes it"
    )


def find_partition(topic: str, partitions: tuple[int, ...], index: int) -> int:
    """The partition number when the topic has it."""
    from kstore.errors import UnknownTopicOrPartition

    if index not in partitions:
        raise UnknownTopicOrPartition(f"topic {topic} has no partition {index}; it has 0 to {len(partitions) - 1}")
    return index


def describe(client: Client, args: argparse.Namespace) -> int:
    """Partitions, offsets and configuration."""
    names = [args.name] if args.name else client.topic_names()
    for place, name in enumerate(names):
        partitions = find(client, name)
        config = {
            key: entry.value for key, entry in sorted(client.config(name).items()) if entry.source == TOPIC_SOURCE
        }
        rows = _rows(client, name, partitions)
        if args.json:
            common.print_json(
                {"topic": name, "topic_id": client.topic_id(name), "config": config, "partitions": rows}
            )
            continue
        if place:
            print()
        shown = ", ".join(f"{key}={value}" for key, value in config.items()) or "all defaults"
        print(f"topic {name}  id {client.topic_id(name) or 'unknown'}  config: {shown}")
        common.print_table(COLUMNS, [tuple(row.values()) for row in rows])
    return 0


def _rows(client: Client, name: str, partitions: tuple[int, ...]) -> list[dict[str, Any]]:
    return [
        {
            "partition": index,
            "log_start_offset": start,
            "log_end_offset": end,
            "high_watermark": end,
            "segments": None,
            "size_bytes": None,
        }
        for index, (start, end) in client.offsets(name, partitions).items()
    ]


def alter(client: Client, args: argparse.Namespace) -> int:
    """Set configurations of a topic."""
    settings = common.parse_settings(args.config)
    find(client, args.name)
    client.alter_topic(args.name, settings)
    common.notice(f"altered topic {args.name}: {', '.join(f'{k}={v}' for k, v in settings.items())}")
    return 0


def delete(client: Client, args: argparse.Namespace) -> int:
    """Delete a topic."""
    find(client, args.name)
    client.delete_topic(args.name)
    common.notice(f"deleted topic {args.name}")
    return 0
