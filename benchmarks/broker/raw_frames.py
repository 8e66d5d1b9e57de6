"""Section `raw`: pre-encoded frames over one connection and over four, against bare loopback and sendfile(2)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.broker import frames, raw, results
from benchmarks.broker.limits import Acknowledge, Limit, SendFile
from benchmarks.broker.results import Row
from benchmarks.broker.run import FSYNC, PAGE_CACHE, Run
from benchmarks.broker.servers import Server

SECTION = "raw"
RECORD_BYTES = 100
LOG_BYTES = 96 << 20
"""What a round writes and reads: more would be memory that the host has to back first."""


class Case(NamedTuple):
    """One kind of request."""

    name: str
    batch_bytes: int
    depth: int
    connections: int
    acks: int
    durable: bool
    kafka_goal: float | None
    limit_goal: float | None
    requests: int
    fetches: bool = False
    """Whether the log is fetched back for rows of its own."""


KIB_64, MB_1, KIB_1 = 1 << 16, 1_000_000, 1 << 10
CASES = (
    Case("64 KiB batches", KIB_64, 8, 1, 1, False, 8, 0.35, 1500, True),
    Case("64 KiB batches", KIB_64, 8, 4, 1, False, 8, 0.35, 1500, True),
    Case("64 KiB batches", KIB_64, 8, 1, -1, False, 8, 0.35, 1500),
    Case("64 KiB batches", KIB_64, 8, 1, -1, True, 8, None, 800),
    Case("64 KiB batches", KIB_64, 8, 4, -1, True, 8, None, 800),
    Case("1 MB batches", MB_1, 4, 1, 1, False, None, 0.35, 96),
    Case("1 KiB batches", KIB_1, 16, 1, 1, False, 10, None, 20_000, True),
    Case("1 KiB batches", KIB_1, 16, 4, 1, False, 10, None, 20_000),
    Case("1 KiB batches", KIB_1, 16, 1, -1, True, 10, None, 2_000),
)


def measure(run: Run) -> None:
    """Every case."""
    for case in CASES:
        _case(run, case._replace(requests=max(4 * case.depth, case.requests // 10)) if run.quick else case)


def _case(run: Run, case: Case) -> None:
    batch = frames.batch(case.batch_bytes, RECORD_BYTES)
    answer = frames.produce(run.topic_name(), 0, batch.data, case.acks).answer
    cpu: dict[str, list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        receiver = stack.enter_context(Limit(Acknowledge(answer)))
        writer = stack.enter_context(Limit(Acknowledge(answer, writes=True)))
        log_bytes = (LOG_BYTES // 4 if run.quick else LOG_BYTES) // case.connections
        sender = SendFile(run.topic_name(), batch, log_bytes, logs=case.connections)
        contestants: dict[str, Callable[[], tuple[float, float]]] = {
            "limit": lambda: (_produce(run, receiver.address, run.topic_name(), batch, case), 0.0),
            "written": lambda: (_produce(run, writer.address, run.topic_name(), batch, case), 0.0),
        }
        if case.fetches:
            address = stack.enter_context(Limit(sender)).address
            contestants["limit"] = lambda: (
                _produce(run, receiver.address, run.topic_name(), batch, case),
                _fetch(run, address, sender.topic, case, sender.records),
            )
        for name, (server, config) in run.servers(durable=case.durable, acks=case.acks).items():
            taken = cpu[name] = []
            contestants[name] = lambda s=server, c=config, t=taken: _served(run, s, c, batch, case, t)
        found = run.turns(contestants)
    _rows(run, case, batch, found, cpu)


def _served(
    run: Run, server: Server, config: dict[str, str], batch: frames.Batch, case: Case, cpu: list[tuple[float, float]]
) -> tuple[float, float]:
    """Bytes per second of producing and of fetching, from and into a new topic."""
    with server.topic(run.topic_name(), case.connections, config) as topic:
        before = server.processor_s()
        produced = _produce(run, server.address, topic, batch, case)
        between = server.processor_s()
        fetched = 0.0
        if case.fetches:
            fetched = _fetch(run, server.address, topic, case, case.requests // case.connections * batch.records)
        cpu.append((between - before, server.processor_s() - between))
    return produced, fetched


def _produce(run: Run, address: tuple[str, int], topic: str, batch: frames.Batch, case: Case) -> float:
    took_s = run.client(
        raw.produce, address, topic, batch, connections=case.connections, requests=case.requests, depth=case.depth,
        acks=case.acks,
    )  # fmt: skip
    return case.requests * len(batch.data) / took_s


def _fetch(run: Run, address: tuple[str, int], topic: str, case: Case, records: int) -> float:
    took_s, size_bytes = run.client(raw.fetch, address, topic, connections=case.connections, records=records)
    return size_bytes / took_s


def _rows(
    run: Run,
    case: Case,
    batch: frames.Batch,
    found: dict[str, list[tuple[float, float]]],
    cpu: dict[str, list[tuple[float, float]]],
) -> None:
    on = f"{case.connections} connection{'s' * (case.connections > 1)}"
    acks = "all" if case.acks == -1 else case.acks
    small = case.batch_bytes == KIB_1
    scale, unit = (1 / len(batch.data), "/s") if small else (1e-6, "MB/s")
    work = case.requests * len(batch.data)
    written = [produced * scale for produced, _ in found["written"]]
    run.add(
        Row(
            SECTION, f"produce {case.name}, depth {case.depth}, acks={acks}, {on}", unit,
            kstore=[produced * scale for produced, _ in found["kstore"]],
            kafka=[produced * scale for produced, _ in found.get("kafka", [])],
            limit=[produced * scale for produced, _ in found["limit"]],
            durability=f"{FSYNC if case.durable else PAGE_CACHE} both", limit_name="loopback",
            kafka_goal=case.kafka_goal, limit_goal=case.limit_goal,
            note="" if case.durable else f"with write(2): {results.amount(written, unit)}",
            cpu={name: sum(one for one, _ in taken) / len(taken) / work * 1e9 for name, taken in cpu.items()},
        )
    )  # fmt: skip
    if case.fetches:
        run.add(
            Row(
                SECTION, f"fetch 1 MiB of {case.name}, {on}", "MB/s",
                kstore=[fetched / 1e6 for _, fetched in found["kstore"]],
                kafka=[fetched / 1e6 for _, fetched in found.get("kafka", [])],
                limit=[fetched / 1e6 for _, fetched in found["limit"]],
                limit_name="sendfile", kafka_goal=3, limit_goal=0.7,
                cpu={name: sum(one for _, one in taken) / len(taken) / work * 1e9 for name, taken in cpu.items()},
            )
        )  # fmt: skip
