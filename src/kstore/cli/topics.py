"""`kstore topics`: create, list, describe, alter, delete."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kstore.cli import common

if TYPE_CHECKING:
    from kstore.store import Store
    from kstore.store.catalog import Topic


def register(nouns: Any) -> None:
    """Add the verbs to the parser."""
    verbs = common.add_noun(nouns, "topics", "create, list, describe, alter and delete topics")

    create = common.add_verb(
        verbs,
        "create",
        _create,
        "make a topic; the directory too, when there is none",
        examples="""
kstore topics create orders --dir data --partitions 3
kstore topics create users --dir data --config cleanup.policy=compact --config segment.bytes=104857600""",
    )
    create.add_argument("name", metavar="NAME", help="the topic: letters, digits, '.', '_', '-'")
    create.add_argument(
        "--partitions", metavar="N", type=common.whole_number(1), help="number of partitions (default 1)"
    )
    _add_config(create, "a topic configuration of Kafka; may be given several times")
    common.add_directory(create)

    listing = common.add_verb(
        verbs, "list", _list, "names of the topics, one a line", examples="kstore topics list --dir data --json"
    )
    common.add_directory(listing, json=True)

    describe = common.add_verb(
        verbs,
        "describe",
        _describe,
        "partitions, offsets and configuration of a topic, or of all",
        examples="kstore topics describe orders --dir data",
    )
    describe.add_argument("name", metavar="NAME", nargs="?", help="the topic; all of them when left out")
    common.add_directory(describe, json=True)

    alter = common.add_verb(
        verbs,
        "alter",
        _alter,
        "change configurations of a topic",
        examples="kstore topics alter orders --dir data --config max.message.bytes=16777216",
    )
    alter.add_argument("name", metavar="NAME", help="the topic")
    _add_config(alter, "the configuration to set; may be given several times", required=True)
    common.add_directory(alter)

    delete = common.add_verb(
        verbs,
        "delete",
        _delete,
        "delete a topic and all its records",
        examples="kstore topics delete orders --dir data",
    )
    delete.add_argument("name", metavar="NAME", help="the topic")
    common.add_directory(delete)


def _add_config(parser: argparse.ArgumentParser, text: str, *, required: bool = False) -> None:
    parser.add_argument("--config", metavar="KEY=VALUE", action="append", default=[], required=required, help=text)


def _create(args: argparse.Namespace) -> int:
    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_topics

        return remote_topics.create(client, args)
    from kstore.config import TopicConfig
    from kstore.log.names import validate_topic_name

    settings = common.parse_settings(args.config)
    TopicConfig.parse(settings)
    validate_topic_name(args.name)
    with common.open_store(args, create=True) as store:
        topic = store.create_topic(args.name, args.partitions, settings)
        common.notice(f"created topic {topic.name} with {common.counted(len(topic.partitions), 'partition')}")
    return 0


def _list(args: argparse.Namespace) -> int:
    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_topics

        return remote_topics.list_all(client, args)
    with common.open_store(args, read_only=True) as store:
        for name, topic in sorted(store.topics().items()):
            if args.json:
                common.print_json(
                    {"topic": name, "partitions": len(topic.partitions), "topic_id": topic.topic_id or None}
                )
            else:
                print(name)
    return 0


def _describe(args: argparse.Namespace) -> int:
    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_topics

        return remote_topics.describe(client, args)
    with common.open_store(args, read_only=True) as store:
        names = [args.name] if args.name else common.topic_names(store)
        for place, name in enumerate(names):
            topic = common.find_topic(store, name)
            if args.json:
                common.print_json(_as_json(store, topic))
                continue
            if place:
                print()
            _print(store, topic)
    return 0


def _rows(store: Store, topic: Topic) -> list[dict[str, int]]:
    rows = []
    for index in topic.partitions:
        partition = store.partition(topic.name, index)
        segments = partition.segments
        rows.append(
            {
                "partition": index,
                "log_start_offset": partition.log_start_offset,
                "log_end_offset": partition.log_end_offset,
                "high_watermark": partition.high_watermark,
                "segments": len(segments),
                "size_bytes": sum(segment.size_bytes for segment in segments),
            }
        )
    return rows


def _as_json(store: Store, topic: Topic) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "topic_id": topic.topic_id or None,
        "config": topic.config.changed(),
        "partitions": _rows(store, topic),
    }


def _print(store: Store, topic: Topic) -> None:
    config = ", ".join(f"{key}={value}" for key, value in topic.config.changed().items()) or "all defaults"
    print(f"topic {topic.name}  id {topic.topic_id or 'unknown'}  config: {config}")
    rows = [tuple(row.values()) for row in _rows(store, topic)]
    common.print_table(("partition", "start", "end", "high watermark", "segments", "bytes"), rows)


def _alter(args: argparse.Namespace) -> int:
    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_topics

        return remote_topics.alter(client, args)
    from kstore.config import TopicConfig

    settings = common.parse_settings(args.config)
    TopicConfig.parse(settings)
    with common.open_store(args) as store:
        common.find_topic(store, args.name)
        store.alter_topic(args.name, settings)
        common.notice(f"altered topic {args.name}: {', '.join(f'{k}={v}' for k, v in settings.items())}")
    return 0


def _delete(args: argparse.Namespace) -> int:
    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_topics

        return remote_topics.delete(client, args)
    with common.open_store(args) as store:
        common.find_topic(store, args.name)
        store.delete_topic(args.name)
        common.notice(f"deleted topic {args.name}")
    return 0
