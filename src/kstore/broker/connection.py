"""One client's connection: frames in, answers out in the order of the requests, and no more of either than fits.

Owns a non-blocking socket, what was received and not handled, what was answered and not sent. Must not know what a
request means: frames go to `handle`. Made by `listener`, runs on the broker's event loop alone.

Invariants
1. Answers leave in the order in which their requests came, whatever order they are ready in.
2. Reading stops while `REQUESTS_MAX` requests are open here, while `UNSENT_BYTES_MAX` wait to be sent, and while the
   broker holds more request bytes than it may: the client's TCP window does the rest.
3. Buffers go to the kernel as they are, by sendmsg; none is changed or copied here while it waits.
4. After `close` nothing is sent, and every open request has been told.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from kstore.errors import InvalidFrame
from kstore.wire.codec import encode_response
from kstore.wire.frames import FrameReader
from kstore.wire.schema import Response

if TYPE_CHECKING:
    from typing_extensions import Buffer

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
SEND_BUFFERS_MAX = 512
"""Buffers of one sendmsg; the kernel's IOV_MAX is 1024."""
CREEP_S = 30.0
CREEP_BYTES_S = 1024
"""An unfinished request is given up when it is that old and came slower than that."""
READS_IN_A_ROW = 8
"""Receives before other connections have their turn: one brings up to four requests of 64 KiB."""
ANSWERS_TOGETHER = 4
UNSENT_BYTES_TOGETHER = 16 << 10
"""Answers are sent when so many requests were handled, or they are so large, or nothing more is there to read: each
sendmsg wakes the client. More would let a client that fills a window of requests stand idle until all are answered."""

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


class Call:
    """One request, and the way back for its answer. Hashable by identity."""

    __slots__ = (
        "body", "buffers", "client_id", "connection", "correlation_id", "frame", "key", "on_lost", "size_bytes",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        key: int,
        version: int,
        correlation_id: int,
        client_id: str | None,
        body: Any,
        frame: Buffer = b"",
    ) -> None:
        self.connection = connection
        self.key = key
        self.version = version
        self.correlation_id = correlation_id
        self.client_id = client_id
        self.body = body
        """The request, a struct of `kstore.wire.messages`."""
        self.frame = frame
        """The bytes that it came in."""
        self.size_bytes = 0
        self.buffers: Sequence[Buffer] | None = None
        """The encoded answer; None while there is none."""
        self.on_lost: Callable[[], None] | None = None
        """Called when the client went away before the answer: whoever parked the request lets go of it."""

    def answer(self, response: Response) -> None:
        """Send the answer when its turn comes; to a client that went away it goes nowhere."""
        if self.buffers is None:
            self.connection.finish(self, encode_response(response, self.version, self.correlation_id))

    def answer_nothing(self) -> None:
        """Take the request as done without an answer (Produce with acks=0)."""
        if self.buffers is None:
            self.connection.finish(self, ())


