"""The event loop: calls what can be read or written, what is due and what was asked for, one after the other.

Owns an epoll instance, the timers and the queue of calls. Must not know what is called. A broker has one, and more of
them for connections that move much (`network`), each on a thread of its own; its methods have asyncio's names and
meanings (why it is not asyncio: docs/decisions/0015-own-loop.md).

Invariants
1. Everything is called on the thread of `run`, and with `lock` held: loops that share a lock never call at the same
   time, and what one of them calls may use the others. From anywhere else, or from a signal handler, only
   `call_soon_threadsafe` may be used.
2. A call that raises is logged, and the next one is made. KeyboardInterrupt and SystemExit end `run`.
3. In one turn: what was asked for before it, then files, then timers in the order of their times. What a call asks for
   is for the next turn, so that nobody is kept waiting by those who always have more to do.
4. A file that was removed, or closed and opened again under its number, is not called for what the kernel said before;
   where another loop did that while this one waited for the lock, it may be, once and for nothing.
"""

from __future__ import annotations

import heapq
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll
from threading import get_ident
from typing import Any, Protocol

from kstore._native.turns import Lock

READ = EPOLLIN | EPOLLHUP | EPOLLERR
WRITE = EPOLLOUT | EPOLLHUP | EPOLLERR
LONGEST_WAIT_S = 24 * 3600.0
CANCELLED_MIN = 128
"""Cancelled timers that may lie in the heap before it is looked at whether they are most of it."""

_log = logging.getLogger(__name__)


class HasFileno(Protocol):
    """A socket."""

    def fileno(self) -> int:
        """Its descriptor."""


