"""The notation of the field tables: a message is a class, a field a line of it, a version a number in that line.

Owns `Struct` and `field`. Must not know bytes, nor any message. Written in by `kstore.wire.messages`, read by
`kstore.wire.layouts`. docs/WIRE.md tells how a table reads.

Invariants
1. A struct holds one value for each field of its table, whatever the version: fields that a version lacks are at
   their defaults.
2. Structs do not change; `replace` makes another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence as Array
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeAlias, dataclass_transform

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "NO_ID", "NO_OPERATIONS", "Array", "Bool", "Bytes", "Field", "Float64", "Int8", "Int16", "Int32", "Int64",
    "Records", "Request", "Response", "String", "Struct", "UInt16", "UInt32", "Uuid", "field",
]  # fmt: skip

Bool: TypeAlias = bool
Int8: TypeAlias = int
Int16: TypeAlias = int
UInt16: TypeAlias = int
Int32: TypeAlias = int
UInt32: TypeAlias = int
Int64: TypeAlias = int
Float64: TypeAlias = float
Uuid: TypeAlias = bytes
"""16 raw bytes."""
String: TypeAlias = str
Bytes: TypeAlias = bytes
Records: TypeAlias = "Buffer"
"""Record batches: anything with a buffer when written, a `memoryview` of the frame when read."""

NO_ID = bytes(16)
"""Uuid.ZERO_UUID."""
NO_OPERATIONS = -(2**31)
"""Bits of authorized operations that nobody asked for."""



class _One(NamedTuple):
    value: int


_Getter: Any = type(vars(_One)["value"])
"""The getters of named tuples: half the time of a property."""
_ANNOTATION = re.compile(r"(?P<array>Array\[)?(?P<type>\w+)\]?(?P<null> \| None)?")


class Field(NamedTuple):
    """One line of a table: `since` and `until` are the first and last version that have it (None: all, to the last),
    `nullable` the first version that allows null (None: never), `tag` its number when it is tagged. Without `required`
    a constructor call may leave it out. `ignorable`: a version without it may drop a value (FieldSpec.ignorable)."""

    name: str
    type: str
    is_array: bool
    since: int | None
    until: int | None
    nullable: int | None
    tag: int | None
    default: Any
    required: bool
    ignorable: bool

    def is_in(self, version: int) -> bool:
        """Whether `version` has the field."""
        return (self.since is None or version >= self.since) and (self.until is None or version <= self.until)


class _Line(NamedTuple):
    since: int | None
    until: int | None
    nullable: int | None
    tag: int | None
    default: Any
    ignorable: bool


_REQUIRED: Any = object()


def field(
    since: int | None = None,
    until: int | None = None,
    *,
    nullable: int | None = None,
    tag: int | None = None,
    default: Any = _REQUIRED,
    ignorable: bool = False,
) -> Any:
    """What a line says beyond name and type; see `Field`."""
    return _Line(since, until, nullable, tag, default, ignorable)


_PLAIN = _Line(None, None, None, None, _REQUIRED, False)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class _StructType(type):
    """Turns the lines of a class body into a tuple with names: `__slots__`, getters, and a constructor when needed."""

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], api: int = -1) -> Any:
        lines = {key: body.pop(key) for key, value in list(body.items()) if isinstance(value, _Line)}
        cls: Any = super().__new__(mcs, name, bases, {"__slots__": (), **body})
        cls.API_KEY = api
        own = {key: text for key, text in cls.__annotations__.items() if not text.startswith("ClassVar")}
        cls.TABLE = tuple(_read_line(key, text, lines.get(key, _PLAIN)) for key, text in own.items())
        for slot, key in enumerate(own):
            setattr(cls, key, _Getter(slot, None))
        return cls

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], api: int = -1) -> None:
        super().__init__(name, bases, body)


def _read_line(name: str, text: str, line: _Line) -> Field:
    found = _ANNOTATION.fullmatch(text)
    if not found:
        raise TypeError(f"{name}: {text} is no type of a field")
    nullable = line.nullable if line.nullable is not None else 0 if found["null"] else None
    required = line.default is _REQUIRED
    default = None if required else line.default
    return Field(
        name, found["type"], bool(found["array"]), line.since, line.until, nullable, line.tag, default, required,
        line.ignorable,
    )  # fmt: skip


if TYPE_CHECKING:
    _Tuple = object
else:
    _Tuple = tuple


class Struct(_Tuple, metaclass=_StructType):
    """Base of everything that has fields. Made with keywords; compared by value; made anew by `replace`."""

    TABLE: ClassVar[tuple[Field, ...]]
    API_KEY: ClassVar[int]

    if not TYPE_CHECKING:
        __hash__ = None  # arrays are no keys

        def __new__(cls, **values: Any) -> Self:
            """One value for each field."""
            # Most classes are only ever read: their constructors are made when one is called for the first time.
            _make_constructor(cls)
            return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """The same with other values for some fields."""
        names = [line.name for line in self.TABLE]
        values = dict(zip(names, self, strict=True))  # type: ignore[call-overload]
        return type(self)(**{**values, **changes})

    def __repr__(self) -> str:
        values = ", ".join(f"{line.name}={getattr(self, line.name)!r}" for line in self.TABLE)
        return f"{type(self).__name__}({values})"


def _make_constructor(cls: Any) -> None:
    """`__new__` with a keyword for each field, as the standard library makes those of named tuples."""
    names = [line.name for line in cls.TABLE]
    scope: dict[str, Any] = {"_make": tuple.__new__}
    scope.update({f"_{line.name}": line.default for line in cls.TABLE if not line.required})
    keywords = [line.name if line.required else f"{line.name}=_{line.name}" for line in cls.TABLE]
    head = f"def __new__(_cls{', *, ' if names else ''}{', '.join(keywords)}):"
    exec(f"{head}\n    return _make(_cls, ({', '.join(names)}{',' if names else ''}))", scope)
    constructor = scope["__new__"]
    constructor.__qualname__ = f"{cls.__qualname__}.__new__"
    cls.__new__ = constructor


class Request(Struct):
    """What a client, or another broker, asks."""


class Response(Struct):
    """The answer to the request of the same API and version."""
