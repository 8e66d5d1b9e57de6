"""A listening socket: clients come in by it, and are told to come by it again.

Owns accepting, and what holds for every connection of one listener. Must not know requests, nor how many may be in:
`admission` does. Called by `node`, on the event loop.

Invariants
1. A client that does not fit is closed at once, before a byte of it is read.
2. A system without descriptors stops the accepting for a moment, and nothing else.
"""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING

from kstore.broker.connection import Connection
from kstore.broker.entrance import LOGIN_S, Entrance
from kstore.cluster.metadata import Node

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from kstore.broker.node import Broker
    from kstore.broker.tls import Handshake, TlsChannel
    from kstore.config import ListenerConfig
    from kstore.security.login import Login

ACCEPTS_IN_A_ROW = 64
"""Connections taken before the ones that are in have their turn."""
ACCEPT_PAUSE_S = 0.5
"""How long nobody is let in when the system has no descriptors left."""
NONCE_BYTES = 24
"""Of the server's half of a SCRAM nonce: 192 random bits."""
WILDCARDS = frozenset({"", "0.0.0.0", "::"})
"""Hosts to listen on that no client could connect to: those are told the address that they came by."""

_log = logging.getLogger(__name__)


class Listener:
    """Lets clients in."""

    def __init__(self, broker: Broker, own: ListenerConfig) -> None:
        """Binds; raises `OSError`, and `InvalidConfig` for keys and certificates that are none.

        Nobody is let in before `start`.
        """
        self._broker = broker
        self.own = own
        self._is_accepting = False
        self._context = _tls_context(own) if own.protocol.has_tls else None
        family = socket.AF_INET6 if ":" in own.host else socket.AF_INET
        backlog = broker.config.socket_listen_backlog_size
        self._socket = socket.create_server((own.host, own.port), family=family, backlog=backlog)
        self._socket.setblocking(False)
        self.host, self.port = own.host, int(self._socket.getsockname()[1])
        host, port = own.advertised or (self.host, self.port)
        self._new_login = _logins(broker, own) if own.protocol.has_sasl else None
        self._node = Node(broker.store.config.node_id, host, port or self.port, broker.config.broker_rack or None)

    def node_for(self, connection: Connection) -> Node:
        """This broker as a client of this listener may reach it."""
        if self._node.host in WILDCARDS:
            return self._node._replace(host=connection.local_address)
        return self._node

    @property
    def node(self) -> Node:
        """This broker as clients of this listener are told; its host may be a wildcard."""
        return self._node

    def start(self) -> None:
        """Let clients in."""
        if not self._is_accepting:
            self._is_accepting = True
            self._broker.loop.add_reader(self._socket, self._accept)

    def stop(self) -> None:
        """Let nobody in any more; those who are in stay."""
        self._pause()
        self._socket.close()

    def _pause(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._broker.loop.remove_reader(self._socket)

    def _accept(self) -> None:
        connections = self._broker.connections
        for _ in range(ACCEPTS_IN_A_ROW):
            if not connections.take_token():
                self._pause()
                self._broker.loop.call_later(connections.pause_s, self._resume)
                return
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                _log.warning("no connection can be accepted: %s", error)
                self._pause()
                self._broker.loop.call_later(ACCEPT_PAUSE_S, self._resume)
                return
            if connections.has_room(str(address[0])):
                self._admit(sock, str(address[0]))
            else:
                sock.close()

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self.start()

    def _admit(self, sock: socket.socket, address: str) -> None:
        config = self._broker.config
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, size in (
            (socket.SO_SNDBUF, config.socket_send_buffer_bytes),
            (socket.SO_RCVBUF, config.socket_receive_buffer_bytes),
        ):
            if size > 0:
                sock.setsockopt(socket.SOL_SOCKET, option, size)
        self._broker.traffic.accepted += 1
        in_by = self._broker.loop.time() + LOGIN_S
        if self._context is None:
            connection = self._connection(sock, address, in_by)
            self._broker.connections.add(connection, address)
            connection.begin()
            return
        from kstore.broker.tls import Handshake

        try:
            handshake = Handshake(
                self._broker.loop, self._context, sock, address, in_by, self._encrypted, self._broker.lost
            )
        except (OSError, ValueError):  # the client is gone again
            sock.close()
            return
        self._broker.connections.add(handshake, address)
        handshake.begin()

    def _encrypted(self, handshake: Handshake, channel: TlsChannel) -> None:
        connections = self._broker.connections
        connection = self._connection(channel, connections.open[handshake], handshake.in_by)
        connection.principal = channel.principal or connection.principal
        connections.replace(handshake, connection)
        connection.begin()

    def _connection(self, sock: socket.socket | TlsChannel, address: str, in_by: float) -> Connection:
        config = self._broker.config
        connection = Connection(self._broker, self, sock, address, config.socket_request_max_bytes)
        if self._new_login is not None:
            Entrance(self._broker, connection, self._new_login(), in_by)
        return connection


def _tls_context(own: ListenerConfig) -> ssl.SSLContext:
    """What TLS needs is imported for the listeners that have it, as is what logins need."""
    from kstore.broker.tls import server_context

    return server_context(own.name, own.security)


def _logins(broker: Broker, own: ListenerConfig) -> Callable[[], Login]:
    """Makes the login of one connection. What logins need is imported for the listeners that have them."""
    import secrets

    from kstore.security.login import Login, conversations

    mechanisms = conversations(
        own.security.sasl_enabled_mechanisms,
        own.security.users_of_plain,
        lambda: broker.cluster.scram_credentials,
        lambda: secrets.token_urlsafe(NONCE_BYTES),
    )
    return lambda: Login(mechanisms)
