"""One connection's way from a stranger to a user: the handshake, the messages of a mechanism, the end.

Owns the order of requests (SaslServerAuthenticator, KIP-43, KIP-152). Must not know frames nor sockets. Made for each
connection of a listener that asks for a login; run by the broker.

Invariants
1. There is one way in: a handshake, then the messages of the mechanism that it named. Anything else ends the login for
   good.
2. A login that failed, or that was refused a step, stays failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kstore.errors import AuthenticationFailed, IllegalSaslState, UnsupportedSaslMechanism
from kstore.security.conversation import Conversation
from kstore.security.credentials import ScramCredentials
from kstore.security.plain import PlainServer
from kstore.security.scram import MECHANISMS, ScramServer

PLAIN: Final = "PLAIN"
SUPPORTED: Final = (PLAIN, *MECHANISMS)
"""Mechanisms that a listener may enable."""


class Login:
    """The state of one login."""

    def __init__(self, conversations: Mapping[str, Callable[[], Conversation]]) -> None:
        """`conversations` makes one of each mechanism that is enabled."""
        self._conversations = conversations
        self._conversation: Conversation | None = None
        self._has_failed = False
        self.mechanism = ""
        """What the handshake named."""

    @property
    def user(self) -> str | None:
        """Who it is; None before that is proven."""
        return None if self._has_failed or self._conversation is None else self._conversation.user

    def handshake(self, mechanism: str) -> None:
        """Begin; raises `UnsupportedSaslMechanism`, or `IllegalSaslState` where something began already."""
        if self._has_failed or self._conversation is not None:
            self._has_failed = True
            raise IllegalSaslState("a second handshake")
        begin = self._conversations.get(mechanism)
        if begin is None:
            self._has_failed = True
            raise UnsupportedSaslMechanism(f"mechanism {mechanism[:64]!r} is not enabled here")
        self.mechanism = mechanism
        self._conversation = begin()

    def authenticate(self, token: bytes) -> bytes:
        """The answer to a message of the mechanism; `user` is set behind the last one.

        Raises `AuthenticationFailed`, or `IllegalSaslState` where it is not its turn.
        """
        if self._has_failed or self._conversation is None or self._conversation.user is not None:
            self._has_failed = True
            raise IllegalSaslState("a message of an authentication that has not begun, or is over")
        try:
            return self._conversation.respond(token)
        except AuthenticationFailed:
            self._has_failed = True
            raise

    @property
    def refusal(self) -> str:
        """What a client is told whose authentication failed, in Kafka's words; the same whatever was wrong."""
        if self.mechanism == PLAIN:
            return "Authentication failed: Invalid username or password"
        return (
            "Authentication failed during authentication due to invalid credentials with SASL mechanism "
            f"{self.mechanism}"
        )


def conversations(
    enabled: tuple[str, ...],
    passwords: Mapping[str, str],
    credentials: Callable[[], ScramCredentials],
    nonce: Callable[[], str],
) -> dict[str, Callable[[], Conversation]]:
    """How to begin with each of the mechanisms `enabled`.

    `passwords` are those of PLAIN by user; `credentials` is asked at each login for those of SCRAM, so that a change
    counts from the next one on; `nonce` gives a fresh one.
    """

    def begin(name: str) -> Conversation:
        if name == PLAIN:
            return PlainServer(passwords)
        mechanism = MECHANISMS[name]
        table = credentials()
        return ScramServer(mechanism, lambda user: table.find(mechanism, user), nonce())

    return {name: lambda name=name: begin(name) for name in enabled}  # type: ignore[misc]
