"""SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677): what is stored of a password, and the server's side.

Owns the messages, their grammar and the proofs. Must not know where credentials are kept nor where nonces come from:
both are handed in. Called by `login`; the credentials also by whoever keeps or changes them.

As in Kafka names and passwords are taken as the UTF-8 that they come in, without SASLprep (ScramFormatter).

Invariants
1. A password, and what could stand for it, is never kept: only StoredKey and ServerKey, salted and iterated.
2. A client that does not know the password gets the same answers, whether its name is known or not: a stranger has a
   decoy of a credential, the same one each time, and fails at the last step like everybody else.
3. The proof is compared in constant time, and covers every byte that was exchanged before it.
4. A client that claims channel binding, or wants to be somebody else than it proves to be, is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kstore.errors import AuthenticationFailed

NAME_CHARS_MAX: Final = 1024
"""Longer names are somebody's attempt to fill a disk, or a log."""
NONCE_CHARS_MAX: Final = 1024
"""Clients send some 25 characters; the server's half is 32. A longer one is an attempt to have us hash much."""
ITERATIONS_MAX: Final = 16_384
"""ScramMechanism.maxIterations: a client has to do them, and a broker that asks for 2^31 would stop it."""


@dataclass(frozen=True)
class ScramMechanism:
    """One of the two: `number` is that of Kafka's admin requests (KIP-554)."""

    name: str
    number: int
    hash_name: str
    iterations_min: int

    def hash(self, data: bytes) -> bytes:
        """H of RFC 5802."""
        return hashlib.new(self.hash_name, data).digest()

    def mac(self, key: bytes, data: bytes) -> bytes:
        """HMAC of RFC 5802."""
        return hmac.digest(key, data, self.hash_name)

    @property
    def size_bytes(self) -> int:
        """Size of a hash and of a key."""
        return hashlib.new(self.hash_name).digest_size


SCRAM_SHA_256: Final = ScramMechanism("SCRAM-SHA-256", 1, "sha256", 4096)
SCRAM_SHA_512: Final = ScramMechanism("SCRAM-SHA-512", 2, "sha512", 4096)
MECHANISMS: Final = {one.name: one for one in (SCRAM_SHA_256, SCRAM_SHA_512)}
BY_NUMBER: Final = {one.number: one for one in MECHANISMS.values()}


@dataclass(frozen=True)
class ScramCredential:
    """What is kept of a password for one mechanism; enough to check it, not to log in with."""

    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    iterations: int

    def is_valid(self, mechanism: ScramMechanism) -> bool:
        """Whether sizes and iterations are those of the mechanism."""
        return (
            len(self.stored_key) == len(self.server_key) == mechanism.size_bytes
            and len(self.salt) > 0
            and mechanism.iterations_min <= self.iterations <= ITERATIONS_MAX
        )


def salted_password(mechanism: ScramMechanism, password: str, salt: bytes, iterations: int) -> bytes:
    """Hi of RFC 5802: some milliseconds of work, on purpose."""
    return hashlib.pbkdf2_hmac(mechanism.hash_name, password.encode(), salt, iterations)


def credential(mechanism: ScramMechanism, salted: bytes, salt: bytes, iterations: int) -> ScramCredential:
    """What is kept of a salted password."""
    stored_key = mechanism.hash(mechanism.mac(salted, b"Client Key"))
    return ScramCredential(salt, stored_key, mechanism.mac(salted, b"Server Key"), iterations)


Lookup = Callable[[str], tuple[ScramCredential, bool] | None]
"""The credential of a name and whether it is real; a decoy for strangers; None where there is nobody at all."""

_VALUE = r"[^,\0]+"
_FIRST = re.compile(
    rf"(?P<gs2>(?P<binding>n|y|p={_VALUE}),(?:a=(?P<authzid>{_VALUE}))?,)"
    rf"(?P<bare>n=(?P<name>{_VALUE}),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]={_VALUE})*)"
)
_FINAL = re.compile(
    r"(?P<unproven>c=(?P<binding>[A-Za-z0-9/+=]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)"
    rf"(?:,[A-Za-z]={_VALUE})*),p=(?P<proof>[A-Za-z0-9/+=]+)"
)
_ESCAPED = re.compile("=2C|=3D|=")


