"""Bytes that are no requests, versions that nobody has, clients by the dozen: the broker closes those and serves on."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kstore.testing.cluster import Cluster
from kstore.wire.codec import decode_response
from kstore.wire.messages.metadata import MetadataRequest
from kstore.wire.messages.sessions import ApiVersionsRequest
from support.wire_client import WireClient, fetch_request


def test_api_versions_in_every_version(client: WireClient) -> None:
    for version in range(5):
        answer = client.ask(ApiVersionsRequest(client_software_name="a", client_software_version="1"), version)
        ranges = {row.api_key: (row.min_version, row.max_version) for row in answer.api_keys}
        assert ranges[0] == (0, 11), "librdkafka takes features for missing otherwise"
        assert ranges[18] == (0, 4)


def test_an_unknown_version_of_api_versions_is_told_the_range(client: WireClient) -> None:
    client.socket.sendall(struct.pack(">ihhihb", 11, 18, 99, 7, -1, 0))
    number, answer = decode_response(18, 99, client.receive_frame())
    assert (number, answer.error_code) == (7, 35)
    assert [row.api_key for row in answer.api_keys] == [18]
    assert client.ask(ApiVersionsRequest(), 0).error_code == 0, "the connection goes on"


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        struct.pack(">i", -1),
        struct.pack(">i", 0),
        struct.pack(">i", 2**31 - 1),
        struct.pack(">ihhih", 10, 3, 99, 1, -1),
        struct.pack(">ihhih", 10, 999, 0, 1, -1),
        struct.pack(">ihhihi", 14, 3, 1, 1, -1, 2**30),
        struct.pack(">ih", 2, 3),
    ],
)
def test_garbage_closes(cluster: Cluster, client: WireClient, garbage: bytes) -> None:
    with WireClient(cluster.bootstrap) as hostile:
        hostile.socket.sendall(garbage)
        assert hostile.is_closed_by_broker()
    assert client.ask(ApiVersionsRequest(), 0).error_code == 0


def test_requests_behind_each_other_without_reading(client: WireClient) -> None:
    """More requests than one connection may have open, none of the answers read meanwhile."""
    count = 500
    sender = threading.Thread(target=lambda: [client.post(MetadataRequest(topics=None), 9) for _ in range(count)])
    sender.start()
    sender.join()
    assert [client.receive_with_id(3, 9)[0] for _ in range(count)] == list(range(1, count + 1))


def test_more_parked_requests_than_fit(cluster: Cluster, client: WireClient) -> None:
    client.ask(MetadataRequest(topics=[]), 9)
    for _ in range(200):
        client.post(fetch_request("absent", 0, max_wait_ms=10), 12)
    assert [client.receive(1, 12).responses[0].partitions[0].error_code for _ in range(200)] == [3] * 200


def test_byte_by_byte(client: WireClient) -> None:
    frame = struct.pack(">ihhih", 10, 18, 0, 5, -1)
    for byte in frame:
        client.socket.sendall(bytes([byte]))
    assert client.receive_with_id(18, 0)[0] == 5


def test_connections_over_the_limit_are_refused(tmp_path: Path) -> None:
    with Cluster(directory=str(tmp_path / "d"), config={"max.connections": 3}) as cluster:
        inside = [WireClient(cluster.bootstrap) for _ in range(3)]
        for one in inside:
            one.ask(ApiVersionsRequest(), 0)
        for _ in range(5):
            with WireClient(cluster.bootstrap) as refused:
                assert refused.is_closed_by_broker()
        for one in inside:
            assert one.ask(ApiVersionsRequest(), 0).error_code == 0
        inside.pop().close()
        while True:
            with WireClient(cluster.bootstrap) as late:
                try:
                    late.ask(ApiVersionsRequest(), 0)
                    break
                except ConnectionError:
                    continue
        for one in inside:
            one.close()


def test_connections_of_one_address_are_limited(tmp_path: Path) -> None:
    with (
        Cluster(directory=str(tmp_path / "d"), config={"max.connections.per.ip": 2}) as cluster,
        WireClient(cluster.bootstrap) as one,
        WireClient(cluster.bootstrap) as two,
    ):
        one.ask(ApiVersionsRequest(), 0)
        two.ask(ApiVersionsRequest(), 0)
        with WireClient(cluster.bootstrap) as three:
            assert three.is_closed_by_broker()


def test_a_stop_leaves_nothing(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    cluster = Cluster(directory=str(tmp_path / "d")).start()
    host, port = cluster.bootstrap.split(":")
    with WireClient(cluster.bootstrap) as client:
        client.post(fetch_request("absent", 0, max_wait_ms=600_000), 12)
        client.post(MetadataRequest(topics=None), 9)
        client.receive(1, 12)
        cluster.stop()
        client.receive(3, 9)
        assert client.is_closed_by_broker()
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=1)
    assert (tmp_path / "d" / ".kafka_cleanshutdown").exists()


def in_loop(cluster: Cluster, work: Callable[[], object]) -> None:
    """Run something on the broker's own thread, to its end."""
    done = threading.Event()

    def run() -> None:
        work()
        done.set()

    cluster.broker.loop.call_soon_threadsafe(run)
    assert done.wait(10)


