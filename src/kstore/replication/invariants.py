"""The invariants of one replica, checked after every step in production too.

Owns what must hold of a state by itself and of a step from one state to the next; the numbers are those of
docs/REPLICATION.md. Invariants over several replicas are the simulator's and the model checker's. Called by
`machine.step`; a broken one means that kstore is wrong, and stops the partition before anything is done by it.
"""

from __future__ import annotations

from typing import NoReturn

from kstore.errors import InvariantError
from kstore.replication.effects import Effect, StartOver, Truncate
from kstore.replication.follower import Follower
from kstore.replication.leading import Leader

State = Leader | Follower


def check(before: State, after: State, effects: tuple[Effect, ...]) -> None:
    """Raise `InvariantError`, naming the invariant, where a step must not be taken."""
    local = after.local
    if not local.log_start_offset <= local.high_watermark <= local.log_end_offset:
        _broken("I7", "log start <= high watermark <= log end", after)
    if local.durable_offset > local.log_end_offset:
        _broken("I21", "nothing is durable above the log end", after)
    _check_lineage(after)
    was = before.local
    if local.high_watermark < was.high_watermark and not any(_loses(effect) for effect in effects):
        _broken("I7", f"the high watermark fell from {was.high_watermark}", after)
    if local.log_start_offset < was.log_start_offset and not any(isinstance(e, StartOver) for e in effects):
        _broken("I7", f"the log start fell from {was.log_start_offset}", after)
    for effect in effects:
        if isinstance(effect, Truncate) and effect.offset < was.high_watermark and not effect.unclean:
            _broken("I9", f"truncation to {effect.offset}, below the high watermark {was.high_watermark}", after)
    if isinstance(after, Leader):
        _check_leader(before, after)


def _loses(effect: Effect) -> bool:
    return isinstance(effect, StartOver) or (isinstance(effect, Truncate) and effect.unclean)


def _check_lineage(state: State) -> None:
    epoch, start = -1, -1
    for entry in state.local.lineage:
        if entry.epoch <= epoch or entry.start_offset <= start:
            _broken("I10", f"epochs and their starts rise: {state.local.lineage}", state)
        epoch, start = entry
    if start > state.local.log_end_offset:
        _broken("I10", f"epoch {epoch} starts at {start}, above the log end", state)
    if isinstance(state, Leader) and epoch != state.assignment.leader_epoch:
        _broken("I10", f"the newest epoch of a leader's log is its own, not {epoch}", state)


def _check_leader(before: State, after: Leader) -> None:
    assignment = after.assignment
    if after.id not in assignment.isr:
        _broken("I4", f"a leader is in its ISR {assignment.isr}", after)
    if isinstance(before, Leader) and before.assignment.leader_epoch == assignment.leader_epoch:
        if after.local.log_end_offset < before.local.log_end_offset:
            _broken("I6", f"a leader's log never shrinks (from {before.local.log_end_offset})", after)
        if after.local.high_watermark > before.local.high_watermark:
            _check_committed(after)


def _check_committed(state: Leader) -> None:
    mark = state.local.high_watermark
    members = state.maximal_isr
    for p in state.followers:
        if p.follower in members and p.log_end_offset < mark:
            _broken("I3", f"ISR member {p.follower} is at {p.log_end_offset}, below the new high watermark", state)


def _broken(invariant: str, what: str, state: State) -> NoReturn:
    local = state.local
    raise InvariantError(
        f"{invariant}: {what}; replica {state.id} in epoch {state.assignment.leader_epoch} holds "
        f"{local.log_start_offset} to {local.log_end_offset}, high watermark {local.high_watermark}"
    )
