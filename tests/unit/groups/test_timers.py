"""Deadlines: in order, once, and not after they were cancelled or replaced."""

from hypothesis import given
from hypothesis import strategies as st

from kstore.groups.timers import TimerKey, Timers

A, B = TimerKey("a", "g"), TimerKey("b", "g", "m")


def test_due_in_order_and_once():
    timers = Timers()
    timers.set(A, 20, "a")
    timers.set(B, 10, "b")
    assert timers.next_deadline_ms() == 10
    due = timers.due(20)
    assert [timer.action for timer in due] == ["b", "a"]
    assert [timers.take(timer) for timer in due] == [True, True]
    assert timers.next_deadline_ms() is None
    assert timers.take(due[0]) is False


def test_setting_again_replaces_and_cancelling_forgets():
    timers = Timers()
    timers.set(A, 10, "old")
    timers.set(A, 30, "new")
    timers.set(B, 15, "b")
    assert timers.due(10) == []
    timers.cancel(B)
    assert B not in timers
    assert timers.next_deadline_ms() == 30


def test_what_is_due_can_still_be_cancelled():
    timers = Timers()
    timers.set(A, 10, "a")
    (timer,) = timers.due(10)
    timers.set(A, 50, "again")
    assert timers.take(timer) is False
    assert timers.next_deadline_ms() == 50


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100) | st.none()), max_size=200))
def test_against_a_plain_dict(steps):
    timers, model = Timers(), {}
    for number, deadline_ms in steps:
        key = TimerKey("k", str(number))
        if deadline_ms is None:
            timers.cancel(key)
            model.pop(key, None)
        else:
            timers.set(key, deadline_ms, None)
            model[key] = deadline_ms
        assert timers.next_deadline_ms() == min(model.values(), default=None)
    assert sorted(timer.key for timer in timers.due(50)) == sorted(key for key, at in model.items() if at <= 50)
