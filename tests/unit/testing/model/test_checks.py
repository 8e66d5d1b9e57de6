"""Each check of the model can fail: a machine is made wrong in one place, and the invariant that sees it is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kstore.lineage import EpochEntry
from kstore.replication import effects as do
from kstore.replication import follower, invariants, leader
from kstore.replication.codes import Code
from kstore.replication.controller import alter
from kstore.replication.controller import invariants as controller_invariants
from kstore.replication.state import Local
from kstore.testing.model.checks import _differ
from kstore.testing.model.explorer import Explorer
from kstore.testing.model.nodes import Node
from kstore.testing.model.scope import Scope
from kstore.testing.model.variants import VARIANTS, planted

SMALL = Scope("", "", replicas=2, records=2, epochs=2, changes=2, fences=1, min_isr=1)
BY_NAME = {variant.name: variant for variant in VARIANTS}


def problem(scope=SMALL):
    return Explorer(scope).run().problem


def unchecked(monkeypatch):
    """Without the checks that the machines make of themselves."""
    monkeypatch.setattr(invariants, "check", lambda before, after, effects: None)
    monkeypatch.setattr(controller_invariants, "check", lambda before, after, changes: None)


def test_the_small_scope_is_clean():
    assert problem() == ""


def test_i4_two_leaders_of_one_epoch():
    """The controller's own checks would stop such an epoch, so the pair is made by hand."""
    explorer = Explorer(SMALL)
    first = explorer.world.first()
    leads = explorer.world.nodes.nodes.values[first[0]]
    other = Node(replace(leads.state, id=2), leads.log)
    assert _differ(leads, other).startswith("I4")
    assert _differ(leads, explorer.world.nodes.nodes.values[first[1]]) == ""


def test_i6_records_over_a_gap(monkeypatch):
    unchecked(monkeypatch)
    shipped = follower._on_fetched

    def skipping(state, event, now_ms):
        batches = event.batches[1:]
        return shipped(state, replace(event, batches=batches), now_ms)

    handlers = follower.HANDLERS
    kind = next(k for k in handlers if k.__name__ == "Fetched")
    monkeypatch.setitem(handlers, kind, skipping)
    assert problem().startswith("I6")


def test_i7_a_mark_that_falls(monkeypatch):
    unchecked(monkeypatch)
    shipped = follower._move_marks

    def falling(state):
        state, effects = shipped(state)
        if state.local.high_watermark > 1:
            state = replace(state, local=replace(state.local, high_watermark=0))
        return state, effects

    monkeypatch.setattr(follower, "_move_marks", falling)
    assert problem().startswith("I7")


def test_i9_records_below_the_mark(monkeypatch):
    unchecked(monkeypatch)
    shipped = follower.follow

    def forgetful(own, rules, assignment, local, *rest):
        state, effects = shipped(own, rules, assignment, local, *rest)
        if local.high_watermark:
            gone = Local(0, 0, 0, 0)
            return replace(state, local=gone), (do.Truncate(0), *effects)
        return state, effects

    monkeypatch.setattr(follower, "follow", forgetful)
    assert problem(replace(SMALL, epochs=3, fences=2)).startswith(("I7", "I9", "I1", "I3"))


def test_i10_a_lineage_that_says_something_else(monkeypatch):
    unchecked(monkeypatch)
    shipped = follower._appended

    def wrong(local, batches):
        after = shipped(local, batches)
        return replace(after, lineage=(EpochEntry(7, 0),))

    monkeypatch.setattr(follower, "_appended", wrong)
    assert problem().startswith("I10")


def test_i11_records_of_a_later_epoch(monkeypatch):
    """KAFKA-18723: a leader whose log has moved on while it answers an old fetch."""
    unchecked(monkeypatch)
    monkeypatch.setattr(follower, "_in_order", lambda state, batches: True)
    explorer = Explorer(SMALL)
    world = explorer.world
    state = world.first()
    nodes = world.nodes
    (fetch,) = [m for m in world.network.channels.values[state[3]] if m >= 0]
    outcome = nodes.deliver(nodes.append(state[0]).node, fetch)
    ((_, answer),) = outcome.answers
    said = nodes.messages.values[answer]
    assert nodes.deliver(state[1], answer).problem == ""
    later = nodes.messages.number(said._replace(records=(3,)))
    assert nodes.deliver(state[1], later).problem.startswith("I11")


@pytest.mark.parametrize(
    ("name", "invariant"), [("no-epoch-fencing", "I15"), ("promise-before-fsync", "I21")]
)
def test_what_a_variant_passes_over_is_seen_otherwise(name, invariant):
    variant = BY_NAME[name]
    with planted(variant):
        assert problem(variant.scope).startswith(invariant)


def test_i15_a_command_of_a_fenced_leader(monkeypatch):
    unchecked(monkeypatch)

    def refusal(cluster, command, known):
        return Code.NONE

    monkeypatch.setattr(alter, "refusal", refusal)
    assert problem(replace(SMALL, epochs=3, absent=1, crashes=1)).startswith(("I15", "I1", "I3"))


def test_what_the_machines_see_themselves_is_told_too(monkeypatch):
    monkeypatch.setattr(leader, "_committed", lambda state, now_ms: state.local.log_end_offset)
    assert problem().startswith("I3: ISR member")
