"""What the verbs share: the parser class, `--dir`, opening a store, JSON lines, notices.

Owns conventions, no verb. Imports of the library stand inside functions, so that `kstore --help` starts at once.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, NoReturn

from kstore.nearest import nearest

if TYPE_CHECKING:
    from kstore.apps.client import Client
    from kstore.store import Store
    from kstore.store.catalog import Topic

Run = Callable[[argparse.Namespace], int]


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Examples as written. Asks for the width itself: argparse brings all of shutil for it, needed or not."""

    def __init__(self, prog: str) -> None:
        """As wide as the terminal, less two columns."""
        try:
            columns = int(os.environ.get("COLUMNS", 0)) or os.get_terminal_size().columns
        except (ValueError, OSError):
            columns = 80
        super().__init__(prog, width=(columns or 80) - 2)


class Parser(argparse.ArgumentParser):
    """argparse with our words: one line for an error, the nearest right word, examples kept as written."""

    def __init__(self, **options: Any) -> None:
        """As `argparse.ArgumentParser`."""
        options.setdefault("formatter_class", Formatter)
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and the place where help stands."""
        sys.stderr.write(f"kstore: {message}; see `{self.prog} --help`\n")
        raise SystemExit(2)

    def refuse(self, words: list[str]) -> NoReturn:
        """End because of words that no option and no argument takes."""
        options = [option for option in self._option_string_actions if option.startswith("--")]
        near = nearest(words[0].partition("=")[0], options) if words[0].startswith("-") else ""
        self.error(f"{'unknown option' if words[0].startswith('-') else 'one word too many:'} {words[0]}{near}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = None if action.choices is None else [str(choice) for choice in action.choices]
        if choices is not None and value not in action.choices:  # type: ignore[operator]
            what = action.metavar or (action.option_strings or [action.dest])[-1]
            words = " ".join(sorted(choices))
            raise argparse.ArgumentError(
                None, f"{what} is not {value!r}{nearest(str(value), choices)} (choose from: {words})"
            )


def add_verb(
    verbs: Any, name: str, run: Run, summary: str, *, examples: str = "", more: str = ""
) -> argparse.ArgumentParser:
    """A parser for one verb whose help ends in examples."""
    epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines()) if examples else None
    description = summary[0].upper() + summary[1:] + "." + (f"\n\n{more.strip()}" if more else "")
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=description, epilog=epilog)
    parser.set_defaults(run=run, verb_parser=parser)
    return parser


def add_noun(nouns: Any, name: str, summary: str) -> Any:
    """The place for the verbs of a noun."""
    parser = nouns.add_parser(name, help=summary)
    return parser.add_subparsers(dest="verb", metavar="VERB", required=True)


def add_directory(parser: argparse.ArgumentParser, *, required: bool = True, json: bool = False) -> None:
    """`--dir`, and `--bootstrap-server`, which this version refuses; `--json` where there is something to print."""
    parser.add_argument("--dir", metavar="DIR", help="the log directory (Kafka's log.dirs)")
    parser.add_argument("--bootstrap-server", metavar="HOST:PORT", help="or a broker (needs the extra 'client')")
    parser.set_defaults(needs_directory=required)
    if json:
        add_json(parser)


def add_following(parser: argparse.ArgumentParser, text: str) -> None:
    """`--follow`, and how often to look."""
    parser.add_argument("--follow", action="store_true", help=text)
    parser.add_argument(
        "--poll-ms", metavar="MS", type=whole_number(1), default=100, help="wait between looks (default 100)"
    )


def wait_for_topic(name: str, names: Callable[[], Container[str]], pause_s: float) -> None:
    """Let a consumer start before its producer has made the topic; `names` tells which topics there are now."""
    if name in names():
        return
    notice(f"waiting for topic {name} to be made")
    while name not in names():
        time.sleep(pause_s)


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout")


def add_encoding(parser: argparse.ArgumentParser) -> None:
    """`--encoding`."""
    parser.add_argument(
        "--encoding",
        metavar="E",
        choices=("utf-8", "base64", "hex"),
        default="utf-8",
        help="how bytes are shown: utf-8 (default), base64, hex",
    )


def directory_of(args: argparse.Namespace) -> str:
    """The directory that was named; raises `UsageError` where none was."""
    from kstore.errors import UsageError

    if args.dir is None:
        raise UsageError("which log directory? name it with --dir DIR, or a broker with --bootstrap-server HOST:PORT")
    return str(args.dir)


def broker_of(args: argparse.Namespace) -> Client | None:
    """A client of the broker that was named; None where a directory was. Raises `UsageError` for both."""
    if args.bootstrap_server is None:
        return None
    from kstore.apps.client import Client
    from kstore.errors import UsageError

    if args.dir is not None:
        raise UsageError("--dir names a log directory, --bootstrap-server a broker: one of them, not both")
    return Client(args.bootstrap_server)


def open_store(args: argparse.Namespace, *, create: bool = False, read_only: bool = False) -> Store:
    """Open the directory of `--dir`."""
    import kstore

    return kstore.open(directory_of(args), create=create, read_only=read_only)


def find_topic(store: Store, name: str) -> Topic:
    """The topic; raises `UnknownTopicOrPartition` that names the nearest right one."""
    from kstore.errors import UnknownTopicOrPartition

    try:
        return store.topic(name)
    except UnknownTopicOrPartition:
        names = topic_names(store)
        there = f"its topics: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}" if names else "it has none"
        raise UnknownTopicOrPartition(
            f"no topic {name!r} in {store.path}{nearest(name, names)} ({there}); "
            f"`kstore topics create {name} --dir {store.path}` makes it"
        ) from None


def topic_names(store: Store) -> list[str]:
    """Names of the topics, sorted."""
    return sorted(store.topics())


def find_partition(topic: Topic, index: int) -> int:
    """The partition number when the topic has it."""
    from kstore.errors import UnknownTopicOrPartition

    if index not in topic.partitions:
        raise UnknownTopicOrPartition(
            f"topic {topic.name} has no partition {index}; it has {_ranges(topic.partitions)}"
        )
    return index


def _ranges(numbers: tuple[int, ...]) -> str:
    if numbers == tuple(range(len(numbers))) and len(numbers) > 1:
        return f"0 to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def parse_settings(settings: list[str], *, option: str = "--config") -> dict[str, str]:
    """`key=value` words as a mapping."""
    from kstore.errors import InvalidConfig

    values: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise InvalidConfig(f"{option} takes KEY=VALUE, not {setting!r}")
        values[key.strip()] = value.strip()
    return values


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """An argparse type for whole numbers in a range."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if number < low or (high is not None and number > high):
            span = f"{low} or more" if high is None else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"{number} is not {span}")
        return number

    return read


