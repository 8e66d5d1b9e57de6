"""The controller of a simulated cluster: one active of several, over a metadata log that cannot be lost.

Owns which controller is active, the log of changes that it persists, and their way to the brokers. What is decided is
`replication.controller`'s, the shipped code. How the log survives is left out on purpose: it stands for ZooKeeper or a
Raft quorum, and here it simply does. It must not know replicas. Called by brokers, over the network, and by faults.

Invariants
1. A change is in the log before anyone hears of it or of the answer; a controller that lost its place appends nothing.
2. Brokers see the log in order, without gaps; how late is the network's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kstore.replication.controller import commands as cmd
from kstore.replication.controller import machine
from kstore.replication.controller.cluster import Changes, Cluster, PartitionChanged, apply
from kstore.replication.controller.controller import activate
from kstore.replication.state import NO_LEADER
from kstore.testing.simulation.story import assignment_text, code_name
from kstore.testing.simulation.world import LocalClock

if TYPE_CHECKING:
    from kstore.testing.simulation.cluster import SimCluster

BALANCE_US = 3_000_000
"""How long a partition without a leader waits for the next look (Kafka's leader.imbalance.check.interval.seconds)."""

Answer = Callable[[cmd.Reply, int], object]
"""What a broker does with a reply; the number is how long the log was when it was given."""


class Controllers:
    """The quorum: places `c1`, `c2`, ... of which one is active, or none for a while."""

    def __init__(self, cluster: SimCluster, count: int, session_timeout_ms: int) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.places = tuple(f"c{number}" for number in range(1, count + 1))
        self.session_timeout_ms = session_timeout_ms
        self.changes: list[Changes] = []
        self.images: list[Cluster] = [Cluster()]
        """The cluster after each entry of the log; the first is the empty one."""
        self.active: int | None = 0
        self.term = 0
        self.dies_before_answer = False
        """The next command that changes something is persisted, and never answered."""
        self.dies_before_persisting = False
        """The next command that would change something is lost with the controller."""
        self._clock = LocalClock(self.world)
        self._state = activate(self.image, self._clock.elapsed_ms(), session_timeout_ms)
        self._expiry_us = -1
        self._balance_due = False

    @property
    def image(self) -> Cluster:
        """What the log says now."""
        return self.images[-1]

    @property
    def index(self) -> int:
        """How long the log is."""
        return len(self.changes)

    @property
    def place(self) -> str | None:
        """Where the active controller is."""
        return None if self.active is None else self.places[self.active]

    # -- commands --------------------------------------------------------------------------------------------

    def on_command(self, place: str, source: str, command: cmd.Command, answer: Answer) -> None:
        """A broker's command arrives at a controller; one that is not active does not answer."""
        if place != self.place:
            return
        reply = self._step(command)
        if reply is not None:
            self.cluster.network.send(place, source, answer, reply, self.index, once=True)

    def order(self, command: cmd.Command) -> cmd.Reply | None:
        """An operator's command, given to whoever is active; None where nobody is."""
        return None if self.active is None else self._step(command)

    def _step(self, command: cmd.Command) -> cmd.Reply | None:
        after, reply, changes = machine.step(self._state, command, self._clock.elapsed_ms())
        if changes and self.dies_before_persisting:
            self.dies_before_persisting = False
            self.world.tell(self.place or "-", "dies", "before it has stored what it decided")
            self.fail_over(1_000_000)
            return None
        self._state = after
        if changes:
            self._persist(command, changes)
            if self.dies_before_answer:
                self.dies_before_answer = False
                self.world.tell(self.place or "-", "dies", "before it has answered")
                self.fail_over(1_000_000)
                return None
        if not isinstance(command, cmd.Heartbeat | cmd.ExpireSessions) or changes:
            code = getattr(reply, "code", None)
            self.world.tell(self.place or "-", type(command).__name__, f"{command_text(command)}: {code_name(code)}")
        self._expire_in_time()
        return reply

    def _persist(self, command: cmd.Command, changes: Changes) -> None:
        before = self.image
        self.changes.append(changes)
        self.images.append(apply(before, changes))
        for change in changes:
            if isinstance(change, PartitionChanged):
                self.world.tell(self.place or "-", "decides", f"{change.topic} {assignment_text(change.assignment)}")
                if change.assignment.leader == NO_LEADER:
                    self._balance_later()
        self.cluster.judge.decided(command, before, self.image, changes)
        for node in self.cluster.nodes.values():
            self.push(node.name)

    def _balance_later(self) -> None:
        """Look after partitions without a leader every now and then: who was not well may be by then."""
        if not self._balance_due:
            self._balance_due = True
            self.world.after(BALANCE_US, self._balance)

    def _balance(self) -> None:
        self._balance_due = False
        self.order(cmd.BalanceLeaders())
        if any(known.leader == NO_LEADER for known in self.image.partitions.values()):
            self._balance_later()

    # -- what others hear ------------------------------------------------------------------------------------

    def push(self, name: str) -> None:
        """Send a broker what it has not seen; a message that is lost is made up for by the next heartbeat."""
        place = self.place
        if place is not None:
            node = self.cluster.named(name)
            self.cluster.network.send(place, name, node.receive, node.on_metadata, self.index)

    # -- the controllers' own lives --------------------------------------------------------------------------

    def fail_over(self, pause_us: int) -> None:
        """The active controller dies; after a while another one takes over from the log."""
        if self.active is None:
            return
        self.world.tell(self.places[self.active], "is gone")
        following = (self.active + 1) % len(self.places)
        self.active = None
        self.term += 1
        self.world.after(pause_us, self._take_over, following, self.term)

    def _take_over(self, place: int, term: int) -> None:
        if term != self.term:
            return
        self.active = place
        self._clock = LocalClock(self.world, start_ms=self.world.dice(f"controller {term}").randrange(10**6))
        self._state = activate(self.image, self._clock.elapsed_ms(), self.session_timeout_ms)
        self._expiry_us = -1
        self.world.tell(self.places[place], "takes over")
        for node in self.cluster.nodes.values():
            self.push(node.name)
        self._expire_in_time()

    def _expire_in_time(self) -> None:
        """Look again when the first session ends, unless that is arranged already."""
        due_ms = self._state.next_expiry_ms()
        if due_ms is None:
            return
        due_us = self._clock.world_us(due_ms)
        if self._expiry_us < self.world.now_us or due_us < self._expiry_us:
            self._expiry_us = due_us
            self.world.at(due_us, self._expire, self.term, due_us)

    def _expire(self, term: int, due_us: int) -> None:
        if term != self.term or due_us != self._expiry_us or self.active is None:
            return
        self._expiry_us = -1
        self._step(cmd.ExpireSessions())


def command_text(command: Any) -> str:
    """A command in a few words."""
    if isinstance(command, cmd.AlterPartition):
        members = ",".join(f"{member}" for member, _ in command.isr)
        epochs = f"e{command.leader_epoch} v{command.partition_epoch}"
        return f"{command.topic} by b{command.broker_id} {epochs} isr {members}"
    if isinstance(command, cmd.RegisterBroker):
        return f"{command.incarnation} was {command.previous_epoch}"
    if isinstance(command, cmd.Heartbeat):
        return f"b{command.broker_id} of life {command.broker_epoch}"
    if isinstance(command, cmd.ResignLeader):
        return f"{command.topic} by b{command.broker_id} e{command.leader_epoch}"
    if isinstance(command, cmd.Reassign):
        return f"{command.topic} to {command.replicas}"
    if isinstance(command, cmd.ElectLeader):
        return f"{command.topic} {command.election.value}"
    if isinstance(command, cmd.CreateTopic):
        return f"{command.topic} on {command.assignments}"
    return ""
