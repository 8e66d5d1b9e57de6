"""The raw client: frames over sockets by the loops in C. Its functions run in a process of their own.

Owns the client's sockets. What is sent was encoded before the clock starts; what comes is looked at as far as it takes
to find an error or the next offset.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

from benchmarks.broker import frames
from benchmarks.support.native import built

FETCH_BYTES = 1 << 20
TIMEOUT_S = 60
CONGESTION = b"reno"
"""The default of some systems, bbr, paces even the loopback device. Unprivileged users may take reno everywhere."""


def loops() -> ModuleType:
    """The loops in C; raises RuntimeError where they cannot be built."""
    module = built(Path(__file__).with_name("loops.pyx"))
    if isinstance(module, str):
        raise RuntimeError(module)
    return module


def connect(address: tuple[str, int]) -> socket.socket:
    """A blocking socket that gives up after a minute."""
    sock = socket.create_connection(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", TIMEOUT_S, 0))
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)
    return sock


def produce(
    address: tuple[str, int], topic: str, batch: frames.Batch, *, connections: int, requests: int, depth: int, acks: int
) -> float:
    """Seconds for `requests` batches in all, each connection into its own partition of the topic."""
    native = loops()
    each = requests // connections
    one = [frames.produce(topic, index, batch.data, acks) for index in range(connections)]

    def run(sock: socket.socket, index: int) -> None:
        native.produce(sock.fileno(), one[index].frame, each, depth if acks else 0, one[index].error_at)

    return _timed(address, connections, run)


def fetch(address: tuple[str, int], topic: str, *, connections: int, records: int) -> tuple[float, int]:
    """Seconds and bytes for reading `records` from the start of each partition, one for each connection."""
    native = loops()
    one = [frames.fetch(topic, index, FETCH_BYTES) for index in range(connections)]
    got = [0] * connections
    buffers = [bytearray(FETCH_BYTES + (1 << 16)) for _ in range(connections)]

    def run(sock: socket.socket, index: int) -> None:
        frame, offset_at, records_at = one[index]
        request = bytearray(frame)
        got[index] = native.fetch(sock.fileno(), request, offset_at, 0, records, records_at, buffers[index])

    return _timed(address, connections, run), sum(got)


def _timed(address: tuple[str, int], connections: int, run: Callable[[socket.socket, int], None]) -> float:
    """Seconds from the moment at which all connections stand until the last one is done."""
    ready = threading.Barrier(connections + 1)
    failures: list[BaseException] = []

    def work(sock: socket.socket, index: int) -> None:
        try:
            ready.wait()
            run(sock, index)
        except BaseException as error:
            failures.append(error)

    with _sockets(address, connections) as socks:
        threads = [threading.Thread(target=work, args=(sock, index)) for index, sock in enumerate(socks)]
        for thread in threads:
            thread.start()
        ready.wait()
        begun = time.perf_counter()
        for thread in threads:
            thread.join()
        took_s = time.perf_counter() - begun
    if failures:
        raise failures[0]
    return took_s


@contextlib.contextmanager
def _sockets(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(address)) for _ in range(count)]


class Asking:
    """Sends a request over each socket, and again whenever its answer came, on a thread until `stop`."""

    def __init__(self, socks: Sequence[socket.socket], request: bytes) -> None:
        self._selector = selectors.DefaultSelector()
        self._stopping = threading.Event()
        self._request = request
        for sock in socks:
            self._selector.register(sock, selectors.EVENT_READ)
            sock.sendall(request)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(0.05):
                sock: socket.socket = key.fileobj  # type: ignore[assignment]
                if not sock.recv(1 << 16):
                    return
                sock.sendall(self._request)

    def stop(self) -> None:
        """Ask no more; the sockets stay open."""
        self._stopping.set()
        self._thread.join()
        self._selector.close()
