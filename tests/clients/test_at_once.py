"""Producers and consumers that move much at the same time, so that the broker serves them by more than one loop."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from clients.test_confluent import TIMEOUT_S
from kstore.testing.cluster import Cluster

confluent_kafka = pytest.importorskip("confluent_kafka")

pytestmark = pytest.mark.clients

CLIENTS = 4
RECORDS = 6_000
BATCHES = {"linger.ms": 20, "batch.size": 1_000_000, "queue.buffering.max.messages": RECORDS}


def produce(bootstrap: str, number: int, config: dict[str, Any]) -> None:
    """Records that tell whose they are, how many came before, and are of all sizes up to 4 KiB."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, **BATCHES, **config})
    failures: list[Any] = []

    def on_delivery(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(error)

    for count in range(RECORDS):
        value = b"%d %d " % (number, count) + bytes(count % 4096)
        while True:
            try:
                producer.produce("t", value, partition=number, on_delivery=on_delivery)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    assert producer.flush(TIMEOUT_S) == 0
    assert failures == []


def consume(bootstrap: str, number: int, found: dict[int, list[int]], sizes_are_right: list[bool]) -> None:
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "g", "fetch.wait.max.ms": 50, "enable.auto.commit": False}
    )
    consumer.assign([confluent_kafka.TopicPartition("t", number, 0)])
    end = time.monotonic() + 2 * TIMEOUT_S
    while len(found[number]) < RECORDS and time.monotonic() < end:
        for message in consumer.consume(10_000, 0.2):
            assert message.error() is None, message.error()
            value = message.value()
            whose, count, rest = value.split(b" ", 2)
            sizes_are_right.append(int(whose) == number and len(rest) == int(count) % 4096 and not rest.strip(b"\0"))
            found[number].append(int(count))
    consumer.close()


def together(*work: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize(
    "config",
    [
        {"acks": "1"},
        {"acks": "all", "enable.idempotence": True},
        {"acks": "1", "compression.type": "lz4", "batch.num.messages": 500},
    ],
    ids=["plain", "idempotent", "lz4"],
)
def test_each_record_comes_once_and_in_order(config: dict[str, Any]) -> None:
    found: dict[int, list[int]] = defaultdict(list)
    right: list[bool] = []
    with Cluster() as cluster:
        cluster.broker.cluster.create_topic("t", CLIENTS, 1, {}, validate_only=False)
        bootstrap = cluster.bootstrap
        together(
            *(lambda n=n: produce(bootstrap, n, config) for n in range(CLIENTS)),
            *(lambda n=n: consume(bootstrap, n, found, right) for n in range(CLIENTS)),
        )
        loops = len(cluster.broker.network)
        again: dict[int, list[int]] = defaultdict(list)
        together(*(lambda n=n: consume(bootstrap, n, again, right) for n in range(CLIENTS)))
    assert all(right)
    if "compression.type" not in config:
        assert loops == min(3, len(os.sched_getaffinity(0)))
    assert found == again == {number: list(range(RECORDS)) for number in range(CLIENTS)}
