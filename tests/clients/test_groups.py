"""Groups of real clients: members that come and go, commits that outlive a restart, with each client library."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from clients.test_confluent import TIMEOUT_S, produce_all
from kstore.testing.cluster import Cluster

confluent_kafka = pytest.importorskip("confluent_kafka")

pytestmark = [
    pytest.mark.clients,
    # Sockets that client libraries leave to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

PARTITIONS = 4
RECORDS = 400


@pytest.fixture
def topic(clients_cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """A topic of four partitions with 400 records."""
    name = f"groups-{request.node.name.replace('[', '-').replace(']', '')}"
    clients_cluster.broker.cluster.create_topic(name, PARTITIONS, 1, {}, validate_only=False)
    produce_all(clients_cluster.bootstrap, name, [b"%03d" % number for number in range(RECORDS)])
    return name


def until(is_done: Callable[[], bool], step: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not is_done():
        assert time.monotonic() < end, "not in time"
        step()


def confluent_consumer(bootstrap: str, group: str, **config: Any) -> Any:
    return confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **config,
        }
    )


@pytest.mark.parametrize(
    "config",
    [
        {"partition.assignment.strategy": "range"},
        {"partition.assignment.strategy": "roundrobin"},
        {"partition.assignment.strategy": "cooperative-sticky"},
        {"group.protocol": "consumer"},
        {"partition.assignment.strategy": "range", "group.instance.id": "static"},
    ],
    ids=["range", "roundrobin", "cooperative", "consumer", "static"],
)
def test_three_members_come_and_go(clients_cluster: Cluster, topic: str, config: dict[str, Any]) -> None:
    members = []
    found: set[bytes] = set()

    def poll() -> None:
        for member in members:
            for message in member.consume(100, 0.05):
                assert message.error() is None
                found.add(message.value())

    def owned() -> list[int]:
        return sorted(one.partition for member in members for one in member.assignment())

    for number in range(3):
        own = {**config, **({"group.instance.id": f"i{number}"} if "group.instance.id" in config else {})}
        member = confluent_consumer(clients_cluster.bootstrap, topic, **own)
        member.subscribe([topic])
        members.append(member)
        until(lambda: owned() == list(range(PARTITIONS)) and all(one.assignment() for one in members), poll)
    until(lambda: len(found) == RECORDS, poll)
    produce_all(clients_cluster.bootstrap, topic, [b"more %02d" % number for number in range(100)])
    until(lambda: len(found) == RECORDS + 100, poll)  # each member has read something since the last of them came
    members[0].commit(asynchronous=False)
    members.pop().close()
    if "group.instance.id" not in config:
        until(lambda: owned() == list(range(PARTITIONS)), poll)
    for member in members:
        member.close()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_commit_restart_resume(clients_cluster: Cluster, topic: str, protocol: str) -> None:
    def open_one() -> Any:
        consumer = confluent_consumer(clients_cluster.bootstrap, topic, **{"group.protocol": protocol})
        consumer.subscribe([topic])
        return consumer

    consumer = open_one()
    first: list[bytes] = []
    while len(first) < RECORDS // 2:
        messages = consumer.consume(RECORDS // 2 - len(first), TIMEOUT_S)
        assert messages
        first.extend(message.value() for message in messages)
    consumer.commit(asynchronous=False)
    consumer.close()
    clients_cluster.restart()
    rest: list[bytes] = []
    consumer = open_one()
    until(lambda: len(rest) >= RECORDS // 2, lambda: rest.extend(m.value() for m in consumer.consume(100, 0.2)))
    assert sorted(first + rest) == [b"%03d" % number for number in range(RECORDS)]
    consumer.commit(asynchronous=False)
    clients_cluster.restart()
    produce_all(clients_cluster.bootstrap, topic, [b"last"])
    last: list[bytes] = []
    until(lambda: bool(last), lambda: last.extend(m.value() for m in consumer.consume(100, 0.2) if not m.error()))
    assert last == [b"last"], "the member went on over the restart, and read nothing twice"
    consumer.commit(asynchronous=False)
    consumer.close()


def test_kafka_python(clients_cluster: Cluster, topic: str) -> None:
    kafka = pytest.importorskip("kafka")
    producer = kafka.KafkaProducer(bootstrap_servers=clients_cluster.bootstrap, acks="all")
    futures = [producer.send(topic, b"more %d" % number) for number in range(100)]
    offsets = [future.get(TIMEOUT_S) for future in futures]
    producer.close()
    assert all(one.offset >= 0 for one in offsets)
    consumers = [
        kafka.KafkaConsumer(
            topic,
            bootstrap_servers=clients_cluster.bootstrap,
            group_id=f"{topic}-python",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        for _ in range(2)
    ]
    for consumer in consumers:  # a leader that knows no partitions yet would assign none, and not look again
        consumer.partitions_for_topic(topic)
    found: list[bytes] = []

    def poll() -> None:
        for consumer in consumers:
            for records in consumer.poll(timeout_ms=100).values():
                found.extend(record.value for record in records)

    def commits() -> bool:
        try:
            consumers[0].commit()
        except kafka.errors.RebalanceInProgressError:  # raised by the client itself: poll, then commit again
            return False
        return True

    until(lambda: len(set(found)) == RECORDS + 100, poll)
    until(lambda: all(consumer.assignment() for consumer in consumers), poll)
    until(commits, poll)
    partitions = [kafka.TopicPartition(topic, index) for index in range(PARTITIONS)]
    assert sum(consumers[0].end_offsets(partitions).values()) == RECORDS + 100
    assert any(consumers[0].committed(partition) for partition in partitions)
    for consumer in consumers:
        consumer.close()


def test_aiokafka(clients_cluster: Cluster, topic: str) -> None:
    aiokafka = pytest.importorskip("aiokafka")

    async def run() -> None:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=clients_cluster.bootstrap, enable_idempotence=True, compression_type="gzip"
        )
        await producer.start()
        for number in range(100):
            await producer.send(topic, b"more %d" % number)
        await producer.stop()
        consumer = aiokafka.AIOKafkaConsumer(
            topic,
            bootstrap_servers=clients_cluster.bootstrap,
            group_id=f"{topic}-aio",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        found: list[bytes] = []
        while len(found) < RECORDS + 100:
            batches = await asyncio.wait_for(consumer.getmany(timeout_ms=1000), TIMEOUT_S)
            found.extend(record.value for records in batches.values() for record in records)
        await consumer.commit()
        partition = aiokafka.TopicPartition(topic, 0)
        assert await consumer.committed(partition) == (await consumer.end_offsets([partition]))[partition]
        await consumer.stop()
        assert len(set(found)) == RECORDS + 100

    asyncio.run(run())
