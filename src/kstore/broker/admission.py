"""Who is in: how many connections there may be, in all, of one address and in a second, and who overstays.

Owns the set of connections, its limits (N12) and the sweep that closes silent, stalled and creeping ones (N13). Must
not know requests nor sockets. Called by the listeners, and by the broker when a connection is gone.

Invariants
1. Those over a limit are refused; those that are in are served on.
2. A connection with an open request is not idle, however long that takes.
"""

from __future__ import annotations

import logging
import resource
from collections import Counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kstore.broker.loop import Loop
    from kstore.config import BrokerConfig

FILES_KEPT_FREE = 256
"""Descriptors left for logs and indexes where the system's limit is lower than ours."""
SWEEP_S = 5.0

_log = logging.getLogger(__name__)


class Client(Protocol):
    """A connection, or one that is on its way to be one."""

    def overdue(self, now: float, idle_s: float) -> tuple[str, int] | None:
        """Why it has to go by now, and how loud to say so; `idle_s` below 0: silence is no reason."""

    def close(self, reason: str, level: int = logging.DEBUG) -> None:
        """Close at once."""

    def finish_and_close(self) -> None:
        """Close when everything that came in is answered."""


class Connections:
    """Everyone who is connected, whatever listener they came by."""

    def __init__(self, loop: Loop, config: BrokerConfig) -> None:
        self._loop = loop
        self._config = config
        self.open: dict[Client, str] = {}
        """Their addresses."""
        self._by_address: Counter[str] = Counter()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = max(soft - FILES_KEPT_FREE, 16) if soft != resource.RLIM_INFINITY else config.max_connections
        self._connections_max = min(config.max_connections, room)
        self._tokens = float(config.max_connection_creation_rate)
        self._refilled = loop.time()
        self.refused = 0
        """Connections that were over a limit."""
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    def stop(self) -> None:
        """Sweep no more."""
        self._sweeper.cancel()

    def take_token(self) -> bool:
        """Whether one more may come in this instant; False: not before `pause_s`."""
        rate, now = self._config.max_connection_creation_rate, self._loop.time()
        self._tokens = min(float(rate), self._tokens + (now - self._refilled) * rate)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def pause_s(self) -> float:
        """How long it takes for the next one to be let in."""
        return 1 / self._config.max_connection_creation_rate

    def has_room(self, address: str) -> bool:
        """Whether one more of that address fits; a refusal is counted, and logged now and then."""
        if len(self.open) < self._connections_max and self._by_address[address] < self._config.max_connections_per_ip:
            return True
        if not self._by_address[address]:
            del self._by_address[address]
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:  # 1, 2, 4, 8 ...: a flood must not fill the log
            _log.warning("%s: refused, %d connections are open; %d refused", address, len(self.open), self.refused)
        return False

    def add(self, client: Client, address: str) -> None:
        """One more is in."""
        self.open[client] = address
        self._by_address[address] += 1

    def replace(self, before: Client, after: Client) -> None:
        """One became another."""
        self.open[after] = self.open.pop(before)

    def lost(self, client: Client) -> None:
        """One is closed."""
        address = self.open.pop(client, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _sweep(self) -> None:
        now, idle_s = self._loop.time(), self._config.connections_max_idle_ms / 1000
        for client in list(self.open):
            reason = client.overdue(now, idle_s)
            if reason is not None:
                client.close(*reason)
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
