"""The explorer: small scopes to the end, the same every time, and nothing broken in them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kstore.testing.model import scopes
from kstore.testing.model.__main__ import main
from kstore.testing.model.explorer import Explorer
from kstore.testing.model.scope import Scope

TINY = Scope("tiny", "", replicas=2, records=1, epochs=2, changes=2, fences=1, min_isr=1)


def test_a_tiny_scope_is_exhausted():
    result = Explorer(TINY).run()
    assert (result.problem, result.exhausted) == ("", True)
    assert sum(result.widths) == result.states
    assert len(result.widths) == result.depth + 1


def test_every_record_can_be_acknowledged_and_every_epoch_reached():
    """A model in which nothing happens breaks nothing either."""
    explorer = Explorer(TINY)
    explorer.run()
    world = explorer.world
    acked = {record[:2] for records in world.acked.values for record in records}
    assert acked == {(0, 0), (0, 1)}
    leaders = {world.controllers.standing(number).leader for number in range(len(world.controllers.states))}
    assert leaders == {-1, 0, 1}


def test_a_limit_is_kept():
    result = Explorer(TINY).run(states_max=100)
    assert not result.exhausted
    assert 100 <= result.states < 200


def test_the_same_scope_is_explored_alike_under_any_hash_seed():
    program = (
        "from kstore.testing.model.explorer import Explorer\n"
        "from kstore.testing.model.scope import Scope\n"
        "r = Explorer(Scope('', '', replicas=2, records=1, epochs=2, changes=2, fences=1, min_isr=1)).run()\n"
        "print(r.states, r.transitions, r.widths)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(said) == 1


def test_the_command_tells_a_story(capsys):
    assert main(["--variants", "elect-anybody", "--story"]) == 0
    said = capsys.readouterr().out
    assert "I3 in 3 steps" in said
    assert " 1. " in said
    assert "in sync, and lacks what leader 1 holds" in said


def test_the_command_explores_and_lists(capsys):
    assert main(["two-replicas", "--states", "500"]) == 0
    assert "every state to depth" in capsys.readouterr().out
    assert main(["--list"]) == 0
    assert "single-step-truncation" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("scope", [pytest.param(scope, id=scope.name) for scope in scopes.QUICK])
def test_the_shipped_rules_pass_in_the_quick_scopes(scope):
    result = Explorer(scope).run()
    assert (result.problem, result.exhausted) == ("", True)
