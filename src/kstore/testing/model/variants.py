"""Known-bad variants: rules of Kafka's that were once wrong, broken again for the length of one exploration.

Owns what is broken and the small scope in which that shows. A variant replaces named functions of the shipped modules
while it is planted, and puts them back; no shipped code knows of it. Called by the command and by tests: each variant
must fail, and the shipped rules must pass in the very same scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from kstore.replication import follower, leader
from kstore.replication.codes import Code
from kstore.replication.controller import alter, change
from kstore.replication.controller import invariants as controller_invariants
from kstore.replication.controller.election import Elected
from kstore.replication.follower import Follower
from kstore.replication.leading import Leader
from kstore.replication.state import NO_LEADER
from kstore.testing.model.scope import Scope

Broken = tuple[Any, str, Any]
"""What to replace: a module or class, the name in it, and by what."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A rule, broken."""

    name: str
    anchor: str
    """Where it is known from."""
    what: str
    scope: Scope
    breaks: tuple[str, ...]
    """The invariants of which one must be seen broken."""
    plant: Callable[[], list[Broken]]
    unseen: tuple[str, ...] = ()
    """Invariants that are not looked at, so that the story goes on to the damage."""


@contextmanager
def planted(variant: Variant) -> Iterator[None]:
    """Break the rule, and mend it at the end."""
    before: list[Broken] = []
    try:
        for owner, name, broken in variant.plant():
            before.append((owner, name, vars(owner)[name]))
            setattr(owner, name, broken)
        yield
    finally:
        for owner, name, shipped in reversed(before):
            setattr(owner, name, shipped)


# -- followers ---------------------------------------------------------------------------------------------------


def _truncate_to_mark() -> list[Broken]:
    def follow(
        own: tuple[int, int], rules: Any, assignment: Any, local: Any, eligible: Any, number: int, now_ms: int
    ) -> Any:
        state = Follower(*own, rules, assignment, local, eligible, number=number, parted=True)
        state, cut = follower._cut(state, local.high_watermark)
        state, asked = follower._ask(state, now_ms)
        return state, cut + asked

    return [(follower, "follow", follow)]


def _single_step() -> list[Broken]:
    def part(state: Follower, epoch: int, end_offset: int, now_ms: int) -> Any:
        state, cut = follower._cut(state, min(end_offset, state.local.log_end_offset))
        state, asked = follower._ask(replace(state, parted=True), now_ms)
        return state, cut + asked

    return [(follower, "_part", part)]


def _promise_before_fsync() -> list[Broken]:
    return [
        (Follower, "is_synced", property(lambda state: True)),
        (Leader, "own_offset", property(lambda state: state.local.log_end_offset)),
    ]


# -- leaders -----------------------------------------------------------------------------------------------------


def _no_fencing() -> list[Broken]:
    return [(leader, "check_epoch", lambda leader_epoch, state_epoch: Code.NONE)]


def _join_without_term() -> list[Broken]:
    shipped = leader._expand

    def expand(state: Leader, p: Any, now_ms: int) -> Any:
        after, effects = shipped(replace(state, epoch_start_offset=0), p, now_ms)
        return replace(after, epoch_start_offset=state.epoch_start_offset), effects

    return [(leader, "_expand", expand)]


def _committed_isr() -> list[Broken]:
    return [(Leader, "maximal_isr", property(lambda state: frozenset(state.assignment.isr)))]


def _commit_below_minimum() -> list[Broken]:
    return [(Leader, "min_isr", property(lambda state: 1))]


def _believe_a_refusal() -> list[Broken]:
    def withdraw(state: Leader, proposal: Any, now_ms: int) -> Any:
        return leader.settle(replace(state, proposal=None), now_ms)

    return [(leader, "_withdraw", withdraw)]


# -- the controller ----------------------------------------------------------------------------------------------


def _elect_anybody() -> list[Broken]:
    shipped = change.altered

    def elect(before: Any, field: Any, acceptable: Any, unclean: Any, preferred: bool) -> Elected:
        alive = [replica for replica in field.replicas if acceptable(replica)]
        if before.leader in alive:
            return Elected(before.leader)
        return Elected(alive[0] if alive else NO_LEADER)

    def altered(*args: Any) -> Any:
        after = shipped(*args)
        if after is None or after.leader == NO_LEADER or after.leader in after.isr:
            return after
        return replace(after, isr=(after.leader,), elr=())

    return [
        (change, "elect", elect),
        (change, "altered", altered),
        (controller_invariants, "check", lambda before, after, changes: None),
    ]


