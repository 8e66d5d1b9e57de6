"""One client's connection: frames in, answers out in the order of the requests, and no more of either than fits.

Owns a non-blocking socket, what was received and not handled, what was answered and not sent. Must not know what a
request means: frames go to `handle`. Made by `listener`; runs with the lock of the broker's event loops held, on the
thread of `loop` unless somebody else has an answer for it.

Invariants
1. Answers leave in the order in which their requests came, whatever order they are ready in.
2. Reading stops while `REQUESTS_MAX` requests are open here, while `UNSENT_BYTES_MAX` wait to be sent, and while the
   broker holds more request bytes than it may: the client's TCP window does the rest.
3. Buffers go to the kernel as they are, by sendmsg; none is changed or copied here while it waits.
4. After `close` nothing is sent, and every open request has been told.
5. Where much is moved the lock is let go of meanwhile (`_go_away`), but only where the loop called because of this very
   socket: who answers calls of others may be in the middle of something. Others may finish calls of this connection
   then, and close it: both is done when its thread is back.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from kstore._native.turns import send_away
from kstore.broker.unsent import Unsent
from kstore.errors import InvalidFrame
from kstore.wire.frames import FrameReader

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore.broker.call import Call
    from kstore.broker.listener import Listener
    from kstore.broker.loop import Loop
    from kstore.broker.repeats import Repeats
    from kstore.broker.tls import TlsChannel
    from kstore.broker.traffic import Traffic

ANONYMOUS = "User:ANONYMOUS"
"""KafkaPrincipal.ANONYMOUS."""
REQUESTS_MAX = 64
"""Open requests of one connection. Producers have five under way, benchmarks more; Kafka itself works on one."""
UNSENT_BYTES_MAX = 4 << 20
"""Answers that wait for a slow reader; fetched records among them are views of mapped files, not memory."""
CREEP_S = 30.0
CREEP_BYTES_S = 1024
"""An unfinished request is given up when it is that old and came slower than that."""
READS_IN_A_ROW = 8
"""Receives before other connections have their turn: one brings up to four requests of 64 KiB."""
ANSWERS_TOGETHER = 4
UNSENT_BYTES_TOGETHER = 16 << 10
"""Answers are sent when so many requests were handled, or they are so large, or nothing more is there to read: each
sendmsg wakes the client. More would let a client that fills a window of requests stand idle until all are answered."""
MUCH_BYTES = 64 << 10
"""What takes so long to move that others are served meanwhile."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Host(Protocol):
    """What a connection needs of its broker."""

    loop: Loop
    traffic: Traffic
    batch: set[Connection] | None
    """Connections that wait for a common flush; None: each flushes by itself."""

    def dispatch(self, connection: Connection, frame: memoryview) -> None:
        """Handle one request."""

    is_full: bool
    """No more requests fit; those who have to stop reading say so by `starves`."""

    def hold(self, size_bytes: int) -> None:
        """A request of that size came in."""

    def release(self, size_bytes: int) -> None:
        """It was answered."""

    def starves(self, connection: Connection) -> None:
        """The connection wants to read on when requests fit again."""

    def lost(self, connection: Connection) -> None:
        """The connection is closed."""

    def spread(self, connection: Connection) -> None:
        """The connection moves much; it may be given another loop."""


