"""Survivors of a compaction say what the whole log says."""

from kstore.groups.compaction import LogRecord, live_count, survivors

LOG = [
    LogRecord(0, b"a", b"1"),
    LogRecord(1, b"b", b"1"),
    LogRecord(3, b"a", b"2"),
    LogRecord(4, b"b", None),
    LogRecord(7, b"c", b"1"),
]


def test_the_last_of_every_key_in_order():
    assert [record.offset for record in survivors(LOG)] == [3, 7]
    assert live_count(LOG) == 2


def test_tombstones_may_be_needed_still():
    assert [record.offset for record in survivors(LOG, keep_tombstones_from=4)] == [3, 4, 7]
    assert [record.offset for record in survivors(LOG, keep_tombstones_from=5)] == [3, 7]


def test_twice_is_once():
    once = list(survivors(LOG, keep_tombstones_from=0))
    assert list(survivors(once, keep_tombstones_from=0)) == once


def test_a_key_that_came_back_survives():
    log = [LogRecord(0, b"a", b"1"), LogRecord(1, b"a", None), LogRecord(2, b"a", b"2")]
    assert [record.offset for record in survivors(log)] == [2]
