"""`meta.properties`: whose directory this is, in Java's Properties format.

Reads all of that format and writes it byte for byte as `java.util.Properties.store` does: escapes, the two comment
lines, the order of Java's hash map. Keys that kstore does not know survive a rewrite.

Fields as in Apache Kafka's MetaProperties.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from kstore import limits
from kstore.log import names

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ESCAPES = {
    "\t": "\\t",
    "\n": "\\n",
    "\r": "\\r",
    "\f": "\\f",
    "\\": "\\\\",
    "=": "\\=",
    ":": "\\:",
    "#": "\\#",
    "!": "\\!",
}
_UNESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_BLANK = " \t\f"
_KAFKAS_KEYS = frozenset({"version", "cluster.id", "node.id", "broker.id", "directory.id"})
_LINE_END = re.compile(r"\r\n|\r|\n")
_ENTRY = re.compile(r"((?:[^\\=: \t\f]|\\.)*)[ \t\f]*[=:]?[ \t\f]*(.*)")
_BROKEN_UNICODE = re.compile(r"(?<!\\)(?:\\\\)*\\u(?![0-9a-fA-F]{4})")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")


class MetaProperties(NamedTuple):
    """The content of `meta.properties`. Version 0 calls the node id `broker.id` and needs none of the fields."""

    cluster_id: str | None
    node_id: int | None
    directory_id: bytes | None
    version: int = 1
    other: tuple[tuple[str, str], ...] = ()
    """Keys that are not Kafka's, as they stand."""


def parse_meta_properties(data: bytes) -> MetaProperties | None:
    """Reads `meta.properties`; None when Kafka would refuse it (damaged, a field missing) or it says nothing."""
    properties = parse_properties(data)
    if properties is None or not _KAFKAS_KEYS & properties.keys():
        return None
    version = properties.pop("version", "0")
    if version not in ("0", "1"):
        return None
    cluster_id = properties.pop("cluster.id", None)
    node_text = properties.pop("node.id" if version == "1" else "broker.id", None)
    directory_text = properties.pop("directory.id", None)
    if version == "1" and (cluster_id is None or node_text is None):
        return None
    try:
        node_id = None if node_text is None else _java_int(node_text)
        directory_id = None if directory_text is None else names.uuid_from_text(directory_text)
    except ValueError:
        return None
    return MetaProperties(cluster_id, node_id, directory_id, int(version), tuple(properties.items()))


def _java_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or not -limits.INT32_MAX - 1 <= int(text) <= limits.INT32_MAX:
        raise ValueError(f"{text[:40]!r} is no int32")
    return int(text)


def format_meta_properties(meta: MetaProperties, *, now_ms: int) -> bytes:
    """The bytes of `meta.properties`, dated `now_ms`."""
    properties = {"version": str(meta.version)}
    if meta.cluster_id is not None:
        properties["cluster.id"] = meta.cluster_id
    if meta.node_id is not None:
        properties["node.id" if meta.version else "broker.id"] = str(meta.node_id)
    if meta.directory_id is not None:
        properties["directory.id"] = names.uuid_to_text(meta.directory_id)
    properties.update(meta.other)
    return format_properties(properties, now_ms=now_ms)


# -- Java's format -----------------------------------------------------------------------------------------------


def parse_properties(data: bytes) -> dict[str, str] | None:
    """All keys and values; the last of equal keys wins. None where Java refuses: a broken `\\u` escape."""
    properties: dict[str, str] = {}
    for line in _logical_lines(data.decode("latin-1")):
        entry = _ENTRY.fullmatch(line)
        if entry is None or _BROKEN_UNICODE.search(line):
            return None
        properties[_unescape(entry[1])] = _unescape(entry[2])
    return properties


def _logical_lines(text: str) -> list[str]:
    """Lines without comments and blank ones; a line that ends in an odd number of backslashes goes on in the next."""
    lines: list[str] = []
    joined: str | None = None
    for natural in _LINE_END.split(text):
        stripped = natural.lstrip(_BLANK)
        if joined is None:
            if not stripped or stripped[0] in "#!":
                continue
            joined = ""
        joined += stripped
        if (len(joined) - len(joined.rstrip("\\"))) % 2:
            joined = joined[:-1]
        else:
            lines.append(joined)
            joined = None
    return [*lines, joined] if joined else lines


def _unescape(text: str) -> str:
    units = _ESCAPE.sub(_unescaped, text).encode("utf-16-be", "surrogatepass")
    return units.decode("utf-16-be", "surrogatepass")  # two escapes may make one character


def _unescaped(match: re.Match[str]) -> str:
    code, char = match.groups()
    return chr(int(code, 16)) if code else _UNESCAPES.get(char, char)


def format_properties(properties: Mapping[str, str], *, now_ms: int) -> bytes:
    """The file as Java stores it with an empty comment: `#`, the date in UTC, then the entries in hash order."""
    import datetime  # for who makes a partition; opening them needs none

    now = datetime.datetime.fromtimestamp(now_ms // 1000, datetime.UTC)
    date = f"#{_DAYS[now.weekday()]} {_MONTHS[now.month - 1]} {now:%d %H:%M:%S} UTC {now.year}"
    lines = [f"{_escape(key, key=True)}={_escape(properties[key])}" for key in _hash_order(properties)]
    return "\n".join(["#", date, *lines, ""]).encode("ascii")


def _escape(text: str, *, key: bool = False) -> str:
    escaped = []
    for index, char in enumerate(text):
        if char == " " and (key or index == 0):
            escaped.append("\\ ")
        elif " " <= char <= "~":
            escaped.append(_ESCAPES.get(char, char))
        else:
            units = char.encode("utf-16-be", "surrogatepass")
            code = "".join(f"\\u{units[at]:02X}{units[at + 1]:02X}" for at in range(0, len(units), 2))
            escaped.append(_ESCAPES.get(char, code))
    return "".join(escaped)


def _hash_order(properties: Mapping[str, str]) -> list[str]:
    """Keys in the order of a ConcurrentHashMap of Java, which Properties is underneath: by slot of a table of 16
    that doubles when three quarters are taken."""
    slots = 16
    while len(properties) >= slots * 3 // 4:
        slots *= 2
    return sorted(properties, key=lambda key: _spread(key) % slots)


def _spread(text: str) -> int:
    value = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for at in range(0, len(units), 2):
        value = (value * 31 + units[at] * 256 + units[at + 1]) & 0xFFFFFFFF
    return (value ^ value >> 16) & 0x7FFFFFFF
