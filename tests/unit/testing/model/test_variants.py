"""Each known-bad variant fails in its small scope, with a story; the shipped rules pass in the very same scope."""

from __future__ import annotations

import pytest

from kstore.replication import follower, leader
from kstore.testing.model.explorer import Explorer
from kstore.testing.model.story import story
from kstore.testing.model.variants import VARIANTS, planted

BY_NAME = [pytest.param(variant, id=variant.name) for variant in VARIANTS]

REQUIRED = {
    "truncate-to-high-watermark": 9,
    "no-epoch-fencing": 12,
    "single-step-truncation": 14,
    "join-before-the-term": 10,
    "elect-anybody": 3,
}
"""How many steps the shortest story has: it is the shortest, so it changes only with the rules or the scope."""


@pytest.mark.parametrize("variant", BY_NAME)
def test_a_known_bad_variant_is_noticed(variant):
    with planted(variant):
        explorer = Explorer(variant.scope, variant.unseen)
        result = explorer.run()
        assert result.problem.partition(":")[0] in variant.breaks
        assert len(result.actions) == result.depth
        told = story(explorer.world, result.actions, result.problem)
    assert told.rstrip().endswith(result.problem)
    assert f"{len(result.actions):2}. " in told
    if variant.name in REQUIRED:
        assert len(result.actions) <= REQUIRED[variant.name]


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_NAME)
def test_the_shipped_rules_pass_where_it_fails(variant):
    result = Explorer(variant.scope).run()
    assert (result.problem, result.exhausted) == ("", True)


def test_the_required_variants_are_there():
    assert set(REQUIRED) <= {variant.name for variant in VARIANTS}


def test_nothing_stays_broken():
    shipped = leader.check_epoch, follower.follow, follower._part
    for variant in VARIANTS:
        with pytest.raises(KeyError), planted(variant):
            raise KeyError
    assert shipped == (leader.check_epoch, follower.follow, follower._part)
