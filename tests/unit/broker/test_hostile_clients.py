"""Clients that mean harm, or could as well: names that lead elsewhere, text for the log, answers that nobody reads."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.broker.connection import UNSENT_BYTES_MAX, Connection
from kstore.testing.cluster import Cluster
from kstore.wire.codec import encode_request
from kstore.wire.messages.commits import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kstore.wire.messages.sessions import ApiVersionsRequest, SaslAuthenticateRequest, SaslHandshakeRequest
from kstore.wire.messages.topics import CreatableTopic, CreateTopicsRequest
from support.wire_client import WireClient, fetch_request

INVALID_TOPIC = 17
METADATA_TOO_LARGE = 12
TIMEOUT_S = 30.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(directory=str(tmp_path / "inside" / "data")) as made:
        yield made


@pytest.fixture
def client(cluster: Cluster) -> Iterator[WireClient]:
    with WireClient(cluster.bootstrap) as made:
        yield made


def names_below(directory: Path) -> set[str]:
    return {os.path.relpath(os.path.join(place, name), directory)
            for place, folders, files in os.walk(directory) for name in [*folders, *files]}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../t", "/t", "a/b", "a\0b", "a b", "ü", "a\nb", "a" * 250, "a:b", "..\\t", "%2e%2e"]
)
def test_no_topic_leads_out_of_the_directory(cluster: Cluster, client: WireClient, tmp_path: Path, name: str) -> None:
    before = names_below(tmp_path)
    wanted = CreatableTopic(name=name, num_partitions=1, replication_factor=1, assignments=[], configs=[])
    made = client.ask(CreateTopicsRequest(topics=[wanted], timeout_ms=1000), 5)
    assert made.topics[0].error_code == INVALID_TOPIC
    asked = client.ask(MetadataRequest(topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=True), 9)
    assert asked.topics[0].error_code == INVALID_TOPIC
    assert client.fetch(name, 0).error_code in (3, INVALID_TOPIC)
    assert names_below(tmp_path) == before


def test_what_lies_about_in_the_directory_is_no_topic_and_stays(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    outside = tmp_path / "outside-0"
    outside.mkdir()
    with Cluster(directory=str(directory)):
        pass
    (directory / "link-0").symlink_to(outside)
    (directory / "notes.txt").write_text("mine")
    (directory / "folder").mkdir()
    with Cluster(directory=str(directory)) as cluster, WireClient(cluster.bootstrap) as client:
        assert client.ask(MetadataRequest(topics=None), 9).topics == []
        asked = MetadataRequest(topics=[MetadataRequestTopic(name="link")], allow_auto_topic_creation=True)
        assert client.ask(asked, 9).topics[0].error_code != 0
        client.make_topic("fine")
        assert client.produce("fine", [b"x"]).error_code == 0
    assert list(outside.iterdir()) == [], "a symbolic link was followed"
    assert (directory / "notes.txt").read_text() == "mine"
    assert (directory / "folder").is_dir()


def test_no_client_writes_lines_into_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    forged = "x\nWARNING kstore.broker: everybody may come in"
    config = {
        "listeners": "SASL_PLAINTEXT://127.0.0.1:0",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config":
            'org.apache.kafka.common.security.plain.PlainLoginModule required user_a="b";',
        "connection.failed.authentication.delay.ms": 0,
    }  # fmt: skip
    caplog.set_level(logging.DEBUG)
    with Cluster(directory=str(tmp_path / "data"), config=config) as cluster:
        plain = [f"\0{forged}\0p", f"{forged}\0a\0b"]
        for mechanism, token in ((forged, ""), ("PLAIN", plain[0]), ("PLAIN", plain[1])):
            with WireClient(cluster.bootstrap, forged) as hostile:
                hostile.ask(ApiVersionsRequest(), 0)
                if not hostile.ask(SaslHandshakeRequest(mechanism=mechanism), 1).error_code:
                    hostile.ask(SaslAuthenticateRequest(auth_bytes=token.encode()), 2)
    assert any("authentication failed" in record.getMessage() for record in caplog.records)
    assert not [record.getMessage() for record in caplog.records if "\n" in record.getMessage()]


def test_long_names_and_notes_have_an_end(client: WireClient) -> None:
    client.make_topic("t")

    def commit(group: str, note: str) -> int:
        part = OffsetCommitRequestPartition(partition_index=0, committed_offset=0, committed_metadata=note)
        topic = OffsetCommitRequestTopic(name="t", partitions=[part])
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            answer = client.ask(OffsetCommitRequest(group_id=group, member_id="", topics=[topic]), 2)
            code: int = answer.topics[0].partitions[0].error_code
            if code not in (14, 15, 16):  # the coordinator is being loaded
                return code
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert commit("g", "x" * 4096) == 0
    assert commit("g", "x" * 4097) == METADATA_TOO_LARGE
    assert commit("g" * 32_767, "") == 0, "Kafka has no limit of its own"
    assert commit("control \x00\x07\n characters", "") == 0


def test_who_reads_no_answers_is_read_no_more(cluster: Cluster, client: WireClient) -> None:
    """Requests for 1 MB each, behind each other, as many as the sockets take: what waits for them has an end."""
    client.make_topic("t")
    assert client.produce("t", [bytes(900_000)]).error_code == 0
    request = b"".join(encode_request(fetch_request("t", 0), 12, 1, "greedy"))
    with WireClient(cluster.bootstrap) as greedy:
        greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.socket.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 1.0
        while sent < 50_000 * len(request) and time.monotonic() < deadline:
            try:
                sent += greedy.socket.send(request * 100)
            except BlockingIOError:
                assert client.ask(ApiVersionsRequest(), 0).error_code == 0, "the others are served"
        held = [one for one in cluster.broker.connections.open if isinstance(one, Connection)]
        assert max(one._unsent.size_bytes for one in held) <= UNSENT_BYTES_MAX + 2 * (1 << 20)
        assert cluster.broker.held_bytes <= len(held) * 64 * 2 * len(request)
