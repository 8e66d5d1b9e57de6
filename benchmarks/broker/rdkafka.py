"""The client that Python's users have: librdkafka through confluent-kafka. Its functions run in the clients' process.

Each call makes a client of its own. Settings are the same for every broker; they let the client gather large batches,
as those who want throughput set them.
"""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

FLUSH_S = 120
ROUND_TRIP_WARM_UP = 50
PRODUCER = {
    "linger.ms": 5,
    "batch.size": 1_000_000,
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 1_048_576,
    "message.timeout.ms": 60_000,
}
CONSUMER = {
    "group.id": "bench",
    "enable.auto.commit": False,
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 262_144,
    "queued.min.messages": 1_000_000,
}


def produce(bootstrap: str, topic: str, *, acks: str, records: int, record_bytes: int) -> float:
    """Records per second, from the first produce() to the last delivery report."""
    return _produce(Producer({**PRODUCER, "bootstrap.servers": bootstrap, "acks": acks}), topic, records, record_bytes)


def produce_to_mock(topic: str, *, acks: str, records: int, record_bytes: int) -> float:
    """The same against the broker that librdkafka brings for its own tests: nothing is stored, in the same process."""
    settings = {**PRODUCER, "bootstrap.servers": "mock", "test.mock.num.brokers": 1, "acks": acks, "log_level": 3}
    return _produce(Producer(settings), topic, records, record_bytes)


def _produce(producer: Any, topic: str, records: int, record_bytes: int) -> float:
    value = bytes(range(256)) * (record_bytes // 256 + 1)
    value = value[:record_bytes]
    failures: list[Any] = []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(error)

    producer.list_topics(topic, 30)  # connected, and the leader known, before the clock starts
    begun = time.perf_counter()
    for number in range(records):
        while True:
            try:
                producer.produce(topic, value, partition=0, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.05)
        if not number & 0x3FF:
            producer.poll(0)
    left = producer.flush(FLUSH_S)
    took_s = time.perf_counter() - begun
    if failures or left:
        raise RuntimeError(f"{len(failures)} records failed, {left} are undelivered: {failures[:1]}")
    return records / took_s


def consume(bootstrap: str, topic: str, *, records: int) -> float:
    """Records per second, from the assignment to the last record."""
    consumer = Consumer({**CONSUMER, "bootstrap.servers": bootstrap})
    try:
        consumer.list_topics(topic, 30)
        begun = time.perf_counter()
        consumer.assign([TopicPartition(topic, 0, 0)])
        seen = 0
        while seen < records:
            messages = consumer.consume(min(10_000, records - seen), 10)
            if not messages:
                raise RuntimeError(f"{seen} of {records} records came")
            seen += len(messages)
        return records / (time.perf_counter() - begun)
    finally:
        consumer.close()


def round_trip(bootstrap: str, topic: str, *, acks: str, times: int) -> list[float]:
    """Milliseconds from produce() to the record at a consumer that waits for it, one record after the other, sorted."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": acks, "linger.ms": 0})
    consumer = Consumer({**CONSUMER, "bootstrap.servers": bootstrap, "fetch.wait.max.ms": 500})
    took_ms = []
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        for number in range(times + ROUND_TRIP_WARM_UP):
            begun = time.perf_counter()
            producer.produce(topic, b"x" * 100, partition=0)
            if producer.flush(30):
                raise RuntimeError("a record is undelivered")
            message = consumer.poll(30)
            if message is None or message.error() is not None:
                raise RuntimeError(f"a record did not come: {message and message.error()}")
            if number >= ROUND_TRIP_WARM_UP:
                took_ms.append((time.perf_counter() - begun) * 1e3)
    finally:
        consumer.close()
    return sorted(took_ms)