def sweep_as_if(cluster: Cluster, seconds_later: float) -> None:
    """What the sweep does that runs every few seconds, when so much time has passed for every connection."""
    connections = cluster.broker.connections

    def sweep() -> None:
        for connection in connections.open:
            connection.last_heard -= seconds_later
            connection.last_sent -= seconds_later
            connection.frame_since -= seconds_later
        connections._sweeper.cancel()
        connections._sweep()

    in_loop(cluster, sweep)


def test_a_silent_connection_is_closed_and_a_waiting_one_is_not(cluster: Cluster, client: WireClient) -> None:
    with WireClient(cluster.bootstrap) as silent, WireClient(cluster.bootstrap) as waiting:
        silent.ask(ApiVersionsRequest(), 0)
        client.make_topic("t")
        waiting.post(fetch_request("t", 0, max_wait_ms=600_000), 12)
        while not len(cluster.broker.waiting):
            client.ask(ApiVersionsRequest(), 0)
        sweep_as_if(cluster, 599)
        assert silent.ask(ApiVersionsRequest(), 0).error_code == 0
        sweep_as_if(cluster, 601)
        assert silent.is_closed_by_broker()
        assert len(cluster.broker.waiting) == 1


def test_a_request_that_creeps_is_given_up(cluster: Cluster) -> None:
    with WireClient(cluster.bootstrap) as creeping, WireClient(cluster.bootstrap) as slow:
        creeping.socket.sendall(struct.pack(">ihh", 1000, 3, 9))
        slow.socket.sendall(struct.pack(">ihh", 500_000, 3, 9) + bytes(200_000))
        connections = cluster.broker.connections.open
        while len(connections) < 2 or sum(one.frame_bytes for one in connections) < 200_016:
            continue
        sweep_as_if(cluster, 31)
        assert creeping.is_closed_by_broker()
        assert len(connections) == 1, "6 KiB/s is slow, and goes on"


def test_requests_beyond_the_byte_budget_wait(tmp_path: Path) -> None:
    """A hundred parked requests do not fit, yet all are answered: the others are read when those are done."""
    config = {"queued.max.request.bytes": 500}
    with Cluster(directory=str(tmp_path / "d"), config=config) as cluster, WireClient(cluster.bootstrap) as client:
        client.make_topic("t")
        clients = [WireClient(cluster.bootstrap) for _ in range(50)]
        for one in clients:
            one.post(fetch_request("t", 0, max_wait_ms=50), 12)
            one.post(fetch_request("t", 0, max_wait_ms=1), 12)
        for one in clients:
            for _ in range(2):
                assert one.receive(1, 12).responses[0].partitions[0].error_code == 0
            one.close()
        assert cluster.broker.held_bytes == 0
