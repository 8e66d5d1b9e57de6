"""TLS at the socket: what is exchanged, whose certificate counts, and clients that never get as far."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kstore.broker.connection import READS_IN_A_ROW
from kstore.broker.tls import RECORD_BYTES, TlsChannel, distinguished_name
from kstore.errors import InvalidConfig
from kstore.testing.cluster import Cluster
from kstore.wire.messages.metadata import MetadataRequest
from kstore.wire.messages.sessions import ApiVersionsRequest, SaslAuthenticateRequest, SaslHandshakeRequest
from support.wire_client import WireClient, fetch_request

FILES = Path(__file__).parents[2] / "fixtures" / "tls"
CONFIG = {
    "listeners": "SSL://127.0.0.1:0,PLAINTEXT://127.0.0.1:0",
    "ssl.keystore.location": str(FILES / "server.pem"),
    "ssl.truststore.location": str(FILES / "ca.pem"),
}


class TlsClient(WireClient):
    """The client, over TLS."""

    def __init__(self, bootstrap: str, certificate: str | None = None, **options: Any) -> None:
        super().__init__(bootstrap)
        context = ssl.create_default_context(cafile=str(FILES / "ca.pem"))
        if certificate:
            context.load_cert_chain(FILES / certificate)
        for name, value in options.items():
            setattr(context, name, value)
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        except OSError:
            self.close()
            raise


@contextlib.contextmanager
def running(tmp_path: Path, **config: str) -> Iterator[Cluster]:
    values = {**CONFIG, **{key.replace("_", "."): value for key, value in config.items()}}
    with Cluster(directory=str(tmp_path / "data"), config=values) as cluster:
        yield cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running(tmp_path) as one:
        yield one


def principals(cluster: Cluster) -> list[str]:
    return [one.principal for one in cluster.broker.connections.open]  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, 15_000, 100_000, 3_000_000])
def test_records_there_and_back(cluster: Cluster, version: ssl.TLSVersion, size: int) -> None:
    with TlsClient(cluster.bootstrap, minimum_version=version, maximum_version=version) as client:
        client.ask(ApiVersionsRequest(), 0)
        client.make_topic("t")
        for number in range(3):
            value = bytes([number]) * (size if size < 1_000_000 else 900_000)
            assert client.produce("t", [value]).error_code == 0
        answer = client.fetch("t", 0, max_bytes=50 << 20, partition_max_bytes=50 << 20)
        assert len(answer.records) > 3 * min(size, 900_000)
        assert principals(cluster) == ["User:ANONYMOUS"]


def test_many_requests_behind_each_other(cluster: Cluster) -> None:
    with TlsClient(cluster.bootstrap) as client:
        count = 300
        sender = threading.Thread(target=lambda: [client.post(MetadataRequest(topics=None), 9) for _ in range(count)])
        sender.start()
        sender.join()
        assert [client.receive_with_id(3, 9)[0] for _ in range(count)] == list(range(1, count + 1))


@pytest.mark.parametrize("records", range(READS_IN_A_ROW - 3, READS_IN_A_ROW + 2))
def test_what_was_decrypted_and_not_read_is_not_forgotten(cluster: Cluster, records: int) -> None:
    """The last read of a turn ends with a frame in the middle of a record: the rest waits inside OpenSSL, where the
    kernel wakes nobody for it."""
    with TlsClient(cluster.bootstrap) as client:
        client.ask(ApiVersionsRequest(), 0)
        size = records * RECORD_BYTES + 100
        padded = struct.pack(">ihhih", size - 4, 18, 0, 1, -1)
        requests = padded + bytes(size - len(padded)) + struct.pack(">ihhih", 10, 18, 0, 2, -1)
        go_on = threading.Event()
        cluster.broker.loop.call_soon_threadsafe(go_on.wait)
        client.socket.sendall(requests)
        go_on.set()
        assert [client.receive_with_id(18, 0)[0] for _ in range(2)] == [1, 2]


def test_a_slow_reader_of_much(cluster: Cluster) -> None:
    with TlsClient(cluster.bootstrap) as client:
        client.make_topic("t")
        for number in range(8):
            client.produce("t", [bytes([number]) * 900_000])
        for _ in range(4):
            client.post(fetch_request("t", 0, max_bytes=50 << 20, partition_max_bytes=50 << 20), 12)
        sizes = {len(client.receive(1, 12).responses[0].partitions[0].records) for _ in range(4)}
        assert len(sizes) == 1
        assert sizes.pop() > 7_200_000


def test_each_listener_is_told_its_own_address(cluster: Cluster) -> None:
    with TlsClient(cluster.listeners["SSL"]) as one, WireClient(cluster.listeners["PLAINTEXT"]) as other:
        for client, name in ((one, "SSL"), (other, "PLAINTEXT")):
            (broker,) = client.ask(MetadataRequest(topics=[]), 9).brokers
            assert f"{broker.host}:{broker.port}" == cluster.listeners[name]


# -- certificates of clients -------------------------------------------------------------------------------------


def is_let_in(make: Callable[[], WireClient]) -> bool:
    try:
        with make() as client:
            return bool(client.ask(MetadataRequest(topics=[]), 9).brokers)
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.mark.parametrize(
    ("auth", "certificate", "is_in"),
    [
        ("none", None, True), ("none", "stranger.pem", True), ("requested", None, True),
        ("requested", "client.pem", True), ("requested", "stranger.pem", False), ("required", None, False),
        ("required", "client.pem", True), ("required", "stranger.pem", False),
    ],
)  # fmt: skip
def test_whose_certificate_counts(tmp_path: Path, auth: str, certificate: str | None, is_in: bool) -> None:
    with running(tmp_path, ssl_client_auth=auth) as cluster:
        assert is_let_in(lambda: TlsClient(cluster.bootstrap, certificate)) is is_in


def test_the_name_of_a_certificate(tmp_path: Path) -> None:
    with running(tmp_path, ssl_client_auth="required") as cluster, TlsClient(cluster.bootstrap, "client.pem") as client:
        client.ask(ApiVersionsRequest(), 0)
        assert principals(cluster) == ["User:CN=client,O=Tests\\, Inc.,C=DE"]


def test_names_as_text() -> None:
    assert distinguished_name(((("commonName", " #a"),), (("userId", "u+"), ("1.2.3", "b ")))) == (
        "UID=u\\++1.2.3=b\\ ,CN=\\ #a"
    )


# -- and logins --------------------------------------------------------------------------------------------------


def test_a_login_behind_tls(tmp_path: Path) -> None:
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    config = {
        "listeners": "SASL_SSL://127.0.0.1:0",
        "sasl_enabled_mechanisms": "PLAIN",
        "plain_sasl_jaas_config": f'{module} required user_alice="a";',
        "ssl_client_auth": "required",
    }
    with running(tmp_path, **config) as cluster, TlsClient(cluster.bootstrap, "client.pem") as client:
        assert client.ask(SaslHandshakeRequest(mechanism="PLAIN"), 1).error_code == 0
        assert client.ask(SaslAuthenticateRequest(auth_bytes=b"\0alice\0a"), 1).error_code == 0
        assert principals(cluster) == ["User:alice"]
        with TlsClient(cluster.bootstrap, "client.pem") as other:
            other.post(MetadataRequest(topics=[]), 9)
            with pytest.raises(ConnectionError):
                other.receive(3, 9)


# -- clients that never get as far -------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [b"\0\0\0\x0a\0\x12\0\0\0\0\0\1\xff\xff", b"GET / HTTP/1.1\r\n\r\n", bytes(70_000)])
def test_what_is_no_tls_is_closed(cluster: Cluster, garbage: bytes) -> None:
    with WireClient(cluster.bootstrap) as client, contextlib.suppress(ConnectionError):
        client.socket.sendall(garbage)
        while client.socket.recv(100):  # an alert, which says why
            continue
    assert is_let_in(lambda: TlsClient(cluster.bootstrap))


def test_a_client_that_says_nothing_goes_and_one_that_came_goes_on(cluster: Cluster) -> None:
    plain = WireClient
    with plain(cluster.bootstrap) as silent, plain(cluster.bootstrap) as half, TlsClient(cluster.bootstrap) as ok:
        half.socket.sendall(b"\x16\x03\x01")
        ok.ask(ApiVersionsRequest(), 0)
        connections = cluster.broker.connections
        while len(connections.open) < 3:
            ok.ask(ApiVersionsRequest(), 0)

        def sweep() -> None:
            for one in connections.open:
                if one.in_by is not None:  # type: ignore[attr-defined]
                    one.in_by -= 31  # type: ignore[attr-defined]
            connections._sweeper.cancel()
            connections._sweep()

        cluster.broker.loop.call_soon_threadsafe(sweep)
        assert silent.is_closed_by_broker()
        assert half.is_closed_by_broker()
        assert ok.ask(ApiVersionsRequest(), 0).error_code == 0


def test_handshakes_count_as_connections(tmp_path: Path) -> None:
    with running(tmp_path, max_connections="2") as cluster:
        with WireClient(cluster.bootstrap), WireClient(cluster.bootstrap), WireClient(cluster.bootstrap) as third:
            assert third.is_closed_by_broker()
        while not is_let_in(lambda: TlsClient(cluster.bootstrap)):
            continue


def test_a_stop_in_the_middle_of_a_handshake(cluster: Cluster) -> None:
    with WireClient(cluster.bootstrap) as half, TlsClient(cluster.bootstrap) as ok:
        half.socket.sendall(b"\x16\x03\x01\x00")
        ok.ask(ApiVersionsRequest(), 0)
        cluster.stop()
        assert half.is_closed_by_broker()
        assert ok.is_closed_by_broker()


# -- keys and certificates ---------------------------------------------------------------------------------------


def test_an_encrypted_key(tmp_path: Path) -> None:
    config = {"ssl_keystore_location": str(FILES / "server-encrypted.pem"), "ssl_key_password": "key secret"}
    with running(tmp_path, **config) as cluster:
        assert is_let_in(lambda: TlsClient(cluster.bootstrap))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"ssl_keystore_location": str(FILES / "server-encrypted.pem")}, "ssl.key.password"),
        ({"ssl_keystore_location": str(FILES / "server-encrypted.pem"), "ssl_key_password": "wrong"}, "does not open"),
        ({"ssl_keystore_location": str(FILES / "ca.pem")}, "ssl.keystore.location"),
        ({"ssl_keystore_location": "/nowhere/x.pem"}, "No such file"),
        ({"ssl_truststore_location": "/nowhere/x.pem"}, "ssl.truststore.location"),
        ({"ssl_truststore_location": str(FILES / "make.sh")}, "ssl.truststore.location"),
        ({"ssl_truststore_location": "", "ssl_truststore_certificates": "no PEM"}, "ssl.truststore.certificates"),
    ],
)
def test_files_that_are_none(tmp_path: Path, config: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message), running(tmp_path, **config):
        pass


def test_authorities_as_text(tmp_path: Path) -> None:
    config = {"ssl_truststore_location": "", "ssl_truststore_certificates": (FILES / "ca.pem").read_text()}
    with running(tmp_path, ssl_client_auth="required", **config) as cluster:
        assert is_let_in(lambda: TlsClient(cluster.bootstrap, "client.pem"))


def test_versions_of_tls(tmp_path: Path) -> None:
    with running(tmp_path, ssl_enabled_protocols="TLSv1.3") as cluster:
        old = ssl.TLSVersion.TLSv1_2
        assert not is_let_in(lambda: TlsClient(cluster.bootstrap, maximum_version=old))
        assert is_let_in(lambda: TlsClient(cluster.bootstrap))


# -- the channel -------------------------------------------------------------------------------------------------


class FullSocket:
    """OpenSSL on a socket whose buffer is full: what was refused once must come again at its beginning."""

    def __init__(self) -> None:
        self.refused: bytes | None = None
        self.taken = bytearray()
        self.is_full = True

    def send(self, data: Any) -> int:
        if self.refused is not None and not bytes(data).startswith(self.refused):
            raise ssl.SSLError("bad write retry")
        if self.is_full:
            self.refused = bytes(data)
            raise ssl.SSLWantWriteError
        self.refused = None
        self.taken += data
        return len(data)

    def recv_into(self, buffer: memoryview) -> int:
        raise ssl.SSLWantWriteError


def test_a_refused_send_is_followed_by_the_same_bytes() -> None:
    full = FullSocket()
    channel = TlsChannel(full)  # type: ignore[arg-type]
    pieces = [b"a" * 100]
    with pytest.raises(BlockingIOError):
        channel.sendmsg(pieces)
    pieces += [b"b" * 50, memoryview(b"c" * 3 * RECORD_BYTES)]
    with pytest.raises(BlockingIOError):
        channel.sendmsg(pieces)
    full.is_full = False
    assert channel.sendmsg(pieces) == RECORD_BYTES
    assert full.taken == b"".join(pieces)[:RECORD_BYTES]
    assert channel.sendmsg([b""]) == 0


def test_a_read_that_has_to_write_first_is_told() -> None:
    channel = TlsChannel(FullSocket())  # type: ignore[arg-type]
    with pytest.raises(BlockingIOError):
        channel.recv_into(memoryview(bytearray(10)))
    assert channel.read_waits_for_write


def test_a_connection_whose_read_waits_for_a_write_goes_on(cluster: Cluster) -> None:
    with TlsClient(cluster.bootstrap) as client:
        client.ask(ApiVersionsRequest(), 0)
        (connection,) = cluster.broker.connections.open
        tls = connection._tls  # type: ignore[attr-defined]
        done = threading.Event()

        def wait_for_write() -> None:
            tls.read_waits_for_write = True
            connection._read_if_room()  # type: ignore[attr-defined]
            connection._flush()  # type: ignore[attr-defined]
            assert not connection._is_reading  # type: ignore[attr-defined]
            done.set()

        cluster.broker.loop.call_soon_threadsafe(wait_for_write)
        assert done.wait(10)
        assert client.ask(ApiVersionsRequest(), 0).error_code == 0
        assert not tls.read_waits_for_write


def test_the_goodbye(cluster: Cluster) -> None:
    client = TlsClient(cluster.bootstrap)
    client.ask(ApiVersionsRequest(), 0)
    client.socket.settimeout(10)
    cluster.stop()
    assert client.socket.recv(1) == b""
    client.socket.shutdown(socket.SHUT_RDWR)
    client.close()
