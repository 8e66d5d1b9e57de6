"""librdkafka, through confluent-kafka, against a broker in this process."""

from __future__ import annotations

from typing import Any

import pytest

from kstore.testing.cluster import Cluster

confluent_kafka = pytest.importorskip("confluent_kafka")

pytestmark = [
    pytest.mark.clients,
    # Sockets that client libraries leave to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

RECORDS = 2000
TIMEOUT_S = 30.0


def produce_all(bootstrap: str, topic: str, values: list[bytes], **config: Any) -> None:
    failures: list[Any] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "linger.ms": 2, **config})
    for value in values:
        producer.produce(topic, value, key=value[-2:], on_delivery=lambda e, _: failures.append(e) if e else None)
        producer.poll(0)
    assert producer.flush(TIMEOUT_S) == 0
    assert failures == []


def consume_all(bootstrap: str, topic: str, count: int, **config: Any) -> list[bytes]:
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, **config}
    )
    try:
        partitions = consumer.list_topics(topic, TIMEOUT_S).topics[topic].partitions
        consumer.assign(
            [confluent_kafka.TopicPartition(topic, index, confluent_kafka.OFFSET_BEGINNING) for index in partitions]
        )
        found: list[bytes] = []
        while len(found) < count:
            messages = consumer.consume(1000, TIMEOUT_S)
            assert messages, f"{len(found)} of {count} records came"
            for message in messages:
                assert message.error() is None
                found.append(message.value())
        return found
    finally:
        consumer.close()


@pytest.mark.parametrize("acks", ["0", "1", "all"])
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_produce_and_consume(clients_cluster: Cluster, acks: str, codec: str) -> None:
    topic = f"topic-{acks}-{codec}"
    values = [b"value %06d" % number for number in range(RECORDS)]
    produce_all(clients_cluster.bootstrap, topic, values, acks=acks, **{"compression.type": codec})
    assert sorted(consume_all(clients_cluster.bootstrap, topic, RECORDS)) == values


def test_idempotence_across_a_restart(clients_cluster: Cluster) -> None:
    bootstrap = clients_cluster.bootstrap
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 1, "reconnect.backoff.max.ms": 100}
    )
    failures: list[Any] = []
    for number in range(RECORDS):
        producer.produce("exact", b"%d" % number, on_delivery=lambda e, _: failures.append(e) if e else None)
        producer.poll(0)
        if number == RECORDS // 2:
            producer.poll(0.05)
            clients_cluster.restart()
    assert producer.flush(TIMEOUT_S) == 0
    assert failures == []
    found = consume_all(bootstrap, "exact", RECORDS)
    assert found == [b"%d" % number for number in range(RECORDS)]
