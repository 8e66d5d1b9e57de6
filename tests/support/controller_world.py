"""Brokers around a controller, reduced to what the controller's promises are about: who holds everything committed.

No logs, no network: a replica is the number of committed records that it holds, and what it has heard of the metadata.
Leaders commit by what they know, late or not; proposals arrive late, twice or never; brokers crash with and without
loss; the controller fails over. After each step `Violation` is raised where a leader was elected cleanly that lacks a
committed record, where two leaders commit side by side, or where an epoch or a membership is not what it must be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.controller.cluster import PartitionChanged, TopicChanged, TopicRules, Unclean
from kstore.replication.controller.controller import activate
from kstore.replication.state import NO_LEADER, Assignment
from support.clusters import TOPIC, Clusters

BROKERS = (1, 2, 3, 4)
FINAL = (Code.INELIGIBLE_REPLICA, Code.INVALID_REQUEST)

LEADERS_OPS = ("commit", "expand", "shrink", "recover", "resign")

Op = tuple[str, int, int]
"""What happens, to whom, and a number that settles the rest. A leader's ops go to the true leader half of the time."""


class Violation(AssertionError):
    """A promise was broken."""


@dataclass
class Node:
    """One broker's process and disk."""

    id: int
    up: bool = True
    held: int = 0
    heard: int = -1
    """How much of the metadata it has heard: an index into `World.published`."""
    registered_at: int = -1
    known: Assignment | None = None
    min_isr: int = 1
    pending: cmd.AlterPartition | None = None
    doubted: tuple[int, ...] = ()
    """Who was proposed and refused, as `leading.Proposal.doubted`: a copy of that proposal may still be taken."""
    registrations: list[cmd.RegisterBroker] = field(default_factory=list)
    """What its processes have sent, of which a copy may come however late."""
    lost: bool = False
    """Whether it has lost what it held, and was not unfenced since: then it may be forgotten."""
    resigned: int = -1
    """The epoch in which it gave up the lead: it neither commits nor proposes any more in that one."""

    @property
    def leads(self) -> bool:
        known = self.known
        return self.up and known is not None and known.leader == self.id and known.leader_epoch != self.resigned


