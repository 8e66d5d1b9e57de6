"""The controller of a cluster in one process: its state behind a lock, and its changes told in order to every broker.

Owns who hears what and when; what is decided is `replication.controller`'s. It must not know logs or replicas' states.
Called by `local`. Nothing is persisted: the cluster's memory is the process's, each broker's log its own.

Invariants
1. Subscribers hear every change once, in the order in which it was decided.
2. A broker hears nothing that is older than its own registration (it may have lost what it led with then), but the
   whole cluster as it is at its registration.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

from kstore.replication.controller import commands as cmd
from kstore.replication.controller.cluster import Changes, Cluster, PartitionChanged, TopicChanged, TopicPartition
from kstore.replication.controller.controller import Controller
from kstore.replication.controller.machine import step
from kstore.replication.controller.messages import alter_partition, answered, resign_leader
from kstore.replication.effects import ProposeIsr, Resign
from kstore.replication.events import ProposalAnswered

Hear = Callable[[Cluster, Changes], None]
"""Called with the cluster after a step and the changes that led to it, under the controller's lock: only take note."""


def monotonic_ms() -> int:
    """The clock of a cluster in one process."""
    return time.monotonic_ns() // 1_000_000


class LocalController:
    """A controller in this process. Threads may share it."""

    def __init__(self, *, session_timeout_ms: int = 1_000) -> None:
        """A broker that sends no heartbeat for `session_timeout_ms` is fenced (`broker.session.timeout.ms`)."""
        self.session_timeout_ms = session_timeout_ms
        self._state = Controller(session_timeout_ms=session_timeout_ms)
        self._mutex = threading.RLock()
        self._changed = threading.Condition(self._mutex)
        self._hearing: dict[int, Hear] = {}
        self._lives = itertools.count()

    @property
    def cluster(self) -> Cluster:
        """Everything that is decided so far, as an immutable value."""
        return self._state.cluster

    def do(self, command: cmd.Command) -> cmd.Reply:
        """Decide a command now; everybody has heard of its changes when this returns."""
        with self._mutex:
            self._state, reply, changes = step(self._state, command, monotonic_ms())
            if changes:
                for hear in self._hearing.values():
                    hear(self._state.cluster, changes)
                self._changed.notify_all()
            return reply

    def register(self, broker_id: int, hear: Hear, *, previous_epoch: int = -1) -> int:
        """Begin a broker's life; returns its epoch. Waits until an earlier life of the same broker has expired."""
        incarnation = f"life {next(self._lives)}"
        command = cmd.RegisterBroker(broker_id, incarnation, previous_epoch=previous_epoch)
        with self._mutex:
            self._hearing.pop(broker_id, None)
            while True:
                reply = self.do(command)
                if isinstance(reply, cmd.RegistrationAnswer) and reply.broker_epoch >= 0:
                    break
                self._changed.wait(0.02)
                self.do(cmd.ExpireSessions())
            self._hearing[broker_id] = hear
            cluster = self._state.cluster
            rules = tuple(TopicChanged(topic, rules) for topic, rules in cluster.topics.items())
            known = tuple(PartitionChanged(*key, assignment) for key, assignment in cluster.partitions.items())
            hear(cluster, (*rules, *known))
            return reply.broker_epoch

    def heartbeat(self, broker_id: int, broker_epoch: int) -> None:
        """A broker lives; whoever has been silent for too long is fenced on this occasion."""
        self.do(cmd.Heartbeat(broker_id, broker_epoch))
        self.do(cmd.ExpireSessions())

    def forget(self, broker_id: int) -> None:
        """Tell a broker nothing more: it was stopped."""
        with self._mutex:
            self._hearing.pop(broker_id, None)

    def propose(self, sender: tuple[int, int], partition: TopicPartition, effect: ProposeIsr) -> ProposalAnswered:
        """A leader's proposal of another ISR, and the answer."""
        reply = self.do(alter_partition(sender, partition, effect))
        if not isinstance(reply, cmd.PartitionAnswer):
            raise TypeError(reply)
        return answered(reply)

    def resign(self, sender: tuple[int, int], partition: TopicPartition, effect: Resign) -> None:
        """A leader gives up its lead."""
        self.do(resign_leader(sender, partition, effect))

    def wait_for(self, holds: Callable[[Cluster], bool], timeout_s: float = 30.0) -> bool:
        """Return once something holds of the cluster; False where it did not in time."""
        with self._mutex:
            return self._changed.wait_for(lambda: holds(self._state.cluster), timeout_s)
