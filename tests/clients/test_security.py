"""Clients that log in and encrypt: SASL by every mechanism, TLS, both together, and who is kept out."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.test_confluent import TIMEOUT_S
from kstore.testing.cluster import Cluster

confluent_kafka = pytest.importorskip("confluent_kafka")
kafka = pytest.importorskip("kafka")
aiokafka = pytest.importorskip("aiokafka")
admin = pytest.importorskip("confluent_kafka.admin")

pytestmark = [
    pytest.mark.clients,
    # Sockets that client libraries leave to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

FILES = Path(__file__).parents[1] / "fixtures" / "tls"
CA = str(FILES / "ca.pem")
USER, PASSWORD = "alice", "alice's secret"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
PROTOCOLS = ("SASL_PLAINTEXT", "SASL_SSL", "SSL")
WAYS = [(protocol, mechanism) for protocol in PROTOCOLS[:2] for mechanism in MECHANISMS] + [("SSL", "")]
VALUES = [b"%d" % number for number in range(20)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    plain = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    config = {
        "listeners": "PLAINTEXT://127.0.0.1:0,SASL_PLAINTEXT://127.0.0.1:0,SASL_SSL://127.0.0.1:0,SSL://127.0.0.1:0",
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": plain,
        "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
        "ssl.keystore.location": str(FILES / "server.pem"),
    }
    with Cluster(directory=str(tmp_path_factory.mktemp("secure") / "data"), config=config) as one:
        users = admin.AdminClient({"bootstrap.servers": one.listeners["PLAINTEXT"]})
        for mechanism in (admin.ScramMechanism.SCRAM_SHA_256, admin.ScramMechanism.SCRAM_SHA_512):
            how = admin.ScramCredentialInfo(mechanism, 4096)
            (done,) = users.alter_user_scram_credentials(
                [admin.UserScramCredentialUpsertion(USER, how, PASSWORD.encode())]
            ).values()
            done.result(TIMEOUT_S)
        yield one


def of_confluent(cluster: Cluster, protocol: str, mechanism: str, password: str = PASSWORD) -> dict[str, Any]:
    config = {"bootstrap.servers": localhost(cluster, protocol), "security.protocol": protocol, "ssl.ca.location": CA}
    if mechanism:
        config |= {"sasl.mechanism": mechanism, "sasl.username": USER, "sasl.password": password}
    return config


def of_python(cluster: Cluster, protocol: str, mechanism: str, password: str = PASSWORD) -> dict[str, Any]:
    """kafka-python and aiokafka, which took its names over."""
    config: dict[str, Any] = {"bootstrap_servers": localhost(cluster, protocol), "security_protocol": protocol}
    if mechanism:
        config |= {"sasl_mechanism": mechanism, "sasl_plain_username": USER, "sasl_plain_password": password}
    if "SSL" in protocol:
        config |= {"ssl_context": ssl.create_default_context(cafile=CA)}
    return config


def localhost(cluster: Cluster, listener: str) -> str:
    """By the name in the certificate."""
    return cluster.listeners[listener].replace("127.0.0.1", "localhost")


@pytest.mark.parametrize(("protocol", "mechanism"), WAYS)
def test_confluent(cluster: Cluster, protocol: str, mechanism: str) -> None:
    topic = f"confluent-{protocol}-{mechanism}"
    config = of_confluent(cluster, protocol, mechanism)
    producer = confluent_kafka.Producer(config)
    for value in VALUES:
        producer.produce(topic, value)
    assert producer.flush(TIMEOUT_S) == 0
    consumer = confluent_kafka.Consumer({**config, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[bytes] = []
    end = time.monotonic() + TIMEOUT_S
    while len(found) < len(VALUES):
        assert time.monotonic() < end, f"{len(found)} of {len(VALUES)} came"
        found += [message.value() for message in consumer.consume(100, 0.2) if message.error() is None]
    consumer.close()
    assert found == VALUES


@pytest.mark.parametrize(("protocol", "mechanism"), WAYS)
def test_kafka_python(cluster: Cluster, protocol: str, mechanism: str) -> None:
    topic = f"kafka-python-{protocol}-{mechanism}"
    config = of_python(cluster, protocol, mechanism)
    producer = kafka.KafkaProducer(**config)
    for value in VALUES:
        producer.send(topic, value).get(TIMEOUT_S)
    producer.close()
    consumer = kafka.KafkaConsumer(
        topic, **config, auto_offset_reset="earliest", consumer_timeout_ms=int(TIMEOUT_S * 1000)
    )
    found = [next(consumer).value for _ in VALUES]
    consumer.close()
    assert found == VALUES


@pytest.mark.parametrize(("protocol", "mechanism"), WAYS)
def test_aiokafka(cluster: Cluster, protocol: str, mechanism: str) -> None:
    topic = f"aiokafka-{protocol}-{mechanism}"

    async def there_and_back() -> list[bytes]:
        config = of_python(cluster, protocol, mechanism)
        async with aiokafka.AIOKafkaProducer(**config) as producer:
            for value in VALUES:
                await producer.send_and_wait(topic, value)
        async with aiokafka.AIOKafkaConsumer(topic, **config, auto_offset_reset="earliest") as consumer:
            return [(await asyncio.wait_for(consumer.getone(), TIMEOUT_S)).value for _ in VALUES]

    assert asyncio.run(there_and_back()) == VALUES


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_told(cluster: Cluster, mechanism: str) -> None:
    problems: list[Any] = []
    config = of_confluent(cluster, "SASL_PLAINTEXT", mechanism, "wrong")
    client = confluent_kafka.Producer({**config, "error_cb": problems.append, "log_level": 0})
    end = time.monotonic() + TIMEOUT_S
    while not any(problem.code() == confluent_kafka.KafkaError._AUTHENTICATION for problem in problems):
        assert time.monotonic() < end, f"told only {problems}"
        client.poll(0.1)

    # It tries until its time is over, and then tells only of that.
    with pytest.raises(kafka.errors.KafkaError):
        kafka.KafkaAdminClient(**of_python(cluster, "SASL_PLAINTEXT", mechanism, "wrong"), bootstrap_timeout_ms=1000)

    async def connect() -> None:
        producer = aiokafka.AIOKafkaProducer(**of_python(cluster, "SASL_PLAINTEXT", mechanism, "wrong"))
        try:
            await producer.start()
        finally:
            await producer.stop()

    with pytest.raises(aiokafka.errors.KafkaError):
        asyncio.run(connect())


@pytest.mark.parametrize("listener", PROTOCOLS)
def test_whoever_does_not_log_in_or_encrypt_gets_nothing(cluster: Cluster, listener: str) -> None:
    client = admin.AdminClient({"bootstrap.servers": cluster.listeners[listener], "log_level": 0})
    with pytest.raises(confluent_kafka.KafkaException):
        client.list_topics(timeout=2)


def test_a_certificate_of_a_stranger_is_refused_by_the_client(cluster: Cluster) -> None:
    config = of_confluent(cluster, "SSL", "")
    del config["ssl.ca.location"]
    client = confluent_kafka.Producer({**config, "log_level": 0})
    with pytest.raises(confluent_kafka.KafkaException):
        client.list_topics(timeout=2)
