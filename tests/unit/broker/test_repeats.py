"""Requests that are taken as they came in: stored and answered as the usual way stores and answers them."""

from __future__ import annotations

import random
import shutil
import threading
import time
from pathlib import Path

import pytest

import kstore
from kstore.broker import repeated_produce, repeats
from kstore.broker.node import Broker
from kstore.errors import StorageError
from kstore.testing.cluster import Cluster
from kstore.wire.codec import decode_response, encode_request
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kstore.wire.messages.topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, DeleteTopicsRequest
from support.wire_client import WireClient, produce_request

TOPICS = {"plain": {}, "compacted": {"cleanup.policy": "compact"}, "flushed": {"flush.messages": "1"}}
NOW_MS = int(time.time() * 1000)


def make_topics(client: WireClient) -> None:
    topics = [
        CreatableTopic(
            name=name,
            num_partitions=2,
            replication_factor=1,
            assignments=[],
            configs=[CreatableTopicConfig(name=key, value=value) for key, value in config.items()],
        )
        for name, config in TOPICS.items()
    ]
    made = client.ask(CreateTopicsRequest(topics=topics), 5)
    assert not any(one.error_code for one in made.topics)


def batch(rng: random.Random, *, keyed: bool = False, **options: object) -> bytes:
    count = rng.choice((1, 1, 2, 7))
    values: list[object] = [rng.randbytes(rng.choice((0, 1, 100, 100, 900, 30_000))) for _ in range(count)]
    if keyed:
        values = [(b"key", value) for value in values]
    return kstore.encode_batches(values, **{"timestamp_ms": NOW_MS, **options})  # type: ignore[arg-type]


def spoilt(rng: random.Random, data: bytes) -> bytes:
    """Bytes that are refused, each for another reason."""
    kind = rng.randrange(6)
    changed = bytearray(data)
    if kind == 0:
        changed[-1] ^= 1
    elif kind == 1:
        changed[22] |= 0x10
    elif kind == 2:
        changed += data
    elif kind == 3:
        changed[16] = 1
    elif kind == 4:
        del changed[40:]
    else:
        return batch(rng, timestamp_ms=NOW_MS + 10 * 86_400_000)
    return bytes(changed)


def row_of_large(rng: random.Random, version: int, number: int) -> list[tuple[bytes, tuple[int, int] | None]]:
    """Requests that are received and appended several at once where they lie."""
    partition, spoils = rng.choice((0, 1)), rng.random() < 0.4
    codec = rng.choice((None, None, None, "lz4", "gzip"))
    found: list[tuple[bytes, tuple[int, int] | None]] = []
    for place in range(rng.randrange(3, 12)):
        values = [rng.randbytes(rng.choice((100, 9_000, 20_000, 70_000))) for _ in range(rng.choice((1, 3)))]
        data = kstore.encode_batches(values, timestamp_ms=NOW_MS, compression=codec)
        if spoils and rng.random() < 0.2:
            data = spoilt(rng, data)
        request = produce_request("plain", data, partition=partition, acks=1)
        found.append((b"".join(encode_request(request, version, number + place, "me")), (0, version)))
    return found


def stream(rng: random.Random) -> list[tuple[bytes, tuple[int, int] | None]]:
    """Requests as bytes, and the API key and version of the answer."""
    versions = [rng.randrange(3, 12) for _ in range(2)]
    sequence = 0
    found: list[tuple[bytes, tuple[int, int] | None]] = []
    for number in range(rng.randrange(20, 60)):
        version = rng.choice(versions)
        topic = rng.choice(("plain", "plain", "plain", "plain", "compacted", "flushed", "absent"))
        data = batch(rng, keyed=topic == "compacted" and rng.random() < 0.7)
        acks, kind = rng.choice((1, 1, 1, -1)), rng.random()
        if kind < 0.1:
            data = spoilt(rng, data)
        elif kind < 0.15:
            data = kstore.encode_batches([b"z" * 500] * 3, timestamp_ms=NOW_MS, compression="zstd")
        elif kind < 0.35 and topic == "plain":
            # In order, one that is there already, and one that is not its turn.
            place = rng.choice((sequence, sequence, sequence, max(0, sequence - 1), sequence + 3))
            data = kstore.encode_batches(
                [b"%d" % place], timestamp_ms=NOW_MS, producer_id=7, producer_epoch=0, base_sequence=place
            )
            sequence += place == sequence
        elif kind < 0.4 and topic == "plain":
            acks = 0
        if rng.random() < 0.1:
            found += row_of_large(rng, version, 1000 * number + 500)
        if rng.random() < 0.05:
            request, key, version = MetadataRequest(topics=[MetadataRequestTopic(name="plain")]), 3, 9
            found.append((b"".join(encode_request(request, version, number, "me")), (key, version)))
            continue
        partition = rng.choice((0, 0, 0, 1))
        for again in range(rng.choice((1, 1, 5))):
            request = produce_request(topic, data, partition=partition, acks=acks)
            frame = b"".join(encode_request(request, version, 1000 * number + again, "me"))
            found.append((frame, (0, version) if acks else None))
    return found


