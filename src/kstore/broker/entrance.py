"""What the requests of a connection go to before its client has logged in: nothing but the login is answered.

Owns SaslHandshake and SaslAuthenticate, and what follows from how they end. Must not know a mechanism: that is for
`kstore.security`. Made by `listener` for each connection of a SASL listener.

Invariants
1. Before the login any API but ApiVersions, SaslHandshake and SaslAuthenticate closes the connection, undecoded.
2. A login that failed is answered late, after `connection.failed.authentication.delay.ms`, and then the connection is
   closed; what else the client sends is not read (N15).
3. A client that is not in after `LOGIN_S` goes.
"""

from __future__ import annotations

import logging
import struct
from functools import partial
from typing import TYPE_CHECKING

from kstore.broker.call import Call
from kstore.broker.dispatch import HANDLERS, dispatch, handlers_by_version
from kstore.errors import AuthenticationFailed, IllegalSaslState, UnsupportedSaslMechanism
from kstore.wire.apis import API_VERSIONS, SASL_AUTHENTICATE, SASL_HANDSHAKE
from kstore.wire.error_codes import code_of
from kstore.wire.messages.sessions import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstore.broker.connection import Connection
    from kstore.broker.node import Broker
    from kstore.security.login import Login

LOGIN_S = 30.0
"""What a client has for TLS and SASL together; a slow one takes a second."""
RAW_VERSION = 0
"""Behind SaslHandshake of this version the mechanism's messages are frames of their own (KIP-43, before KIP-152)."""
NO_LIFETIME_MS = 0
"""A session lasts as long as its connection: no re-authentication (KIP-368)."""

_SIZE = struct.Struct(">i")
_KEY = struct.Struct(">h")
_ALLOWED = frozenset({API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE})

_log = logging.getLogger(__name__)


class Entrance:
    """The login of one connection."""

    def __init__(self, broker: Broker, connection: Connection, login: Login, in_by: float) -> None:
        """`in_by` is when the login has to be over, by the loop's clock."""
        self._broker = broker
        self._connection = connection
        self._login = login
        self._is_raw = False
        self._handlers = handlers_by_version(
            {
                API_VERSIONS: HANDLERS[API_VERSIONS],
                SASL_HANDSHAKE: self._handshake,
                SASL_AUTHENTICATE: self._authenticate,
            }
        )
        connection.handle = self._take
        connection.frame_bytes_max = connection.listener.own.security.sasl_server_max_receive_size
        connection.in_by = in_by

    def _take(self, connection: Connection, frame: memoryview) -> None:
        if self._is_raw:
            self._take_raw(frame)
        elif len(frame) >= _KEY.size and _KEY.unpack_from(frame)[0] in _ALLOWED:
            dispatch(self._broker, connection, frame, self._handlers)
        else:
            connection.close("a request before the login", logging.WARNING)

    def _handshake(self, broker: Broker, call: Call) -> None:
        request: SaslHandshakeRequest = call.body
        enabled = call.connection.listener.own.security.sasl_enabled_mechanisms
        try:
            self._login.handshake(request.mechanism)
        except (UnsupportedSaslMechanism, IllegalSaslState) as error:
            _log.warning("%s: %s", call.connection.peer, error)
            call.connection.finish_and_close()
            call.answer(SaslHandshakeResponse(error_code=code_of(error), mechanisms=enabled))
            return
        self._is_raw = call.version == RAW_VERSION
        call.answer(SaslHandshakeResponse(error_code=0, mechanisms=enabled))

    def _authenticate(self, broker: Broker, call: Call) -> None:
        request: SaslAuthenticateRequest = call.body
        try:
            reply = self._login.authenticate(bytes(request.auth_bytes))
        except IllegalSaslState as error:
            _log.warning("%s: %s", call.connection.peer, error)
            call.connection.finish_and_close()
            call.answer(SaslAuthenticateResponse(error_code=code_of(error), error_message=str(error), auth_bytes=b""))
            return
        except AuthenticationFailed as error:
            refusal = SaslAuthenticateResponse(
                error_code=code_of(error), error_message=self._login.refusal, auth_bytes=b""
            )
            self._refuse(error, partial(call.answer, refusal))
            return
        self._let_in()
        call.answer(
            SaslAuthenticateResponse(
                error_code=0, error_message=None, auth_bytes=reply, session_lifetime_ms=NO_LIFETIME_MS
            )
        )

    def _take_raw(self, frame: memoryview) -> None:
        connection = self._connection
        call = Call(connection, SASL_AUTHENTICATE, RAW_VERSION, 0, None, None)
        connection.accept(call, len(frame))
        try:
            reply = self._login.authenticate(bytes(frame))
        except AuthenticationFailed as error:
            self._refuse(error, call.answer_nothing)
            return
        self._let_in()
        connection.finish(call, [_SIZE.pack(len(reply)) + reply])

    def _refuse(self, error: AuthenticationFailed, answer: Callable[[], None]) -> None:
        _log.warning("%s: %s", self._connection.peer, error)
        self._connection.finish_and_close()
        delay_s = self._broker.config.connection_failed_authentication_delay_ms / 1000
        self._broker.loop.call_later(delay_s, answer)

    def _let_in(self) -> None:
        user, connection = self._login.user, self._connection
        if user is not None:
            connection.principal = f"User:{user}"
            connection.handle = self._broker.dispatch
            connection.frame_bytes_max = self._broker.config.socket_request_max_bytes
            connection.in_by = None
            _log.debug("%s: %s logged in by %s", connection.peer, user, self._login.mechanism)
