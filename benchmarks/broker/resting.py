"""Section `rest`: what a broker costs that does nothing: its start, its memory, parked consumers, idle partitions."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping

from benchmarks.broker import frames, raw
from benchmarks.broker.results import LESS, Row
from benchmarks.broker.run import Run
from benchmarks.broker.servers import Server

SECTION = "rest"
PARKED = 1000
PARTITIONS = 2000
LOOK_S = 5.0
SETTLE_S = 3.0
IDLE_CPU_GOAL = 0.01
"""Of one core: the resolution of the clock that the kernel keeps for a process, over the time of a look."""


def measure(run: Run) -> None:
    """Before anything else, for memory and start; then with company. All brokers rest at the same time."""
    everybody = run.both()
    _row(run, "start to listening", "s", {name: server.start_s for name, server in everybody.items()}, goal=1 / 20)
    _row(run, "memory when idle", "MB", _memory(everybody), limit=50.0)
    _row(run, "processor when idle", "cores", _busy(run, everybody))
    parked = PARKED // 10 if run.quick else PARKED
    for max_wait_ms, wait in ((60_000, "a minute"), (500, "half a second")):
        with contextlib.ExitStack() as stack:
            for server in everybody.values():
                topic = stack.enter_context(server.topic(run.topic_name()))
                stack.enter_context(_parked(server, topic, parked, max_wait_ms))
            busy = _busy(run, everybody)
        _row(
            run, f"processor with {parked} consumers that wait {wait} at a time", "cores", busy,
            limit=IDLE_CPU_GOAL if max_wait_ms > 500 else None,
        )  # fmt: skip
    partitions = PARTITIONS // 10 if run.quick else PARTITIONS
    with contextlib.ExitStack() as stack:
        for server in everybody.values():
            stack.enter_context(server.topic(run.topic_name(), partitions))
        busy, memory = _busy(run, everybody), _memory(everybody)
    _row(run, f"processor with {partitions} partitions", "cores", busy, limit=IDLE_CPU_GOAL)
    _row(run, f"memory with {partitions} partitions", "MB", memory)


def _memory(servers: Mapping[str, Server]) -> dict[str, float]:
    return {name: server.resident_bytes() / 1e6 for name, server in servers.items()}


def _row(
    run: Run, what: str, unit: str, values: dict[str, float], *, goal: float | None = None, limit: float | None = None
) -> None:
    run.add(
        Row(
            SECTION, what, unit, better=LESS,
            kstore=[values["kstore"]], kafka=[values["kafka"]] if "kafka" in values else [], kafka_goal=goal,
            limit=[] if limit is None else [limit], limit_name="at most", limit_goal=None if limit is None else 1,
        )
    )  # fmt: skip


def _busy(run: Run, servers: Mapping[str, Server]) -> dict[str, float]:
    """Cores that each takes while nobody asks it anything, once it has settled."""
    time.sleep(SETTLE_S / 4 if run.quick else SETTLE_S)
    before, begun = {name: server.processor_s() for name, server in servers.items()}, time.perf_counter()
    time.sleep(LOOK_S / 5 if run.quick else LOOK_S)
    took_s = time.perf_counter() - begun
    return {name: (server.processor_s() - before[name]) / took_s for name, server in servers.items()}


@contextlib.contextmanager
def _parked(server: Server, topic: str, count: int, max_wait_ms: int) -> Iterator[None]:
    """Consumers at the end of an empty partition, each waiting for a record; asking again as often as they are told."""
    request = bytearray(frames.fetch(topic, 0, raw.FETCH_BYTES, max_wait_ms=max_wait_ms).frame)
    at = frames.fetch(topic, 0, raw.FETCH_BYTES).offset_at
    request[at : at + 8] = bytes(8)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(server.address)) for _ in range(count)]
        asking = raw.Asking(socks, bytes(request))
        stack.callback(asking.stop)
        yield