class World:
    """One partition, four brokers, three replicas to begin with."""

    def __init__(self) -> None:
        self.clusters = Clusters(brokers=len(BROKERS))
        self.nodes = {broker_id: Node(broker_id) for broker_id in BROKERS}
        self.seen: dict[tuple[int, int], tuple[int, int]] = {}
        """What leader and follower last told each other: (the follower's broker epoch, how much it held)."""
        self.wire: list[cmd.AlterPartition] = []
        self.published: list[tuple[Assignment, int]] = []
        self.rules = TopicRules()
        self.committed = 0
        self.consented_epoch = -1
        """Leaders of older epochs may do what they like: an unclean election gave their records up."""
        self.leaders: dict[int, int] = {}
        self.do(cmd.CreateTopic(TOPIC, rules=TopicRules(2), assignments=((1, 2, 3),)))

    def run(self, ops: Iterable[Op]) -> None:
        for name, first, second in ops:
            node = self.nodes[BROKERS[first % len(BROKERS)]]
            leader = self.published[-1][0].leader
            if name in LEADERS_OPS and first & 128 and leader != NO_LEADER:
                node = self.nodes[leader]
            OPS[name](self, node, second)

    def do(self, command: cmd.Command, *given_up: int) -> object:
        """A command, and what its changes mean. `given_up` may leave ISR and ELR together."""
        before = self.published[-1][0] if self.published else None
        reply = self.clusters.do(command)
        for change in self.clusters.changes:
            if isinstance(change, TopicChanged):
                self.rules = change.rules
                if before is not None:
                    self.published.append((before, change.rules.min_isr(before.replicas)))
            elif isinstance(change, PartitionChanged):
                after = change.assignment
                self._judge(before, after, set(given_up))
                self.published.append((after, self.rules.min_isr(after.replicas)))
                before = after
        if before is not None and not all(self.clusters.cluster.is_active(m) for m in before.isr):
            raise Violation(f"somebody is in sync who is not active: {before}, {self.clusters.cluster.brokers}")
        return reply

    def _judge(self, before: Assignment | None, after: Assignment, given_up: set[int]) -> None:
        if self.leaders.setdefault(after.leader_epoch, after.leader) != after.leader:
            raise Violation(f"two leaders share epoch {after.leader_epoch}")
        if before is None:
            return
        if after.partition_epoch <= before.partition_epoch or after.leader_epoch < before.leader_epoch:
            raise Violation("an epoch fell or stood still")
        if after.unclean_epoch > before.unclean_epoch:
            if self.rules.unclean is Unclean.NEVER and not self.asked:
                raise Violation("an unclean election that nobody asked for")
            self.consented_epoch = after.leader_epoch
            self.committed = self.nodes[after.leader].held
            for node in self.nodes.values():
                node.held = min(node.held, self.committed)
        elif after.leader not in (NO_LEADER, before.leader) and self.nodes[after.leader].held < self.committed:
            raise Violation(f"{after.leader} leads and lacks a committed record: {before} became {after}")
        elif len(after.isr) < self.rules.min_isr(after.replicas):
            gone = ({*before.isr, *before.elr} & set(after.replicas)) - {*after.isr, *after.elr} - given_up
            if gone:
                raise Violation(f"{gone} is forgotten below the minimum: {before} became {after}")

    asked = False
    """Whether the command at hand asks for an unclean election."""

    # -- what brokers do -----------------------------------------------------------------------------------------

    def hear(self, node: Node, far: int) -> None:
        """Metadata arrives, in order, perhaps not all of it, and perhaps at all brokers."""
        if far >= 192:
            for one in self.nodes.values():
                self.hear(one, 191)
        if not node.up:
            return
        end = len(self.published) - 1
        if far < 64:
            end = min(end, node.heard + 1)
        while node.heard < end:
            node.heard += 1
            assignment, node.min_isr = self.published[node.heard]
            if node.heard >= node.registered_at:
                # nobody takes a role from metadata that is older than its own life: it may have lost what it led with
                self._assign(node, assignment)

    def _assign(self, node: Node, assignment: Assignment) -> None:
        known = node.known
        if known is not None:
            newer = (assignment.leader_epoch, assignment.partition_epoch)
            if newer <= (known.leader_epoch, known.partition_epoch):
                return
            if assignment.leader_epoch != known.leader_epoch:
                self.seen = {pair: what for pair, what in self.seen.items() if pair[0] != node.id}
        node.known = assignment
        node.pending, node.doubted = None, ()

    def fetch(self, node: Node, _: int) -> None:
        """A follower fetches from the leader that it knows, if that agrees, and tells how far it has come."""
        known = node.known
        if not node.up or known is None or known.leader == NO_LEADER or known.leader == node.id:
            return
        leader = self.nodes[known.leader]
        if leader.leads and leader.known is not None and leader.known.leader_epoch == known.leader_epoch:
            node.held = max(node.held, leader.held)
            self.seen[leader.id, node.id] = (self.clusters.epochs[node.id], node.held)

    def commit(self, node: Node, _: int) -> None:
        """A leader commits a record once all that may be in sync, as far as it knows, have it."""
        known = node.known
        if not node.leads or known is None or len(known.isr) < node.min_isr:
            return
        if known.leader_epoch < self.consented_epoch:
            return
        proposed = node.pending.isr if node.pending else ()
        members = {*known.isr, *node.doubted, *(m for m, _ in proposed)}
        others = [self.nodes[m] for m in members if m != node.id]
        if all(o.up and o.known and o.known.leader_epoch == known.leader_epoch for o in others):
            if node.held < self.committed:
                raise Violation(f"{node.id} commits beside another leader, by {known}")
            self.committed += 1
            for one in (node, *others):
                one.held = self.committed
                self.seen[node.id, one.id] = (self.clusters.epochs[one.id], one.held)

    def expand(self, node: Node, choice: int) -> None:
        self._propose(node, choice, joins=True)

    def shrink(self, node: Node, choice: int) -> None:
        self._propose(node, choice, joins=False)

    def _propose(self, node: Node, choice: int, joins: bool) -> None:
        known = node.known
        other = BROKERS[choice % len(BROKERS)]
        if not node.leads or known is None or node.pending or other == node.id or other not in known.replicas:
            return
        if (other in known.isr) == joins:
            return
        if joins and self.seen.get((node.id, other), (0, -1))[1] < node.held:
            return
        if joins and known.recovering:
            return
        members = sorted({*known.isr, other}) if joins else [m for m in known.isr if m != other]
        isr = tuple((m, self.seen.get((node.id, m), (-1, 0))[0]) for m in members)
        self._send(node, isr)

    def recover(self, node: Node, _: int) -> None:
        """A leader that was elected uncleanly says that it is done."""
        known = node.known
        if node.leads and known is not None and known.recovering and not node.pending:
            self._send(node, tuple((m, -1) for m in known.isr))

    def _send(self, node: Node, isr: tuple[tuple[int, int], ...]) -> None:
        known = node.known
        assert known is not None
        epoch = self.clusters.epochs[node.id]
        epochs = known.leader_epoch, known.partition_epoch
        node.pending = cmd.AlterPartition(node.id, epoch, TOPIC, 0, *epochs, isr)
        self.wire.append(node.pending)

    def deliver(self, node: Node, choice: int) -> None:
        """A proposal arrives; it may come again later, and its answer may be lost."""
        if not self.wire:
            return
        command = self.wire[choice % len(self.wire)]
        if choice & 64:
            self.wire.remove(command)
        reply = self.do(command)
        assert isinstance(reply, cmd.PartitionAnswer)
        leader = self.nodes[command.broker_id]
        if leader.pending is not command or choice & 128:
            return
        if reply.assignment is not None:
            leader.pending, leader.doubted = None, ()
            self._assign(leader, reply.assignment)
        elif reply.code in FINAL:
            self._withdraw(leader, command)

    def _withdraw(self, leader: Node, refused: cmd.AlterPartition) -> None:
        """Ask for the ISR as it is until that is taken: a second copy of what was refused can be taken until then."""
        known = leader.known
        assert known is not None
        doubted = leader.doubted or tuple(member for member, _ in refused.isr)
        self._send(leader, tuple((m, self.seen.get((leader.id, m), (-1, 0))[0]) for m in known.isr))
        leader.doubted = doubted

    def resign(self, node: Node, _: int) -> None:
        """A leader finds that it does not hold everything after all."""
        if node.leads and node.known is not None:
            epoch = self.clusters.epochs[node.id]
            command = cmd.ResignLeader(node.id, epoch, TOPIC, 0, node.known.leader_epoch)
            node.held, held = (0, node.held)
            reply = self.do(command, node.id)
            assert isinstance(reply, cmd.Answer)
            if reply.code is Code.NONE:
                node.resigned = node.known.leader_epoch
            else:
                node.held = held

    def crash(self, node: Node, _: int) -> None:
        node.up = False

    def start(self, node: Node, choice: int) -> None:
        """Back from a crash, with or without what it held."""
        if node.up:
            return
        whole = choice % 4 > 0
        previous = self.clusters.epochs[node.id] if whole else -1
        held, lost = node.held, node.lost
        if not whole:
            node.held, node.lost = 0, True
        self.clusters.lives[node.id] += 1
        incarnation = f"{node.id}/{self.clusters.lives[node.id]}"
        command = cmd.RegisterBroker(node.id, incarnation, None, previous)
        reply = self.do(command)
        assert isinstance(reply, cmd.RegistrationAnswer)
        if reply.code is not Code.NONE:
            node.held, node.lost = held, lost
            return
        self.clusters.epochs[node.id] = reply.broker_epoch
        node.registrations.append(command)
        node.up, node.heard, node.known, node.pending, node.doubted = True, -1, None, None, ()
        node.registered_at = len(self.published) - 1

    def register_late(self, node: Node, choice: int) -> None:
        """The registration of a process that is dead arrives, or a second copy of one that lives."""
        if node.registrations:
            self.do(node.registrations[choice % len(node.registrations)])

    def beat(self, node: Node, choice: int) -> None:
        """Most of the time all send heartbeats."""
        for one in self.nodes.values() if choice & 3 else (node,):
            if one.up:
                self._heartbeat(one)

    def shut_down(self, node: Node, _: int) -> None:
        if node.up and self._heartbeat(node, want_shut_down=True).should_shut_down:
            node.up = False

    def _heartbeat(self, node: Node, **wants: bool) -> cmd.HeartbeatAnswer:
        caught_up = node.heard >= node.registered_at
        command = cmd.Heartbeat(node.id, self.clusters.epochs[node.id], caught_up, **wants)
        reply = self.do(command, *((node.id,) if node.lost else ()))
        assert isinstance(reply, cmd.HeartbeatAnswer)
        node.lost = node.lost and reply.fenced
        if reply.code is Code.STALE_BROKER_EPOCH:
            node.up = False
        return reply

    # -- what else happens ---------------------------------------------------------------------------------------

    def wait(self, _: Node, choice: int) -> None:
        self.clusters.now_ms += (choice % 4) * 3_000
        self.do(cmd.ExpireSessions())

    def fail_over(self, _: Node, __: int) -> None:
        self.clusters.state = activate(self.clusters.standby, self.clusters.now_ms)

    def set_rules(self, _: Node, choice: int) -> None:
        unclean = Unclean.NEVER if choice < 224 else Unclean(choice % 3)
        self.do(cmd.SetTopicRules(TOPIC, replace(self.rules, min_insync_replicas=1 + choice % 3, unclean=unclean)))

    def move(self, node: Node, choice: int) -> None:
        others = [b for b in BROKERS if b != node.id]
        target = (node.id, *others[: choice % 3])
        self.do(cmd.Reassign(TOPIC, 0, target if choice < 192 else None))

    def elect(self, _: Node, choice: int) -> None:
        self.asked = choice >= 240
        election = cmd.Election.UNCLEAN if self.asked else cmd.Election.PREFERRED
        self.do(cmd.ElectLeader(TOPIC, 0, election))
        self.asked = False

    def balance(self, _: Node, __: int) -> None:
        self.do(cmd.BalanceLeaders())


OPS: dict[str, Callable[[World, Node, int], None]] = {
    name: getattr(World, name)
    for name in (
        "hear", "fetch", "commit", "expand", "shrink", "recover", "deliver", "resign", "crash", "start",
        "register_late", "beat", "shut_down", "wait", "fail_over", "set_rules", "move", "elect", "balance",
    )
}  # fmt: skip

WEIGHTS = {
    "hear": 12, "fetch": 8, "commit": 8, "expand": 6, "shrink": 1.5, "recover": 1, "deliver": 8, "resign": 0.2,
    "crash": 1, "start": 3, "register_late": 0.3, "beat": 6, "shut_down": 0.3, "wait": 2, "fail_over": 0.3,
    "set_rules": 0.3, "move": 0.5, "elect": 0.7, "balance": 0.3,
}  # fmt: skip
"""How often each happens in a random walk: what keeps a cluster going more often than what breaks it."""


def walk(rng: random.Random, steps: int) -> list[Op]:
    """A random program for `World.run`."""
    names = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=steps)
    return [(name, rng.randrange(256), rng.randrange(256)) for name in names]
