"""More than one event loop: who is served where, and what happens to a connection while its thread moves much."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import kstore
from kstore.broker import connection as connections
from kstore.broker import repeated_produce
from kstore.broker.connection import Connection
from kstore.errors import UsageError
from kstore.testing.cluster import Cluster
from kstore.wire.codec import encode_request
from kstore.wire.messages.metadata import MetadataRequest
from support.until import until
from support.wire_client import WireClient, fetch_request, produce_request

LARGE = kstore.encode_batches([bytes(10_000)] * 8)
TIMEOUT_S = 30.0


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def network_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kstore-network")]


def connection_of(cluster: Cluster, client: WireClient) -> Connection:
    """The broker's side of a client."""
    host, port = client.socket.getsockname()
    found = [one for one in cluster.broker.connections.open if isinstance(one, Connection)]
    (one,) = [one for one in found if one._socket.getpeername() == (host, port)]  # type: ignore[union-attr]
    return one


def move_much(client: WireClient, topic: str, times: int = 10) -> None:
    for _ in range(times):
        assert client.ask(produce_request(topic, LARGE, acks=1), 9).responses[0].partition_responses[0].error_code == 0
        assert len(client.fetch(topic, 0).records) > len(LARGE) / 2


# -- where ---------------------------------------------------------------------------------------------------


def test_those_that_move_much_are_spread(cluster: Cluster) -> None:
    with contextlib.ExitStack() as stack:
        light, *busy = (stack.enter_context(WireClient(cluster.bootstrap)) for _ in range(5))
        light.make_topic("orders")
        for _ in range(20):
            assert light.produce("orders", [b"x"], acks=1).error_code == 0
        move_much(busy[0], "orders")
        assert len(cluster.broker.network) == 1, "one alone needs no other thread"
        for client in busy[1:]:
            move_much(client, "orders")
        assert network_threads() == ["kstore-network-1"]
        served = [connection_of(cluster, client).loop is cluster.broker.loop for client in (light, *busy)]
        assert served == [True, True, False, True, False]
        for client in busy:
            move_much(client, "orders", 1)
        busy[1].close()
        until(lambda: len(cluster.broker.connections.open) == 4)
        late = stack.enter_context(WireClient(cluster.bootstrap))
        move_much(late, "orders")
        assert connection_of(cluster, late).loop is not cluster.broker.loop, "there was a place"
        post_all = MetadataRequest(topics=None)
        for client in (light, late, busy[0]):
            client.post(post_all, 9)
        cluster.stop()
        for client in (light, late, busy[0]):
            assert client.receive(3, 9).topics, "what was asked before the stop is answered"
    assert network_threads() == []


def test_no_thread_where_one_is_all(tmp_path: Path) -> None:
    with (
        Cluster(directory=str(tmp_path / "d"), config={"num.network.threads": 1}) as cluster,
        WireClient(cluster.bootstrap) as one,
        WireClient(cluster.bootstrap) as two,
    ):
        one.make_topic("orders")
        for client in (one, two):
            move_much(client, "orders")
        assert (len(cluster.broker.network), network_threads()) == (1, [])


def test_a_stop_answers_who_waits_with_another_loop(cluster: Cluster) -> None:
    with WireClient(cluster.bootstrap) as one, WireClient(cluster.bootstrap) as two:
        one.make_topic("orders")
        for client in (one, two):
            move_much(client, "orders")
        assert connection_of(cluster, two).loop is not cluster.broker.loop
        end = cluster.broker.partition("orders", 0).log_end_offset
        two.post(fetch_request("orders", end, max_wait_ms=600_000), 12)
        until(lambda: len(cluster.broker.waiting) == 1)
        cluster.stop()
        assert two.receive(1, 12).responses[0].partitions[0].error_code == 0


def test_a_stop_sends_what_another_loop_could_not_send_yet(cluster: Cluster) -> None:
    with WireClient(cluster.bootstrap) as one, WireClient(cluster.bootstrap) as two:
        one.make_topic("orders")
        for client in (one, two):
            move_much(client, "orders", 20)
        served = connection_of(cluster, two)
        assert served.loop is not cluster.broker.loop
        two.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        numbers = [two.post(fetch_request("orders", 0), 12) for _ in range(6)]
        until(lambda: served._is_writing)
        stopping = threading.Thread(target=cluster.stop)
        stopping.start()
        until(lambda: served.loop is cluster.broker.loop)
        answers = [two.receive_with_id(1, 12) for _ in numbers]
        stopping.join()
    assert [number for number, _ in answers] == numbers
    assert {len(answer.responses[0].partitions[0].records) for _, answer in answers} == {13 * len(LARGE)}


