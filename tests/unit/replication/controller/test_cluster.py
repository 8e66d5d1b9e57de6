"""The cluster as a value: tables, changes, and what a replay or a broken step raises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kstore.errors import InvariantError
from kstore.replication.controller import invariants
from kstore.replication.controller.cluster import (
    Broker,
    BrokerChanged,
    BrokerRegistered,
    Cluster,
    PartitionChanged,
    TopicChanged,
    TopicDeleted,
    TopicRules,
    apply,
)
from kstore.replication.controller.table import Table
from kstore.replication.state import Assignment

BROKERS = tuple(BrokerRegistered(Broker(i, 10 + i, "x", fenced=False)) for i in (1, 2, 3))
PARTITION = Assignment(1, 4, 9, (1, 2, 3), (1, 2))
CLUSTER = apply(Cluster(), (*BROKERS, TopicChanged("t", TopicRules(2)), PartitionChanged("t", 0, PARTITION)))


# -- tables ------------------------------------------------------------------------------------------------------


def test_a_table_is_walked_in_the_order_of_its_keys():
    table = Table({3: "c", 1: "a"}).put({2: "b"})
    assert list(table.items()) == [(1, "a"), (2, "b"), (3, "c")]
    assert list(table.put({2: None}).put({2: "B"})) == [1, 2, 3]


def test_equal_tables_are_equal_however_they_came_about():
    first = Table({1: "a", 2: "b"})
    second = Table({2: "x"}).put({1: "a"}).put({2: "b", 7: None})
    assert first == second
    assert hash(first) == hash(second)
    assert first != first.put({1: "z"})
    assert first != {1: "a", 2: "b"}


def test_a_table_never_changes():
    table = Table({1: "a"})
    assert table.put({}) is table
    table.put({1: "b", 2: "c"})
    assert dict(table) == {1: "a"}
    assert repr(table) == "Table({1: 'a'})"
    assert (len(table), 1 in table, 2 in table, table.get(2), table[1]) == (1, True, False, None, "a")


# -- replaying ---------------------------------------------------------------------------------------------------


def test_changes_are_applied_in_order():
    made = apply(CLUSTER, (TopicDeleted("t"), TopicChanged("t", TopicRules()), PartitionChanged("t", 1, PARTITION)))
    assert list(made.partitions) == [("t", 1)]
    assert made.topics["t"] == TopicRules()
    assert made.next_broker_epoch == 14


@pytest.mark.parametrize(
    "change",
    [
        PartitionChanged("other", 0, PARTITION),
        BrokerChanged(9, 0, fenced=True, shutting_down=False),
        BrokerChanged(1, 10, fenced=True, shutting_down=False),
    ],
)
def test_a_change_of_what_is_not_there_is_noticed(change):
    with pytest.raises(InvariantError, match="an earlier change is lost"):
        apply(CLUSTER, (change,))


# -- invariants: each one broken on purpose ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "broken"),
    [
        ("C1", {"isr": (2, 1)}),
        ("C1", {"isr": (1, 4)}),
        ("C1", {"isr": (1,), "elr": (1,)}),
        ("C1", {"adding": (4,)}),
        ("C1", {"removing": (3, 2)}),
        ("C1", {"replicas": (1, 2, 3, 3)}),
        ("C2", {"isr": (2,)}),
        ("C2", {"leader": -1, "leader_epoch": 5}),
        ("C2", {"isr": ()}),
        ("C4", {"elr": (3,)}),
        ("C5", {"partition_epoch": 9}),
        ("C5", {"partition_epoch": 11}),
        ("C6", {"leader_epoch": 5}),
        ("C6", {"leader": 2}),
        ("C6", {"replicas": (1, 2)}),
        ("C7", {"leader": 3, "leader_epoch": 5, "isr": (3,)}),
        ("C7", {"unclean_epoch": 5, "leader_epoch": 5}),
        ("C7", {"unclean_epoch": 5, "leader_epoch": 5, "recovering": True}),
    ],
)
def test_a_step_that_must_not_be_taken(number, broken):
    step = PartitionChanged("t", 0, replace(PARTITION, **{"partition_epoch": 10, **broken}))
    with pytest.raises(InvariantError, match=number):
        invariants.check(CLUSTER, apply(CLUSTER, (step,)), (step,))


def test_a_step_that_may_be_taken():
    step = PartitionChanged("t", 0, replace(PARTITION, partition_epoch=10, isr=(1,), elr=(2,)))
    invariants.check(CLUSTER, apply(CLUSTER, (step,)), (step,))


def test_a_partition_that_is_gone_in_the_end_need_not_be_right():
    steps = (PartitionChanged("t", 0, replace(PARTITION, partition_epoch=10)), TopicDeleted("t"))
    invariants.check(CLUSTER, apply(CLUSTER, steps), steps)


@pytest.mark.parametrize("away", [{"fenced": True, "shutting_down": False}, {"fenced": False, "shutting_down": True}])
def test_a_broker_that_goes_must_have_left_its_isrs(away):
    step = BrokerChanged(2, 12, **away)
    with pytest.raises(InvariantError, match="C3"):
        invariants.check(CLUSTER, apply(CLUSTER, (step,)), (step,))


def test_broker_epochs_do_not_fall():
    with pytest.raises(InvariantError, match="C5"):
        invariants.check(CLUSTER, replace(CLUSTER, next_broker_epoch=13), ())
