"""The controller in a small world of brokers that crash, come late and lose their disks, and what its rules are for.

First the shipped controller: no walk may end in a `Violation` or an `InvariantError`. Then each of its rules is broken
on purpose, with the controller's own checks switched off, and the world must notice: so it has a place where each rule
is needed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.errors import InvariantError
from kstore.replication.codes import Code
from kstore.replication.controller import (
    alter,
    change,
    cluster,
    election,
    eligible,
    invariants,
    machine,
    reassignment,
    registration,
    replicas,
    topics,
)
from kstore.replication.controller import commands as cmd
from support.clusters import Clusters
from support.controller_world import OPS, Op, Violation, World, walk

STEPS = 400


@given(st.lists(st.tuples(st.sampled_from(sorted(OPS)), st.integers(0, 255), st.integers(0, 255)), max_size=60))
def test_no_short_program_breaks_a_promise(ops):
    World().run(ops)


def test_no_long_walk_breaks_a_promise(seed):
    rng = random.Random(seed)
    for _ in range(150):
        World().run(walk(rng, STEPS))


def test_a_healed_cluster_leads_again(seed):
    """Once all are back with what they had, a partition has a leader if anybody holds everything committed."""
    rng = random.Random(seed)
    for _ in range(60):
        world = World()
        world.run(walk(rng, STEPS))
        world.clusters.now_ms += 10_000
        heal = [("wait", 0, 0)]
        for index in range(4):
            heal += [("crash", index, 0), ("start", index, 1)]
        world.run([*heal, ("hear", 0, 192), ("beat", 0, 1)])
        known = world.published[-1][0]
        assert known.leader > 0 or not known.elr, known


def test_the_walks_go_somewhere():
    """What they are worth: records committed, leaders changed, some of them out of the ELR, some uncleanly."""
    rng = random.Random(1)
    committed = epochs = eligible_once = unclean = moves = 0
    for _ in range(50):
        world = World()
        world.run(walk(rng, STEPS))
        committed += world.committed
        epochs += world.published[-1][0].leader_epoch
        eligible_once += any(assignment.elr for assignment, _ in world.published)
        unclean += world.published[-1][0].unclean_epoch > 0
        moves += any(assignment.adding for assignment, _ in world.published)
    assert committed > 150, committed
    assert epochs > 150, epochs
    assert min(eligible_once, moves) > 10
    assert unclean > 0


# -- each rule broken on purpose ---------------------------------------------------------------------------------

Break = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, tuple[Break, list[Op]]] = {}


def mutant(program: str) -> Callable[[Break], Break]:
    """A broken rule, and the shortest program known to show it: `what:to whom:number`, as in `World.run`."""
    ops = [(name, int(first), int(second)) for name, first, second in (op.split(":") for op in program.split())]

    def keep(wrong: Break) -> Break:
        MUTANTS[wrong.__name__] = wrong, ops
        return wrong

    return keep


def without(source: Callable[..., Any], *codes: Code) -> Callable[..., Any]:
    """A refusal that does not refuse with `codes`."""

    def wrong(*args: Any) -> Code:
        code = source(*args)
        return Code.NONE if code in codes else code

    return wrong


@mutant("hear:0:192 commit:0:0 shut_down:1:0 wait:0:2 resign:0:0 wait:0:2 beat:0:0")
def lost_records_leave_one_eligible(patch):
    """KIP-966: an unclean start leaves the ELR."""
    right = eligible.eligible
    patch.setattr(eligible, "eligible", lambda before, isr, who, minimum, lost: right(before, isr, who, minimum, ()))


@mutant("move:2:0 hear:0:192 shut_down:2:0 commit:2:0 crash:2:0 start:2:0 hear:0:192 beat:0:1")
def unclean_starts_are_taken_for_clean(patch):
    right = registration.departures
    patch.setattr(registration, "departures", lambda known, broker_id, lost: right(known, broker_id, False))


@mutant(
    """
    crash:2:0 wait:2:1 wait:3:1 wait:1:1 wait:0:1 start:2:1 crash:2:0 start:2:1 register_late:2:0
    beat:2:0 start:2:1 hear:0:192 beat:2:0
    """
)
def every_life_is_asked_for_the_one_before(patch):
    """KIP-966 to the letter: a life that held nothing makes the next one a stranger."""
    right = registration._whole

    def wrong(known, previous_epoch, epoch):
        return right(known, previous_epoch, epoch) if known and previous_epoch == known.epoch else ()

    patch.setattr(registration, "_whole", wrong)


@mutant("hear:0:192 commit:0:0 crash:1:0 wait:1:2 wait:3:2 start:1:0 crash:1:0 start:1:1 hear:3:192 beat:3:1")
def a_life_after_one_that_lost_everything_is_whole(patch):
    """It has all that the one before had, which was nothing."""
    right = registration._whole

    def wrong(known, previous_epoch, epoch):
        return right(known and replace(known, whole=(*known.whole, known.epoch)), previous_epoch, epoch)

    patch.setattr(registration, "_whole", wrong)


@mutant("shut_down:0:0 hear:0:192 commit:1:0 wait:0:3 wait:0:1 beat:0:0")
def eligible_replicas_are_never_dropped(patch):
    """KIP-966: cleared once the ISR is large enough."""
    right = eligible.eligible
    patch.setattr(eligible, "eligible", lambda before, isr, who, minimum, lost: right(before, isr, who, 99, lost))


@mutant("wait:0:2 wait:0:2 set_rules:0:0 beat:0:1 hear:0:192 commit:1:0 resign:1:0")
def eligible_replicas_stay_when_one_is_elected_that_is_enough(patch):
    right = change.elect

    def wrong(before, field, *rest):
        elected = right(before, field, *rest)
        if not elected.unclean and elected.leader in field.elr:
            patch.setattr(eligible, "eligible", keep(field.elr))
        return elected

    def keep(elr):
        def once(before, isr, who, minimum, lost):
            patch.setattr(eligible, "eligible", right_eligible)
            return tuple(r for r in elr if r not in isr)

        return once

    right_eligible = eligible.eligible
    patch.setattr(change, "elect", wrong)


@mutant("wait:0:3 wait:0:1")
def nobody_is_eligible(patch):
    patch.setattr(eligible, "eligible", lambda *_: ())


@mutant("hear:0:192 shrink:0:1 commit:0:0 deliver:0:0 resign:0:0 shut_down:2:0")
def anybody_alive_is_elected(patch):
    """Election from outside the eligible set."""
    right = change.elect

    def wrong(before, field, acceptable, unclean, preferred):
        alive = tuple(r for r in field.replicas if acceptable(r))
        return right(before, field._replace(isr=field.isr or alive), acceptable, unclean, preferred)

    patch.setattr(change, "elect", wrong)


@mutant("shut_down:0:0 hear:0:192 set_rules:58:254 wait:0:3 commit:1:0 wait:0:1 beat:0:0")
def an_unclean_leader_is_taken_for_a_clean_one(patch):
    right = change.elect
    patch.setattr(change, "elect", lambda *args: right(*args)._replace(unclean=False))


@mutant("wait:0:2 wait:0:2 beat:0:0")
def unclean_elections_are_held_unasked(patch):
    right = election._elect_uncleanly
    asked = cluster.Unclean.ANY
    patch.setattr(election, "_elect_uncleanly", lambda before, field, ok, _: right(before, field, ok, asked))


@mutant("move:1:0")
def a_new_leader_without_a_new_epoch(patch):
    right = change.altered

    def wrong(before, *rest):
        after = right(before, *rest)
        return after and replace(after, leader_epoch=before.leader_epoch)

    patch.setattr(change, "altered", wrong)


@mutant("move:0:0")
def the_partition_epoch_stands_still(patch):
    right = change.altered

    def wrong(before, *rest):
        after = right(before, *rest)
        return after and replace(after, partition_epoch=before.partition_epoch)

    patch.setattr(change, "altered", wrong)


@mutant("hear:0:0 shrink:0:1 wait:0:1 wait:0:3 deliver:0:0")
def fenced_leaders_change_the_isr(patch):
    """KIP-497: FENCED_LEADER_EPOCH."""
    patch.setattr(alter, "refusal", without(alter.refusal, Code.FENCED_LEADER_EPOCH, Code.INVALID_REQUEST))


@mutant("hear:0:0 shut_down:2:0 shrink:0:1 deliver:0:0")
def late_proposals_are_taken(patch):
    """KIP-497: INVALID_UPDATE_VERSION."""
    patch.setattr(alter, "refusal", without(alter.refusal, Code.INVALID_UPDATE_VERSION))


@mutant(
    """
    hear:0:192 hear:0:0 hear:0:0 commit:0:0 shut_down:1:0 hear:0:0 start:1:0 hear:0:192 beat:0:1
    expand:0:1 deliver:0:0 resign:0:0
    """
)
def broker_epochs_of_newcomers_are_not_compared(patch):
    """KIP-903."""
    patch.setattr(alter, "_may_join", lambda known, _, member, __: known.is_active(member))


@mutant(
    """
    shut_down:0:0 hear:0:192 beat:0:0 fetch:0:0 expand:1:0 deliver:0:0 beat:0:0 deliver:0:1 deliver:0:0 commit:1:0
    elect:0:0
    """
)
def a_refused_proposal_is_never_void(patch):
    """Kafka's answer to an ISR that is there already: success, and the old partition epoch."""
    patch.setattr(alter, "confirmed", lambda *_: ())


