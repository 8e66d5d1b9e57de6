"""Ten thousand who want in at once: those who are in are served as before."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from kstore.testing.cluster import Cluster
from kstore.wire.messages.sessions import ApiVersionsRequest
from support.wire_client import WireClient

FLOOD = 10_000
INSIDE = 50
NEEDED_FILES = FLOOD + 2000
TIMEOUT_S = 60.0


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for our end of every connection; the other end is closed as soon as it is accepted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED_FILES:
        pytest.skip(f"the system allows {hard} open files, {NEEDED_FILES} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (NEEDED_FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_strangers_are_refused_and_those_inside_served(many_files: None) -> None:
    config = {"max.connections": INSIDE, "max.connection.creation.rate": 1_000_000}
    with Cluster(config=config) as cluster, contextlib.ExitStack() as stack:
        inside = [stack.enter_context(WireClient(cluster.bootstrap, f"c{number}")) for number in range(INSIDE)]
        inside[0].make_topic("t")
        for one in inside:
            assert one.ask(ApiVersionsRequest(), 0).error_code == 0
        host, port = cluster.bootstrap.split(":")
        watch = stack.enter_context(selectors.DefaultSelector())
        offset = refused = 0
        end = time.monotonic() + TIMEOUT_S
        for number in range(FLOOD):
            stranger = stack.enter_context(socket.socket())
            stranger.setblocking(False)
            stranger.connect_ex((host, int(port)))
            watch.register(stranger, selectors.EVENT_READ)
            if number % 500 == 0:
                assert inside[number // 500].produce("t", [b"served"]).base_offset == offset
                offset += 1
        while refused < FLOOD:
            assert time.monotonic() < end, f"{refused} of {FLOOD} refused"
            for key, _ in watch.select(1.0):
                stranger = key.fileobj  # type: ignore[assignment]
                with contextlib.suppress(ConnectionError):
                    assert stranger.recv(1) == b"", "a stranger was told something"
                watch.unregister(stranger)
                refused += 1
            assert inside[refused % INSIDE].produce("t", [b"served"]).base_offset == offset
            offset += 1
        assert cluster.broker.connections.refused == FLOOD
        assert len(cluster.broker.connections.open) == INSIDE


def test_by_default_there_are_limits() -> None:
    with Cluster() as cluster:
        config = cluster.broker.config
        assert (config.max_connections, config.max_connections_per_ip) == (8192, 4096)
        assert config.max_connection_creation_rate == 2000
        assert config.queued_max_request_bytes == 512 << 20
