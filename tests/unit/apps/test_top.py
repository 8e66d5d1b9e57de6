"""What `kstore top` computes from two looks."""

from __future__ import annotations

import pytest

from kstore.apps.top import GroupLook, Look, group_rows, topic_rows

BEFORE = Look(
    10.0,
    1,
    starts={("a", 0): 5, ("a", 1): 0, ("b", 0): 0},
    ends={("a", 0): 105, ("a", 1): 50, ("b", 0): 7},
    groups={"g": GroupLook("Stable", 2, {("a", 0): 5, ("a", 1): 50})},
)
NOW = Look(
    12.0,
    1,
    starts={("a", 0): 5, ("a", 1): 0, ("b", 0): 0, ("c", 0): 0},
    ends={("a", 0): 205, ("a", 1): 50, ("b", 0): 7, ("c", 0): 90},
    groups={
        "g": GroupLook("Stable", 2, {("a", 0): 165, ("a", 1): 50}),
        "new": GroupLook("Empty", 0, {("b", 0): 3, ("gone", 0): 8}),
    },
)


def test_topics_by_their_rate() -> None:
    rows = topic_rows(NOW, BEFORE)
    assert [(row.topic, row.partitions, row.records, row.records_in) for row in rows] == [
        ("a", 2, 250, 255),
        ("b", 1, 7, 7),
        ("c", 1, 90, 90),
    ]
    assert [row.rate for row in rows] == [50.0, 0.0, 0.0]


def test_the_first_look_knows_no_rate() -> None:
    assert {row.rate for row in topic_rows(NOW, None)} == {None}
    assert {row.rate for row in group_rows(NOW, None)} == {None}


def test_a_partition_that_was_made_anew_does_not_count_backwards() -> None:
    anew = Look(14.0, 1, {("b", 0): 0}, {("b", 0): 2})
    (row,) = topic_rows(anew, NOW)
    assert row.rate == 0.0


def test_groups_by_their_lag_and_when_it_is_gone() -> None:
    first, second = group_rows(NOW, BEFORE)
    assert (first.group, first.state, first.members, first.partitions, first.lag) == ("g", "Stable", 2, 2, 40)
    assert first.rate == 80.0
    assert first.seconds_behind == pytest.approx(40 / (80.0 - 50.0))
    assert (second.group, second.lag, second.rate, second.seconds_behind) == ("new", 4, None, None)


def test_a_group_at_the_end_is_not_behind() -> None:
    look = Look(1.0, 1, {("a", 0): 0}, {("a", 0): 4}, {"g": GroupLook("Empty", 0, {("a", 0): 4})})
    (row,) = group_rows(look, None)
    assert (row.lag, row.seconds_behind) == (0, 0.0)


def test_a_group_that_loses_ground_never_catches_up() -> None:
    slow = {"g": GroupLook("Stable", 1, {("a", 0): 6, ("a", 1): 50})}
    (row,) = group_rows(Look(12.0, 1, NOW.starts, NOW.ends, slow), BEFORE)
    assert row.rate == 0.5
    assert row.seconds_behind is None
