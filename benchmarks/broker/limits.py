"""Servers that do nothing but what no broker can do without: receive the frames, or send the file.

Each runs in a process of its own, as a broker does, and is spoken to by the same client. `Limit` is what the benchmark
holds of one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import socket
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import IO

from benchmarks.broker import frames, raw

_SPAWN = multiprocessing.get_context("spawn")


class Limit:
    """A running server; a context manager."""

    def __init__(self, work: Acknowledge | SendFile) -> None:
        """`work` is sent to the other process, and begins there."""
        here, there = _SPAWN.Pipe()
        self._pipe = here
        self._process = _SPAWN.Process(target=_serve, args=(there, work), daemon=True)
        self._process.start()
        there.close()
        self.address: tuple[str, int] = ("127.0.0.1", here.recv())

    def __enter__(self) -> Limit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join()


class Acknowledge:
    """Receives frames and answers each with the same bytes (none for an empty answer)."""

    def __init__(self, answer: bytes, *, writes: bool = False) -> None:
        """`writes`: what comes goes into the page cache first, each connection's into a file of its own."""
        self.answer = answer
        self.writes = writes

    def begin(self) -> Callable[[int], None]:
        """What serves one connection until it closes."""
        answers = self.answer * 64 or b"\0"

        def serve(fd: int) -> None:
            with tempfile.TemporaryFile() if self.writes else contextlib.nullcontext() as file:
                raw.loops().acknowledge(fd, answers, len(self.answer), -1 if file is None else file.fileno())

        return serve


class SendFile:
    """Answers each fetch with the next MiB of a log, by sendfile(2); each connection reads a log of its own."""

    def __init__(self, topic: str, batch: frames.Batch, log_bytes: int, *, logs: int) -> None:
        """`logs` of `log_bytes` each: one that all read would lie in the processor's cache for all but the first."""
        self.logs = logs
        self.topic = topic
        self.batch = batch
        self.chunk_bytes = raw.FETCH_BYTES // len(batch.data) * len(batch.data)
        self.log_bytes = log_bytes // self.chunk_bytes * self.chunk_bytes
        self.records = self.log_bytes // len(batch.data) * batch.records

    def begin(self) -> Callable[[int], None]:
        """What serves one connection until it closes; the logs lie in the page cache."""
        head = frames.fetched_head(self.topic, 0, self.chunk_bytes)
        request_bytes = len(frames.fetch(self.topic, 0, raw.FETCH_BYTES).frame)
        unread: queue.Queue[IO[bytes]] = queue.Queue()
        for _ in range(self.logs):
            file = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process lives)
            # As a broker appends, for the page cache is laid out by it.
            for batch in frames.log_of(self.batch, self.log_bytes):
                file.write(batch)
            file.flush()
            unread.put(file)

        def serve(fd: int) -> None:
            own = unread.get()
            try:
                raw.loops().send_file(fd, own.fileno(), head, self.chunk_bytes, self.log_bytes, request_bytes)
            finally:
                unread.put(own)

        return serve


def _serve(pipe: Connection, work: Acknowledge | SendFile) -> None:
    """The other process: a thread for each connection, until the pipe closes."""
    answer = work.begin()
    listener = socket.create_server(("127.0.0.1", 0))
    with contextlib.suppress(OSError, AttributeError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, raw.CONGESTION)
    pipe.send(listener.getsockname()[1])

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=one, args=(sock,), daemon=True).start()

    def one(sock: socket.socket) -> None:
        with sock:
            answer(sock.fileno())

    threading.Thread(target=accept, daemon=True).start()
    with contextlib.suppress(EOFError):
        pipe.recv()
    os._exit(0)  # threads wait in accept and recv, which nothing else ends
