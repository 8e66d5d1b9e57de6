"""The event loop: who is called, in which order, and who is not any more."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from kstore.broker.loop import CANCELLED_MIN, Loop


class TestLoop(Loop):
    """A loop with a clock that the test moves."""

    __test__ = False

    def __init__(self) -> None:
        self.now = 100.0
        super().__init__()

    def time(self) -> float:
        return self.now


@pytest.fixture
def loop() -> Iterator[TestLoop]:
    one = TestLoop()
    yield one
    one.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def turn(loop: Loop) -> None:
    loop.catch_up()


def test_asked_for_then_files_then_timers(loop: TestLoop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    called: list[str] = []
    loop.call_at(99, called.append, "due")
    loop.call_at(98, called.append, "due before")
    loop.call_at(101, called.append, "not due")
    loop.add_reader(ours, lambda: called.append(f"read {ours.recv(9)!r}"))
    theirs.send(b"x")
    loop.call_soon(called.append, "asked for")
    turn(loop)
    assert called == ["asked for", "read b'x'", "due before", "due"]
    loop.now = 101
    turn(loop)
    assert called[4:] == ["not due"]


def test_what_a_call_asks_for_is_for_the_next_turn(loop: TestLoop) -> None:
    called: list[int] = []

    def again() -> None:
        called.append(1)
        loop.call_soon(again)

    again()
    turn(loop)
    turn(loop)
    assert len(called) == 3


def test_a_call_that_fails_is_logged_and_the_next_one_made(
    loop: TestLoop, pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    ours, _ = pair
    called: list[str] = []

    def fail() -> None:
        raise ValueError("planted")

    loop.call_soon(fail)
    loop.call_soon(called.append, "behind it")
    loop.add_writer(ours, fail)
    loop.call_at(0, fail)
    loop.call_at(1, called.append, "the last")
    with caplog.at_level(logging.ERROR):
        turn(loop)
    assert called == ["behind it", "the last"]
    assert caplog.text.count("\nValueError: planted") == 3


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_ends_the_loop(loop: TestLoop, kind: type[BaseException]) -> None:
    def end() -> None:
        raise kind

    loop.call_soon(end)
    with pytest.raises(kind):
        loop.run(lambda: False)


def test_a_file_that_was_removed_is_not_called_for_what_was_said_before(loop: TestLoop) -> None:
    """Both can be read, whoever is called first closes the other; its number then belongs to another file."""
    first, second = socket.socketpair(), socket.socketpair()
    called: list[str] = []
    fresh: list[socket.socket] = []

    def close(other: socket.socket, name: str) -> Callable[[], None]:
        def work() -> None:
            called.append(name)
            number = other.fileno()
            if number >= 0:
                loop.remove_reader(other)
                other.close()
                fresh.extend(socket.socketpair())
                assert number in {one.fileno() for one in fresh}
                for one in fresh:
                    loop.add_reader(one, lambda: called.append("a file that has nothing to read"))

        return work

    loop.add_reader(first[0], close(second[0], "first"))
    loop.add_reader(second[0], close(first[0], "second"))
    first[1].send(b"x")
    second[1].send(b"x")
    turn(loop)
    assert called in (["first"], ["second"])
    for left in (first[0], second[0]):
        if left.fileno() >= 0:
            loop.call_soon(close(left, "a call that was asked for"))
    turn(loop)
    assert called[1:] == ["a call that was asked for"]
    for one in (*first, *second, *fresh):
        one.close()


def test_readers_and_writers_come_and_go_by_themselves(
    loop: TestLoop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    called: list[str] = []
    loop.remove_writer(ours)
    loop.add_writer(ours, lambda: called.append("write"))
    loop.add_reader(ours, lambda: called.append("read"))
    turn(loop)
    theirs.send(b"x")
    turn(loop)
    loop.remove_writer(ours)
    turn(loop)
    loop.add_reader(ours, lambda: called.append("read by another"))
    turn(loop)
    loop.remove_reader(ours)
    turn(loop)
    assert called == ["write", "read", "write", "read", "read by another"]


def test_both_hear_of_the_end(loop: TestLoop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    called: list[str] = []
    loop.add_reader(ours, lambda: called.append("read"))
    loop.add_writer(ours, lambda: called.append("write"))
    theirs.close()
    turn(loop)
    assert called == ["read", "write"]


def test_a_timer_is_taken_back_once_or_more_often_before_or_after(loop: TestLoop) -> None:
    called: list[str] = []
    first = loop.call_later(1, called.append, "first")
    second = loop.call_later(2, called.append, "second")
    second.cancel()
    second.cancel()
    loop.now += 3
    turn(loop)
    first.cancel()
    turn(loop)
    assert called == ["first"]


def test_timers_that_were_cancelled_take_no_room(loop: TestLoop) -> None:
    called: list[int] = []
    kept = [loop.call_later(1000 - n, called.append, n) for n in range(100)]
    for _ in range(100_000):
        loop.call_later(500, called.append, -1).cancel()
    assert len(loop._timers) <= len(kept) + 2 * CANCELLED_MIN + 2
    loop.now += 1000
    turn(loop)
    assert called == list(reversed(range(100)))


def test_another_thread_wakes_it() -> None:
    loop = Loop()
    called = threading.Event()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.set,))
    loop.call_soon(thread.start)
    assert loop.run(called.is_set, 60)
    thread.join()
    loop.close()


def test_so_many_wake_it_that_nobody_else_can(loop: TestLoop) -> None:
    called: list[int] = []
    for number in range(20_000):
        loop.call_soon_threadsafe(called.append, number)
    turn(loop)
    assert called == list(range(20_000))


def test_a_closed_one_says_so(loop: TestLoop) -> None:
    loop.close()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(print)


def test_waiting_ends_when_its_time_is_over() -> None:
    loop = Loop()
    begun = time.monotonic()
    assert not loop.run(lambda: False, 0.01)
    assert time.monotonic() - begun >= 0.01
    assert loop.run(lambda: True)
    loop.close()


def test_work_beside_it() -> None:
    loop = Loop()
    steps: list[str] = []
    served = threading.Event()

    def work() -> None:
        loop.call_soon_threadsafe(lambda: (steps.append("served"), served.set()))
        assert served.wait(60)
        steps.append("worked")

    loop.run_beside(work)
    assert steps == ["served", "worked"]

    def fail() -> None:
        raise OSError("planted")

    with pytest.raises(OSError, match="planted"):
        loop.run_beside(fail)
    loop.close()


# -- with others ---------------------------------------------------------------------------------------------


@pytest.fixture
def beside() -> Iterator[Callable[[Loop], None]]:
    """Runs a loop on a thread of its own until the test is over."""
    over = threading.Event()
    started: list[tuple[Loop, threading.Thread]] = []

    def start(loop: Loop) -> None:
        ready = threading.Event()
        loop.call_soon(ready.set)
        thread = threading.Thread(target=loop.run, args=(over.is_set,))
        started.append((loop, thread))
        thread.start()
        assert ready.wait(10)

    yield start
    over.set()
    for loop, thread in started:
        loop.call_soon_threadsafe(Loop.nothing)
        thread.join()
        loop.close()


def test_another_thread_that_holds_the_lock_may_ask(beside: Callable[[Loop], None]) -> None:
    """The loop waits for nothing else: whoever asks has to wake it."""
    loop = Loop()
    beside(loop)
    called = [threading.Event(), threading.Event()]
    with loop.lock:
        assert not loop.is_here
        loop.call_soon(called[0].set)
    assert called[0].wait(10)
    with loop.lock:
        loop.call_later(0.001, called[1].set)
    assert called[1].wait(10)


def test_loops_with_one_lock_call_one_at_a_time(beside: Callable[[Loop], None]) -> None:
    one = Loop()
    other = Loop(one.lock)
    reached, done = threading.Event(), threading.Event()
    met: list[bool] = []

    def wait_for_the_other() -> None:
        other.call_soon(reached.set)
        met.append(reached.wait(0.05))
        done.set()

    beside(one)
    beside(other)
    one.call_soon_threadsafe(wait_for_the_other)
    assert done.wait(10)
    assert reached.wait(10)
    assert met == [False]


def test_who_is_called_may_let_go_of_the_lock(beside: Callable[[Loop], None]) -> None:
    one = Loop()
    other = Loop(one.lock)
    reached, done = threading.Event(), threading.Event()

    def wait_for_the_other() -> None:
        one.lock.release()
        try:
            assert reached.wait(10)
        finally:
            one.lock.acquire()
        done.set()

    beside(one)
    beside(other)
    one.call_soon_threadsafe(wait_for_the_other)
    other.call_soon_threadsafe(reached.set)
    assert done.wait(10)
