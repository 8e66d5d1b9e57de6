"""What may differ between kstore and Kafka where a client looks, each with its row of docs/COMPATIBILITY.md.

Owns the list and how two observations are compared. A difference that is not listed fails the judges' tests, and so
does a row that no run meets any more. Knows no client.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "COMPATIBILITY.md"
ROWS = re.compile(r"<!-- differences: begin -->\n(.*?)<!-- differences: end -->", re.DOTALL)


class Difference(NamedTuple):
    """`where` is a pattern over "judge scenario: what was seen/path into it"; `row` names the row of the page."""

    where: str
    row: str


LISTED: tuple[Difference, ...] = (
    Difference("* configs: */min.insync.replicas/1", "min.insync.replicas"),
    Difference("* configs: of the broker/*/2", "read-only broker keys"),
    Difference("* restart: records/*/epoch", "leader epochs"),
    Difference("java tools: topic described/text/0", "min.insync.replicas"),
    Difference("java tools: every key/min.insync.replicas", "min.insync.replicas"),
    Difference("java tools: config refused/text/*", "sentences"),
    Difference("java tools: access rules/text/*", "access rules"),
    Difference("java tools: quorum/exit", "the quorum of controllers"),
)


def between(ours: Any, theirs: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The innermost places at which two observations differ: path, ours, theirs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from between(ours.get(key), theirs.get(key), f"{path}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from between(one, other, f"{path}/{i}")
    elif ours != theirs:
        yield path, ours, theirs


def places(seen: Any, path: str) -> Iterator[str]:
    """Every innermost place of an observation."""
    if isinstance(seen, dict | list) and seen:
        for key, value in seen.items() if isinstance(seen, dict) else enumerate(seen):
            yield from places(value, f"{path}/{key}")
    else:
        yield path


def listed(path: str) -> Difference | None:
    """The entry that allows a difference at that path."""
    return next((one for one in LISTED if fnmatch.fnmatchcase(path, one.where)), None)


def rows() -> list[str]:
    """The names in the page's table, in order."""
    found = ROWS.search(PAGE.read_text())
    assert found is not None, f"{PAGE.name} has no table of differences"
    return [line.split("|")[1].strip() for line in found.group(1).splitlines()[2:]]
