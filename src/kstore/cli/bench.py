"""`kstore bench`: this machine's limits, and how close kstore comes to them."""

from __future__ import annotations

import argparse
from typing import Any

from kstore.cli import common


def register(nouns: Any) -> None:
    """Add the verb to the parser."""
    parser = common.add_verb(
        nouns,
        "bench",
        _bench,
        "measure this machine's limits and kstore's ratios to them",
        examples="kstore bench --quick",
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of a minute")
    parser.add_argument("--dir", metavar="DIR", help="where to write (default: a temporary directory)")
    common.add_json(parser)


def _bench(args: argparse.Namespace) -> int:
    import tempfile

    from kstore.apps import bench

    with tempfile.TemporaryDirectory(prefix="kstore-bench-", dir=args.dir) as directory:
        rows = bench.run(args.quick, directory)
    if args.json:
        for row in rows:
            common.print_json(row)
    else:
        print(bench.draw(rows))
    return 0
