"""`kstore serve`: a broker over a log directory, until it is told to stop."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from typing import TYPE_CHECKING, Any

from kstore.cli import common, logging_setup

if TYPE_CHECKING:
    from kstore.config import BrokerConfig


def register(nouns: Any) -> None:
    """Add the verb to the parser."""
    parser = common.add_verb(
        nouns,
        "serve",
        _serve,
        "serve a log directory to Kafka's clients",
        examples="""
kstore serve --dir data
kstore serve --dir data --listen 127.0.0.1:0
kstore serve --dir data --set num.partitions=3 --set log.retention.hours=24
""",
        more="""
Prints `ready HOST:PORT` on stdout once clients are accepted; port 0 picks a free one. SIGTERM and Ctrl-C stop it:
what came in is answered, logs are flushed, the next start needs no recovery.
""",
    )
    parser.add_argument("--dir", metavar="DIR", required=True, help="the log directory; made when absent")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen (default: 127.0.0.1:9092)")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="a broker key of Kafka's; may be repeated"
    )
    parser.add_argument(
        "--properties", metavar="FILE", help="broker keys in Kafka's syntax (server.properties); --set comes on top"
    )
    parser.add_argument("--verbose", action="store_true", help="log connections too")
    parser.add_argument(
        "--log-format",
        metavar="FORMAT",
        choices=logging_setup.FORMATS,
        default="text",
        help="how logs look on stderr: text (default), or json, one object a line",
    )


def _serve(args: argparse.Namespace) -> int:
    gc.disable()  # modules are no garbage, and looking for some among them takes a twentieth of the start
    try:
        from kstore.broker.service import Service, prepare_process

        config = _read_config(args)
        logging_setup.set_up(args.log_format, verbose=args.verbose)
        if config.ignored:
            logging.getLogger("kstore.serve").warning(
                "these keys are Kafka's, but change nothing here: %s", ", ".join(sorted(config.ignored))
            )
        prepare_process()
    finally:
        gc.enable()
    Service(args.dir, config).run(_ready, signals=True)
    return 0


def _read_config(args: argparse.Namespace) -> BrokerConfig:
    from kstore.config import BrokerConfig

    values = {} if args.properties is None else _read_properties(args.properties)
    values.update(common.parse_settings(args.set, option="--set"))
    if args.listen is not None:
        values["listeners"] = args.listen
    return BrokerConfig.parse(values)


def _read_properties(path: str) -> dict[str, str]:
    from kstore.errors import UsageError
    from kstore.log.properties import parse_properties

    try:
        with open(path, "rb") as file:
            values = parse_properties(file.read())
    except FileNotFoundError as error:
        raise UsageError(f"--properties {path}: {error.strerror}") from None
    if values is None:
        raise UsageError(f"{path} is no properties file")
    return values


def _ready(address: tuple[str, int]) -> None:
    host, port = address
    host = f"[{host}]" if ":" in host else host or "0.0.0.0"
    sys.stdout.write(f"ready {host}:{port}\n")
    sys.stdout.flush()
