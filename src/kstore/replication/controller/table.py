"""An immutable map with sorted keys: what the controller's state is made of.

Owns equality, hash and the making of the next map from this one. It must not know what it holds. Called by everything
in this package; a table is shared between states, so a step that touches one entry copies one dict of pointers.

Invariants
1. Keys come in ascending order, however the table was made: two equal tables are walked alike.
2. A table never changes; its hash is computed once, when first asked for.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Table(Mapping[K, V], Generic[K, V]):
    """A hashable map; keys and values must be hashable, keys comparable with each other."""

    __slots__ = ("_hash", "_items")

    def __init__(self, items: Mapping[K, V] | None = None) -> None:
        given: dict[Any, V] = dict(items or {})
        self._items: dict[K, V] = {key: given[key] for key in sorted(given)}
        self._hash: int | None = None

    def put(self, updates: Mapping[K, V | None]) -> Table[K, V]:
        """The table with `updates` in it; a value of None removes its key."""
        if not updates:
            return self
        items = dict(self._items)
        grown = False
        for key, value in updates.items():
            if value is None:
                items.pop(key, None)
            else:
                grown = grown or key not in items
                items[key] = value
        if grown:
            return Table(items)
        made: Table[K, V] = Table()
        made._items = items
        return made

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def get(self, key: K, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        return self._items.get(key, default)

    def items(self) -> ItemsView[K, V]:
        """Keys and values, in the order of the keys."""
        return self._items.items()

    def values(self) -> ValuesView[V]:
        """Values, in the order of the keys."""
        return self._items.values()

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._items == other._items

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(tuple(self._items.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"Table({self._items!r})"
