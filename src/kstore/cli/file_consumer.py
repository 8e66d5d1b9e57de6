"""`kstore file-consumer`: a topic's records appended to a file, with a group that remembers how far."""

from __future__ import annotations

import argparse
import contextlib
import time
from typing import TYPE_CHECKING, Any

from kstore.cli import common
from kstore.cli.files import require_writable

if TYPE_CHECKING:
    from kstore.apps.file_consumer import FileConsumer
    from kstore.apps.output import Summary
    from kstore.store import Store

POLL_S = 0.1

MORE = """
Each record's value becomes a line of FILE. The group's offsets are committed as Kafka's
records in __consumer_offsets; a run that is started again goes on behind its last commit.

At least once: records written after the last commit of a killed run are written a second
time. How many that are is shown when the next run starts (the duplicate-read window).
  --commit sync    after every N records FILE is synced, then the commit, then reading
                   goes on: the window is at most N records
  --commit async   a second thread syncs and commits: faster, a larger window
  --exactly        the next run cuts FILE back to its last commit: no duplicates

Reads beside a running writer (kstore file-producer --follow). SIGTERM and Ctrl-C end it cleanly."""


def register(nouns: Any) -> None:
    """Add the verb to the parser."""
    parser = common.add_verb(
        nouns,
        "file-consumer",
        _run,
        "append a topic's records to a file and commit how far a group has read",
        more=MORE,
        examples="""
kstore file-consumer requests copy.log --dir data --group copier
kstore file-consumer requests copy.log --dir data --group copier --follow --commit async
kstore groups describe copier --dir data""",
    )
    parser.add_argument("topic", metavar="TOPIC", help="the topic")
    parser.add_argument("file", metavar="FILE", help="the file to append to; made when absent")
    parser.add_argument("--group", metavar="G", required=True, help="the group that remembers how far was read")
    common.add_following(parser, "wait for more, until SIGTERM")
    parser.add_argument("--commit", metavar="HOW", choices=("sync", "async"), default="sync", help="sync or async")
    parser.add_argument(
        "--commit-every", metavar="N", type=common.whole_number(1), default=1000, help="records (default 1000)"
    )
    parser.add_argument("--exactly", action="store_true", help="resume by cutting FILE back to the last commit")
    parser.add_argument("--max-messages", metavar="N", type=common.whole_number(0), help="stop after N records")
    parser.add_argument("--skip-damaged", action="store_true", help="go on behind damaged batches")
    common.add_directory(parser, json=True)


def _run(args: argparse.Namespace) -> int:
    from kstore.cli.progress import Progress

    client = common.broker_of(args)
    if client is not None:
        from kstore.cli import remote_files

        return remote_files.consume(client, args, _report)

    begun_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        if args.follow:
            _wait_for_directory(common.directory_of(args))
        store = stack.enter_context(common.open_store(args, read_only=True))
        require_writable(args.file)
        if args.follow:
            common.wait_for_topic(args.topic, store.topics, POLL_S)
        common.find_topic(store, args.topic)
        held = store.groups.hold(args.group)
        stack.callback(held.release)
        bar = stack.enter_context(Progress("reading", "records"))
        consumer = _consumer(args, store, bar)
        ending = common.stop_on_signal(consumer.stop) if args.follow else None
        summary = consumer.run()
    common.fold_commits(args)
    _report(args, summary, time.monotonic() - begun_s)
    return ending() if ending else 0


def _wait_for_directory(path: str) -> None:
    """Let a consumer start before its producer has made the directory; nothing else is waited for."""
    import os

    def absent() -> bool:
        try:
            os.stat(path)
        except FileNotFoundError:
            return True
        return os.path.isdir(path) and all(n.startswith((".", "kstore-")) or "tmp" in n for n in os.listdir(path))

    if absent():
        common.notice(f"waiting for {path} to become a log directory")
        while absent():
            time.sleep(POLL_S)


def _consumer(args: argparse.Namespace, store: Store, bar: Any) -> FileConsumer:
    from kstore.apps.file_consumer import FileConsumer

    return FileConsumer(
        store,
        args.topic,
        args.file,
        args.group,
        follow=args.follow,
        commit=args.commit,
        commit_every=args.commit_every,
        exactly=args.exactly,
        skip_damaged=args.skip_damaged,
        max_records=args.max_messages,
        poll_ms=args.poll_ms,
        notice=common.notice,
        progress=bar.update,
    )


def _report(args: argparse.Namespace, summary: Summary, seconds: float) -> None:
    if args.json:
        common.print_json(
            {
                "topic": args.topic,
                "file": args.file,
                "group": args.group,
                "records": summary.records,
                "bytes": summary.size_bytes,
                "commits": summary.commits,
                "resumed": summary.resumed,
                "window_lines": summary.window_lines,
                "window_bytes": summary.window_bytes,
                "window_cut": summary.cut,
                "next_offsets": {str(k): v for k, v in sorted(summary.next_offsets.items())},
            }
        )
    common.notice(
        f"wrote {common.counted(summary.records, 'record')} ({common.size_text(summary.size_bytes)}) of "
        f"{args.topic} to {args.file} in {seconds:.1f} s, {common.counted(summary.commits, 'commit')} "
        f"for group {args.group}"
    )
