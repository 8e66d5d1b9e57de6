"""Fetches that are answered as they came in: what the usual way answers, byte for byte."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

import kstore
from kstore.broker import repeats
from kstore.testing.cluster import Cluster
from kstore.wire.codec import encode_request
from kstore.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kstore.wire.messages.topics import DeleteTopicsRequest
from support.until import until
from support.wire_client import WireClient, fetch_request, produce_request

NOW_MS = int(time.time() * 1000)
END = 300


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A topic with small batches, another with large ones, and one with transactions, of which one was aborted."""
    path = tmp_path / "data"
    with kstore.open(str(path), config={"log.flush.scheduler.interval.ms": 0}) as store:
        for topic, size in (("small", 10), ("large", 40_000)):
            store.create_topic(topic, 2)
            log = store.partition(topic, 0)
            for number in range(END // 3):
                log.append([b"%d" % number, bytes(size), b""], timestamp_ms=NOW_MS)
        store.create_topic("decided", 1)
        log = store.partition("decided", 0)
        for number in range(40):
            options = {"producer_id": 5, "producer_epoch": 0, "base_sequence": number, "transactional": True}
            log.append_batches(kstore.encode_batches([b"%d" % number], timestamp_ms=NOW_MS, **options))
            if number % 4 == 3:
                log.end_transaction(5, 0, commit=number % 8 == 3, timestamp_ms=NOW_MS)
    return path


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests each look took; to be switched off by `off`."""
    counts: list[int] = []
    take = repeats.Repeats.take

    def counted(self: repeats.Repeats, reader: object) -> int:
        counts.append(take(self, reader))  # type: ignore[arg-type]
        return counts[-1]

    monkeypatch.setattr(repeats.Repeats, "take", counted)
    return counts


def requests(rng: random.Random, ids: dict[str, bytes]) -> list[tuple[FetchRequest, int]]:
    """Fetches and their versions; most of them like the one before, and those at the front surely."""
    found = [(fetch_request("small", offset), 12) for offset in range(16)]
    for _ in range(40):
        version = rng.randrange(4, 19)
        topic = rng.choice(("small", "small", "large", "decided", "absent"))
        options = {
            "max_bytes": rng.choice((1, 500, 1 << 20)),
            "partition_max_bytes": rng.choice((1, 5_000, 1 << 20)),
            "min_bytes": rng.choice((0, 1, 1, 1, 100)),
            "isolation_level": rng.choice((0, 1)),
        }
        number, epoch = rng.choice((0, 0, 0, 0, 1)), rng.choice((-1, -1, -1, 0, 7))
        for _ in range(rng.choice((1, 4, 8))):
            offset = rng.choice((*(rng.randrange(40) for _ in range(8)), rng.randrange(END), END, 10**6, -1))
            request = fetch_request(topic, offset, partition=number, **options)
            want = FetchPartition(
                partition=number,
                fetch_offset=offset,
                current_leader_epoch=epoch if version >= 9 else -1,
                partition_max_bytes=options["partition_max_bytes"],
            )
            named = (
                FetchTopic(topic_id=ids.get(topic, b"\7" * 16), partitions=[want])
                if version >= 13
                else FetchTopic(topic=topic, partitions=[want])
            )
            found.append((request.replace(topics=[named]), version))
    return found


def answers(path: Path, asked: list[tuple[FetchRequest, int]], *, together: int = 1) -> list[bytes]:
    with Cluster(directory=str(path)) as cluster, WireClient(cluster.bootstrap) as client:
        found = []
        for start in range(0, len(asked), together):
            some = asked[start : start + together]
            frames = [encode_request(one, version, start + i, "me") for i, (one, version) in enumerate(some)]
            client.socket.sendall(b"".join(piece for frame in frames for piece in frame))  # type: ignore[misc]
            found += [client.receive_frame() for _ in some]
        return found


def test_what_is_answered_is_the_same(
    seed: int, directory: Path, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    with Cluster(directory=str(directory)) as cluster, WireClient(cluster.bootstrap) as client:
        wanted = [MetadataRequestTopic(name=name) for name in ("small", "large", "decided")]
        topics = client.ask(MetadataRequest(topics=wanted), 12).topics
        ids = {topic.name: bytes(topic.topic_id) for topic in topics}
    asked = requests(rng, ids)
    short = answers(directory, asked, together=rng.choice((1, 7)))
    assert sum(taken) > 10, "the shortcut was not taken"
    monkeypatch.setattr(repeats.Repeats, "take", lambda self, reader: 0)
    usual = answers(directory, asked)
    for one, other, (request, version) in zip(short, usual, asked, strict=True):
        assert one[4:] == other[4:], f"version {version}: {request}"


@pytest.mark.parametrize("version", range(4, 19))
@pytest.mark.parametrize("isolation", [0, 1])
def test_in_every_version(directory: Path, taken: list[int], version: int, isolation: int) -> None:
    with Cluster(directory=str(directory)) as cluster, WireClient(cluster.bootstrap) as client:
        topic = client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="small")]), 12).topics[0]
        offset, values = 0, []
        while offset < END:
            request = fetch_request("small", offset, max_bytes=900, isolation_level=isolation)
            if version >= 13:
                partitions = list(request.topics[0].partitions)
                request = request.replace(topics=[FetchTopic(topic_id=topic.topic_id, partitions=partitions)])
            found = client.ask(request, version).responses[0].partitions[0]
            assert (found.error_code, found.high_watermark, found.last_stable_offset) == (0, END, END)
            records = list(kstore.decode_batches(found.records))
            values += [record.value for record in records]
            offset = (records[-1].offset or 0) + 1
    assert values == [value for number in range(END // 3) for value in (b"%d" % number, bytes(10), b"")]
    assert sum(taken) >= 5


def test_a_fetch_at_the_end_still_waits(cluster: Cluster, client: WireClient, taken: list[int]) -> None:
    client.make_topic("orders")
    for number in range(3):
        client.produce("orders", [b"%d" % number], acks=1)
        client.fetch("orders", number, max_wait_ms=10_000)
    client.post(fetch_request("orders", 3, max_wait_ms=10_000), 12)
    with WireClient(cluster.bootstrap) as other:
        other.produce("orders", [b"3"], acks=1)
    found = client.receive(1, 12).responses[0].partitions[0]
    assert [record.value for record in kstore.decode_batches(found.records)] == [b"3"]
    assert sum(taken) >= 1


def waited_for(path: Path, version: int, isolation: int) -> list[bytes]:
    """Answers to fetches at the end of a topic, each of which waits: for records, for its time, for enough bytes."""
    with Cluster(directory=str(path)) as cluster, WireClient(cluster.bootstrap) as client:
        log = cluster.broker.partition("small", 0)
        topic = client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="small")]), 12).topics[0]
        found = []

        def post(offset: int, **options: int) -> None:
            request = fetch_request("small", offset, isolation_level=isolation, **options)
            if version >= 13:
                partitions = list(request.topics[0].partitions)
                request = request.replace(topics=[FetchTopic(topic_id=topic.topic_id, partitions=partitions)])
            client.post(request, version)

        def parked() -> None:
            until(lambda: len(cluster.broker.waiting) == 1)

        with WireClient(cluster.bootstrap) as other:
            for number in range(4):
                post(END + number, max_wait_ms=60_000)
                parked()
                data = kstore.encode_batches([b"later %d" % number], timestamp_ms=NOW_MS)
                other.ask(produce_request("small", data, acks=1), 9)
                found.append(client.receive_frame())
            for _ in range(3):
                post(END + 4, max_wait_ms=5)
                found.append(client.receive_frame())
            for start in (END + 4, END + 6):
                post(start, max_wait_ms=60_000, min_bytes=150)
                parked()
                for _ in range(2):
                    assert len(cluster.broker.waiting) == 1
                    data = kstore.encode_batches([b"x" * 30], timestamp_ms=NOW_MS)
                    other.ask(produce_request("small", data, acks=1), 9)
                    cluster.broker.loop.call_soon_threadsafe(cluster.broker.waiting.wake)  # too early the first time
                found.append(client.receive_frame())
        post(END + 8, max_wait_ms=60_000)
        parked()
        cluster.broker.loop.call_soon_threadsafe(cluster.broker.waiting.wake)  # for nothing: it waits on
        log.truncate_to(END, unclean=True)
        cluster.broker.loop.call_soon_threadsafe(cluster.broker.waiting.wake)
        found.append(client.receive_frame())
        return found


@pytest.mark.parametrize("version", [4, 11, 12, 18])
@pytest.mark.parametrize("isolation", [0, 1])
def test_waiting_ends_the_same(
    directory: Path, taken: list[int], monkeypatch: pytest.MonkeyPatch, version: int, isolation: int
) -> None:
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    short = waited_for(directory, version, isolation)
    assert sum(taken) >= 6, "the shortcut was not taken"
    monkeypatch.setattr(repeats.Repeats, "take", lambda self, reader: 0)
    assert short == waited_for(copy, version, isolation)


def park_at_the_end(cluster: Cluster, client: WireClient) -> None:
    """The second fetch is known by the first one, and waits."""
    client.fetch("orders", 0, max_wait_ms=60_000)
    client.post(fetch_request("orders", 1, max_wait_ms=60_000), 12)
    until(lambda: len(cluster.broker.waiting) == 1)


def test_who_waits_when_the_topic_goes_is_told(cluster: Cluster, client: WireClient, taken: list[int]) -> None:
    client.make_topic("orders")
    client.produce("orders", [b"x"], acks=1)
    park_at_the_end(cluster, client)
    with WireClient(cluster.bootstrap) as other:
        other.ask(DeleteTopicsRequest(topic_names=["orders"], timeout_ms=1000), 5)
    assert client.receive(1, 12).responses[0].partitions[0].error_code == 3
    assert sum(taken) == 1


def test_a_client_that_goes_while_it_waits_is_forgotten(cluster: Cluster, client: WireClient, taken: list[int]) -> None:
    client.make_topic("orders")
    client.produce("orders", [b"x"], acks=1)
    with WireClient(cluster.bootstrap) as other:
        park_at_the_end(cluster, other)
        assert sum(taken) == 1
    until(lambda: not len(cluster.broker.waiting))
    assert client.produce("orders", [b"y"], acks=1).error_code == 0


def test_a_stop_answers_who_waits(cluster: Cluster, client: WireClient, taken: list[int]) -> None:
    client.make_topic("orders")
    client.produce("orders", [b"x"], acks=1)
    park_at_the_end(cluster, client)
    cluster.stop()
    found = client.receive(1, 12).responses[0].partitions[0]
    assert (found.error_code, found.high_watermark, len(found.records)) == (0, 1, 0)
    assert sum(taken) == 1


def test_nobody_is_parked_by_a_broker_that_stops(cluster: Cluster, client: WireClient, taken: list[int]) -> None:
    client.make_topic("orders")
    client.produce("orders", [b"x"], acks=1)
    client.fetch("orders", 0, max_wait_ms=60_000)
    cluster.broker._stopping = True
    try:
        assert client.fetch("orders", 1, max_wait_ms=60_000).error_code == 0
    finally:
        cluster.broker._stopping = False
    assert sum(taken) == 0


def test_a_deleted_topic_is_not_read(cluster: Cluster, client: WireClient) -> None:
    client.make_topic("orders")
    client.produce("orders", [b"x"], acks=1)
    for _ in range(3):
        assert client.fetch("orders", 0).error_code == 0
    client.ask(DeleteTopicsRequest(topic_names=["orders"], timeout_ms=1000), 5)
    assert client.fetch("orders", 0).error_code == 3


def test_clients_that_write_a_request_in_another_way_are_served_as_well(client: WireClient) -> None:
    """A tag that nobody knows makes no pattern, and after a few of them none is looked for."""
    client.make_topic("orders")
    client.produce("orders", [b"x"], acks=1)
    for _ in range(8):
        frame = bytearray(b"".join(encode_request(fetch_request("orders", 0), 12, 1, "test")))
        assert frame[-1] == 0
        frame[-1:] = b"\1\x63\1z"  # one tagged field, number 99
        frame[:4] = (len(frame) - 4).to_bytes(4, "big")
        client.socket.sendall(frame)
        found = client.receive(1, 12).responses[0].partitions[0]
        assert [record.value for record in kstore.decode_batches(found.records)] == [b"x"]


def test_another_leader_epoch_is_noticed(cluster: Cluster, client: WireClient) -> None:
    client.make_topic("orders")
    client.produce("orders", [b"x"], acks=1)
    log = cluster.broker.partition("orders", 0).log
    epoch = log.leader_epoch
    wanted = FetchPartition(partition=0, fetch_offset=0, current_leader_epoch=epoch, partition_max_bytes=1000)
    request = fetch_request("orders", 0).replace(topics=[FetchTopic(topic="orders", partitions=[wanted])])
    codes = []
    for leader_epoch in (epoch, epoch, epoch + 1):
        log.leader_epoch = leader_epoch
        codes.append(client.ask(request, 12).responses[0].partitions[0].error_code)
    assert codes == [0, 0, 74]
