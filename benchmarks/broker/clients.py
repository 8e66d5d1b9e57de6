"""Section `librdkafka`: produce and consume with the client that people have; one record there and back."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.broker import rdkafka
from benchmarks.broker.results import LESS, Row
from benchmarks.broker.run import FSYNC, PAGE_CACHE, Run
from benchmarks.broker.servers import Server

SECTION = "librdkafka"
RECORDS = {100: 400_000, 1024: 80_000}
ROUND_TRIPS = 400
CASES = (("0", False), ("1", False), ("all", False), ("all", True))
"""acks, and whether both brokers answer after fsync."""


def measure(run: Run) -> None:
    """Every size, acks and durability; then consuming; then one record there and back."""
    for record_bytes, records in RECORDS.items():
        count = records // 20 if run.quick else records
        for acks, durable in CASES:
            _produce(run, record_bytes, count, acks, durable)
        _consume(run, record_bytes, count)
    for durable in (False, True):
        _round_trip(run, durable)


def _produce(run: Run, record_bytes: int, records: int, acks: str, durable: bool) -> None:
    named = {"acks": acks, "records": records, "record_bytes": record_bytes}
    cpu: dict[str, list[float]] = {}

    def served(server: Server, config: dict[str, str], taken: list[float]) -> float:
        with server.topic(run.topic_name(), 1, config) as topic:
            before = server.processor_s()
            rate = run.client(rdkafka.produce, server.bootstrap, topic, **named)
            taken.append(server.processor_s() - before)
            return rate

    contestants: dict[str, Callable[[], float]] = {
        "mock": lambda: run.client(rdkafka.produce_to_mock, run.topic_name(), **named)
    }
    for name, (server, config) in run.servers(durable=durable, acks=-1 if acks == "all" else 1).items():
        taken = cpu[name] = []
        contestants[name] = lambda s=server, c=config, t=taken: served(s, c, t)
    found = run.turns(contestants)
    run.add(
        Row(
            SECTION, f"produce {record_bytes} B, acks={acks}", "/s",
            kstore=found["kstore"], kafka=found.get("kafka", []), limit=found["mock"], limit_name="mock",
            durability=f"{FSYNC if durable else PAGE_CACHE} both", kafka_goal=1, limit_goal=None if durable else 0.9,
            cpu={name: sum(taken) / len(taken) / records for name, taken in cpu.items()},
        )
    )  # fmt: skip


def _consume(run: Run, record_bytes: int, records: int) -> None:
    contestants: dict[str, Callable[[], float]] = {}
    with run.topics(run.servers(durable=False, acks=1)) as topics:
        for name, (server, topic) in topics.items():
            produced = {"acks": "1", "records": records, "record_bytes": record_bytes}
            run.client(rdkafka.produce, server.bootstrap, topic, **produced)
            contestants[name] = lambda s=server, t=topic: run.client(rdkafka.consume, s.bootstrap, t, records=records)
        found = run.turns(contestants)
    run.add(
        Row(
            SECTION, f"consume {record_bytes} B", "/s",
            kstore=found["kstore"], kafka=found.get("kafka", []), kafka_goal=1,
        )
    )  # fmt: skip


def _round_trip(run: Run, durable: bool) -> None:
    times = ROUND_TRIPS // 4 if run.quick else ROUND_TRIPS
    contestants: dict[str, Callable[[], list[float]]] = {}
    with run.topics(run.servers(durable=durable, acks=-1)) as topics:
        for name, (server, topic) in topics.items():
            contestants[name] = lambda s=server, t=topic: run.client(
                rdkafka.round_trip, s.bootstrap, t, acks="all", times=times
            )
        found = run.turns(contestants)
    for what, share, goal in (("p50", 0.5, 0.5), ("p99", 0.99, 0.3)):
        by_name = {name: [one[int(len(one) * share)] for one in rounds] for name, rounds in found.items()}
        run.add(
            Row(
                SECTION, f"one record there and back, {what}", "ms", better=LESS,
                kstore=by_name["kstore"], kafka=by_name.get("kafka", []), kafka_goal=goal,
                durability=f"{FSYNC if durable else PAGE_CACHE} both",
            )
        )  # fmt: skip
