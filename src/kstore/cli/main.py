"""The command `kstore`: parse, run one verb, turn whatever happens into an exit code and one line.

Owns the parser, the exit codes and the last line that a user reads when something went wrong. It must know nothing
of what verbs do. Called by the console script and by `python -m kstore`.

Exit codes: 0 done; 1 found what it looks for (damage, a difference) or failed, which is also what the operating system
refuses (no permission, no room, no such file to read); 2 wrong use; 130 interrupted.
Data goes to stdout, everything else to stderr. No error ends in a traceback: an unexpected one says where to find
it (`KSTORE_TRACEBACK=1`).
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from kstore.cli import common
from kstore.cli.failures import Failure, describe

EPILOG = """\
a first walk:
  kstore topics create orders --dir data --partitions 3
  kstore file-producer /var/log/syslog orders --dir data
  kstore consume orders --dir data --from-beginning --max-messages 5
  kstore log verify data

`kstore NOUN VERB --help` shows examples for each command.
exit codes: 0 done, 1 found damage or failed, 2 wrong use
"""

NOUNS = {
    "topics": "topics",
    "produce": "produce",
    "consume": "consume",
    "file-producer": "file_producer",
    "file-consumer": "file_consumer",
    "groups": "groups",
    "log": "logs",
    "graduate": "graduate",
    "serve": "serve",
    "top": "top",
    "bench": "bench",
}
"""Commands, in the order of the help, and the module of each."""


def build_parser(noun: str | None = None) -> argparse.ArgumentParser:
    """The parser of every verb, or of one noun's alone: a broker need not import what only others use to start."""
    parser = common.Parser(
        prog="kstore",
        description="Kafka's log directories from the command line: write, read, check, repair, hand over.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    nouns = parser.add_subparsers(dest="noun", metavar="COMMAND", required=True)
    for module in NOUNS.values() if noun is None else (NOUNS[noun],):
        importlib.import_module(f"kstore.cli.{module}").register(nouns)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        noun = words[0] if words and words[0] in NOUNS else None
        args, words = build_parser(noun).parse_known_args(words)
        if words:
            args.verb_parser.refuse(words)
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except KeyboardInterrupt:
        print("kstore: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("KSTORE_TRACEBACK"):
            raise
        return _report(describe(error))


def _report(failure: Failure) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()
    print(f"kstore: {failure.message}", file=sys.stderr)
    return failure.code


def _drop_stdout() -> None:
    """Whoever read our output went away or cannot take more: keep the interpreter from writing to it at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


class _ShowVersion(argparse.Action):
    """Looks the version up when it is asked for: that takes longer than reading the command."""

    def __call__(self, *_: object, **__: object) -> None:
        print(f"kstore {_version()}")
        raise SystemExit(0)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kstore")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    raise SystemExit(main())
