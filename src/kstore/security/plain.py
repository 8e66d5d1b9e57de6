"""PLAIN (RFC 4616): name and password in one message, for listeners that are encrypted.

Owns the message and the comparison. Must not know where passwords come from. Run by `login`.

Invariants
1. The time that a comparison takes tells neither the password, nor its length, nor whether the name is known.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from kstore.errors import AuthenticationFailed
from kstore.security.scram import NAME_CHARS_MAX


class PlainServer:
    """The server's side of one authentication; see `conversation.Conversation`."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        """`passwords` by user."""
        self.user: str | None = None
        self._passwords = passwords

    def respond(self, token: bytes) -> bytes:
        """See `Conversation.respond`."""
        if self.user is not None:
            raise AuthenticationFailed("a second message, of one")
        try:
            parts = token.decode().split("\0")
        except UnicodeDecodeError:
            raise AuthenticationFailed("a message that is not UTF-8") from None
        if len(parts) != 3:
            raise AuthenticationFailed(f"a message of {len(parts)} parts, of three")
        authzid, name, password = parts
        if not name or not password:
            raise AuthenticationFailed("no name, or no password")
        if len(name) > NAME_CHARS_MAX:
            raise AuthenticationFailed(f"a name of {len(name)} characters")
        known = self._passwords.get(name)
        if not (_is_same(password, known or "") and known):
            raise AuthenticationFailed(f"a wrong password for {name!r}" if known else f"no user {name!r}")
        if authzid not in ("", name):
            raise AuthenticationFailed("an authorization id that is not the user")
        self.user = name
        return b""


def _is_same(one: str, other: str) -> bool:
    """Of hashes, which all have the same size."""
    hashes = [hashlib.sha256(text.encode()).digest() for text in (one, other)]
    return hmac.compare_digest(*hashes)
