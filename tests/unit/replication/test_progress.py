"""What a leader knows of one follower: Replica and ReplicaState of Apache Kafka."""

from __future__ import annotations

import pytest

from kstore.replication import events as ev
from kstore.replication.progress import LONG_AGO_MS, Progress

LAG_MS = 30_000


def request(offset, number=1, broker_epoch=12):
    return ev.FetchRequest(2, broker_epoch, number, 5, offset, -1, 0)


def test_a_fetch_says_where_the_log_of_a_follower_ends():
    p = Progress(2).fetched(request(7), 10, 1_000)
    assert (p.log_end_offset, p.log_start_offset, p.broker_epoch, p.number) == (7, 0, 12, 1)


def test_who_fetches_at_the_end_is_caught_up_now():
    assert Progress(2).fetched(request(10), 10, 1_000).caught_up_ms == 1_000


def test_who_reaches_a_former_end_was_caught_up_when_that_was_the_end():
    """So a follower that is always one fetch behind a busy leader stays in sync (KAFKA-2143)."""
    p = Progress(2).fetched(request(0), 10, 1_000)
    assert p.caught_up_ms == LONG_AGO_MS
    p = p.fetched(request(10, 2), 20, 1_400)
    assert p.caught_up_ms == 1_000
    p = p.fetched(request(20, 3), 30, 1_900)
    assert p.caught_up_ms == 1_400


def test_who_falls_short_of_the_former_end_is_no_nearer():
    p = Progress(2).fetched(request(0), 10, 1_000).fetched(request(9, 2), 20, 1_400)
    assert p.caught_up_ms == LONG_AGO_MS


def test_having_been_caught_up_is_not_taken_back():
    p = Progress(2).fetched(request(10), 10, 5_000).fetched(request(4, 2), 10, 6_000)
    assert p.log_end_offset == 4, "it has truncated"
    assert p.caught_up_ms == 5_000


@pytest.mark.parametrize(
    ("number", "broker_epoch", "newer"),
    [(5, 12, False), (4, 12, False), (6, 12, True), (0, 13, True), (9, 11, False)],
    ids=["repeated", "late", "next", "first of the next life", "of an earlier life"],
)
def test_only_a_newer_request_says_something_new(number, broker_epoch, newer):
    p = Progress(2).fetched(request(3, 5), 10, 1_000)
    assert p.is_newer(request(3, number, broker_epoch)) is newer


def test_who_holds_everything_is_caught_up_whatever_the_clock_says():
    p = Progress(2).fetched(request(10), 10, 1_000)
    assert p.is_caught_up(10, 10**9, LAG_MS)


def test_the_lag_limit_is_inclusive():
    p = Progress(2).fetched(request(10), 10, 1_000)
    assert p.is_caught_up(11, 1_000 + LAG_MS, LAG_MS)
    assert not p.is_caught_up(11, 1_001 + LAG_MS, LAG_MS)


def test_who_was_never_seen_is_not_caught_up_at_any_time():
    assert not Progress(2).is_caught_up(10, -(10**15), LAG_MS)
