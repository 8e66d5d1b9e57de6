"""The story of a run as text: one line a moment, one column a place.

Owns the drawing. It must not run anything. Called by the command and by failing tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kstore.testing.simulation.world import Told

QUIET = frozenset({"asks", "answers", "acked", "done", "hears"})
"""What a short timeline leaves out: it happens all the time."""
COMMANDS = frozenset({"RegisterBroker", "Heartbeat", "ExpireSessions", "AlterPartition", "CreateTopic", "ResignLeader"})
"""Lines of controllers that are left out where they say `ok`: what comes of them is told in others."""
WIDTH = 30
"""Characters of a broker's column: most lines fit, and three brokers fit a screen."""


def places(story: Iterable[Told]) -> list[str]:
    """Whose columns there are: faults and controllers, then brokers, then clients and the judge."""
    found = {told.where for told in story}
    brokers = sorted((name for name in found if name[0] == "b"), key=lambda name: (len(name), name))
    return ["control", *brokers, "others"]


def column_of(where: str) -> str:
    """The column that a place's lines stand in."""
    if where[0] == "b":
        return where
    return "control" if where[0] in "c-!" else "others"


def draw(story: Sequence[Told], *, last: int = 0, whole: bool = False, topics: Iterable[str] = ()) -> str:
    """The timeline as text: `last` lines of it (0 for all), without what is `QUIET` unless `whole`.

    With `topics` only lines about them, and those about none.
    """
    wanted = set(topics)
    lines = [told for told in story if (whole or not _is_quiet(told)) and _concerns(told, wanted)]
    shown = lines[-last:] if last else lines
    columns = places(shown) if shown else ["control", "others"]
    head = f"{'seconds':>11}  " + "".join(f"{name:<{WIDTH}}" for name in columns)
    out = [head.rstrip(), "-" * len(head)]
    if len(shown) < len(lines):
        out.append(f"{'':>11}  ({len(lines) - len(shown)} earlier lines left out)")
    for told in shown:
        out.extend(_row(told, columns))
    return "\n".join(out)


def _is_quiet(told: Told) -> bool:
    return told.what in QUIET or (told.what in COMMANDS and told.detail.endswith(": ok"))


def _concerns(told: Told, topics: set[str]) -> bool:
    if not topics:
        return True
    words = set(told.detail.replace(":", " ").split())
    return bool(words & topics) or not any(word[0] == "t" and word[1:].isdigit() for word in words)


def _row(told: Told, columns: list[str]) -> Iterable[str]:
    column = columns.index(column_of(told.where))
    speaker = "" if column_of(told.where) == told.where or told.where in "!-" else f"{told.where} "
    mark = "!! " if told.where == "!" else ""
    text = f"{mark}{speaker}{told.what} {told.detail}".strip()
    room = WIDTH - 2 if column < len(columns) - 1 else 60
    stamp = f"{told.time_us / 1e6:11.6f}  "
    for number, piece in enumerate(_folded(text, room)):
        lead = stamp if number == 0 else " " * len(stamp)
        rails = "".join(f"{'|' if i and i < len(columns) - 1 else '':<{WIDTH}}" for i in range(column))
        yield (lead + rails + ("" if number == 0 else "  ") + piece).rstrip()


def _folded(text: str, room: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]
