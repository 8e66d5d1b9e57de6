"""TLS in front of a connection: a context from Kafka's keys, the handshake, and a socket that reads like any other.

Owns the files of keys and certificates, and everything that is OpenSSL's. Must not know requests. Called by `listener`;
`connection` uses the channel as it uses a socket.

Invariants
1. The event loop never waits for a peer: a handshake goes on when bytes come, and only so.
2. A client without a certificate that `ssl.client.auth=required` asks for gets no further than the handshake.
3. No renegotiation, no compression, nothing below TLS 1.2.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kstore.errors import InvalidConfig

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore.broker.loop import Loop
    from kstore.config import SecurityConfig

RECORD_BYTES = 16 * 1024
"""What one record of TLS holds: smaller pieces are sent together up to here."""
SEND_BYTES_MAX = 256 * 1024
"""What is encrypted at once, so that other connections have their turn."""
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTH = {"none": ssl.CERT_NONE, "requested": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

_SHORT = {
    "commonName": "CN", "organizationalUnitName": "OU", "organizationName": "O", "localityName": "L",
    "stateOrProvinceName": "ST", "countryName": "C", "streetAddress": "STREET", "domainComponent": "DC",
    "userId": "UID",
}  # fmt: skip
"""RFC 2253, section 2.3."""

_log = logging.getLogger(__name__)


def server_context(name: str, security: SecurityConfig) -> ssl.SSLContext:
    """The context of a listener; `InvalidConfig` names the key whose file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    versions = sorted(VERSIONS[one] for one in security.ssl_enabled_protocols)
    context.minimum_version, context.maximum_version = versions[0], versions[-1]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    with _explained(name, "ssl.keystore.location", security.ssl_keystore_location):
        # A function: without one OpenSSL would ask a terminal for the password of an encrypted key.
        context.load_cert_chain(security.ssl_keystore_location, password=lambda: security.ssl_key_password)
    if security.ssl_truststore_location:
        with _explained(name, "ssl.truststore.location", security.ssl_truststore_location):
            context.load_verify_locations(cafile=security.ssl_truststore_location)
    elif security.ssl_truststore_certificates:
        with _explained(name, "ssl.truststore.certificates", "given as text"):
            context.load_verify_locations(cadata=security.ssl_truststore_certificates)
    context.verify_mode = CLIENT_AUTH[security.ssl_client_auth]
    return context


@contextlib.contextmanager
def _explained(name: str, key: str, value: str) -> Any:
    try:
        yield
    except ssl.SSLError as error:
        raise InvalidConfig(
            f"listener {name}: {key} ({value}) is no PEM file with what it needs, or ssl.key.password does not open "
            f"it: {error.reason or error}"
        ) from None
    except OSError as error:
        raise InvalidConfig(f"listener {name}: {key} ({value}): {error.strerror}") from None


class TlsChannel:
    """An encrypted socket behind the methods that `connection` uses of a plain one; the handshake is done."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._ssl = sock
        self.read_waits_for_write = False
        """TLS has something of its own to send before it can go on reading (an update of keys)."""

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._ssl.fileno()

    def getsockname(self) -> Any:
        """The socket's own address."""
        return self._ssl.getsockname()

    def pending(self) -> int:
        """Bytes that are decrypted and not read: the kernel does not wake anyone for them."""
        return self._ssl.pending()

    def recv_into(self, buffer: memoryview) -> int:
        """As of a socket; `BlockingIOError` where nothing is there."""
        try:
            return self._ssl.recv_into(buffer)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        except ssl.SSLWantWriteError:
            self.read_waits_for_write = True
            raise BlockingIOError from None

    def sendmsg(self, pieces: Sequence[Buffer]) -> int:
        """Send some of the pieces, in order, and return how many bytes; `BlockingIOError` where nothing fits.

        A call that was refused is followed by one that begins with the same bytes: OpenSSL has encrypted them.
        """
        chunk: memoryview | bytearray = memoryview(pieces[0]).cast("B")[:SEND_BYTES_MAX]
        if len(chunk) < RECORD_BYTES:
            together = bytearray(chunk)
            for piece in pieces[1:]:
                if len(together) >= RECORD_BYTES:
                    break
                together += memoryview(piece).cast("B")[: RECORD_BYTES - len(together)]
            chunk = together
        if not chunk:
            return 0
        try:
            return self._ssl.send(chunk)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None

    def close(self) -> None:
        """Say goodbye if that can be done at once, and close."""
        with contextlib.suppress(OSError, ValueError):
            self._ssl.unwrap()
        self._ssl.close()

    @property
    def principal(self) -> str | None:
        """The name in the client's certificate; None without one that was checked."""
        subject: Any = (self._ssl.getpeercert() or {}).get("subject")
        return None if not subject else f"User:{distinguished_name(subject)}"


class Handshake:
    """A client that has connected and is not encrypted yet; see `admission.Client`."""

    def __init__(
        self,
        loop: Loop,
        context: ssl.SSLContext,
        sock: socket.socket,
        peer: str,
        in_by: float,
        done: Callable[[Handshake, TlsChannel], None],
        lost: Callable[[Handshake], None],
    ) -> None:
        """`in_by` is when it has to be over, by the loop's clock; afterwards `done` or `lost` is called, once.

        Raises `OSError` where the client is gone already.
        """
        self._loop = loop
        self._peer = peer
        self.in_by = in_by
        self._done = done
        self._lost = lost
        self._is_over = False
        self._ssl = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def begin(self) -> None:
        """Start; goes on by itself."""
        self._loop.add_reader(self._ssl, self._go_on)
        self._go_on()

    def overdue(self, now: float, idle_s: float) -> tuple[str, int] | None:
        """See `admission.Client.overdue`."""
        return ("no TLS handshake in time", logging.WARNING) if now > self.in_by else None

    def finish_and_close(self) -> None:
        """See `admission.Client.finish_and_close`."""
        self.close("the broker stops")

    def close(self, reason: str, level: int = logging.DEBUG) -> None:
        """See `admission.Client.close`."""
        if not self._is_over:
            _log.log(level, "%s: closed: %s", self._peer, reason)
            self._end()
            self._ssl.close()
            self._lost(self)

    def _go_on(self) -> None:
        self._loop.remove_writer(self._ssl)
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            self._loop.add_writer(self._ssl, self._go_on)
            return
        except (OSError, ValueError) as error:
            self.close(f"no TLS: {getattr(error, 'reason', None) or error}", logging.WARNING)
            return
        self._end()
        self._done(self, TlsChannel(self._ssl))

    def _end(self) -> None:
        self._is_over = True
        self._loop.remove_reader(self._ssl)
        self._loop.remove_writer(self._ssl)


def distinguished_name(subject: Sequence[Sequence[tuple[str, str]]]) -> str:
    """A certificate's subject as text (RFC 2253): the most specific part first, as Java and Kafka write it."""
    parts = []
    for relative in reversed(subject):
        parts.append("+".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in relative))
    return ",".join(parts)


def _escaped(value: str) -> str:
    text = "".join(f"\\{char}" if char in ',+"\\<>;' else char for char in value)
    if text.startswith((" ", "#")):
        text = f"\\{text}"
    return f"{text[:-1]}\\ " if text.endswith(" ") and len(value) > 1 else text