def _any_life() -> list[Broken]:
    return [
        (alter, "_may_join", lambda cluster, known, member, epoch: cluster.is_active(member)),
        (leader, "_is_eligible", lambda state, p: p.follower in {broker for broker, _ in state.eligible}),
    ]


def _any_partition_epoch() -> list[Broken]:
    shipped = alter.refusal

    def refusal(cluster: Any, command: Any, known: Any) -> Code:
        if known is not None and command.partition_epoch < known.partition_epoch:
            command = replace(command, partition_epoch=known.partition_epoch)
        return shipped(cluster, command, known)

    return [(alter, "refusal", refusal)]


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "truncate-to-high-watermark",
        "KIP-101, KAFKA-1211",
        "a follower cuts its log to its own high watermark, which lags behind the leader's",
        Scope("", "", replicas=3, records=1, epochs=2, changes=1, fences=1, truncate_on_fetch=False),
        ("I1", "I3"),
        _truncate_to_mark,
    ),
    Variant(
        "no-epoch-fencing",
        "KIP-320, KAFKA-6880",
        "a leader serves requests of every epoch",
        Scope(
            "",
            "",
            replicas=2,
            absent=1,
            records=2,
            epochs=3,
            changes=3,
            crashes=1,
            min_isr=1,
            slow_fsync=True,
            power_loss=True,
            truncate_on_fetch=False,
        ),
        ("I1", "I3", "I5"),
        _no_fencing,
        ("I15",),
    ),
    Variant(
        "single-step-truncation",
        "KIP-279, KAFKA-6361",
        "a follower that does not know the leader's epoch cuts to its end, once, and takes that for the common point",
        Scope("", "", replicas=2, records=2, epochs=3, changes=3, fences=2, truncate_on_fetch=False),
        ("I5", "I3", "I1"),
        _single_step,
    ),
    Variant(
        "join-before-the-term",
        "KAFKA-7128",
        "a follower joins the ISR once it has reached the high watermark, though the leader's term begins later",
        Scope("", "", replicas=2, records=1, epochs=3, changes=4, crashes=1, wipes=1),
        ("I1", "I3"),
        _join_without_term,
    ),
    Variant(
        "elect-anybody",
        "KIP-966",
        "whoever is alive is elected, and nobody is told that records may be lost",
        Scope("", "", replicas=2, records=1, epochs=2, changes=2, fences=1, min_isr=1, absent=1),
        ("I1", "I3"),
        _elect_anybody,
    ),
    Variant(
        "committed-isr",
        "KIP-497, KAFKA-13835",
        "the high watermark waits only for the ISR that is known, not for who is proposed",
        Scope("", "", replicas=2, records=2, epochs=2, changes=2, lags=1, min_isr=1, absent=1),
        ("I1", "I3"),
        _committed_isr,
    ),
    Variant(
        "promise-before-fsync",
        "flush.messages of Kafka's defaults",
        "replicas count what is in the page cache, and the power fails",
        Scope("", "", replicas=2, records=1, epochs=2, changes=3, crashes=2, slow_fsync=True, power_loss=True),
        ("I1", "I3"),
        _promise_before_fsync,
        ("I21",),
    ),
    Variant(
        "any-broker-epoch",
        "KIP-903, KAFKA-15221",
        "a replica joins the ISR in another life than the leader has seen",
        Scope("", "", replicas=2, records=1, epochs=2, changes=3, crashes=1, wipes=1, min_isr=1, absent=1),
        ("I1", "I3"),
        _any_life,
    ),
    Variant(
        "any-partition-epoch",
        "KIP-497",
        "the controller takes a proposal on top of whatever there is",
        Scope("", "", replicas=2, records=1, epochs=2, changes=3, lags=1, retries=1, min_isr=1, absent=1),
        ("I1", "I3"),
        _any_partition_epoch,
    ),
    Variant(
        "believe-a-refusal",
        "AlterPartition, sent twice",
        "a leader takes a refused proposal for settled, though it had sent it twice",
        Scope("", "", replicas=2, records=1, epochs=1, changes=1, fences=1, retries=1, min_isr=1, absent=1),
        ("I1", "I3"),
        _believe_a_refusal,
    ),
    Variant(
        "ignore-minimum",
        "KIP-966, strict min ISR",
        "a leader commits with fewer in sync than the minimum, though others that lack the record may lead after it",
        Scope("", "", replicas=2, records=1, epochs=2, changes=2, fences=1),
        ("I1", "I3", "I5"),
        _commit_below_minimum,
    ),
)
