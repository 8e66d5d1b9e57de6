"""A request that came in, and the way back for its answer.

Owns what is known of one request. Must not know what it asks for. Made by `dispatch`, and by the patterns of `repeats`;
handed to a handler, which answers it now or later.

Invariants
1. It is answered once; an answer to a client that went away goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kstore.wire.codec import encode_response

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore.broker.connection import Connection
    from kstore.wire.schema import Response


class Call:
    """One request, and the way back for its answer. Hashable by identity."""

    __slots__ = (
        "body", "buffers", "client_id", "connection", "correlation_id", "frame", "key", "on_lost", "size_bytes",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        key: int,
        version: int,
        correlation_id: int,
        client_id: str | None,
        body: Any,
        frame: Buffer = b"",
    ) -> None:
        self.connection = connection
        self.key = key
        self.version = version
        self.correlation_id = correlation_id
        self.client_id = client_id
        self.body = body
        """The request, a struct of `kstore.wire.messages`."""
        self.frame = frame
        """The bytes that it came in."""
        self.size_bytes = 0
        self.buffers: Sequence[Buffer] | None = None
        """The encoded answer; None while there is none."""
        self.on_lost: Callable[[], None] | None = None
        """Called when the client went away before the answer: whoever parked the request lets go of it."""

    def answer(self, response: Response) -> None:
        """Send the answer when its turn comes; to a client that went away it goes nowhere."""
        if self.buffers is None:
            self.connection.finish(self, encode_response(response, self.version, self.correlation_id))

    def answer_nothing(self) -> None:
        """Take the request as done without an answer (Produce with acks=0)."""
        if self.buffers is None:
            self.connection.finish(self, ())