# -- away ----------------------------------------------------------------------------------------------------


class Journey:
    """Stands in for `send_away`: sends when `go` is set, and does not hold the lock until then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away, self.go = threading.Event(), threading.Event()
        send_away = connections.send_away

        def send(lock: object, fd: int, pieces: object) -> int:
            lock.release()  # type: ignore[attr-defined]
            self.away.set()
            self.go.wait(TIMEOUT_S)
            lock.acquire()  # type: ignore[attr-defined]
            return send_away(lock, fd, pieces)  # type: ignore[arg-type]

        monkeypatch.setattr(connections, "send_away", send)


def ask_for_all_and_wait(client: WireClient) -> None:
    """Two fetches that come in together: the first has much to bring, the second waits for more."""
    asked = fetch_request("orders", 0), fetch_request("orders", 8, max_wait_ms=60_000)
    frames = [piece for number, one in enumerate(asked) for piece in encode_request(one, 12, number, "test")]
    client.socket.sendall(b"".join(frames))


def test_what_others_answer_meanwhile_goes_behind(
    cluster: Cluster, client: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.make_topic("orders")
    client.ask(produce_request("orders", LARGE, acks=1), 9)
    journey = Journey(monkeypatch)
    ask_for_all_and_wait(client)
    assert journey.away.wait(TIMEOUT_S)
    broker = cluster.broker
    until(lambda: len(broker.waiting) == 1)
    with broker.loop.lock:
        partition = broker.partition("orders", 0)
        partition.append([b"late"])
        broker.appended(partition, 100)
        assert len(broker.waiting) == 0
    journey.go.set()
    found = [client.receive_with_id(1, 12) for _ in range(2)]
    assert [number for number, _ in found] == [0, 1]
    large, late = (answer.responses[0].partitions[0].records for _, answer in found)
    assert len(large) == len(LARGE)
    assert [record.value for record in kstore.decode_batches(late)] == [b"late"]
    assert client.produce("orders", [b"x"], acks=1).base_offset == 9, "nothing came twice"


def test_who_is_closed_meanwhile_is_closed_afterwards(
    cluster: Cluster, client: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.make_topic("orders")
    client.ask(produce_request("orders", LARGE, acks=1), 9)
    served = connection_of(cluster, client)
    journey = Journey(monkeypatch)
    ask_for_all_and_wait(client)
    assert journey.away.wait(TIMEOUT_S)
    with cluster.broker.loop.lock:
        served.close("a test closes it")
        assert not served.closed
        assert served._fd == served._socket.fileno(), "its number is nobody else's yet"
    journey.go.set()
    until(lambda: served.closed)
    with contextlib.suppress(ConnectionError):
        client.receive_frame()
    assert client.is_closed_by_broker()
    assert len(cluster.broker.waiting) == 0
    assert cluster.broker.held_bytes == 0
    with WireClient(cluster.bootstrap) as other:
        assert other.produce("orders", [b"x"], acks=1).base_offset == 8


def test_who_is_closed_while_its_batches_are_written_leaves_nothing_open(
    cluster: Cluster, client: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.make_topic("orders")
    client.ask(produce_request("orders", LARGE, acks=1), 9)
    served, broker = connection_of(cluster, client), cluster.broker
    partition = broker.partition("orders", 0)
    append_batches = partition.append_batches

    def closed_meanwhile(*given: object, **named: object) -> object:
        with broker.loop.lock:
            served.close("a test closes it")
            assert not served.closed
        return append_batches(*given, **named)  # type: ignore[arg-type]

    lost, held = broker.lost, []

    def noted(one: Connection) -> None:
        with pytest.raises(UsageError, match="already"):
            broker.loop.lock.acquire()
        held.append(one)
        lost(one)

    monkeypatch.setattr(broker, "lost", noted)
    monkeypatch.setattr(partition, "append_batches", closed_meanwhile)
    client.post(produce_request("orders", LARGE, acks=1), 9)
    assert client.is_closed_by_broker()
    until(lambda: len(held) == 1)  # with the lock held
    assert held == [served]
    assert (partition.log_end_offset, broker.held_bytes, served.closed) == (16, 0, True)


def test_who_answers_others_keeps_the_lock(
    cluster: Cluster, client: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in the middle of something: here, of waking all who wait."""
    client.make_topic("orders")
    journey = Journey(monkeypatch)
    with WireClient(cluster.bootstrap) as other:
        for one in (client, other):
            one.post(fetch_request("orders", 0, max_wait_ms=60_000), 12)
        until(lambda: len(cluster.broker.waiting) == 2)
        with WireClient(cluster.bootstrap) as producer:
            producer.post(produce_request("orders", LARGE, acks=1), 9)
            for one in (client, other):
                assert len(one.receive(1, 12).responses[0].partitions[0].records) == len(LARGE)
            assert producer.receive(0, 9).responses[0].partition_responses[0].error_code == 0
    assert not journey.away.is_set()


