"""The lock that loops share, and moving bytes without it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from kstore._native.stream import FrameReader
from kstore._native.turns import SEND_PIECES_MAX, Lock, send_away
from kstore.errors import UsageError

TIMEOUT_S = 30.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_one_at_a_time() -> None:
    lock, inside, most, turns = Lock(), 0, 0, 0

    def work() -> None:
        nonlocal inside, most, turns
        for _ in range(2_000):
            with lock:
                inside += 1
                most = max(most, inside)
                before = turns
                time.sleep(0)  # gives the GIL away
                turns = before + 1
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == (1, 6_000)


def test_who_waits_sleeps_until_it_is_released() -> None:
    lock, has_it = Lock(), threading.Event()

    def work() -> None:
        with lock:
            has_it.set()

    lock.acquire()
    thread = threading.Thread(target=work)
    thread.start()
    assert not has_it.wait(0.05)
    lock.release()
    assert has_it.wait(TIMEOUT_S)
    thread.join()


def test_misuse_is_told() -> None:
    lock = Lock()
    with pytest.raises(UsageError, match="does not hold"):
        lock.release()
    with lock, pytest.raises(UsageError, match="already"):
        lock.acquire()
    with lock:  # nothing of that has harmed it
        pass


def test_sending_without_holding_the_lock_sends_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    lock = Lock()
    with pytest.raises(UsageError):
        send_away(lock, ours.fileno(), [b"x"])
    with pytest.raises(UsageError):
        FrameReader().receive(ours.fileno(), lock)
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    with lock:
        pass


def test_all_pieces_go_in_their_order(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    lock = Lock()
    pieces = [b"a" * 3, memoryview(b"xbcx")[1:3], bytearray(b"d"), b"", *(b"%03d" % i for i in range(SEND_PIECES_MAX))]
    with lock:
        sent = send_away(lock, ours.fileno(), pieces)
    assert theirs.recv(1 << 16) == b"".join(pieces[:SEND_PIECES_MAX])
    assert sent == sum(map(len, pieces[:SEND_PIECES_MAX]))


def test_errors_come_with_the_lock_held(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    lock = Lock()
    ours.setblocking(False)
    with lock:
        while send_away(lock, ours.fileno(), [bytes(1 << 20)]) == 1 << 20:
            pass  # as much as fits
        with pytest.raises(BlockingIOError):
            send_away(lock, ours.fileno(), [bytes(1 << 20)])
        theirs.close()
        with pytest.raises(BrokenPipeError):
            send_away(lock, ours.fileno(), [b"x"])
        with pytest.raises(TypeError):
            send_away(lock, ours.fileno(), [b"x", 7])  # type: ignore[list-item]


@pytest.mark.parametrize("way", ["send", "receive"])
def test_others_have_the_lock_meanwhile(pair: tuple[socket.socket, socket.socket], way: str) -> None:
    """The socket blocks until somebody who had the lock in between does something about it."""
    ours, theirs = pair
    lock, had = Lock(), []

    def other() -> None:
        with lock:
            had.append(True)
        if way == "send":
            while theirs.recv(1 << 20):
                pass
        else:
            theirs.sendall(b"\0\0\0\1x")

    with lock:
        thread = threading.Thread(target=other)
        thread.start()
        if way == "send":
            assert send_away(lock, ours.fileno(), [bytes(8 << 20)]) == 8 << 20
        else:
            reader = FrameReader()
            assert reader.receive(ours.fileno(), lock) == 5
            assert bytes(reader.next_frame() or b"") == b"x"
        assert had == [True]
    ours.close()
    thread.join()