class ScramServer:
    """The server's side of one authentication; see `conversation.Conversation`."""

    def __init__(self, mechanism: ScramMechanism, lookup: Lookup, server_nonce: str) -> None:
        """`server_nonce` is random and used once: printable ASCII without a comma."""
        self.user: str | None = None
        self._mechanism = mechanism
        self._lookup = lookup
        self._nonce = server_nonce
        self._name = ""
        self._found: tuple[ScramCredential, bool] | None = None
        self._gs2 = ""
        self._messages = ""
        """client-first-message-bare and server-first-message: the beginning of AuthMessage."""
        self._steps = 0

    def respond(self, token: bytes) -> bytes:
        """See `Conversation.respond`."""
        self._steps += 1
        if self._steps > 2:
            raise AuthenticationFailed("a third message, of two")
        try:
            message = token.decode()
        except UnicodeDecodeError:
            raise AuthenticationFailed("a message that is not UTF-8") from None
        return self._first(message) if self._steps == 1 else self._final(message)

    def _first(self, message: str) -> bytes:
        parts = _FIRST.fullmatch(message)
        if parts is None:
            raise AuthenticationFailed("no client-first-message")
        if parts["binding"].startswith("p"):
            raise AuthenticationFailed("channel binding, which is not offered")
        if len(parts["nonce"]) > NONCE_CHARS_MAX:
            raise AuthenticationFailed(f"a nonce of {len(parts['nonce'])} characters")
        self._name = unescape(parts["name"])
        if len(self._name) > NAME_CHARS_MAX:
            raise AuthenticationFailed(f"a name of {len(self._name)} characters")
        if parts["authzid"] is not None and unescape(parts["authzid"]) != self._name:
            raise AuthenticationFailed("an authorization id that is not the user")
        self._found = self._lookup(self._name)
        if self._found is None:
            raise AuthenticationFailed("there are no users")
        stored = self._found[0]
        self._gs2 = parts["gs2"]
        self._nonce = parts["nonce"] + self._nonce
        salt = base64.b64encode(stored.salt).decode()
        first = f"r={self._nonce},s={salt},i={stored.iterations}"
        self._messages = f"{parts['bare']},{first}"
        return first.encode()

    def _final(self, message: str) -> bytes:
        parts = _FINAL.fullmatch(message)
        if parts is None or self._found is None:
            raise AuthenticationFailed("no client-final-message")
        if not hmac.compare_digest(parts["nonce"], self._nonce):
            raise AuthenticationFailed("another nonce than the one that was agreed on")
        if _decoded(parts["binding"]) != self._gs2.encode():
            raise AuthenticationFailed("another header than at the beginning")
        stored, is_real = self._found
        if not verifies(self._mechanism, stored, f"{self._messages},{parts['unproven']}", _decoded(parts["proof"])):
            raise AuthenticationFailed(f"a wrong password for {self._name!r}" if is_real else f"no user {self._name!r}")
        if not is_real:
            raise AuthenticationFailed(f"no user {self._name!r}")
        self.user = self._name
        signature = self._mechanism.mac(stored.server_key, f"{self._messages},{parts['unproven']}".encode())
        return b"v=" + base64.b64encode(signature)


def verifies(mechanism: ScramMechanism, stored: ScramCredential, messages: str, proof: bytes) -> bool:
    """Whether `proof` is one for AuthMessage `messages` by someone who knows the password."""
    signature = mechanism.mac(stored.stored_key, messages.encode())
    if len(proof) != len(signature):
        return False
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hmac.compare_digest(mechanism.hash(client_key), stored.stored_key)


def unescape(name: str) -> str:
    """A saslname as the name that it stands for; `AuthenticationFailed` for an equals sign that is no escape."""

    def one(found: re.Match[str]) -> str:
        if found[0] == "=":
            raise AuthenticationFailed("a name with a bare equals sign")
        return "," if found[0] == "=2C" else "="

    return _ESCAPED.sub(one, name)


def escape(name: str) -> str:
    """A name as a saslname."""
    return name.replace("=", "=3D").replace(",", "=2C")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise AuthenticationFailed("base64 that is none") from None