# -- all at once ---------------------------------------------------------------------------------------------


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything that may be done without the lock is, and threads change as often as they can."""
    for module in (connections, repeated_produce):
        monkeypatch.setattr(module, "MUCH_BYTES", 1)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Worker(threading.Thread):
    """A client that produces to a partition of its own and to one of all, reads back, waits, and sometimes goes."""

    def __init__(self, bootstrap: str, number: int, seed: int) -> None:
        super().__init__()
        self.bootstrap, self.number, self.rng = bootstrap, number, random.Random(seed)
        self.acked: list[tuple[int, int, bytes]] = []
        """Partition, base offset and first value."""
        self.failure: BaseException | None = None
        self._values = itertools.count()

    def run(self) -> None:
        try:
            for _ in range(4):
                with WireClient(self.bootstrap) as client:
                    for _ in range(30):
                        self._produce(client)
                        self._fetch(client)
                    if self.rng.random() < 0.5:
                        for _ in range(5):  # and away, without a look at the answers
                            client.post(fetch_request("t", 0, partition=self.number), 12)
        except BaseException as error:
            self.failure = error

    def _produce(self, client: WireClient) -> None:
        partition, acks = self.rng.choice((0, self.number)), self.rng.choice((1, 1, -1))
        size = self.rng.choice((10, 10, 20_000, 70_000))
        sent = []
        for _ in range(self.rng.choice((1, 3, 6))):
            value = b"%d-%d " % (self.number, next(self._values))
            data = kstore.encode_batches([value + bytes(size), b"second"])
            client.post(produce_request("t", data, partition=partition, acks=acks), 9)
            sent.append(value)
        for value in sent:
            answer = client.receive(0, 9).responses[0].partition_responses[0]
            assert answer.error_code == 0
            self.acked.append((partition, answer.base_offset, value))

    def _fetch(self, client: WireClient) -> None:
        partition, offset, value = self.rng.choice(self.acked)
        wait_ms = self.rng.choice((0, 0, 20))
        numbers = []
        for start in (offset, offset, 1 << 40, offset)[: self.rng.choice((1, 4))]:
            request = fetch_request("t", start, partition=partition, max_wait_ms=wait_ms)
            numbers.append((client.post(request, 12), start))
        if self.rng.random() < 0.3:  # at the end of its own partition: waits, until its time is over
            end = max((base + 2 for there, base, _ in self.acked if there == self.number), default=0)
            numbers.append((client.post(fetch_request("t", end, partition=self.number, max_wait_ms=5), 12), -1))
        for number, start in numbers:
            got, answer = client.receive_with_id(1, 12)
            assert got == number
            found = answer.responses[0].partitions[0]
            assert found.error_code == (1 if start == 1 << 40 else 0)
            if start == offset:
                first = next(iter(kstore.decode_batches(found.records)))
                assert first.offset == offset
                assert (first.value or b"").startswith(value)


@pytest.mark.usefixtures("restless")
def test_all_at_once(seed: int, tmp_path: Path) -> None:
    workers = 5
    with Cluster(directory=str(tmp_path / "d")) as cluster:
        broker = cluster.broker
        broker.cluster.create_topic("t", workers + 1, 1, {}, validate_only=False)
        running = [Worker(cluster.bootstrap, number + 1, seed + number) for number in range(workers)]
        for worker in running:
            worker.start()
        for worker in running:
            worker.join()
            if worker.failure is not None:
                raise worker.failure
        assert len(broker.network) == 2
        until(lambda: not broker.connections.open)
        assert (broker.held_bytes, len(broker.waiting)) == (0, 0)
    assert kstore.verify(str(tmp_path / "d")).ok
    acked = [one for worker in running for one in worker.acked]
    with kstore.open(str(tmp_path / "d"), read_only=True) as store:
        for index in range(workers + 1):
            expected = {offset: value for partition, offset, value in acked if partition == index}
            log = store.partition("t", index)
            found: dict[int, bytes] = {}
            while len(found) * 2 < log.log_end_offset:
                for record in log.read(2 * len(found), max_bytes=1 << 20).records():
                    if record.value != b"second":
                        found[record.offset or 0] = record.value or b""
            assert found.keys() == expected.keys(), "each once"
            assert all(found[offset].startswith(value) for offset, value in expected.items())
