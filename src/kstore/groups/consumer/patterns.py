"""Regular expressions over topic names, matched in time linear in the name whatever the expression is.

Owns a parser of RE2's syntax as far as topic names need it, and a matcher that walks all states at once. A client
sends the expression, so an engine that tries one way after the other could be made to run for years. Knows no group.
Called by `consumer.draft` and `consumer.heartbeat`.

Invariants
1. Matching takes at most states times characters steps; states are at most `STATES_MAX`.
2. What RE2 refuses (lookaround, references to groups) is refused; so are Unicode classes, which no topic name needs.
3. An expression has to match the whole name, as Kafka asks of com.google.re2j.Pattern.

Literals, `.`, classes, `\\d \\w \\s` and their opposites, groups, `|`, `* + ? {m,n}` greedy or not, the anchors and
`\\A \\z \\b \\B`, `\\Q...\\E`, and the flags `(?i)` and `(?s)`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from kstore.groups.codes import Code, Refused

STATES_MAX = 10_000
"""Bounds a match of a name of 249 characters to a fraction of a second; `[a-z]{1,1000}` needs 2,000."""
REPEAT_MAX = 1_000
"""RE2's limit of a counted repetition."""
DEPTH_MAX = 100
"""Groups inside groups; RE2J allows 1,000, which would be as many calls here."""

_ALPHABET: Final = frozenset(map(chr, range(128)))
_DIGITS = frozenset("0123456789")
_WORDS = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_SPACES = frozenset("\t\n\f\r ")
_CLASSES: Final = {
    "d": _DIGITS, "w": _WORDS, "s": _SPACES, "D": _ALPHABET - _DIGITS, "W": _ALPHABET - _WORDS,
    "S": _ALPHABET - _SPACES,
}  # fmt: skip
_CONTROLS: Final = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NAMED: Final = {
    "alpha": _WORDS - _DIGITS - {"_"}, "digit": _DIGITS, "alnum": _WORDS - {"_"}, "word": _WORDS,
    "space": _SPACES | {"\v"},
    "lower": frozenset(map(chr, range(97, 123))), "upper": frozenset(map(chr, range(65, 91))),
    "punct": frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
}  # fmt: skip


class _State(NamedTuple):
    """One state: takes a character of `chars`, or none; goes to `to` when `check` (an assertion) holds."""

    chars: frozenset[str] | None
    check: str
    to: tuple[int, ...]


_Part = tuple[int, int]
"""Entry and exit of a part of the machine; the exit is a state whose way is still open."""


