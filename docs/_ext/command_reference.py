"""The directive `commands`: the reference of the command line, written from the parser that the command itself uses.

So the page cannot differ from `kstore --help`. Every subcommand becomes a section with its usage, its description, a
list of its options and its examples.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from kstore.cli.main import build_parser

WIDTH = 100


class Commands(SphinxDirective):
    """`.. commands::` writes one section a command."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for parser in _leaves(build_parser()):
            section = nodes.section(ids=[nodes.make_id(parser.prog)], names=[nodes.fully_normalize_name(parser.prog)])
            section += nodes.title(text=parser.prog)
            section += _body(parser)
            self.state.document.note_explicit_target(section)
            found.append(section)
        return found


def _body(parser: argparse.ArgumentParser) -> list[nodes.Node]:
    parser.formatter_class = lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=WIDTH)
    text = parser.format_help().rstrip()
    return [nodes.literal_block(text, text, language="text")]


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command that does something, in the order of the help."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        seen = set()
        for child in action.choices.values():
            if id(child) not in seen:
                seen.add(id(child))
                yield from _leaves(child)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