@mutant("move:3:0 hear:0:192 fetch:3:0 expand:0:3 shut_down:3:0 deliver:0:0")
def inactive_newcomers_are_let_in(patch):
    """KIP-841."""
    patch.setattr(alter, "_may_join", lambda known, _, member, epoch: epoch == -1 or known.is_current(member, epoch))


@mutant("wait:0:3 wait:0:1")
def a_fenced_broker_stays_in_sync(patch):
    right = registration.fenced
    patch.setattr(registration, "fenced", lambda known, broker: right(known, broker)[-1:])


@mutant("wait:0:3 wait:0:1")
def a_new_life_stays_in_sync(patch):
    right = registration.departures

    def wrong(known, broker_id, lost):
        return () if broker_id in known.brokers else right(known, broker_id, lost)

    patch.setattr(registration, "departures", wrong)


@mutant("hear:0:192 commit:0:0 shut_down:1:0 wait:0:2 resign:0:0 wait:0:2 beat:0:0")
def a_leader_that_resigns_stays_eligible(patch):
    patch.setattr(alter, "Wish", lambda isr, lost=frozenset(), **other: change.Wish(isr=isr, **other))


@mutant("shut_down:0:0 move:0:0")
def a_move_is_over_before_the_new_replicas_are_in_sync(patch):
    def wrong(now, isr):
        stay = tuple(r for r in isr if r not in now.removing)
        return (replicas.Moving(now.target), stay or now.target) if now.is_moving else None

    patch.setattr(change, "completed", wrong)


