"""`kstore log`: show what files hold, check every byte, repair what is damaged."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable
from typing import Any

from kstore.cli import common


def register(nouns: Any) -> None:
    """Add the verbs to the parser."""
    verbs = common.add_noun(nouns, "log", "dump, verify and repair files of a log directory")

    dump = common.add_verb(
        verbs,
        "dump",
        _dump,
        "show what Kafka's files hold, entry by entry",
        more="Takes .log, .index, .timeindex, .txnindex, .snapshot, checkpoints, or a directory of them.",
        examples="""
kstore log dump data/orders-0
kstore log dump data/orders-0/00000000000000000000.log --records --json""",
    )
    dump.add_argument("paths", metavar="PATH", nargs="+", help="a file or a directory")
    dump.add_argument("--records", action="store_true", help="the records of each batch, too")
    dump.add_argument("--max-entries", metavar="N", type=common.whole_number(0), help="stop after N lines")
    common.add_encoding(dump)
    common.add_json(dump)

    verify = common.add_verb(
        verbs,
        "verify",
        _verify,
        "read everything, change nothing, report every finding; exit 1 when there is any",
        examples="kstore log verify data --json",
    )
    verify.add_argument("directory", metavar="DIR", help="a log directory")
    common.add_json(verify)

    repair = common.add_verb(
        verbs,
        "repair",
        _repair,
        "say what will be done, do it, keep what is removed in a sidecar",
        examples="""
kstore log repair data --dry-run
kstore log repair data""",
    )
    repair.add_argument("directory", metavar="DIR", help="a log directory that nobody has open")
    repair.add_argument("--dry-run", action="store_true", help="only say what would be done")
    common.add_json(repair)


def _dump(args: argparse.Namespace) -> int:
    from kstore.inspect import dump

    text = common.encoder(args.encoding)
    shown, damaged = "", False
    for path in args.paths:
        os.stat(path)
    for entry in itertools.islice(dump(args.paths, records=args.records), args.max_entries):
        damaged |= entry["type"] == "damage" or entry.get("isvalid") is False
        if args.json:
            common.print_json(_plain(entry, text))
            continue
        if entry["file"] != shown:
            shown = entry["file"]
            print(f"Dumping {shown}")
        print(_as_text(_plain(entry, text)))
    return 1 if damaged else 0


def _plain(value: Any, text: Callable[[bytes | None], str | None]) -> Any:
    """An entry with its bytes as text."""
    if isinstance(value, dict):
        return {key: _plain(item, text) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, text) for item in value]
    return text(bytes(value)) if isinstance(value, bytes | memoryview) else value


def _as_text(entry: dict[str, Any]) -> str:
    """One line, as kafka-dump-log prints it: `name: value`, records behind a bar."""
    mark = {"record": "| ", "damage": "DAMAGE "}.get(entry["type"], "")
    fields = " ".join(
        f"{key}: {_word(value)}"
        for key, value in entry.items()
        if key not in ("type", "file") and value not in (None, [])
    )
    return mark + fields.encode(errors="backslashreplace").decode()


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _verify(args: argparse.Namespace) -> int:
    from kstore.cli.progress import Progress
    from kstore.inspect import verify

    with Progress("verifying", "bytes") as bar:
        report = verify(args.directory, progress=bar.update)
    for finding in report.findings:
        _show(finding, args.json)
    common.notice(
        f"{args.directory}: read {common.counted(report.partitions, 'partition')}, "
        f"{common.counted(report.segments, 'segment')}, {common.counted(report.records, 'record')}, "
        f"{common.size_text(report.size_bytes)}: "
        + (common.counted(len(report.findings), "finding") if report.findings else "no damage")
    )
    return 1 if report.findings else 0


def _repair(args: argparse.Namespace) -> int:
    from kstore.inspect import plan_repair, repair, verify

    steps = plan_repair(args.directory)
    for step in steps:
        _show(step, args.json)
    if not steps:
        common.notice(f"{args.directory}: nothing to repair")
        return 0
    if args.dry_run:
        common.notice(f"{common.counted(len(steps), 'step')}; nothing was changed (--dry-run)")
        return 0
    repair(args.directory)
    left = verify(args.directory).findings
    for finding in left:
        _show(finding, args.json)
    common.notice(
        f"{args.directory}: {common.counted(len(steps), 'step')} done; "
        + (f"{common.counted(len(left), 'finding')} left" if left else "it verifies now")
    )
    return 1 if left else 0


def _show(item: Any, as_json: bool) -> None:
    if as_json:
        common.print_json(item.as_dict())
    else:
        print(item)
