"""What a simulated disk was asked to do, as values: the trace that crash states are computed from.

Nodes are numbered, so that a trace stays right when names change: a directory or file keeps its number for life.
Written by `simdisk`, applied by `medium`, walked by `crash_states`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

ROOT = 0
"""The number of the directory `/`."""


class Write(NamedTuple):
    """Bytes went into the page cache of a file; on the medium only after a `Sync`."""

    node: int
    position: int
    data: bytes


class Resize(NamedTuple):
    """A file was cut or extended with zeros."""

    node: int
    size_bytes: int


class Sync(NamedTuple):
    """fsync of a file succeeded: its bytes and its size are on the medium, its name need not be."""

    node: int


class FailedSync(NamedTuple):
    """fsync of a file failed: what was dirty counts as clean from now on and may or may not be on the medium."""

    node: int


class Bind(NamedTuple):
    """A name came to be: a new file or directory, or a second name of a file."""

    directory: int
    name: str
    node: int
    is_directory: bool


class Unbind(NamedTuple):
    """A name is gone."""

    directory: int
    name: str


class Move(NamedTuple):
    """A node has another name, in one step; what had that name before has it no more."""

    directory: int
    name: str
    target_directory: int
    target_name: str


class SyncDirectory(NamedTuple):
    """fsync of a directory succeeded: its names are on the medium."""

    node: int


class Note(NamedTuple):
    """What a workload says about this moment, such as "record 7 is acknowledged"; changes nothing on the disk."""

    what: object


Naming = Bind | Unbind | Move
Operation = Write | Resize | Sync | FailedSync | Naming | SyncDirectory | Note


@dataclass(frozen=True, slots=True)
class Image:
    """A whole file system, all of it on the medium."""

    names: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    """Names of every directory, by its number."""
    contents: dict[int, bytes] = field(default_factory=dict)
    """Bytes of every file, by its number."""

    def files(self) -> dict[str, bytes]:
        """Every file that a path leads to, with its bytes."""
        found: dict[str, bytes] = {}
        self._walk(ROOT, "", found)
        return found

    def _walk(self, directory: int, prefix: str, found: dict[str, bytes]) -> None:
        for name, node in self.names[directory].items():
            path = f"{prefix}/{name}"
            if node in self.names:
                self._walk(node, path, found)
            else:
                found[path] = self.contents[node]


@dataclass(slots=True)
class Trace:
    """A start and everything that was done since."""

    start: Image
    operations: list[Operation] = field(default_factory=list)
