"""SASL at the socket: who gets in, who does not, and that nothing is answered before."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kstore.cluster import scram_file
from kstore.testing.cluster import Cluster
from kstore.wire.apis import APIS
from kstore.wire.messages.metadata import MetadataRequest
from kstore.wire.messages.quotas import (
    AlterUserScramCredentialsRequest,
    DescribeUserScramCredentialsRequest,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
    UserName,
)
from kstore.wire.messages.sessions import ApiVersionsRequest, SaslAuthenticateRequest, SaslHandshakeRequest
from support.scram_client import ScramClient
from support.wire_client import WireClient

JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="broker" password="own" user_alice="alice secret" user_bob="b=\\"1\\"";'
)
CONFIG = {
    "listeners": "PLAINTEXT://127.0.0.1:0,CLIENTS://127.0.0.1:0",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CLIENTS:SASL_PLAINTEXT",
    "listener.name.clients.plain.sasl.jaas.config": JAAS,
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
}
DELAY_S = 0.1


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(directory=str(tmp_path / "data"), config=CONFIG) as running:
        yield running


@pytest.fixture
def stranger(cluster: Cluster) -> Iterator[WireClient]:
    with WireClient(cluster.listeners["CLIENTS"]) as connected:
        yield connected


def begin(client: WireClient, mechanism: str = "PLAIN") -> Any:
    return client.ask(SaslHandshakeRequest(mechanism=mechanism), 1)


def prove(client: WireClient, token: bytes, version: int = 2) -> Any:
    return client.ask(SaslAuthenticateRequest(auth_bytes=token), version)


def is_in(client: WireClient) -> bool:
    return bool(client.ask(MetadataRequest(topics=[]), 9).brokers)


def upsertion(user: str, password: str, mechanism: int = 1, iterations: int = 4096) -> ScramCredentialUpsertion:
    salt = b"some salt"
    name = {1: "sha256", 2: "sha512"}[mechanism]
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, iterations)
    return ScramCredentialUpsertion(
        name=user, mechanism=mechanism, iterations=iterations, salt=salt, salted_password=salted
    )


def alter(cluster: Cluster, *upsertions: ScramCredentialUpsertion, **options: Any) -> dict[str, int]:
    with WireClient(cluster.listeners["PLAINTEXT"]) as admin:
        request = AlterUserScramCredentialsRequest(upsertions=upsertions, **{"deletions": [], **options})
        return {one.user: one.error_code for one in admin.ask(request, 0).results}


def log_in_by_scram(client: WireClient, name: str, password: str, hash_name: str = "sha256") -> Any:
    assert begin(client, {"sha256": "SCRAM-SHA-256", "sha512": "SCRAM-SHA-512"}[hash_name]).error_code == 0
    scram = ScramClient(name, password, hash_name=hash_name)
    answer = prove(client, scram.first())
    if answer.error_code:
        return answer
    return prove(client, scram.final(bytes(answer.auth_bytes)))


# -- the way in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize(("user", "password"), [("alice", "alice secret"), ("bob", 'b="1"')])
def test_plain(stranger: WireClient, version: int, user: str, password: str) -> None:
    handshake = begin(stranger)
    assert (handshake.error_code, list(handshake.mechanisms)) == (0, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
    answer = prove(stranger, f"\0{user}\0{password}".encode(), version)
    assert (answer.error_code, answer.error_message, answer.session_lifetime_ms) == (0, None, 0)
    assert is_in(stranger)
    assert stranger.ask(ApiVersionsRequest(), 0).error_code == 0


@pytest.mark.parametrize(("mechanism", "hash_name"), [(1, "sha256"), (2, "sha512")])
def test_scram(cluster: Cluster, stranger: WireClient, mechanism: int, hash_name: str) -> None:
    assert alter(cluster, upsertion("carol", "p", mechanism)) == {"carol": 0}
    answer = log_in_by_scram(stranger, "carol", "p", hash_name)
    assert answer.error_code == 0
    assert bytes(answer.auth_bytes).startswith(b"v=")
    assert is_in(stranger)
    (connection,) = cluster.broker.connections.open
    assert connection.principal == "User:carol"  # type: ignore[attr-defined]


def test_users_of_scram_are_there_after_a_restart(cluster: Cluster) -> None:
    alter(cluster, upsertion("carol", "p"))
    cluster.restart()
    with WireClient(cluster.listeners["CLIENTS"]) as client:
        assert log_in_by_scram(client, "carol", "p").error_code == 0
    path = Path(cluster.directory) / scram_file.FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    salted = upsertion("carol", "p").salted_password
    assert base64.b64encode(salted) not in path.read_bytes()


def test_a_damaged_file_lets_nobody_in(cluster: Cluster, stranger: WireClient) -> None:
    alter(cluster, upsertion("carol", "p"))
    cluster.stop()
    path = Path(cluster.directory) / scram_file.FILE_NAME
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    cluster.start()
    with WireClient(cluster.listeners["CLIENTS"]) as client:
        assert log_in_by_scram(client, "carol", "p").error_code == 58
    assert alter(cluster, upsertion("carol", "q")) == {"carol": 0}
    with WireClient(cluster.listeners["CLIENTS"]) as client:
        assert log_in_by_scram(client, "carol", "q").error_code == 0


def test_the_messages_of_old_clients_are_frames_of_their_own(stranger: WireClient) -> None:
    assert stranger.ask(SaslHandshakeRequest(mechanism="PLAIN"), 0).error_code == 0
    token = b"\0alice\0alice secret"
    stranger.socket.sendall(struct.pack(">i", len(token)) + token)
    assert stranger.receive_frame() == b""
    assert is_in(stranger)


def test_requests_behind_the_login_in_one_packet(stranger: WireClient) -> None:
    stranger.post(SaslHandshakeRequest(mechanism="PLAIN"), 1)
    stranger.post(SaslAuthenticateRequest(auth_bytes=b"\0alice\0alice secret"), 1)
    stranger.post(MetadataRequest(topics=[]), 9)
    assert stranger.receive(17, 1).error_code == 0
    assert stranger.receive(36, 1).error_code == 0
    assert stranger.receive(3, 9).brokers


# -- nobody else gets in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(APIS.keys() - {17, 18, 36}))
def test_no_other_request_is_answered_before_the_login(cluster: Cluster, key: int) -> None:
    for opening in ([], [SaslHandshakeRequest(mechanism="PLAIN")]):
        with WireClient(cluster.listeners["CLIENTS"]) as client:
            for request in opening:
                client.ask(request, 1)
            client.socket.sendall(struct.pack(">ihhih", 10, key, APIS[key].first, 1, -1))
            assert client.is_closed_by_broker()


def test_versions_are_told_before_the_login_as_often_as_asked(stranger: WireClient) -> None:
    for version in (0, 3, 0):
        request = ApiVersionsRequest(client_software_name="a", client_software_version="1")
        keys = {row.api_key for row in stranger.ask(request, version).api_keys}
        assert {17, 36} <= keys
    stranger.socket.sendall(struct.pack(">ihhihb", 11, 18, 99, 7, -1, 0))
    assert struct.unpack(">ih", stranger.receive_frame()[:6]) == (7, 35)
    begin(stranger)
    assert stranger.ask(ApiVersionsRequest(), 0).error_code == 0


@pytest.mark.parametrize("token", [b"\0alice\0wrong", b"\0nobody\0x", b"", b"\xff" * 1000])
def test_a_wrong_password_is_told_late_and_then_the_connection_is_closed(stranger: WireClient, token: bytes) -> None:
    begin(stranger)
    stranger.post(SaslAuthenticateRequest(auth_bytes=token), 1)
    stranger.post(SaslAuthenticateRequest(auth_bytes=b"\0alice\0alice secret"), 1)
    stranger.post(MetadataRequest(topics=[]), 9)
    before = time.monotonic()
    answer = stranger.receive(36, 1)
    assert time.monotonic() - before > DELAY_S / 2
    assert (answer.error_code, answer.auth_bytes) == (58, b"")
    assert answer.error_message == "Authentication failed: Invalid username or password"
    assert stranger.is_closed_by_broker()


def test_a_wrong_password_and_a_wrong_name_look_the_same(cluster: Cluster) -> None:
    alter(cluster, upsertion("carol", "p", iterations=8192))
    seen = []
    for name in ("carol", "nobody"):
        with WireClient(cluster.listeners["CLIENTS"]) as client:
            begin(client, "SCRAM-SHA-256")
            scram = ScramClient(name, "wrong")
            first = prove(client, scram.first())
            assert first.error_code == 0
            answer = prove(client, scram.final(bytes(first.auth_bytes)))
            parts = dict(part.split("=", 1) for part in bytes(first.auth_bytes).decode().split(","))
            seen.append((answer.error_code, answer.error_message, parts["i"], len(parts["s"])))
            assert client.is_closed_by_broker()
    assert seen[0] == seen[1]
    assert seen[0][0] == 58


def test_old_clients_with_a_wrong_password_are_closed(stranger: WireClient) -> None:
    stranger.ask(SaslHandshakeRequest(mechanism="PLAIN"), 0)
    token = b"\0alice\0wrong"
    stranger.socket.sendall(struct.pack(">i", len(token)) + token)
    assert stranger.is_closed_by_broker()


def test_no_token_without_a_handshake(stranger: WireClient) -> None:
    answer = prove(stranger, b"\0alice\0alice secret")
    assert answer.error_code == 34
    assert stranger.is_closed_by_broker()


def test_no_second_handshake(stranger: WireClient) -> None:
    begin(stranger)
    assert begin(stranger).error_code == 34
    assert stranger.is_closed_by_broker()


@pytest.mark.parametrize("mechanism", ["GSSAPI", "OAUTHBEARER", "", "plain"])
def test_mechanisms_that_are_not_enabled(stranger: WireClient, mechanism: str) -> None:
    answer = begin(stranger, mechanism)
    assert (answer.error_code, list(answer.mechanisms)) == (33, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
    assert stranger.is_closed_by_broker()


def test_a_login_after_the_login_is_refused_and_the_session_goes_on(stranger: WireClient) -> None:
    begin(stranger)
    prove(stranger, b"\0alice\0alice secret")
    assert begin(stranger).error_code == 34
    assert prove(stranger, b"\0alice\0wrong").error_code == 34
    assert is_in(stranger)


def test_a_listener_without_a_login_knows_none(cluster: Cluster) -> None:
    with WireClient(cluster.bootstrap) as client:
        assert begin(client).error_code == 34
        assert prove(client, b"\0alice\0alice secret").error_code == 34
        assert is_in(client)


def test_before_the_login_a_frame_is_small(cluster: Cluster, stranger: WireClient) -> None:
    with WireClient(cluster.listeners["CLIENTS"]) as other:
        other.socket.sendall(struct.pack(">i", 512 * 1024 + 1))
        assert other.is_closed_by_broker()
    begin(stranger)
    prove(stranger, b"\0alice\0alice secret")
    stranger.socket.sendall(struct.pack(">i", 512 * 1024 + 1))
    assert is_open(stranger)


def is_open(client: WireClient) -> bool:
    client.socket.settimeout(0.2)
    try:
        return client.socket.recv(1) != b""
    except TimeoutError:
        return True


def test_who_does_not_log_in_goes(cluster: Cluster, stranger: WireClient) -> None:
    with WireClient(cluster.listeners["CLIENTS"]) as inside:
        begin(inside)
        prove(inside, b"\0alice\0alice secret")
        stranger.ask(ApiVersionsRequest(), 0)
        def sweep() -> None:
            for connection in cluster.broker.connections.open:
                if connection.in_by is not None:  # type: ignore[attr-defined]
                    connection.in_by -= 31  # type: ignore[attr-defined]
            cluster.broker.connections._sweeper.cancel()
            cluster.broker.connections._sweep()

        cluster.broker.loop.call_soon_threadsafe(sweep)
        assert stranger.is_closed_by_broker()
        assert is_in(inside)


# -- users -------------------------------------------------------------------------------------------------------


def test_users_are_described(cluster: Cluster) -> None:
    assert alter(cluster, upsertion("carol", "p"), upsertion("carol", "p", 2, 5000), upsertion("dave", "x")) == {
        "carol": 0, "dave": 0,
    }  # fmt: skip
    with WireClient(cluster.bootstrap) as client:
        for users in (None, []):
            every = client.ask(DescribeUserScramCredentialsRequest(users=users), 0)
            infos = {
                one.user: [(info.mechanism, info.iterations) for info in one.credential_infos] for one in every.results
            }
            assert infos == {"carol": [(1, 4096), (2, 5000)], "dave": [(1, 4096)]}
        asked = [UserName(name=name) for name in ("dave", "nobody", "carol", "carol")]
        some = client.ask(DescribeUserScramCredentialsRequest(users=asked), 0)
        assert {one.user: one.error_code for one in some.results} == {"dave": 0, "nobody": 91, "carol": 92}


def test_users_are_removed(cluster: Cluster, stranger: WireClient) -> None:
    alter(cluster, upsertion("carol", "p"), upsertion("dave", "x"))
    gone = [ScramCredentialDeletion(name="carol", mechanism=1), ScramCredentialDeletion(name="nobody", mechanism=1)]
    assert alter(cluster, upsertion("weak", "x", iterations=100), deletions=gone) == {
        "carol": 0, "nobody": 91, "weak": 93,
    }  # fmt: skip
    assert log_in_by_scram(stranger, "carol", "p").error_code == 58


def test_passwords_are_in_no_description_and_no_repr(cluster: Cluster) -> None:
    from kstore.broker.config_entries import broker_entries

    assert "secret" not in repr(cluster.broker.config)
    rows = {one.name: one for one in broker_entries(cluster.broker.config)}
    row = rows["plain.sasl.jaas.config"]
    assert (row.value, row.is_sensitive, row.type) == (None, True, 9)
    assert all(one.value is None for one in row.synonyms)
    assert "alice secret" not in repr(rows)


def test_a_client_that_goes_before_its_refusal(cluster: Cluster) -> None:
    client = WireClient(cluster.listeners["CLIENTS"])
    begin(client)
    client.post(SaslAuthenticateRequest(auth_bytes=b"\0alice\0wrong"), 1)
    client.socket.shutdown(socket.SHUT_RDWR)
    client.close()
    with WireClient(cluster.bootstrap) as other:
        assert is_in(other)
