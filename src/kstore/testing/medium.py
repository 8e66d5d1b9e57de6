"""MEDIUM: what of a file system is really stored, and what a power loss may leave of the rest.

Owns, for every file, the content that is safe and the versions of each page since; for every directory, the names
that are safe and the changes since. Fed one `Operation` at a time by `crash_states` or by a running `SimDisk`; asked
by them for contents and names that a power loss may leave.

The model is stricter than ext4 or XFS, so that nothing here leans on one of them:
1. Of an unsynced file every 4 KiB page is there in any version it had since the last fsync, each page on its own, and
   its size is any size it had since; pages that never arrived read as zeros.
2. fsync of a file makes its bytes and size safe, never its name.
3. Changes of names arrive in any order, but those of one name in theirs; a rename is never half done.
4. After a failed fsync the pages that were dirty are whatever they are, and no later fsync writes them (S18).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from kstore.testing.operations import (
    Bind,
    FailedSync,
    Image,
    Move,
    Naming,
    Operation,
    Resize,
    Sync,
    SyncDirectory,
    Unbind,
    Write,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

PAGE_BYTES = 4096


class Content:
    """One file: the page cache, and for each page that is not safe the versions that may be on the medium."""

    __slots__ = ("_cached", "cache", "dirty", "pages", "size_dirty", "sizes")

    def __init__(self, data: bytes = b"") -> None:
        self.cache = bytearray(data)
        self.pages: dict[int, list[bytes]] = {}
        """Versions of a page, the safe one first, the newest last."""
        self.dirty: set[int] = set()
        """Pages that the next fsync writes: all of `pages` but those that a failed fsync has declared clean."""
        self.sizes = [len(data)]
        self.size_dirty = False
        self._cached: bytes | None = data

    @property
    def is_safe(self) -> bool:
        """Whether the medium holds exactly what the cache holds."""
        return not self.pages and len(self.sizes) == 1

    def write(self, position: int, data: bytes) -> None:
        """Note a write into the page cache."""
        end = position + len(data)
        before = len(self.cache)
        first, last = min(position, before) // PAGE_BYTES, (max(end, 1) - 1) // PAGE_BYTES
        self._keep(range(first, last + 1))
        if position > before:
            self.cache.extend(bytes(position - before))
        self.cache[position:end] = data
        self._changed(range(first, last + 1), before)

    def resize(self, size_bytes: int) -> None:
        """Note a truncation or an extension with zeros."""
        before = len(self.cache)
        low, high = sorted((before, size_bytes))
        touched = range(low // PAGE_BYTES, (max(high, 1) - 1) // PAGE_BYTES + 1)
        self._keep(touched)
        del self.cache[size_bytes:]
        self.cache.extend(bytes(size_bytes - len(self.cache)))
        self._changed(touched, before)

    def _keep(self, touched: range) -> None:
        for page in touched:
            if page not in self.pages:
                self.pages[page] = [self._page(page)]

    def _changed(self, touched: range, size_before: int) -> None:
        self._cached = None
        for page in touched:
            self.pages[page].append(self._page(page))
        self.dirty.update(touched)
        if len(self.cache) != size_before:
            self.sizes.append(len(self.cache))
            self.size_dirty = True

    def _page(self, page: int) -> bytes:
        return bytes(self.cache[page * PAGE_BYTES : (page + 1) * PAGE_BYTES])

    def sync(self) -> None:
        """Note a successful fsync."""
        for page in self.dirty:
            del self.pages[page]
        self.dirty.clear()
        if self.size_dirty or not self.pages:
            self.sizes = [len(self.cache)]
            self.size_dirty = False

    def fail_sync(self) -> None:
        """Note a failed fsync: dirty counts as clean, and nobody knows what arrived."""
        self.dirty.clear()
        self.size_dirty = False

    def newest(self) -> bytes:
        """What the page cache holds: all that was written."""
        if self._cached is None:
            self._cached = bytes(self.cache)
        return self._cached

    def oldest(self) -> bytes:
        """What is there if nothing unsynced arrived."""
        return self.built({page: versions[0] for page, versions in self.pages.items()}, self.sizes[0])

    def built(self, chosen: dict[int, bytes], size_bytes: int) -> bytes:
        """The file with the chosen versions of its unsafe pages, at a size."""
        parts = []
        for page in range((size_bytes + PAGE_BYTES - 1) // PAGE_BYTES):
            version = chosen[page] if page in chosen else self._page(page)
            parts.append(version.ljust(PAGE_BYTES, b"\0"))
        return b"".join(parts)[:size_bytes]

    def choices(self) -> int:
        """How many combinations of page versions and sizes there are."""
        count = len(self.sizes)
        for versions in self.pages.values():
            count *= len(versions)
        return count

    def contents(self, random: random.Random, limit: int) -> list[bytes]:
        """Contents that a power loss may leave: all of them up to `limit`, else a sample with both extremes."""
        if self.is_safe:
            return [self.newest()]
        numbers = list(self.pages)
        found: dict[bytes, None] = {}
        if self.choices() <= limit:
            for versions in itertools.product(*self.pages.values()):
                chosen = dict(zip(numbers, versions, strict=True))
                for size in self.sizes:
                    found[self.built(chosen, size)] = None
            return list(found)
        found[self.newest()] = None
        found[self.oldest()] = None
        nothing = {page: versions[0] for page, versions in self.pages.items()}
        for size in (self.sizes[-1], random.choice(self.sizes)):
            found[self.built(nothing, size)] = None
        for _ in range(limit - len(found)):
            chosen = {page: random.choice((versions[0], versions[-1], random.choice(versions)))
                      for page, versions in self.pages.items()}
            found[self.built(chosen, random.choice(self.sizes))] = None
        return list(found)


class Names:
    """All directories: the names that are safe, and the changes that are not, in order."""

    def __init__(self, safe: dict[int, dict[str, int]]) -> None:
        self.safe = {number: dict(names) for number, names in safe.items()}
        self.pending: list[Naming] = []
        self._needs: list[frozenset[int]] = []    # for each pending change, the earlier ones of the same names

    def change(self, operation: Naming) -> None:
        """Note a change of a name."""
        touched = _touched(operation)
        self._needs.append(frozenset(
            i for i, earlier in enumerate(self.pending) if not touched.isdisjoint(_touched(earlier))
        ))
        self.pending.append(operation)

    def sync(self, directory: int) -> None:
        """Note an fsync of a directory: its changes are safe, and those they stand on."""
        kept = self.closed({
            i for i, operation in enumerate(self.pending) if any(d == directory for d, _ in _touched(operation))
        })
        self.safe = self.with_changes(kept)
        left = [operation for i, operation in enumerate(self.pending) if i not in kept]
        self.pending, self._needs = [], []
        for operation in left:
            self.change(operation)

    def closed(self, chosen: set[int]) -> set[int]:
        """The chosen changes and all that they stand on."""
        result: set[int] = set()
        waiting = list(chosen)
        while waiting:
            i = waiting.pop()
            if i not in result:
                result.add(i)
                waiting.extend(self._needs[i])
        return result

    def with_changes(self, chosen: set[int]) -> dict[int, dict[str, int]]:
        """All directories with the safe names and some of the pending changes."""
        names = {number: dict(inner) for number, inner in self.safe.items()}
        for i in sorted(chosen):
            match self.pending[i]:
                case Bind(directory, name, node, is_directory):
                    names.setdefault(directory, {})[name] = node
                    if is_directory:
                        names.setdefault(node, {})
                case Unbind(directory, name):
                    names.setdefault(directory, {}).pop(name, None)
                case Move(directory, name, target, target_name):
                    node = names.setdefault(directory, {}).pop(name)
                    names.setdefault(target, {})[target_name] = node
        return names

    def choices(self, random: random.Random, limit: int) -> Iterator[set[int]]:
        """Sets of pending changes that may have arrived: all, none, then every other set or a sample."""
        count = len(self.pending)
        everything = set(range(count))
        yield everything
        if not count:
            return
        yield set()
        seen = {frozenset(everything), frozenset()}
        sources: Sequence[set[int]] | Iterator[set[int]]
        if 2**count <= limit:
            sources = [{i for i in range(count) if bits >> i & 1} for bits in range(1, 2**count - 1)]
        else:
            prefixes = [set(range(length)) for length in range(max(1, count - limit // 2), count)]
            singles = ({i for i in range(count) if random.random() < 0.5} for _ in range(limit - len(prefixes)))
            sources = itertools.chain(prefixes, singles)
        for chosen in sources:
            whole = frozenset(self.closed(chosen))
            if whole not in seen:
                seen.add(whole)
                yield set(whole)


def _touched(operation: Naming) -> set[tuple[int, str]]:
    if isinstance(operation, Move):
        return {(operation.directory, operation.name), (operation.target_directory, operation.target_name)}
    return {(operation.directory, operation.name)}


class Medium:
    """The whole file system: contents and names."""

    def __init__(self, start: Image) -> None:
        self.contents = {number: Content(data) for number, data in start.contents.items()}
        self.names = Names(start.names)
        self.unsafe: set[int] = set()
        """Files that are not wholly on the medium."""

    def apply(self, operation: Operation) -> None:
        """Take one step."""
        match operation:
            case Write(node, position, data):
                self._content(node).write(position, data)
                self.unsafe.add(node)
            case Resize(node, size_bytes):
                self._content(node).resize(size_bytes)
                self.unsafe.add(node)
            case Sync(node):
                content = self._content(node)
                content.sync()
                if content.is_safe:
                    self.unsafe.discard(node)
            case FailedSync(node):
                self._content(node).fail_sync()
            case SyncDirectory(node):
                self.names.sync(node)
            case Bind(_, _, node, is_directory):
                if not is_directory:
                    self._content(node)
                self.names.change(operation)
            case Unbind() | Move():
                self.names.change(operation)

    def _content(self, node: int) -> Content:
        content = self.contents.get(node)
        if content is None:
            content = self.contents[node] = Content()
        return content

    def crash(self, random: random.Random) -> Image:
        """One state that a power loss at this moment may leave."""
        changes = random.choice(list(self.names.choices(random, 8)))
        contents = {number: content.newest() for number, content in self.contents.items()}
        for number in sorted(self.unsafe):
            contents[number] = random.choice(self.contents[number].contents(random, 8))
        return Image(self.names.with_changes(changes), contents)
