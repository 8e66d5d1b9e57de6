"""Requests like the ones before: handled as they came in, several at once, without being decoded.

Owns what a connection's clients repeat. Must not know what a request means: a pattern's target does. Made for a
connection by those who handled a request that may be repeated; called by `connection` before it takes the next one.

Invariants
1. What is done and answered is what the usual way does and answers: where anything is not plain (a refusal, a failure,
   a fetch that finds too little), nothing was done and the requests go that way.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from kstore._native.repeats import Known, Patterns
from kstore.errors import KStoreError

if TYPE_CHECKING:
    from kstore.broker.connection import Connection
    from kstore.broker.node import Broker
    from kstore.wire.frames import FrameReader

_log = logging.getLogger(__name__)


class Target(Protocol):
    """What the requests of a pattern are about."""

    def take(self, broker: Broker, connection: Connection, found: Any) -> bool:
        """Handle requests and take them from the reader; False, or a `KStoreError`, with nothing done."""


class Repeats:
    """The patterns of one connection."""

    def __init__(self, broker: Broker, connection: Connection) -> None:
        self._broker = broker
        self._connection = connection
        self._patterns = Patterns()
        self._skip = 0
        """Requests that were found together, were not plain, and have not been handled yet."""
        self.fits = False
        """Whether the request that is handled the usual way fits a pattern: there is nothing to learn from it."""
        self.odd_fetches = 0
        """Fetches that made no pattern."""

    def learn(self, pattern: Known) -> None:
        """More requests like one that was handled may come."""
        self._patterns.learn(pattern)

    def take(self, reader: FrameReader) -> int:
        """Handle what stands at the front of the reader; returns how many requests, 0: they go the usual way."""
        if self._skip:
            self._skip -= 1
            return 0
        found = self._patterns.gather(reader)
        self.fits = found is not None
        if found is None:
            return 0
        count = found.count
        target: Target = found.pattern.target
        try:
            if target.take(self._broker, self._connection, found):
                return count
        except KStoreError:
            pass  # the usual way tells which request it was, and what to answer
        except Exception:
            _log.exception("%s: a request failed", self._connection.peer)
            self._connection.close("its request failed", logging.ERROR)
            return count
        self._skip = count - 1
        return 0


def learner(broker: Broker, connection: Connection) -> Repeats | None:
    """Who learns from the request that was just handled; None where there is nothing to learn."""
    if connection.repeats is None:
        connection.repeats = Repeats(broker, connection)
    return None if connection.repeats.fits else connection.repeats
