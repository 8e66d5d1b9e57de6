"""The whole cluster in the model: replicas, controller, and everything that may happen next.

Owns the global state, a tuple of numbers, and its successors. It must not know what must hold (`checks`) or which state
comes first (`explorer`). A successor is found by looking up local steps that were computed before; only a step that was
never seen runs a machine.

Invariants
1. The same state has the same successors in the same order, whatever was explored before.
2. A message under way may be delivered at any time, or never: loss is a message that nobody waits for any more.
3. A crash and the start after it are one step: in between a process does nothing, as one that is not scheduled.
"""

from __future__ import annotations

from typing import NamedTuple

from kstore.replication.state import Sync
from kstore.testing.model.network import Network
from kstore.testing.model.nodes import Called, Nodes, Outcome
from kstore.testing.model.ruling import REFUSED, Controllers, Ruling
from kstore.testing.model.scope import Scope
from kstore.testing.model.table import Numbered

State = tuple[int, ...]
"""Replicas, channels, then the controller, what is published, calls under way, acknowledged records, what is left."""

Action = tuple[str, int, int, int]
"""One thing that happens: its kind, the replica (by index), and two numbers that settle the rest."""

Records = tuple[tuple[int, int], ...]
"""(offset, epoch) pairs."""

Next = tuple[Action, State, str, Records]
"""What happens, the state then, a broken invariant (or nothing), and the records that are acknowledged by it."""


class Published(NamedTuple):
    """The controller's versions that somebody has not heard yet, and at least the newest."""

    versions: tuple[int, ...]
    behind: tuple[int, ...]
    """How many of them each replica has still to hear."""


class Left(NamedTuple):
    """How often things may still happen."""

    records: int
    crashes: int
    fences: int
    moves: int
    lags: int
    retries: int
    wipes: int


class Own(NamedTuple):
    """A step that a replica may take by itself."""

    kind: str
    what: int
    outcome: Outcome
    spends: str
    """What it takes from `Left`, empty for nothing."""