@mutant("wait:0:1 move:3:0 wait:0:3 move:0:192")
def a_move_is_called_off_at_any_price(patch):
    """PartitionReassignmentRevert: the original replicas may lack what the new ones have committed."""

    def wrong(state, key):
        known = state.cluster.partitions[key]
        lists = replicas.moving(known)
        if not lists.is_moving:
            return state, cmd.Answer(Code.NO_REASSIGNMENT_IN_PROGRESS), ()
        isr = tuple(r for r in known.isr if r not in lists.adding) or lists.original[:1]
        changes = change.change(state.cluster, key, change.Wish(isr=isr, moving=replicas.Moving(lists.original)))
        return state.after(changes), cmd.Answer(), changes

    patch.setattr(reassignment, "_cancelled", wrong)


@mutant("wait:0:1 wait:0:3 beat:0:1 set_rules:0:0 hear:0:192 commit:1:0 resign:1:0")
def a_new_minimum_is_no_change_of_the_partition(patch):
    """A leader that does not know it yet changes the ISR by the old one."""
    right = topics.on_set_rules

    def wrong(state, command, now_ms):
        _, answer, changes = right(state, command, now_ms)
        kept = tuple(c for c in changes[:1])
        return state.after(kept), answer, kept

    patch.setitem(machine.HANDLERS, cmd.SetTopicRules, wrong)


@mutant(
    """
    set_rules:0:0 hear:0:192 shut_down:2:0 hear:0:192 shrink:0:1 set_rules:0:1 shut_down:1:0 deliver:0:0
    commit:0:0 shut_down:0:0 start:1:1 hear:0:192 beat:1:0
    """
)
def a_repeated_proposal_is_recognised_by_its_isr_alone(patch):
    """However old it is: the leader may be told of a state whose rules it does not know."""

    def wrong(command, known):
        members = tuple(sorted(member for member, _ in command.isr))
        return known is not None and members == known.isr and command.recovering == known.recovering

    patch.setattr(alter, "_is_repeat", wrong)


def without_checks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(invariants, "check", lambda *_: None)
    patch.setattr(invariants, "check_cluster", lambda *_: None)
    patch.setattr(Clusters, "checked", False)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_noticed(name, monkeypatch):
    wrong, program = MUTANTS[name]
    World().run(program)
    without_checks(monkeypatch)
    wrong(monkeypatch)
    with pytest.raises((Violation, InvariantError)):
        World().run(program)


RARE = {
    "a_refused_proposal_is_never_void",
    "a_repeated_proposal_is_recognised_by_its_isr_alone",
    "broker_epochs_of_newcomers_are_not_compared",
    "eligible_replicas_stay_when_one_is_elected_that_is_enough",
}
"""Broken rules that take thousands of walks to be noticed."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(MUTANTS) - RARE))
def test_a_broken_rule_is_noticed_by_chance(name, monkeypatch, seed):
    """Nobody needs to know where to look."""
    without_checks(monkeypatch)
    MUTANTS[name][0](monkeypatch)
    rng = random.Random(seed)
    for _ in range(4_000):
        try:
            World().run(walk(rng, STEPS))
        except (Violation, InvariantError):
            return
    pytest.fail(f"{name}: not noticed")
