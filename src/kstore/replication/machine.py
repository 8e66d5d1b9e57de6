"""One replica of one partition: which role it has, and the step function of both.

Owns the changes between roles; what a role does is `leader`'s and `follower`'s. It must not know anything that they
must not. Called by `kstore.replica`, the simulator and the model checker, all alike.

Invariants
1. Metadata of an older term, or of an older partition epoch in the same term, changes nothing.
2. A state that `step` returns has passed `invariants.check`; one that does not pass raises and is never seen.
"""

from __future__ import annotations

from kstore.replication import follower, invariants, leader
from kstore.replication.effects import Effect
from kstore.replication.events import Assigned, Event
from kstore.replication.follower import Follower
from kstore.replication.leading import Leader
from kstore.replication.state import Assignment, Local, Rules

State = Leader | Follower


def start(broker_id: int, broker_epoch: int, rules: Rules, local: Local) -> Follower:
    """A replica as its broker finds it at start: no role, and a log that recovery has seen.

    `local.high_watermark` is what the checkpoint said, never more than the log end.
    """
    return follower.without_role((broker_id, broker_epoch), rules, local)


def step(state: State, event: Event, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
    """What happens to a replica at an event: its next state, and what has to be done, in order.

    An event that does not concern the role, or that comes too late, leaves the state as it is and asks for nothing.
    Raises `InvariantError` where going on would break a promise; the state before stays the last one.
    """
    after, effects = _step(state, event, now_ms)
    if after is not state:
        invariants.check(state, after, effects)
    return after, effects


def _step(state: State, event: Event, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
    if isinstance(event, Assigned):
        return _assigned(state, event.assignment, now_ms)
    if isinstance(state, Leader):
        handle = leader.HANDLERS.get(type(event))
        return (state, ()) if handle is None else handle(state, event, now_ms)
    react = follower.HANDLERS.get(type(event))
    return (state, ()) if react is None else react(state, event, now_ms)


def _assigned(state: State, assignment: Assignment, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
    known = state.assignment
    if (assignment.leader_epoch, assignment.partition_epoch) <= (known.leader_epoch, known.partition_epoch):
        return state, ()
    if assignment.leader_epoch == known.leader_epoch:
        if isinstance(state, Leader):
            return leader.reassigned(state, assignment, now_ms)
        return follower.reassigned(state, assignment, now_ms)
    owed = leader.resigned(state) if isinstance(state, Leader) else ()
    own = (state.id, state.broker_epoch)
    rest = (state.rules, assignment, state.local, state.eligible, state.number, now_ms)
    after: State
    if assignment.leader == state.id:
        after, effects = leader.lead(own, *rest)
    else:
        after, effects = follower.follow(own, *rest)
    return after, (*owed, *effects)
