"""What every mechanism of SASL is on the server's side: tokens in, tokens out, and in the end a user.

Owns the interface. Implemented by `plain` and `scram`, run by `login`.
"""

from __future__ import annotations

from typing import Protocol


class Conversation(Protocol):
    """One authentication by one mechanism."""

    user: str | None
    """Who it is, once that is proven."""

    def respond(self, token: bytes) -> bytes:
        """The answer to the client's next message; raises `AuthenticationFailed`."""
