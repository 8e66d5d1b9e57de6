"""The state of one coordinator: its groups, their offsets, its deadlines, and the effects of the event at hand.

Owns what the state machines share, so that each of them is a function of a shard and a request. Decides nothing
about groups. Called by `coordinator`, `classic`, `consumer` and `committed`.

Invariants
1. A token is answered once: a second reply is an `InvariantError`.
2. What an append carries becomes state (or is given up) in the callback of that append, never before.
3. Time never runs backwards for the state machines, whatever the broker's clock does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstore.errors import InvariantError
from kstore.groups.codes import Code
from kstore.groups.effects import AppendRecords, Effect, Record, Reply, Topic
from kstore.groups.settings import GroupSettings
from kstore.groups.stored import Offsets
from kstore.groups.timers import TimerKey, Timers

if TYPE_CHECKING:
    from kstore.groups.classic.group import ClassicGroup
    from kstore.groups.consumer.group import ConsumerGroup
    from kstore.groups.requests import Request
    from kstore.groups.responses import Response

Action = Callable[["Shard"], None]
Then = Callable[["Shard", Code, int], None]
"""What follows an append: NONE and the base offset, or the code for clients and -1."""


@dataclass(slots=True)
class PendingAppend:
    """An append that was asked for and not reported yet."""

    group_id: str
    shared: bool
    then: Then


class Shard:
    """Everything that one partition of `__consumer_offsets` stands for, in memory."""

    __slots__ = (
        "_append_id", "appends", "asked", "effects", "groups", "now_ms", "offsets", "open_tokens", "settings",
        "timers", "topics", "topics_version",
    )  # fmt: skip

    def __init__(self, settings: GroupSettings) -> None:
        self.settings = settings
        self.now_ms = 0
        self.groups: dict[str, ClassicGroup | ConsumerGroup] = {}
        self.offsets = Offsets()
        self.topics: Mapping[str, Topic] = {}
        self.topics_version = 0
        """Counts metadata changes, so that groups know what they have looked at."""
        self.timers: Timers[Action] = Timers()
        self.appends: dict[int, PendingAppend] = {}
        self.asked: list[PendingAppend] = []
        """Appends that the event at hand asked for."""
        self.open_tokens: dict[object, Request] = {}
        self.effects: list[Effect] = []
        self._append_id = 0

    def reply(self, token: object, response: Response) -> None:
        """Answer an open request."""
        if token not in self.open_tokens:
            raise InvariantError(f"the request {token!r} was answered already; please report this")
        del self.open_tokens[token]
        self.effects.append(Reply(token, response))

    def append(self, group_id: str, records: Sequence[Record], then: Then, *, shared: bool = False) -> None:
        """Have `records` appended, and go on with `then` when that is over.

        Until then the group takes no other request, but where the append is `shared`: a commit of offsets, which
        other commits and membership may pass.
        """
        self._append_id += 1
        self.appends[self._append_id] = pending = PendingAppend(group_id, shared, then)
        self.asked.append(pending)
        self.effects.append(AppendRecords(self._append_id, tuple(records)))

    def schedule(self, key: TimerKey, delay_ms: int, action: Action) -> None:
        """Run `action` in `delay_ms` milliseconds, unless the key is cancelled or scheduled again before."""
        self.timers.set(key, self.now_ms + delay_ms, action)

    def cancel(self, key: TimerKey) -> None:
        """Forget what was scheduled under `key`."""
        self.timers.cancel(key)
