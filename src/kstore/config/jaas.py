"""The syntax in which Kafka's configurations name users: `LoginModule flag key="value" ...;` (JaasConfig).

Owns the grammar alone. Called by `listeners`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from kstore.errors import InvalidConfig

FLAGS = frozenset({"required", "requisite", "sufficient", "optional"})
_TOKEN = re.compile(
    r"""(?x) \s+ | //[^\n]* | /\*.*?\*/
    | "(?P<quoted>(?:\\.|[^"\\])*)" | '(?P<single>(?:\\.|[^'\\])*)' | (?P<word>[\w$.\-]+) | (?P<sign>[=;])""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "b": "\b"}


class LoginModule(NamedTuple):
    """One entry."""

    name: str
    """The Java class."""
    options: dict[str, str]


def parse_jaas(key: str, text: str) -> list[LoginModule]:
    """The entries of a configuration value; `InvalidConfig` names `key` and what is wrong, never a value of `text`."""
    tokens = list(_tokens(key, text))
    modules = []
    while tokens:
        modules.append(_module(key, tokens))
    return modules


def _module(key: str, tokens: list[tuple[str, str]]) -> LoginModule:
    name = _take(key, tokens, "word", "the class of a login module")
    flag = _take(key, tokens, "word", f"a flag behind {name}")
    if flag.lower() not in FLAGS:
        raise InvalidConfig(f"{key}: behind {name} stands one of {', '.join(sorted(FLAGS))}")
    options: dict[str, str] = {}
    while True:
        kind, text = tokens.pop(0) if tokens else ("end", "")
        if (kind, text) == ("sign", ";"):
            return LoginModule(name, options)
        if kind != "word":
            raise InvalidConfig(f"{key}: an option of {name}, or the semicolon that ends it, is missing")
        if not tokens or tokens.pop(0) != ("sign", "="):
            raise InvalidConfig(f"{key}: option {text} of {name} has no value")
        options[text] = _take(key, tokens, None, f"the value of option {text} of {name}")


def _take(key: str, tokens: list[tuple[str, str]], kind: str | None, what: str) -> str:
    if not tokens or tokens[0][0] == "sign" or (kind is not None and tokens[0][0] != kind):
        raise InvalidConfig(f"{key}: {what} is missing")
    return tokens.pop(0)[1]


def _tokens(key: str, text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise InvalidConfig(f"{key}: no JAAS syntax at character {position}; quote values that are no plain words")
        position = found.end()
        kind = found.lastgroup
        if kind in ("quoted", "single"):
            yield "text", _ESCAPE.sub(lambda one: _ESCAPES.get(one[1], one[1]), found[kind])
        elif kind is not None:
            yield kind, found[kind]
