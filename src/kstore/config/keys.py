"""How a configuration is read: a table of keys as a class, and readers for the kinds of values.

Owns parsing, ranges and messages for single keys; a field `segment_bytes` is the key `segment.bytes`. Knows no key.
Called by `directory` and `broker` beside it.

Invariants: a value that was read is valid; unknown keys never pass silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

from kstore.errors import InvalidConfig
from kstore.limits import INT64_MAX
from kstore.nearest import nearest

Value = int | float | bool | str | list[str] | tuple[str, ...]
T = TypeVar("T", bound="Config")
HIDDEN = "[hidden]"
"""What is shown of a password (org.apache.kafka.common.config.types.Password)."""


def whole(low: int, high: int = INT64_MAX) -> Callable[[str, Any], int]:
    """A reader of whole numbers from `low` to `high`, both allowed."""

    def read(key: str, value: Any) -> int:
        try:
            if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
                raise ValueError
            number = int(value)
        except (TypeError, ValueError):
            raise InvalidConfig(f"{key}={value!r} is not a whole number") from None
        if not low <= number <= high:
            hint = (
                "; internal.segment.bytes makes smaller segments, for tests" if key == "segment.bytes" else ""
            )
            raise InvalidConfig(f"{key}={number} is outside {low} to {high}{hint}")
        return number

    return read


def ratio(key: str, value: Any) -> float:
    """A number from 0 to 1."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidConfig(f"{key}={value!r} is not a number") from None
    if not 0 <= number <= 1:
        raise InvalidConfig(f"{key}={number} is outside 0 to 1")
    return number


def flag(key: str, value: Any) -> bool:
    """true or false."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in ("true", "false"):
        raise InvalidConfig(f"{key}={value!r} is neither true nor false")
    return word == "true"


def one_of(*choices: str) -> Callable[[str, Any], str]:
    """A reader of one word out of `choices`."""
    def read(key: str, value: Any) -> str:
        if value not in choices:
            raise InvalidConfig(
                f"{key}={value!r} is not one of {', '.join(choices)}{nearest(str(value), choices)}"
            )
        return str(value)

    return read


def policies(key: str, value: Any) -> tuple[str, ...]:
    """A list of cleanup policies."""
    items = value.split(",") if isinstance(value, str) else list(value)
    found = tuple(item.strip() for item in items if item.strip())
    for policy in found:
        if policy not in ("delete", "compact"):
            raise InvalidConfig(
                f"{key} takes delete, compact or both, not {policy!r}{nearest(policy, ('delete', 'compact'))}"
            )
    return found


def text(key: str, value: Any) -> str:
    """Any text."""
    return str(value)


def level(low: int, high: int, extra: int | None = None) -> Callable[[str, Any], int]:
    """A reader of compression levels; `extra` is one more number that is allowed."""
    in_range = whole(min(low, extra) if extra is not None else low, high)

    def read(key: str, value: Any) -> int:
        number = in_range(key, value)
        if number < low and number != extra:
            raise InvalidConfig(f"{key}={number} is outside {low} to {high}")
        return number

    return read


class Setting(NamedTuple):
    """One key of a configuration."""

    name: str
    """The field's, with `_` for Kafka's `.`."""
    default: Any
    read: Callable[[str, Any], Any]
    doc: str
    secret: bool
    """Whether its value is shown to nobody."""


class Part(NamedTuple):
    """A field of a configuration that is no key."""

    default: Any


def setting(default: Any, read: Callable[[str, Any], Any], doc: str) -> Any:
    """A field that is a key: its default, how it is read, what it means."""
    return Setting("", default, read, doc, False)


def secret(default: Any, read: Callable[[str, Any], Any], doc: str) -> Any:
    """A field like that of `setting` whose value is shown to nobody."""
    return Setting("", default, read, doc, True)


def part(default: Any) -> Any:
    """A field that is no key; the default is shared, so it must be one that does not change."""
    return Part(default)


class Config:
    """A group of keys, written down as a class with a `setting` for each. Its values do not change.

    Not a dataclass: to write code for forty fields and compile it takes milliseconds of every start.
    """

    _keys: ClassVar[dict[str, Setting]]
    _defaults: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        """Take down the fields; on the class each becomes its default."""
        fields = {name: one for name, one in vars(cls).items() if isinstance(one, Setting | Part)}
        cls._defaults = {name: one.default for name, one in fields.items()}
        cls._keys = {
            name.replace("_", "."): one._replace(name=name)
            for name, one in fields.items()
            if isinstance(one, Setting)
        }
        for name, default in cls._defaults.items():
            setattr(cls, name, default)

    def __init__(self, **values: Any) -> None:
        """Fields by name, as they are; the others keep their default. `parse` is what checks them."""
        for name in values:
            if name not in self._defaults:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
        self.__dict__.update(self._defaults)
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} does not change: make another one for another {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} does not change: {name} stays")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    @classmethod
    def keys(cls) -> dict[str, Setting]:
        """The fields that are keys, by Kafka's names for them, in order."""
        return cls._keys

    @classmethod
    def parse(cls: type[T], values: Mapping[str, Any] | None) -> T:
        """Read a mapping of Kafka's keys; strings as in a properties file and Python values are both fine.

        Raises `InvalidConfig` for an unknown key (naming the nearest right one) and for a value out of range.
        """
        known = cls.keys()
        fields: dict[str, Any] = {}
        for key, value in (values or {}).items():
            if key not in known:
                raise InvalidConfig(f"unknown {cls.subject()} config {key!r}{nearest(key, known)}")
            fields[known[key].name] = known[key].read(key, value)
        config = cls(**fields)
        config.check()
        return config

    @classmethod
    def subject(cls) -> str:
        """What the keys configure, for messages."""
        return cls.__name__.removesuffix("Config").lower()

    def check(self) -> None:
        """Raise `InvalidConfig` where keys contradict each other."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.changed().items())})"

    def changed(self) -> dict[str, str]:
        """The keys that differ from their defaults, as Kafka's strings."""
        return {
            key: HIDDEN if f.secret else render(getattr(self, f.name))
            for key, f in self.keys().items()
            if getattr(self, f.name) != f.default
        }


def render(value: Any) -> str:
    """A value as Kafka writes it in properties files and metadata records."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