class Pattern:
    """An expression that was found valid; raises `Refused` with INVALID_REGULAR_EXPRESSION for any other."""

    __slots__ = ("_entry", "_exit", "_states")

    def __init__(self, regex: str) -> None:
        states, self._entry, self._exit = _compile(regex)
        self._states = states

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` matches."""
        now = self._closure({self._entry}, text, 0)
        for position, character in enumerate(text):
            reached: set[int] = set()
            for index in now:
                state = self._states[index]
                if state.chars is not None and character in state.chars:
                    reached.update(state.to)
            if not reached:
                return False
            now = self._closure(reached, text, position + 1)
        return self._exit in now

    def _closure(self, start: set[int], text: str, position: int) -> set[int]:
        found, todo = set(start), list(start)
        while todo:
            state = self._states[todo.pop()]
            if state.chars is None and _holds(state.check, text, position):
                fresh = [index for index in state.to if index not in found]
                found.update(fresh)
                todo += fresh
        return found


def _holds(check: str, text: str, position: int) -> bool:
    if not check:
        return True
    if check == "start":
        return position == 0
    if check == "end":
        return position == len(text)
    before = position > 0 and text[position - 1] in _WORDS
    after = position < len(text) and text[position] in _WORDS
    return (before != after) == (check == "edge")


@lru_cache(maxsize=256)
def _compile(regex: str) -> tuple[tuple[_State, ...], int, int]:
    parser = _Parser(regex)
    entry, exit_ = parser.parse()
    return tuple(parser.states), entry, exit_


class _Parser:
    """Recursive descent over RE2's grammar; every method returns a part of the machine."""

    def __init__(self, regex: str) -> None:
        self.regex = regex
        self.position = 0
        self.states: list[_State] = []
        self.depth = 0
        self.ignore_case = False

    def parse(self) -> _Part:
        part = self._alternatives()
        if self.position < len(self.regex):
            raise self._invalid("unexpected )")
        return part

    def _invalid(self, reason: str) -> Refused:
        return Refused(
            Code.INVALID_REGULAR_EXPRESSION,
            f"SubscribedTopicRegex `{self.regex}` is not a valid regular expression: {reason}.",
        )

    # -- the machine ----------------------------------------------------------------------------------------

    def _state(self, chars: frozenset[str] | None = None, check: str = "", to: tuple[int, ...] = ()) -> int:
        if len(self.states) >= STATES_MAX:
            raise self._invalid("expression too large")
        self.states.append(_State(chars, check, to))
        return len(self.states) - 1

    def _join(self, from_: int, to: int) -> None:
        state = self.states[from_]
        self.states[from_] = state._replace(to=(*state.to, to))

    def _one(self, chars: frozenset[str]) -> _Part:
        if self.ignore_case:
            chars = chars | {other for one in chars for other in (one.lower(), one.upper())}
        out = self._state()
        return self._state(chars, to=(out,)), out

    def _empty(self, check: str = "") -> _Part:
        out = self._state()
        return self._state(check=check, to=(out,)), out

    # -- the grammar ----------------------------------------------------------------------------------------

    def _peek(self, text: str) -> bool:
        return self.regex.startswith(text, self.position)

    def _take(self, text: str) -> bool:
        if self._peek(text):
            self.position += len(text)
            return True
        return False

    def _next(self) -> str:
        if self.position >= len(self.regex):
            raise self._invalid("it ends too early")
        self.position += 1
        return self.regex[self.position - 1]

    def _alternatives(self) -> _Part:
        case = self.ignore_case
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        self.ignore_case = case
        if len(parts) == 1:
            return parts[0]
        entry, out = self._state(to=tuple(entry for entry, _ in parts)), self._state()
        for _, end in parts:
            self._join(end, out)
        return entry, out

    def _sequence(self) -> _Part:
        entry, end = self._empty()
        while self.position < len(self.regex) and not self._peek("|") and not self._peek(")"):
            start = self.position
            case = self.ignore_case
            part = self._atom()
            part = self._repeated(part, start, case)
            self._join(end, part[0])
            end = part[1]
        return entry, end

    def _repeated(self, part: _Part, start: int, case: bool) -> _Part:
        stop = self.position
        low, high = self._quantifier()
        if (low, high) == (1, 1):
            return part
        # The states of the first copy are used; the others are parsed anew from the same characters.
        after = self.position
        parts = [part]
        for _ in range(max(low, high or 0, 1) - 1):
            self.position, self.ignore_case = start, case
            parts.append(self._atom())
            if self.position != stop:
                raise self._invalid("invalid repetition")
        self.position = after
        out = self._state()
        entry = previous = self._state()
        for index, (first, last) in enumerate(parts):
            if index >= low:
                self._join(previous, out)
            if high is None or index < high:
                self._join(previous, first)
                previous = last
        self._join(previous, out)
        if high is None:
            self._join(previous, parts[-1][0])
        return entry, out

    def _quantifier(self) -> tuple[int, int | None]:
        found: tuple[int, int | None] = (1, 1)
        if self._take("*"):
            found = (0, None)
        elif self._take("+"):
            found = (1, None)
        elif self._take("?"):
            found = (0, 1)
        elif self._peek("{"):
            counted = self._counted()
            if counted is None:
                return 1, 1
            found = counted
        else:
            return 1, 1
        self._take("?")  # not greedy: the same set of matches
        if self.regex[self.position : self.position + 1] in ("*", "+", "?") or (self._peek("{") and self._counted()):
            raise self._invalid("invalid nested repetition operator")
        return found

    def _counted(self) -> tuple[int, int | None] | None:
        """`{m}`, `{m,}` or `{m,n}`; None where the brace is an ordinary character, as for RE2."""
        close = self.regex.find("}", self.position)
        inside = self.regex[self.position + 1 : close] if close > 0 else ""
        low, comma, high = inside.partition(",")
        if not low.isdecimal() or not low.isascii() or (high and not (high.isdecimal() and high.isascii())):
            return None
        least, most = int(low), (int(high) if high else None) if comma else int(low)
        if least > REPEAT_MAX or (most is not None and (most > REPEAT_MAX or most < least)):
            raise self._invalid("invalid repeat count")
        self.position = close + 1
        return least, most

    def _atom(self) -> _Part:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return self._one(self._class())
        if character == ".":
            return self._one(_ALPHABET - {"\n"})
        if character in "^$":
            return self._empty("start" if character == "^" else "end")
        if character in "*+?":
            raise self._invalid("missing argument to repetition operator")
        if character == "\\":
            return self._escape()
        return self._one(frozenset(character))

    def _group(self) -> _Part:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self._invalid("expression nests too deeply")
        case = self.ignore_case
        if self._take("?") and not self._take(":"):
            if self._take("P<") or (
                self._peek("<") and not self._peek("<=") and not self._peek("<!") and self._take("<")
            ):
                name = ""
                while (letter := self._next()) != ">":
                    name += letter
                if not name or not set(name) <= _WORDS:
                    raise self._invalid("invalid named capture")
            elif self._flags():
                self.depth -= 1
                return self._empty()
        part = self._alternatives()
        if not self._take(")"):
            raise self._invalid("missing closing )")
        self.depth -= 1
        self.ignore_case = case
        return part

    def _flags(self) -> bool:
        """`(?i)` for the rest of the group (True), or `(?i:` for this one (False)."""
        is_on = True
        while (letter := self._next()) not in ":)":
            if letter == "-":
                is_on = False
            elif letter == "i":
                self.ignore_case = is_on
            elif letter not in "sU":
                # Multi-line anchors could never matter in a topic name; the rest is no flag, or lookaround.
                raise self._invalid("invalid or unsupported Perl syntax")
        return letter == ")"

    def _escape(self) -> _Part:
        character = self._next()
        if character in _CLASSES:
            return self._one(_CLASSES[character])
        if character in "AzbB":
            return self._empty({"A": "start", "z": "end", "b": "edge", "B": "inside"}[character])
        if character == "Q":
            end = self.regex.find("\\E", self.position)
            text = self.regex[self.position : end if end >= 0 else None]
            self.position = end + 2 if end >= 0 else len(self.regex)
            entry, last = self._empty()
            for letter in text:
                part = self._one(frozenset(letter))
                self._join(last, part[0])
                last = part[1]
            return entry, last
        return self._one(frozenset(self._literal(character)))

    def _literal(self, character: str) -> str:
        """The one character that an escape stands for."""
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character == "x":
            digits = self._next() + self._next()
            try:
                return chr(int(digits, 16))
            except ValueError:
                raise self._invalid("invalid escape sequence") from None
        if character.isalnum():
            raise self._invalid("invalid escape sequence")
        return character

    def _class(self) -> frozenset[str]:
        is_not = self._take("^")
        chars: set[str] = set()
        is_first = True
        while is_first or not self._take("]"):
            is_first = False
            if self._take("[:"):
                chars |= self._named_class()
                continue
            low = self._next()
            if low == "\\":
                escaped = self._next()
                if escaped in _CLASSES:
                    chars |= _CLASSES[escaped]
                    continue
                low = self._literal(escaped)
            high = low
            if self._peek("-") and not self._peek("-]"):
                self._next()
                high = self._next()
                if high == "\\":
                    high = self._literal(self._next())
                if high < low:
                    raise self._invalid("invalid character class range")
            chars.update(chr(code) for code in range(ord(low), min(ord(high), 127) + 1))
        return _ALPHABET - chars if is_not else frozenset(chars)

    def _named_class(self) -> frozenset[str]:
        end = self.regex.find(":]", self.position)
        name = self.regex[self.position : end] if end >= 0 else ""
        is_not, name = name.startswith("^"), name.removeprefix("^")
        if name not in _NAMED:
            raise self._invalid("invalid character class range")
        self.position = end + 2
        return _ALPHABET - _NAMED[name] if is_not else _NAMED[name]
