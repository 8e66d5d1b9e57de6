"""Reads code blocks out of the documentation, for the tests beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One fenced block. `note` is the HTML comment right above it, `line` that of its first line of text."""

    language: str
    text: str
    note: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        body = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(match["language"], body, match["note"] or "", line))
    return found


def named_bytes(page: Path) -> dict[str, bytes]:
    """The hex dumps of a page that a comment `<!-- bytes: name -->` names, as bytes."""
    named = {}
    for block in blocks(page):
        if block.note.startswith("bytes: "):
            rows = [line.split()[1:] for line in block.text.splitlines()]
            named[block.note.removeprefix("bytes: ")] = bytes.fromhex("".join("".join(row) for row in rows))
    return named
