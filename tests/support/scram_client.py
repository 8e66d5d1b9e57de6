"""The client's side of SCRAM, written from RFC 5802 without the project's own code."""

from __future__ import annotations

import base64
import hashlib
import hmac


class ScramClient:
    """One authentication; attributes may be set to lie."""

    def __init__(self, name: str, password: str, nonce: str = "rOprNGfwEbe", hash_name: str = "sha256") -> None:
        self.gs2 = "n,,"
        self.password = password
        self.hash_name = hash_name
        self.bare = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self.extensions = ""
        self.server_signature = b""

    def first(self) -> bytes:
        return (self.gs2 + self.bare).encode()

    def final(self, server_first: bytes, *, nonce: str | None = None, proof: bytes | None = None) -> bytes:
        """The client-final-message to a server-first-message; `server_signature` is what the server has to prove."""
        parts = dict(part.split("=", 1) for part in server_first.decode().split(","))
        salted = hashlib.pbkdf2_hmac(
            self.hash_name, self.password.encode(), base64.b64decode(parts["s"]), int(parts["i"])
        )
        client_key = self._mac(salted, b"Client Key")
        binding = base64.b64encode(self.gs2.encode()).decode()
        unproven = f"c={binding},r={nonce or parts['r']}{self.extensions}"
        messages = ",".join((self.bare, server_first.decode(), unproven)).encode()
        stored_key = hashlib.new(self.hash_name, client_key).digest()
        signature = self._mac(stored_key, messages)
        own = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.server_signature = self._mac(self._mac(salted, b"Server Key"), messages)
        return f"{unproven},p={base64.b64encode(own if proof is None else proof).decode()}".encode()

    def _mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self.hash_name).digest()