class World:
    """A cluster within a scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.size = size = scope.replicas
        self.nodes = Nodes(scope)
        self.controllers = Controllers(scope, self.nodes)
        self.network = Network(scope, self.nodes)
        self.published: Numbered[Published] = Numbered()
        self.calls: Numbered[tuple[int, ...]] = Numbered()
        self.acked: Numbered[tuple[tuple[int, int, int], ...]] = Numbered()
        self.left: Numbered[Left] = Numbered()
        self.at_controller = 2 * size
        self.at_published = 2 * size + 1
        self.at_calls = 2 * size + 2
        self.at_acked = 2 * size + 3
        self.at_left = 2 * size + 4
        self._outcomes: dict[tuple[str, int, int], Outcome] = {}
        self._owned: dict[int, tuple[Own, ...]] = {}
        self._spent: dict[tuple[int, str], int] = {}
        self._said: dict[tuple[int, int], int] = {}
        self._moved: dict[tuple[int, int, int], int] = {}

    # -- the first state -------------------------------------------------------------------------------------

    def first(self) -> State:
        """All replicas alive and empty, and all have heard who leads."""
        self.calls.number(())
        self.acked.number(())
        size, scope = self.size, self.scope
        controller = self.controllers.founded()
        version = self.controllers.version(controller)
        published = self.published.number(Published((version,), (0,) * size))
        left = Left(
            scope.records, scope.crashes, scope.fences, scope.moves, scope.lags, scope.retries, scope.wipes
        )
        brokers = self.controllers.states.values[controller].cluster.brokers
        nodes = [self.nodes.started(i + 1, brokers[i + 1].epoch, (), 0, ()) for i in range(size)]
        after = [*nodes, *([0] * size), controller, published, 0, 0, self.left.number(left)]
        for i in range(size):
            self._become(after, i, self._step("hear", nodes[i], version))
        return tuple(after)

    # -- what may happen -------------------------------------------------------------------------------------

    def successors(self, state: State) -> list[Next]:
        """Everything that may happen next."""
        found: list[Next] = []
        behind = self.published.values[state[self.at_published]].behind
        for i in range(self.size):
            self._alone(found, state, i)
            if state[self.size + i]:
                self._delivered(found, state, i)
            if behind[i]:
                self._heard(found, state, i, behind[i])
        if state[self.at_calls]:
            self._called(found, state)
        self._brokers(found, state)
        return found

    def _alone(self, found: list[Next], state: State, i: int) -> None:
        node = state[i]
        owned = self._owned.get(node)
        if owned is None:
            owned = self._owned[node] = self._own(node)
        for kind, what, outcome, spends in owned:
            left = state[self.at_left]
            if spends:
                left = self._spend(left, spends)
                if left < 0:
                    continue
            after = list(state)
            after[self.at_left] = left
            found.append(self._next((kind, i, what, 0), after, i, outcome))

    def _own(self, node: int) -> tuple[Own, ...]:
        able = self.nodes.able(node)
        owned = []
        if able.append:
            owned.append(Own("append", 0, self._step("append", node), "records"))
        if able.sync:
            owned.append(Own("sync", 0, self._step("sync", node), ""))
        if able.wakes:
            owned.append(Own("wake", 0, self._step("wake", node), ""))
        for follower in able.lagging:
            owned.append(Own("lag", follower - 1, self._step("lag", node, follower), "lags"))
        if able.retry:
            owned.append(Own("retry", 0, self._step("wake", node), "retries"))
        return tuple(owned)

    def _delivered(self, found: list[Next], state: State, i: int) -> None:
        """What is under way between follower `i` and leaders arrives."""
        at = self.size + i
        for message, to, rest in self.network.under_way(state[at]):
            if to < 0:
                after = list(state)
                after[at] = rest
                outcome = self._step("deliver", state[i], message)
                found.append(self._next(("hear", i, message, 0), after, i, outcome))
                continue
            outcome = self._step("deliver", state[to], message)
            after = list(state)
            after[at] = rest
            if self.scope.swift:
                self._exchanged(found, after, i, (to, message), outcome)
                continue
            found.append(self._next(("ask", to, message, i), after, to, outcome))
            if self.scope.repeats:
                found.append(self._next(("ask twice", to, message, i), list(state), to, outcome))

    def _exchanged(self, found: list[Next], after: list[int], i: int, asked: tuple[int, int], outcome: Outcome) -> None:
        """A request has arrived, and its answer with it, or its answer is lost."""
        to, message = asked
        at = self.size + i
        self._become(after, to, outcome)
        after[at] = 0
        found.append((("unanswered", to, message, i), tuple(after), outcome.problem, outcome.acked))
        for follower, answer in outcome.answers:
            heard = self._step("deliver", after[follower - 1], answer)
            self._become(after, i, heard)
            problem = outcome.problem or heard.problem
            found.append((("fetch", to, message, i), tuple(after), problem, outcome.acked))

    def _heard(self, found: list[Next], state: State, i: int, behind: int) -> None:
        versions = self.published.values[state[self.at_published]].versions
        for skip in (1, behind) if behind > 1 else (1,):
            version = versions[len(versions) - behind + skip - 1]
            after = list(state)
            after[self.at_published] = self._move(state[self.at_published], i, behind - skip)
            outcome = self._step("hear", state[i], version)
            found.append(self._next(("learn", i, version, 0), after, i, outcome))

    def _called(self, found: list[Next], state: State) -> None:
        """What is under way between leaders and the controller arrives."""
        calls = self.calls.values[state[self.at_calls]]
        for position, call in enumerate(calls):
            if position and calls[position - 1] == call:
                continue
            said = self.nodes.calls.values[call]
            after = list(state)
            after[self.at_calls] = self.calls.number((*calls[:position], *calls[position + 1 :]))
            if isinstance(said, Called):
                ruling = self.controllers.called(state[self.at_controller], call)
                if ruling is not REFUSED:
                    problem, acked = self._rule(after, ruling)
                    found.append((("call", said.by - 1, call, 0), tuple(after), problem, acked))
            else:
                to = said.to - 1
                outcome = self._step("answer", state[to], call)
                found.append(self._next(("answer", to, call, 0), after, to, outcome))

    def _brokers(self, found: list[Next], state: State) -> None:
        """Brokers come and go."""
        controller, left = state[self.at_controller], state[self.at_left]
        standing = self.controllers.standing(controller)
        rulings: list[tuple[str, int, Ruling, str]] = []
        for i in range(self.size):
            if standing.fenced[i]:
                if self.nodes.able(state[i]).has_heard:
                    rulings.append(("unfence", i, self.controllers.unfenced(controller, i + 1), ""))
            else:
                rulings.append(("fence", i, self.controllers.fenced(controller, i + 1), "fences"))
            if self.scope.crashes and self._spend(left, "crashes") >= 0:
                self._crashed(found, state, i)
        if self.scope.moves:
            rulings.append(("prefer", 0, self.controllers.preferred(controller), "moves"))
        for kind, i, ruling, spends in rulings:
            spent = self._spend(left, spends) if spends else left
            if spent < 0 or ruling is REFUSED or ruling.version < 0:
                continue
            after = list(state)
            after[self.at_left] = spent
            problem, acked = self._rule(after, ruling)
            found.append(((kind, i, 0, 0), tuple(after), problem, acked))

    def _crashed(self, found: list[Next], state: State, i: int) -> None:
        log = self.nodes.nodes.values[state[i]].log
        for end, mark in self.nodes.crashes(state[i]):
            whole = end == len(log) or self.scope.sync is not Sync.NONE
            self._restarted(found, state, i, whole, ("crash", i, end, mark))
        if self.scope.wipes and self._spend(state[self.at_left], "wipes") >= 0:
            self._restarted(found, state, i, False, ("wipe", i, 0, 0))

    def _restarted(self, found: list[Next], state: State, i: int, whole: bool, action: Action) -> None:
        ruling = self.controllers.registered(state[self.at_controller], i + 1, whole)
        if ruling is REFUSED:
            return
        before = self.nodes.nodes.values[state[i]]
        kind, _, end, mark = action
        after = list(state)
        after[self.at_left] = self._spend(after[self.at_left], "crashes")
        epochs = before.state.local.lineage
        if kind == "wipe":
            after[self.at_left] = self._spend(after[self.at_left], "wipes")
            after[self.at_acked] = self._survived(after[self.at_acked], i)
            epochs = ()
        after[i] = self.nodes.started(i + 1, ruling.broker_epoch, before.log[:end], mark, epochs)
        problem, acked = self._rule(after, ruling, i)
        after[self.at_published] = self._move(after[self.at_published], i, 1)
        self.network.asked(after, i, -1)
        found.append((action, tuple(after), problem, acked))

    # -- parts of a step -------------------------------------------------------------------------------------

    def _step(self, kind: str, node: int, what: int = -1) -> Outcome:
        key = kind, node, what
        known = self._outcomes.get(key)
        if known is None:
            step = getattr(self.nodes, kind)
            known = self._outcomes[key] = step(node) if what < 0 else step(node, what)
        return known

    def _next(self, action: Action, after: list[int], i: int, outcome: Outcome) -> Next:
        self._become(after, i, outcome)
        return action, tuple(after), outcome.problem, outcome.acked

    def _become(self, after: list[int], i: int, outcome: Outcome) -> None:
        """A step of replica `i` is done."""
        after[i] = outcome.node
        for follower, message in outcome.answers:
            at = self.size + follower - 1
            after[at] = self.network.sent(after[at], message)
        for call in outcome.calls:
            after[self.at_calls] = self._say(after[self.at_calls], call)
        if outcome.acked:
            after[self.at_acked] = self._answer_for(after, outcome.acked)
        if outcome.request >= 0:
            self.network.asked(after, i, outcome.request)
        elif not self.scope.stale and after[self.size + i] and not self.nodes.able(outcome.node).waits:
            after[self.size + i] = 0

    def _rule(self, after: list[int], ruling: Ruling, starting: int = -1) -> tuple[str, Records]:
        """A step of the controller is done, and who hears of it at once has heard, but for one that starts."""
        after[self.at_controller] = ruling.controller
        if ruling.answer >= 0:
            after[self.at_calls] = self._say(after[self.at_calls], ruling.answer)
        if ruling.version >= 0:
            versions, behind = self.published.values[after[self.at_published]]
            now = tuple(b + 1 for b in behind)
            kept = (*versions, ruling.version)[-max(now) :]
            after[self.at_published] = self.published.number(Published(kept, now))
            return self._heard_at_once(after, ruling, starting)
        return ruling.problem, ()

    def _heard_at_once(self, after: list[int], ruling: Ruling, starting: int) -> tuple[str, Records]:
        problem = ruling.problem
        acked: Records = ()
        for i in range(self.size - self.scope.prompt, self.size):
            if i != starting and self.published.values[after[self.at_published]].behind[i] == 1:
                outcome = self._step("hear", after[i], ruling.version)
                self._become(after, i, outcome)
                after[self.at_published] = self._move(after[self.at_published], i, 0)
                problem = problem or outcome.problem
                acked += outcome.acked
        return problem, acked

    def _move(self, published: int, i: int, behind: int) -> int:
        """Replica `i` has `behind` versions still to hear."""
        key = published, i, behind
        known = self._moved.get(key)
        if known is None:
            versions, before = self.published.values[published]
            now = (*before[:i], behind, *before[i + 1 :])
            known = self._moved[key] = self.published.number(Published(versions[-max(1, *now) :], now))
        return known

    def _spend(self, left: int, what: str) -> int:
        """What is left then, -1 where nothing is."""
        key = left, what
        known = self._spent.get(key)
        if known is None:
            count = getattr(self.left.values[left], what)
            less = self.left.values[left]._replace(**{what: count - 1})
            known = self._spent[key] = self.left.number(less) if count else -1
        return known

    def _say(self, calls: int, call: int) -> int:
        """A message between a leader and the controller is under way; beyond the scope's limit it replaces another."""
        key = calls, call
        known = self._said.get(key)
        if known is None:
            under_way = list(self.calls.values[calls])
            if len(under_way) >= self.scope.calls:
                under_way.remove(min(under_way))
            known = self._said[key] = self.calls.number(tuple(sorted([*under_way, call])))
        return known

    # -- acknowledged records --------------------------------------------------------------------------------

    def _answer_for(self, after: list[int], records: Records) -> int:
        """Who was in the ISR or the ELR at an acknowledgement answers for its records."""
        members = 0
        if self.scope.wipes:
            standing = self.controllers.standing(after[self.at_controller])
            for j in (*standing.isr, *standing.elr):
                members |= 1 << j
        known = self.acked.values[after[self.at_acked]]
        return self.acked.number(tuple(sorted({*known, *((o, e, members) for o, e in records)})))

    def _survived(self, acked: int, i: int) -> int:
        """Replica `i` has lost its disk: records that only it answered for may be lost."""
        kept = ((o, e, members & ~(1 << i)) for o, e, members in self.acked.values[acked])
        return self.acked.number(tuple(record for record in kept if record[2]))
