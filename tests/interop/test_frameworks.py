"""Kafka Streams and Kafka Connect at `kstore serve`: repartition and changelog topics, restored state, task hand-over,
Connect's three compacted topics; and a Connect cluster that moves from kstore to a real Kafka with all it knows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from interop.brokers import Kstore
from interop.frameworks import PAUSE_S, WAIT_S, WordCount, Worker

import kstore
from kstore.wire.messages.topics import CreatableTopic, CreateTopicsRequest
from support import kafka
from support.wire_client import WireClient

confluent_kafka = pytest.importorskip("confluent_kafka")

pytestmark = pytest.mark.interop

WORDS = [f"word-{number}" for number in range(12)]
LINES = 600


@pytest.fixture(autouse=True)
def needs_java() -> None:
    if reason := kafka.why_not():
        pytest.skip(reason)
    if shutil.which("mvn") is None:
        pytest.skip("the jars of Streams and Connect come by Maven, and there is no mvn on the path")


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, f"not in {WAIT_S:.0f} s: {what}"
        time.sleep(PAUSE_S)


def send_lines(bootstrap: str, count: int) -> None:
    """Every word `count` times, some in each line."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number in range(count):
        producer.produce("lines", " ".join(WORDS), key=str(number))
    assert producer.flush(WAIT_S) == 0


def lines_of(path: Path) -> set[str]:
    return set(path.read_text().splitlines(keepends=True))


class Counts:
    """The newest count of every word, as the topic `counts` tells."""

    def __init__(self, bootstrap: str) -> None:
        self.newest: dict[str, int] = {}
        self._consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "looks", "enable.auto.commit": False}
        )
        self._consumer.assign([confluent_kafka.TopicPartition("counts", number, 0) for number in (0, 1)])

    def look(self) -> dict[str, int]:
        for message in self._consumer.consume(500, PAUSE_S):
            if message.error() is None:
                self.newest[message.key().decode()] = int.from_bytes(message.value(), "big")
        return self.newest

    def close(self) -> None:
        self._consumer.close()


def test_streams_counts_on_through_kills_of_the_broker_and_restores_its_state(tmp_path: Path) -> None:
    broker = Kstore(tmp_path / "data").start()
    try:
        with WireClient(broker.bootstrap) as client:
            topics = [
                CreatableTopic(name=name, num_partitions=2, replication_factor=1, assignments=[], configs=[])
                for name in ("lines", "counts")
            ]
            client.ask(CreateTopicsRequest(topics=topics, timeout_ms=30_000), 7)
        counts = Counts(broker.bootstrap)
        with WordCount(broker.bootstrap, tmp_path / "a") as one:
            with WordCount(broker.bootstrap, tmp_path / "b") as two:
                one.await_running()
                two.await_running()
                send_lines(broker.bootstrap, LINES // 2)
                until(lambda: len(counts.look()) == len(WORDS), "every word is counted")
                for _ in range(2):
                    broker.kill()
                    broker.start()
                    send_lines(broker.bootstrap, LINES // 4)
                # At least once: what was not committed when the broker died may be counted again.
                until(lambda: min(counts.look().values()) >= LINES, "every line is counted")
            send_lines(broker.bootstrap, LINES)
            until(lambda: min(counts.look().values()) >= 2 * LINES, "the one that is left counts for both")
        with WordCount(broker.bootstrap, tmp_path / "c") as heir:
            heir.await_running()
            until(lambda: counts.look() == {word: heir.count(word) for word in WORDS}, "the changelog is the state")
        counts.close()
        broker.stop()
    finally:
        broker.kill()
    assert list(kstore.verify(tmp_path / "data").findings) == []
    with kstore.open(tmp_path / "data") as store:
        lines = [record.value for number in (0, 1) for record in store.partition("lines", number).read(0)]
        assert len(lines) == 2 * LINES, "an idempotent producer's record is there once"


def test_connect_moves_from_kstore_to_kafka_and_loses_nothing(tmp_path: Path) -> None:
    source, sink = tmp_path / "source.txt", tmp_path / "sink.txt"
    sink.touch()
    lines = [f"line {number}\n" for number in range(900)]
    source.write_text("".join(lines[:500]))
    broker = Kstore(tmp_path / "data").start()
    try:
        with Worker(broker.bootstrap, tmp_path / "first") as worker:
            for name, config in {
                "source": {"file": str(source), "topic": "moved"},
                "sink": {"file": str(sink), "topics": "moved"},
            }.items():
                kind = f"org.apache.kafka.connect.file.FileStream{name.title()}Connector"
                worker.ask("PUT", f"/connectors/{name}/config", {"connector.class": kind, **config})
            until(lambda: sink.read_text() == "".join(lines[:500]), "what was there has come through")
            broker.kill()
            broker.start()
            with source.open("a") as file:
                file.writelines(lines[500:700])
            until(lambda: lines_of(sink) >= set(lines[:700]), "and what came after a kill")
        broker.stop()
    finally:
        broker.kill()
    come = sink.read_text()  # at least once: Connect's producers are not idempotent, and the broker was killed
    assert lines_of(sink) == set(lines[:700])
    done = kstore.graduate(tmp_path / "data", tmp_path / "kafka", listener=f"127.0.0.1:{kafka.two_free_ports()}")
    properties = tmp_path / "server.properties"
    properties.write_text(done.server_properties)
    with (
        kafka.Broker(tmp_path / "kafka", properties=properties) as theirs,
        Worker(theirs.bootstrap, tmp_path / "second") as worker,
    ):
        tasks = [f"/connectors/{name}/tasks/0/status" for name in ("source", "sink")]
        until(lambda: all(worker.ask("GET", task)["state"] == "RUNNING" for task in tasks), "both tasks run again")
        with source.open("a") as file:
            file.writelines(lines[700:])
        until(lambda: len(sink.read_text().splitlines()) >= len(come.splitlines()) + 200, "they go on")
    assert theirs.complaints() == []
    assert sink.read_text() == come + "".join(lines[700:]), "everything once, from where the worker had stopped"