class Connection:
    """A connected client."""

    def __init__(
        self, host: Host, listener: Listener, sock: socket.socket | TlsChannel, peer: str, frame_bytes_max: int
    ) -> None:
        """`sock` must not block; `peer` is the client's address for logs and groups."""
        self.host = host
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
        self._unsent: deque[Buffer] = deque()
        self._unsent_bytes = self._handled = 0
        self._is_reading = self._is_writing = self._is_corked = self._ends = False
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
            if self._unsent and now - self.last_sent > idle_s:
                return "the client reads no answers", logging.WARNING
            if self.is_between_requests:
                return "idle", logging.DEBUG
        return None

    @property
    def is_between_requests(self) -> bool:
        """Whether nothing is open, unsent or half received."""
        return not self._open and not self._unsent and self._reader.is_between_frames

    @property
    def is_inside_frame(self) -> bool:
        """Whether a request has come in part."""
        return not self._reader.is_between_frames

    # -- in -------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        reader, traffic = self._reader, self.host.traffic
        self.last_heard = now = self.host.loop.time()
        if reader.is_between_frames:
            self.frame_since, self.frame_bytes = now, 0
        try:
            for _ in range(READS_IN_A_ROW):
                count = reader.receive(self._fd) if self._tls is None else self._receive_decrypted(self._tls)
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
        if self._unsent and not self._is_writing:
            self._flush()
        self._read_if_room()

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
        if self._unsent and not self._is_writing:
            self._flush()
        self.close(reason, level=logging.WARNING)

    def _take_frames(self) -> bool:
        """Handle the requests that have come; False where reading has to stop. Raises `InvalidFrame`."""
        while True:
            all_taken = self._take_while_room()
            unsent = self._unsent
            if unsent and not self._is_writing and not (
                all_taken and self._handled < ANSWERS_TOGETHER and self._unsent_bytes < UNSENT_BYTES_TOGETHER
            ):
                self._flush()
            if all_taken or self.closed or not self._has_room():
                return all_taken

    def _take_while_room(self) -> bool:
        host, reader, waiting = self.host, self._reader, self._open
        taken = 0
        self._is_corked = True
        try:
            # What `_has_room` says, without a call for each request.
            while not (
                self._ends or len(waiting) >= REQUESTS_MAX or self._unsent_bytes >= UNSENT_BYTES_MAX or host.is_full
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
        if self._ends or len(self._open) >= REQUESTS_MAX or self._unsent_bytes >= UNSENT_BYTES_MAX:
            return False
        if self.host.is_full:
            self.host.starves(self)
            return False
        return True

    def read_on(self) -> None:
        """Take what waits in the buffer, then go on reading if there is room."""
        if self.closed or self._is_corked or self._is_reading:
            return
        try:
            self._take_frames()
        except InvalidFrame as error:
            self._stop_reading_at(str(error))
            return
        if self._unsent and not self._is_writing:
            self._flush()
        self._read_if_room()

    def _read_if_room(self) -> None:
        if self.closed:
            return
        wanted = self._has_room()
        if self._tls is not None:
            wanted = self._look_at_tls(self._tls, wanted)
        if wanted and not self._is_reading:
            self.host.loop.add_reader(self._socket, self._readable)
        elif self._is_reading and not wanted:
            self.host.loop.remove_reader(self._socket)
        self._is_reading = wanted

    def _look_at_tls(self, tls: TlsChannel, wanted: bool) -> bool:
        """What the kernel does not say of an encrypted socket; returns whether reading can go on."""
        if tls.read_waits_for_write:
            if not self._is_writing:
                self._is_writing = True
                self.host.loop.add_writer(self._socket, self._writable)
            return False
        if wanted and tls.pending():
            self.host.loop.call_soon(self._read_pending)
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
        self._unsent.extend(buffers)
        for buffer in buffers:
            self._unsent_bytes += len(buffer) if type(buffer) is bytes else memoryview(buffer).nbytes

    def flush(self) -> None:
        """Send what can be sent now, and read on where that made room."""
        if self._unsent and not self._is_writing:
            self._flush()
        if self._ends and not self._unsent and not self._open:
            self.close("done")
        elif not self._is_reading and not self._is_corked:
            self.read_on()

    def _flush(self) -> None:
        unsent = self._unsent
        self._handled = 0
        try:
            while unsent:
                pieces = list(unsent) if len(unsent) <= SEND_BUFFERS_MAX else [
                    unsent[i] for i in range(SEND_BUFFERS_MAX)
                ]  # fmt: skip
                self._sent(self._socket.sendmsg(pieces))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self.close(f"sending failed: {error}")
            return
        waits = bool(unsent) or (self._tls is not None and self._tls.read_waits_for_write)
        if waits != self._is_writing:
            self._is_writing = waits
            if waits:
                self.host.loop.add_writer(self._socket, self._writable)
            else:
                self.host.loop.remove_writer(self._socket)
        if self._ends and not unsent and not self._open:
            self.close("done")

    def _sent(self, count: int) -> None:
        self.last_sent = self.host.loop.time()
        self._unsent_bytes -= count
        self.host.traffic.sent_bytes += count
        unsent = self._unsent
        while count:
            head = memoryview(unsent[0])
            if head.nbytes > count:
                unsent[0] = head.cast("B")[count:]
                return
            count -= head.nbytes
            unsent.popleft()
        while unsent and not memoryview(unsent[0]).nbytes:
            unsent.popleft()

    def _writable(self) -> None:
        if self._tls is not None:
            self._tls.read_waits_for_write = False
        self._flush()
        if not self._is_writing and not self.closed:
            self.flush()

    # -- end ------------------------------------------------------------------------------------------------

    def finish_and_close(self) -> None:
        """Read no more, and close when everything that came in is answered and sent."""
        self._ends = True
        self._read_if_room()
        if not self._open and not self._unsent:
            self.close("done")

    def close(self, reason: str, level: int = logging.DEBUG) -> None:
        """Close at once; open requests are told, their answers go nowhere."""
        if self.closed:
            return
        self.closed = self._ends = True
        _log.log(level, "%s: closed: %s", self.peer, reason)
        if self._is_reading:
            self.host.loop.remove_reader(self._socket)
        if self._is_writing:
            self.host.loop.remove_writer(self._socket)
        self._socket.close()
        self._unsent.clear()
        for call in self._open:
            self.host.release(call.size_bytes)
            if call.on_lost is not None:
                call.on_lost()
        self._open.clear()
        self.host.lost(self)
