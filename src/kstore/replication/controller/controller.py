"""The active controller: the cluster that it keeps, and what it alone knows of who was heard of when.

Owns the state that the handlers step, and the few ways in which it changes. When brokers were last heard of is not
persisted: a controller that takes over gives every broker a whole session first (ClusterControlManager.activate). It
must not know commands. Called by every handler.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kstore.replication.controller.cluster import Change, Cluster, apply
from kstore.replication.controller.table import Table
from kstore.replication.values import replace

SESSION_TIMEOUT_MS = 9_000
"""Kafka's default of `broker.session.timeout.ms`."""


@dataclass(frozen=True, slots=True)
class Controller:
    """The state of an active controller."""

    cluster: Cluster = field(default_factory=Cluster)
    contacts: Table[int, int] = field(default_factory=Table)
    """When each unfenced broker was last heard of, in ms; a fenced broker has no session to lose."""
    session_timeout_ms: int = SESSION_TIMEOUT_MS

    def has_session(self, broker_id: int, now_ms: int) -> bool:
        """Whether a broker is unfenced and was heard of within the session timeout (hasValidSession)."""
        last_ms = self.contacts.get(broker_id)
        return last_ms is not None and last_ms + self.session_timeout_ms >= now_ms

    def next_expiry_ms(self) -> int | None:
        """The first moment at which `ExpireSessions` fences someone, unless heard of before; None for never."""
        oldest = min(self.contacts.values(), default=None)
        return None if oldest is None else oldest + self.session_timeout_ms + 1

    def after(self, changes: tuple[Change, ...]) -> Controller:
        """With `changes` done."""
        return replace(self, cluster=apply(self.cluster, changes)) if changes else self

    def heard_of(self, broker_id: int, now_ms: int) -> Controller:
        """With a session for a broker, that begins now; none for one that is fenced."""
        broker = self.cluster.brokers.get(broker_id)
        contact = None if broker is None or broker.fenced else now_ms
        if contact == self.contacts.get(broker_id):
            return self
        return replace(self, contacts=self.contacts.put({broker_id: contact}))


def activate(cluster: Cluster, now_ms: int, session_timeout_ms: int = SESSION_TIMEOUT_MS) -> Controller:
    """The controller that takes over a cluster: whoever is not fenced has a session that begins now."""
    contacts = Table({broker.id: now_ms for broker in cluster.brokers.values() if not broker.fenced})
    return Controller(cluster, contacts, session_timeout_ms)
