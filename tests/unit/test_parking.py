"""The fetches that wait: until there are records, until the marks have moved, or until they have waited long enough."""

from __future__ import annotations

from dataclasses import replace

from kstore.parking import Parking
from kstore.replication.codes import Code
from kstore.replication.events import FetchReply
from kstore.replication.state import Local

LOCAL = Local(log_start_offset=0, log_end_offset=10, durable_offset=10, high_watermark=8)


def reply(number: int, local: Local = LOCAL) -> FetchReply:
    return FetchReply(1, number, Code.NONE, local.high_watermark, local.log_start_offset)


def parked(follower: int = 2) -> Parking:
    """A follower that has everything and was told of it, and its fetch."""
    parking = Parking(500)
    parking.tell(follower, reply(1), 9, has_data=True)
    parking.park(follower, reply(2), 10, now_ms=1_000)
    return parking


def test_news_are_records_and_marks_that_were_not_told() -> None:
    parking = Parking(500)
    assert parking.has_news(2, 10, LOCAL), "nobody has told it of the marks"
    parking.tell(2, reply(1), 9, has_data=True)
    assert not parking.has_news(2, 10, LOCAL)
    assert parking.has_news(2, 9, LOCAL)
    assert parking.has_news(3, 10, LOCAL)
    assert parking.has_news(2, 10, replace(LOCAL, high_watermark=9))
    assert parking.has_news(2, 10, replace(LOCAL, log_start_offset=1))


def test_a_fetch_waits_its_time_and_no_longer() -> None:
    parking = parked()
    assert parking.next_deadline_ms() == 1_500
    assert parking.ready(LOCAL, 1_499) == []
    assert [(one.to, one.reply.number, one.offset) for one in parking.ready(LOCAL, 1_500)] == [(2, 2, 10)]
    assert parking.next_deadline_ms() is None
    assert parking.ready(LOCAL, 9_000) == []


def test_news_end_the_wait_of_those_whom_they_concern() -> None:
    parking = parked()
    parking.tell(3, reply(1), 10, has_data=False)
    parking.park(3, reply(2), 11, now_ms=1_000)
    assert [one.to for one in parking.ready(replace(LOCAL, log_end_offset=11), 1_001)] == [2]
    assert [one.to for one in parking.ready(replace(LOCAL, log_end_offset=11, high_watermark=9), 1_001)] == [3]


def test_a_later_fetch_takes_the_place_of_an_earlier_one() -> None:
    parking = parked()
    parking.park(2, reply(3), 10, now_ms=1_200)
    assert [one.reply.number for one in parking.ready(LOCAL, 1_700)] == [3]


def test_records_that_were_given_are_known_when_they_are_asked_for_again() -> None:
    parking = parked()
    assert parking.was_given(2, 9)
    assert not parking.was_given(2, 10)
    parking.tell(2, reply(2), 10, has_data=False)
    assert not parking.was_given(2, 10)


def test_a_term_that_ends_leaves_nothing() -> None:
    parking = parked()
    assert [one.to for one in parking.let_go()] == [2]
    assert parking.let_go() == []
    assert parking.next_deadline_ms() is None
    assert parking.has_news(2, 10, LOCAL)
    assert not parking.was_given(2, 9)