class Connection:
    """A connected client."""

    def __init__(
        self, host: Host, listener: Listener, sock: socket.socket | TlsChannel, peer: str, frame_bytes_max: int
    ) -> None:
        """`sock` must not block; `peer` is the client's address for logs and groups."""
        self.host = host
        self.loop = host.loop
        """Where its socket is watched."""
        self.listener = listener
        self.peer = peer
        self.handle: Callable[[Connection, memoryview], None] = host.dispatch
        """What requests go to; until a client has logged in it is not `Host.dispatch`."""
        self.repeats: Repeats | None = None
        """Takes requests that it knows as they stand in the reader; what it does not take is for `handle`."""
        self.principal = ANONYMOUS
        """Who the client is, as Kafka writes it."""
        self.in_by: float | None = None
        """By the loop's clock, when the client has to have logged in; None once it has, or does not have to."""
        self.closed = False
        self._socket = sock
        self._fd = sock.fileno()
        self._tls = None if isinstance(sock, socket.socket) else sock
        self._reader = FrameReader(frame_bytes_max)
        self._open: deque[Call] = deque()
        self._unsent = Unsent()
        self._handled = 0
        self._is_reading = self._is_writing = self._is_corked = self._ends = False
        self._is_away = False
        """The thread of `loop` moves something, without the lock."""
        self._may_go = self._was_away = self._is_spread = False
        self._end: tuple[str, int] | None = None
        """Why somebody else closed it meanwhile."""
        now = host.loop.time()
        self.last_heard = self.last_sent = now
        """By the loop's clock; what idle and stalled connections are told by."""
        self.frame_since = now
        self.frame_bytes = 0
        """Since when an unfinished request is coming in, and how much of it came."""

    def begin(self) -> None:
        """Start to read."""
        self._read_if_room()

    @property
    def frame_bytes_max(self) -> int:
        """The largest request that is read; may be changed, for the next one."""
        return self._reader.limit_bytes

    @frame_bytes_max.setter
    def frame_bytes_max(self, size_bytes: int) -> None:
        self._reader.limit_bytes = size_bytes

    @property
    def local_address(self) -> str:
        """The address that the client connected to."""
        return str(self._socket.getsockname()[0])

    def overdue(self, now: float, idle_s: float) -> tuple[str, int] | None:
        """Why this connection has to go by now, and how loud to say so; None: it may stay."""
        if self.in_by is not None and now > self.in_by:
            return "no login in time", logging.WARNING
        if self.is_inside_frame and (age_s := now - self.frame_since) > CREEP_S:
            if self.frame_bytes < age_s * CREEP_BYTES_S and not self._open:
                return "a request came too slowly", logging.WARNING
        elif 0 <= idle_s < now - self.last_heard:
            if self._unsent.size_bytes and now - self.last_sent > idle_s:
                return "the client reads no answers", logging.WARNING
            if self.is_between_requests:
                return "idle", logging.DEBUG
        return None

    @property
    def is_between_requests(self) -> bool:
        """Whether nothing is open, unsent or half received."""
        return not self._open and not self._unsent.size_bytes and self._reader.is_between_frames

    @property
    def is_inside_frame(self) -> bool:
        """Whether a request has come in part."""
        return not self._reader.is_between_frames

    # -- in -------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        self._may_go = True
        try:
            self._read()
        finally:
            self._may_go = False
        if self._was_away and not self._is_spread and not self.closed:
            self._is_spread = True
            self.host.spread(self)

    def _read(self) -> None:
        reader, traffic = self._reader, self.host.traffic
        self.last_heard = now = self.host.loop.time()
        if reader.is_between_frames:
            self.frame_since, self.frame_bytes = now, 0
        try:
            for _ in range(READS_IN_A_ROW):
                count = self._receive() if self._tls is None else self._receive_decrypted(self._tls)
                if self.closed:
                    return
                if count <= 0:
                    if count == 0:
                        self.close("the client closed")
                    break
                self.frame_bytes += count
                traffic.received_bytes += count
                if not self._take_frames() or self.closed or not (reader.was_filled or not reader.is_between_frames):
                    break
        except InvalidFrame as error:
            self._stop_reading_at(str(error))
        except OSError as error:
            self.close(f"receiving failed: {error}")
        if self.closed:
            return
        if self._unsent.size_bytes and not self._is_writing:
            self._flush()
        self._read_if_room()

    def _receive(self) -> int:
        if not self._reader.expects_much or not self._go_away():
            return self._reader.receive(self._fd)
        try:
            return self._reader.receive(self._fd, self.loop.lock)
        finally:
            self._come_back()

    def _receive_decrypted(self, tls: TlsChannel) -> int:
        """As `FrameReader.receive`, through TLS."""
        room = self._reader.get_buffer()
        try:
            count = tls.recv_into(room)
        except (BlockingIOError, InterruptedError):
            return -1
        self._reader.buffer_updated(count)
        return count

    def _stop_reading_at(self, reason: str) -> None:
        """Bytes came that are no request: what came before them was answered, what follows cannot be trusted."""
        if self._unsent.size_bytes and not self._is_writing:
            self._flush()
        self.close(reason, level=logging.WARNING)

    def _take_frames(self) -> bool:
        """Handle the requests that have come; False where reading has to stop. Raises `InvalidFrame`."""
        while True:
            all_taken = self._take_while_room()
            unsent_bytes = self._unsent.size_bytes
            if unsent_bytes and not self._is_writing and not (
                all_taken and self._handled < ANSWERS_TOGETHER and unsent_bytes < UNSENT_BYTES_TOGETHER
            ):
                self._flush()
            if all_taken or self.closed or not self._has_room():
                return all_taken

    def _take_while_room(self) -> bool:
        host, reader, waiting, unsent = self.host, self._reader, self._open, self._unsent
        taken = 0
        self._is_corked = True
        try:
            # What `_has_room` says, without a call for each request.
            while not (
                self._ends or len(waiting) >= REQUESTS_MAX or unsent.size_bytes >= UNSENT_BYTES_MAX or host.is_full
            ):
                if self.repeats is not None and (count := self.repeats.take(reader)):
                    taken += count
                    continue
                frame = reader.next_frame()
                if frame is None:
                    return True
                taken += 1
                self.handle(self, frame)
            return self.closed
        finally:
            self._is_corked = False
            if taken:
                self._handled += taken
                self.frame_since, self.frame_bytes = host.loop.time(), 0

    def _has_room(self) -> bool:
        if self._ends or len(self._open) >= REQUESTS_MAX or self._unsent.size_bytes >= UNSENT_BYTES_MAX:
            return False
        if self.host.is_full:
            self.host.starves(self)
            return False
        return True

    def read_on(self) -> None:
        """Take what waits in the buffer, then go on reading if there is room."""
        if self.closed or self._is_corked or self._is_reading or self._is_away:
            return
        try:
            self._take_frames()
        except InvalidFrame as error:
            self._stop_reading_at(str(error))
            return
        if self._unsent.size_bytes and not self._is_writing:
            self._flush()
        self._read_if_room()

    def _read_if_room(self) -> None:
        if self.closed:
            return
        wanted = self._has_room()
        if self._tls is not None:
            wanted = self._look_at_tls(self._tls, wanted)
        if wanted and not self._is_reading:
            self.loop.add_reader(self._socket, self._readable)
        elif self._is_reading and not wanted:
            self.loop.remove_reader(self._socket)
        self._is_reading = wanted

    def _look_at_tls(self, tls: TlsChannel, wanted: bool) -> bool:
        """What the kernel does not say of an encrypted socket; returns whether reading can go on."""
        if tls.read_waits_for_write:
            if not self._is_writing:
                self._is_writing = True
                self.loop.add_writer(self._socket, self._writable)
            return False
        if wanted and tls.pending():
            self.loop.call_soon(self._read_pending)
        return wanted

    def _read_pending(self) -> None:
        if self._is_reading and not self.closed:
            self._readable()

    # -- out ------------------------------------------------------------------------------------------------

    def accept(self, call: Call, size_bytes: int) -> None:
        """Note a request: its answer has its place from now on."""
        call.size_bytes = size_bytes
        self._open.append(call)
        self.host.hold(size_bytes)

    def finish(self, call: Call, buffers: Sequence[Buffer]) -> None:
        """An answer is there; it is sent when those before it are."""
        call.buffers = buffers
        call.on_lost = None
        if self.closed:
            return
        waiting = self._open
        while waiting and (ready := waiting[0].buffers) is not None:
            self.host.release(waiting.popleft().size_bytes)
            self.send(ready)
        if not self._is_corked:
            if self.host.batch is not None:
                self.host.batch.add(self)
            else:
                self.flush()

    def send(self, buffers: Sequence[Buffer]) -> None:
        """Queue bytes; `flush` sends them."""
        self._unsent.add(buffers)

    def flush(self) -> None:
        """Send what can be sent now, and read on where that made room."""
        if self._is_away:
            return  # who is away does it
        if self._unsent.size_bytes and not self._is_writing:
            self._flush()
        if self._ends and not self._unsent.size_bytes and not self._open:
            self.close("done")
        elif not self._is_reading and not self._is_corked:
            self.read_on()

    def _flush(self) -> None:
        unsent = self._unsent
        self._handled = 0
        try:
            while unsent.size_bytes:
                pieces = unsent.pieces()
                self._sent(
                    self._socket.sendmsg(pieces) if unsent.size_bytes < MUCH_BYTES else self._send_much(pieces)
                )
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self.close(f"sending failed: {error}")
        if self.closed:
            return
        waits = unsent.size_bytes > 0 or (self._tls is not None and self._tls.read_waits_for_write)
        if waits != self._is_writing:
            self._is_writing = waits
            if waits:
                self.loop.add_writer(self._socket, self._writable)
            else:
                self.loop.remove_writer(self._socket)
        if self._ends and not unsent.size_bytes and not self._open:
            self.close("done")

    def _send_much(self, pieces: list[Buffer]) -> int:
        if not self._go_away():
            return self._socket.sendmsg(pieces)
        try:
            return send_away(self.loop.lock, self._fd, pieces)
        finally:
            self._come_back()

    def _sent(self, count: int) -> None:
        if self.closed:
            return
        self.last_sent = self.host.loop.time()
        self.host.traffic.sent_bytes += count
        self._unsent.sent(count)

    def _writable(self) -> None:
        if self._tls is not None:
            self._tls.read_waits_for_write = False
        self._may_go = True
        try:
            self._flush()
        finally:
            self._may_go = False
        if not self._is_writing and not self.closed:
            self.flush()

    # -- with others ----------------------------------------------------------------------------------------

    def beside_others(self, work: Callable[[], T]) -> T:
        """Do what takes long and needs nothing of the broker, with the lock let go of where that may be; the connection
        may be closed afterwards.
        """
        if not self._go_away():
            return work()
        lock = self.loop.lock
        lock.release()
        try:
            return work()
        finally:
            lock.acquire()
            self._come_back()

    def _go_away(self) -> bool:
        """The lock will be let go of to move much; True: `_come_back` has to follow. False, where others have to wait:
        who called is not done with what it changes, or the socket is encrypted.
        """
        if self._tls is not None or self._is_away or not self._may_go:
            return False
        self._is_away = self._was_away = True
        return True

    def _come_back(self) -> None:
        """The lock is held again; the connection may be closed now."""
        self._is_away = False
        if self._end is not None:
            self.close(*self._end)

    def move_to(self, loop: Loop) -> None:
        """Be served by another loop."""
        before, self.loop = self.loop, loop
        if before is loop or self.closed:
            return
        for is_watched, remove, add, callback in (
            (self._is_reading, before.remove_reader, loop.add_reader, self._readable),
            (self._is_writing, before.remove_writer, loop.add_writer, self._writable),
        ):
            if is_watched:
                remove(self._socket)
                add(self._socket, callback)

    # -- end ------------------------------------------------------------------------------------------------

    def finish_and_close(self) -> None:
        """Read no more, and close when everything that came in is answered and sent."""
        self._ends = True
        self._read_if_room()
        if not self._open and not self._unsent.size_bytes:
            self.close("done")

    def close(self, reason: str, level: int = logging.DEBUG) -> None:
        """Close at once; open requests are told, their answers go nowhere."""
        if self.closed:
            return
        if self._is_away:
            self._end = reason, level
            return
        self.closed = self._ends = True
        _log.log(level, "%s: closed: %s", self.peer, reason)
        if self._is_reading:
            self.loop.remove_reader(self._socket)
        if self._is_writing:
            self.loop.remove_writer(self._socket)
        self._socket.close()
        self._unsent.clear()
        for call in self._open:
            self.host.release(call.size_bytes)
            if call.on_lost is not None:
                call.on_lost()
        self._open.clear()
        self.host.lost(self)
