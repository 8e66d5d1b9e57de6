"""Errors: attributes for programs, a next step for people, Kafka's codes for the wire."""

from __future__ import annotations

import errno
import inspect

import pytest

import kstore
from kstore import errors
from kstore.errors import KStoreError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, KStoreError)]
BRANCHES = (
    errors.UsageError,
    errors.RejectedError,
    errors.CorruptionError,
    errors.StorageError,
    errors.InvariantError,
)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_each_is_on_one_branch_of_the_tree(kind):
    assert kind is KStoreError or sum(issubclass(kind, branch) for branch in BRANCHES) == 1


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_each_can_be_caught_by_its_name_at_the_top(kind):
    assert getattr(kstore, kind.__name__, kind) is kind
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("OffsetOutOfRange", 1), ("CorruptionError", 2), ("UnknownTopicOrPartition", 3), ("NotLeader", 6),
        ("BatchTooLarge", 10), ("InvalidTopicName", 17), ("NotEnoughReplicas", 19), ("TopicExists", 36),
        ("InvalidConfig", 40), ("OutOfOrderSequence", 45), ("DuplicateSequence", 46), ("InvalidProducerEpoch", 47),
        ("InvalidTxnState", 48), ("TransactionCoordinatorFenced", 52), ("StorageError", 56), ("StaleEpoch", 74),
        ("UnknownEpoch", 75), ("MissingCodec", 76), ("InvalidBatch", 87),
    ],
)  # fmt: skip
def test_codes_are_those_of_kafkas_protocol(kind, code):
    assert getattr(errors, kind).error_code == code


def test_an_offset_out_of_range_tells_the_range():
    error = errors.OffsetOutOfRange(9, 2, 5, "/d/t-0")
    assert (error.offset, error.log_start_offset, error.end_offset) == (9, 2, 5)
    assert str(error) == "offset 9 is outside /d/t-0: it holds 2 up to 5 (exclusive)"


def test_corruption_tells_where_to_read_on():
    error = errors.CorruptionError("/d/0.log", 61, "bad", offset=3, next_offset=5)
    assert "read on from offset 5" in str(error)
    assert "offset" not in str(errors.CorruptionError("/d/f", 0, "bad"))


def test_a_final_storage_error_sends_to_the_disk_a_passing_one_to_repeat():
    final = errors.StorageError(errno.EIO, "/f", "write", "no")
    passing = errors.StorageError(errno.ENOSPC, "/f", "write", "no", final=False)
    assert (final.retriable, passing.retriable) == (False, True)
    assert "reopen it" in str(final)
    assert "may be repeated" in str(passing)


def test_a_locked_directory_names_its_holder_and_the_way_around():
    error = errors.StoreLocked("/d", "process 7")
    assert (error.path, error.holder, error.retriable) == ("/d", "process 7", True)
    assert "read_only=True" in str(error)


def test_what_a_peer_may_repeat_is_marked():
    assert {kind.__name__ for kind in ALL if kind.retriable} == {
        "NotEnoughReplicas", "NotEnoughReplicasAfterAppend", "NotLeader", "RequestTimedOut", "StaleEpoch",
        "StoreLocked", "UnknownEpoch",
    }  # fmt: skip


@pytest.mark.parametrize("action", ["read", "open"])
def test_a_read_that_fails_speaks_of_no_storing(action):
    said = str(errors.StorageError(13, "/d/f", action, "Permission denied", final=False))
    assert "stored" not in said
    assert "try again" in said