class Timer:
    """A call at a time; `cancel` takes it back, once or more often, before or after."""

    __slots__ = ("_loop", "args", "callback", "when")

    def __init__(self, loop: Loop, when: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._loop = loop
        self.when = when
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        """Have it not called."""
        if self.callback is not None:
            self.callback = None
            self.args = ()
            self._loop._forget_cancelled()


class _Watched:
    """A descriptor, and whom to call. None in both once it was removed, for events that were fetched before."""

    __slots__ = ("read", "write")

    def __init__(self) -> None:
        self.read: Callable[[], object] | None = None
        self.write: Callable[[], object] | None = None

    @property
    def events(self) -> int:
        return (EPOLLIN if self.read is not None else 0) | (EPOLLOUT if self.write is not None else 0)


class Loop:
    """See the module. `close` it when `run` has returned."""

    def __init__(self, lock: Lock | None = None) -> None:
        """`lock`: that of the loops which call in turns with this one; None: its own."""
        self.lock = lock or Lock()
        """Held by who calls; whoever is called may let go of it for as long as it takes, and no longer."""
        self._thread = 0
        self._epoll = epoll()
        self._watched: dict[int, _Watched] = {}
        self._timers: list[Timer] = []
        self._cancelled = 0
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._closed = False
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self.add_reader(self._woken, self._wake)

    # -- what to call ---------------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds of a clock that never goes back; what timers go by."""
        return time.monotonic()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call it in the next turn."""
        self._ready.append((callback, args))
        if not self.is_here:
            self._interrupt()

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """The same from any thread. Raises RuntimeError once the loop is closed."""
        if self._closed:
            raise RuntimeError("the event loop is closed")
        self._ready.append((callback, args))
        self._interrupt()

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that runs it, or nobody has run it yet."""
        return self._thread in (get_ident(), 0)

    def _interrupt(self) -> None:
        """Have it not wait, if it does."""
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            return  # so many have woken it that nothing more fits
        except OSError:
            if not self._closed:
                raise

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call it at a time of `time`, or soon after."""
        timer = Timer(self, when, callback, args)
        heapq.heappush(self._timers, timer)
        if self._timers[0] is timer and not self.is_here:
            self._interrupt()
        return timer

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call it in so many seconds."""
        return self.call_at(self.time() + delay_s, callback, *args)

    def add_reader(self, file: HasFileno, callback: Callable[[], object]) -> None:
        """Call it whenever the file can be read, has ended or has failed; in place of the one before."""
        self._watch(file, EPOLLIN, callback)

    def add_writer(self, file: HasFileno, callback: Callable[[], object]) -> None:
        """Call it whenever the file can be written, or has failed; in place of the one before."""
        self._watch(file, EPOLLOUT, callback)

    def remove_reader(self, file: HasFileno) -> None:
        """Undo `add_reader`, if there was one; before the file is closed."""
        self._watch(file, EPOLLIN, None)

    def remove_writer(self, file: HasFileno) -> None:
        """Undo `add_writer`, if there was one; before the file is closed."""
        self._watch(file, EPOLLOUT, None)

    def _watch(self, file: HasFileno, event: int, callback: Callable[[], object] | None) -> None:
        number = file.fileno()
        watched = self._watched.get(number) or _Watched()
        before = watched.events
        if event == EPOLLIN:
            watched.read = callback
        else:
            watched.write = callback
        events = watched.events
        if events == before:
            return
        if not before:
            self._epoll.register(number, events)
            self._watched[number] = watched
        elif events:
            self._epoll.modify(number, events)
        else:
            self._epoll.unregister(number)
            del self._watched[number]

    # -- calling --------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Turn until `until()` holds, which is asked after every turn; False where the timeout came first."""
        self._thread = get_ident()
        with self.lock:
            done = until()
            timer = None if timeout_s is None else self.call_later(timeout_s, self.nothing)
            while not done and (timer is None or timer.callback is not None):
                self._turn()
                done = until()
            if timer is not None:
                timer.cancel()
            return done

    def catch_up(self) -> None:
        """One turn without waiting: what has come in by now is taken."""
        self._thread = get_ident()
        with self.lock:
            self.call_soon(self.nothing)
            self._turn()

    def run_beside(self, work: Callable[[], None]) -> None:
        """Run what blocks on a thread of its own, and the loop until that is over; raises what it raises."""
        with ThreadPoolExecutor(1, "kstore-beside") as threads:
            future = threads.submit(work)
            future.add_done_callback(lambda _: self.call_soon_threadsafe(self.nothing))
            self.run(future.done)
        future.result()

    def close(self) -> None:
        """Let go of everything; nothing is called any more."""
        if self._closed:
            return
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        self._watched.clear()
        self._epoll.close()
        self._woken.close()
        self._waker.close()

    def _turn(self) -> None:
        ready, timers = self._ready, self._timers
        wait_s = 0 if ready else self._wait_s()
        self.lock.release()
        try:
            events = self._epoll.poll(wait_s)
        finally:
            self.lock.acquire()
        # Looked up before anything is called: what is registered under a number later is another file.
        found = [(self._watched[number], happened) for number, happened in events if number in self._watched]
        for _ in range(len(ready)):
            callback, args = ready.popleft()
            self._call(callback, *args)
        for watched, happened in found:
            if happened & READ and watched.read is not None:
                self._call(watched.read)
            if happened & WRITE and watched.write is not None:
                self._call(watched.write)
        if timers:
            now = self.time()
            while timers and timers[0].when <= now:
                timer = heapq.heappop(timers)
                if timer.callback is None:
                    self._cancelled -= 1
                else:
                    callback, args, timer.callback = timer.callback, timer.args, None
                    self._call(callback, *args)

    def _wait_s(self) -> float:
        timers = self._timers
        while timers and timers[0].callback is None:
            heapq.heappop(timers)
            self._cancelled -= 1
        if not timers:
            return LONGEST_WAIT_S
        return min(max(timers[0].when - self.time(), 0), LONGEST_WAIT_S)

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            callback(*args)
        except Exception:
            _log.exception("a call of the event loop failed")

    def _forget_cancelled(self) -> None:
        """Parked requests have a timer each, nearly all of which are cancelled long before their time."""
        self._cancelled += 1
        if self._cancelled > CANCELLED_MIN and 2 * self._cancelled > len(self._timers):
            self._timers[:] = [timer for timer in self._timers if timer.callback is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _wake(self) -> None:
        self._woken.recv(4096)

    @staticmethod
    def nothing() -> None:
        """To be called by a turn that somebody waits for."""
