"""What is under way between followers and leaders in the model.

Owns one channel a follower, its requests and the answers to them, and the numbers by which they are told apart. It must
not know what they say. Called by `world`.

Invariants
1. A channel holds one message and as many older ones as the scope keeps; what has no room is lost.
2. The number of a follower's newest request is 0; older ones in its channel and in what leaders have seen of it count
   down by their order. Only comparisons of numbers mean anything to the machines, and those stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from kstore.replication import events as ev
from kstore.replication.leading import Leader
from kstore.testing.model.nodes import Answered, Asked, Message, Nodes
from kstore.testing.model.scope import Scope
from kstore.testing.model.table import Numbered

UnderWay = tuple[int, int, int]
"""A message, the index of the replica that a request goes to (-1 for an answer), and the channel without it."""


class Network:
    """All channels that occur in an exploration, by number; 0 is the empty one."""

    def __init__(self, scope: Scope, nodes: Nodes) -> None:
        self.size = scope.replicas
        self.stale = scope.stale
        self.nodes = nodes
        self.channels: Numbered[tuple[int, ...]] = Numbered()
        self.channels.number(())
        self._under_way: dict[int, tuple[UnderWay, ...]] = {}
        self._sent: dict[tuple[int, int], int] = {}
        self._numbers: dict[tuple[int, int], tuple[int, ...]] = {}
        self._renumbered: dict[tuple[int, int, tuple[int, ...]], int] = {}
        self._aged: dict[tuple[int, int, tuple[int, ...]], int] = {}

    def under_way(self, channel: int) -> tuple[UnderWay, ...]:
        """What may be delivered from a channel."""
        known = self._under_way.get(channel)
        if known is None:
            known = self._under_way[channel] = tuple(self._deliveries(channel))
        return known

    def _deliveries(self, channel: int) -> list[UnderWay]:
        messages = self.channels.values[channel]
        found = []
        for message in messages:
            said = self.nodes.messages.values[message]
            rest = self.channels.number(tuple(m for m in messages if m != message))
            found.append((message, said.to - 1 if isinstance(said, Asked) else -1, rest))
        return found

    def sent(self, channel: int, message: int) -> int:
        """An answer is under way as well."""
        key = channel, message
        known = self._sent.get(key)
        if known is None:
            messages = sorted({*self.channels.values[channel], message})
            known = self._sent[key] = self.channels.number(self._newest(messages))
        return known

    def _newest(self, messages: list[int]) -> tuple[int, ...]:
        """As many as there is room for: the newest numbers, answers before requests."""

        def age(message: int) -> tuple[int, bool, int]:
            said = self.nodes.messages.values[message]
            return -_number(said), isinstance(said, Asked), message

        return tuple(sorted(sorted(messages, key=age)[: 1 + self.stale]))

    # -- a new request ---------------------------------------------------------------------------------------

    def asked(self, after: list[int], i: int, request: int) -> None:
        """Replica `i` has sent a request, or lives anew (-1): what was its newest request is an older one now."""
        size = self.size
        channel = after[size + i] if self.stale else 0
        numbers = set(self._in_channel(channel)) if channel else set()
        for j in range(size):
            seen = self._seen(after[j], i)
            if seen:
                numbers.update(seen)
        if not numbers:
            after[size + i] = self._age(channel, request, ())
            return
        order = tuple(sorted(numbers, reverse=True))
        for j in range(size):
            if self._seen(after[j], i):
                after[j] = self._renumber(after[j], i, order)
        after[size + i] = self._age(channel, request, order)

    def _in_channel(self, channel: int) -> list[int]:
        return [_number(self.nodes.messages.values[m]) for m in self.channels.values[channel]]

    def _seen(self, node: int, i: int) -> tuple[int, ...]:
        """The numbers that a leader has seen of follower `i`."""
        key = node, i
        known = self._numbers.get(key)
        if known is None:
            state = self.nodes.nodes.values[node].state
            followers = state.followers if isinstance(state, Leader) else ()
            known = tuple(p.number for p in followers if p.follower == i + 1 and p.broker_epoch >= 0)
            self._numbers[key] = known
        return known

    def _renumber(self, node: int, i: int, order: tuple[int, ...]) -> int:
        key = node, i, order
        known = self._renumbered.get(key)
        if known is None:
            before = self.nodes.nodes.values[node]
            state = before.state
            assert isinstance(state, Leader)
            followers = tuple(
                replace(p, number=-1 - order.index(p.number)) if p.follower == i + 1 and p.broker_epoch >= 0 else p
                for p in state.followers
            )
            after = before._replace(state=replace(state, followers=followers))
            known = self._renumbered[key] = self.nodes.nodes.number(after)
        return known

    def _age(self, channel: int, request: int, order: tuple[int, ...]) -> int:
        key = channel, request, order
        known = self._aged.get(key)
        if known is None:
            table = self.nodes.messages
            messages = []
            for message in self.channels.values[channel]:
                said = table.values[message]
                # answers die with the process that asked, and so do questions that name no life
                if request >= 0 or (isinstance(said, Asked) and isinstance(said.request, ev.FetchRequest)):
                    messages.append(table.number(_numbered(said, -1 - order.index(_number(said)))))
            if request >= 0:
                messages.append(request)
            known = self._aged[key] = self.channels.number(self._newest(sorted(messages)))
        return known


def _number(said: Message) -> int:
    return said.request.number if isinstance(said, Asked) else said.reply.number


def _numbered(said: Message, number: int) -> Message:
    if isinstance(said, Asked):
        return said._replace(request=replace(said.request, number=number))
    assert isinstance(said, Answered)
    return said._replace(reply=replace(said.reply, number=number))