def served(path: Path, requests: list[tuple[bytes, tuple[int, int] | None]]) -> tuple[list[bytes], dict[str, bytes]]:
    """Every answer, and the bytes of every log."""
    with Cluster(directory=str(path)) as cluster, WireClient(cluster.bootstrap) as client:
        make_topics(client)
        whole = b"".join(frame for frame, _ in requests)
        sender = threading.Thread(target=client.socket.sendall, args=(whole,))
        sender.start()
        answers = [client.receive_frame() for _, answered in requests if answered is not None]
        sender.join()
    logs = {str(log.relative_to(path)): log.read_bytes() for log in sorted(path.glob("*/*.log"))}
    shutil.rmtree(path)  # the next one has the same path, for answers name it
    return answers, {name: data for name, data in logs.items() if not name.startswith("__")}


def test_what_is_stored_and_answered_is_the_same(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(Broker, "now_ms", lambda self: NOW_MS)  # messages tell the time
    taken = 0
    take = repeats.Repeats.take

    def counted(self: repeats.Repeats, reader: object) -> int:
        nonlocal taken
        count = take(self, reader)  # type: ignore[arg-type]
        taken += count
        return count

    for _ in range(4):
        requests = stream(rng)
        monkeypatch.setattr(repeats.Repeats, "take", lambda self, reader: 0)
        usual, usual_logs = served(tmp_path / "data", requests)
        monkeypatch.setattr(repeats.Repeats, "take", counted)
        short, short_logs = served(tmp_path / "data", requests)
        kinds = [answered for _, answered in requests if answered is not None]
        for one, other, (key, version) in zip(usual, short, kinds, strict=True):
            if key == 0:
                assert decode_response(key, version, one) == decode_response(key, version, other)
                assert one == other
        assert usual_logs == short_logs
    assert taken > 10, "the shortcut was not taken"


def test_a_compacted_topic_takes_no_record_without_a_key(client: WireClient) -> None:
    make_topics(client)
    codes = []
    for value in ((b"k", b"v"), (b"k", b"v"), b"no key", (b"k", b"v")):
        request = produce_request("compacted", kstore.encode_batches([value]), acks=1)
        codes.append(client.ask(request, 9).responses[0].partition_responses[0].error_code)
    assert codes == [0, 0, 87, 0]


def test_many_at_once_are_one_append(cluster: Cluster, client: WireClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.make_topic("orders")
    counts = []
    take = repeats.Repeats.take

    def counted(self: repeats.Repeats, reader: object) -> int:
        counts.append(take(self, reader))  # type: ignore[arg-type]
        return counts[-1]

    monkeypatch.setattr(repeats.Repeats, "take", counted)
    client.produce("orders", [b"first"], acks=1)
    frames = []
    for i in range(40):
        request = produce_request("orders", kstore.encode_batches([b"%d" % i, b"x"]), acks=1)
        frames.append(b"".join(encode_request(request, 9, i, "test")))
    client.socket.sendall(b"".join(frames))
    bases = []
    for i in range(40):
        number, answer = client.receive_with_id(0, 9)
        assert number == i
        bases.append(answer.responses[0].partition_responses[0].base_offset)
    assert bases == list(range(1, 81, 2))
    assert max(counts) > 1
    found = client.fetch("orders", 1)
    values = [record.value for record in kstore.decode_batches(found.records)]
    assert values == [value for i in range(40) for value in (b"%d" % i, b"x")]


@pytest.mark.parametrize("version", range(3, 12))
def test_log_append_time_is_told(cluster: Cluster, client: WireClient, version: int) -> None:
    config = [CreatableTopicConfig(name="message.timestamp.type", value="LogAppendTime")]
    topic = CreatableTopic(name="stamped", num_partitions=1, replication_factor=1, assignments=[], configs=config)
    client.ask(CreateTopicsRequest(topics=[topic]), 5)
    for offset in range(3):
        answer = client.produce("stamped", [b"x"], acks=1, version=version)
        assert answer.base_offset == offset
        assert abs(answer.log_append_time_ms - time.time() * 1000) < 60_000


def test_a_deleted_topic_is_not_written_to(cluster: Cluster, client: WireClient) -> None:
    client.make_topic("orders")
    for _ in range(3):
        assert client.produce("orders", [b"x"], acks=1).error_code == 0
    client.ask(DeleteTopicsRequest(topic_names=["orders"], timeout_ms=1000), 5)
    assert client.produce("orders", [b"x"], acks=1).error_code == 3
    client.make_topic("orders")
    assert client.produce("orders", [b"x"], acks=1).base_offset == 0


def test_an_fsync_that_fails_is_told_to_each(cluster: Cluster, client: WireClient) -> None:
    client.make_topic("orders")
    for _ in range(2):
        assert client.produce("orders", [b"x"]).error_code == 0
    partition = cluster.broker.partition("orders", 0)

    def refuse() -> int:
        raise StorageError(5, partition.path, "fsync", "Input/output error")

    partition.sync = refuse  # type: ignore[method-assign]
    data = kstore.encode_batches([b"y"])
    frames = [b"".join(encode_request(produce_request("orders", data), 9, i, "test")) for i in range(5)]
    client.socket.sendall(b"".join(frames))
    for i in range(5):
        number, answer = client.receive_with_id(0, 9)
        assert number == i
        assert answer.responses[0].partition_responses[0].error_code == 56


def test_a_failure_that_nobody_foresaw_closes_the_connection(
    cluster: Cluster, client: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.make_topic("orders")
    assert client.produce("orders", [b"x"], acks=1).error_code == 0

    def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(repeated_produce, "Call", fail)
    client.post(produce_request("orders", kstore.encode_batches([b"y"]), acks=1), 9)
    assert client.is_closed_by_broker()