def separator(text: str) -> bytes:
    r"""An argparse type for separators: `\t`, `\n`, `\0`, `\\` are understood."""
    data = os.fsencode(text)
    for escape, byte in ((b"\\t", b"\t"), (b"\\n", b"\n"), (b"\\0", b"\0"), (b"\\\\", b"\\")):
        data = data.replace(escape, byte)
    if not data:
        raise argparse.ArgumentTypeError("a separator is at least one character")
    return data


def encoder(encoding: str) -> Callable[[bytes | None], str | None]:
    """Bytes as JSON shows them; what is not UTF-8 becomes lone surrogates, so that nothing is lost."""

    def encode(data: bytes | None) -> str | None:
        if data is None:
            return None
        if encoding == "hex":
            return bytes(data).hex()
        if encoding == "base64":
            return base64.b64encode(data).decode()
        return bytes(data).decode(errors="surrogateescape")

    return encode


def print_json(value: Any) -> None:
    """One object on a line of stdout."""
    sys.stdout.write(json.dumps(value, separators=(", ", ": ")) + "\n")


def notice(text: str) -> None:
    """One line on stderr that is not an error."""
    from kstore.cli.progress import clear

    clear()
    print(f"kstore: {text}", file=sys.stderr)


def print_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Columns under their heads, numbers to the right."""
    cells = [head, *(tuple("-" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    right = [bool(rows) and all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(head))]
    for row in cells:
        line = "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


def counted(count: int, noun: str) -> str:
    """`1 record`, `2 records`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def fold_commits(args: argparse.Namespace) -> None:
    """Bring commits into `__consumer_offsets` when nobody else has the directory open for writing.

    Whoever holds the lock does it otherwise, or the next one who opens the directory; a user who may only read it
    leaves it to them too.
    """
    import kstore
    from kstore.errors import StorageError, StoreLocked
    from kstore.log.health import FORBIDDEN

    try:
        kstore.open(directory_of(args), create=False).close()
    except StoreLocked:
        pass
    except StorageError as error:
        if error.errno not in FORBIDDEN:
            raise


def size_text(size_bytes: float) -> str:
    """A size for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < 1024 or unit == "GiB":
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return ""


def stop_on_signal(stop: Callable[[], None]) -> Callable[[], int]:
    """Let SIGTERM and the first Ctrl-C end a following command as if its work were done: written, synced, committed.

    Returns a function that gives the exit code: 0, or 130 after Ctrl-C. A second Ctrl-C ends at once.
    """
    code = 0

    def terminate(*_: object) -> None:
        stop()

    def interrupt(*_: object) -> None:
        nonlocal code
        code = 130
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, interrupt)
    return lambda: code
