"""The nearest right word for a wrong one: what the messages about unknown names, keys and options end with."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, choices: Iterable[str], cutoff: float = 0.5) -> str:
    """`; did you mean X?`, or nothing where no choice is as close as `cutoff`: 0 is anything, 1 the word itself."""
    import difflib  # only for who has made a mistake

    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""
