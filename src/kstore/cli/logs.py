"""`kstore log`: show what files hold, check every byte, repair what is damaged."""

from __future__ import annotations

import argparse
import os
from typing import Any

from kstore.cli import common


def register(nouns: Any) -> None:
    """Add the verbs to the parser."""
    parser = nouns.add_parser("log", help="dump, verify and repair files of a log directory")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

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

    for path in args.paths:
        os.stat(path)
    for entry in dump(args.paths, records=args.records):
        if args.json:
            common.print_json(entry)
        else:
            print(_as_text(entry))
    return 0


def _as_text(entry: dict[str, Any]) -> str:
    indent = "  | " if entry.get("type") == "record" else ""
    return indent + " ".join(f"{key}: {value}" for key, value in entry.items() if value is not None)


def _verify(args: argparse.Namespace) -> int:
    from kstore.cli.progress import Progress
    from kstore.inspect import verify

    with Progress("verifying", "bytes") as bar:
        report = verify(args.directory, progress=bar.update)
    for finding in report.findings:
        _show(finding, args.json)
    common.notice(
        f"{args.directory}: read {common.counted(report.partitions, 'partition')}, "
        f"{common.counted(report.segments, 'segment')}, {common.size_text(report.bytes_read)}: "
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
