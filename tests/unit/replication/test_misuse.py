"""What docs/replication/misuse.md says, where no other file tests it already; and that each of its rows has a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from kstore.errors import InvariantError
from kstore.replication import events as ev
from kstore.replication.codes import Code
from support.replicas import assignment
from support.roles import Following, Leading, local

HERE = Path(__file__).parent
TABLE = HERE.parents[2] / "docs" / "replication" / "misuse.md"


def test_every_row_names_a_test_that_there_is():
    there = {
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and "outcome" not in line]
    assert len(rows) > 30
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, f"no test: {row}"
        assert set(named) <= there, row


def test_events_of_the_other_role_are_ignored():
    one = Following(log=local(4))
    assert one.ignores(ev.Appended(1, 4, 5, -1, 9_000))
    assert one.ignores(ev.ProposalAnswered(Code.NONE, 5, 0, assignment(epoch=5, partition_epoch=1)))
    one = Leading(log=local(4))
    assert one.ignores(ev.Fetched(ev.FetchReply(2, 0, Code.NONE, 9, 0)))
    assert one.ignores(ev.EpochEndAnswered(ev.EpochEndReply(2, 0, Code.NONE, 1, 1)))
    assert one.ignores(ev.OffsetsAnswered(ev.OffsetsReply(2, 0, Code.NONE, 9, 9)))


@pytest.mark.parametrize("role", [Leading, Following])
def test_a_start_above_the_mark_stops_the_partition(role):
    """It tells of what has happened: bytes that were not committed are gone (S30)."""
    one = role(log=local(4, mark=2))
    before = one.state
    with pytest.raises(InvariantError, match="I7"):
        one.tell(ev.LogStartRaised(3))
    assert one.state == before


def test_a_fetch_of_an_earlier_life_is_refused():
    one = Leading(log=local(4))
    one.fetch(2, 4)
    before = one.state
    assert one.fetch(2, 0, broker_epoch=11).code is Code.NOT_LEADER_OR_FOLLOWER
    assert one.state == before


def test_an_append_that_is_told_twice_counts_once():
    one = Leading()
    one.append(2, acks=0)
    before = one.local
    assert one.ignores(ev.Appended(9, 0, 2, 0, 9_000))
    assert one.local == before


def test_a_clock_that_goes_back_changes_no_promise():
    one = Leading()
    token = one.append(2)
    one.fetch(2, 2)
    assert one.tell(ev.Ticked(), after_ms=-900_000) == ()
    one.fetch(3, 2)
    assert one.acknowledged == [(token, Code.NONE)]
    assert one.tell(ev.Ticked()) == ()
