"""The controller in the model: the shipped step function, and what brokers hear of its changes.

Owns who is in the partition's ISR and ELR at each of the controller's states, and the ways in which a broker comes and
goes. It must not know replicas. Called by `world`; like a replica's, a step of the controller is computed once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from kstore.errors import InvariantError
from kstore.replication.controller import commands as cmd
from kstore.replication.controller import machine, messages
from kstore.replication.controller.cluster import TopicRules
from kstore.replication.controller.controller import Controller
from kstore.replication.state import NO_EPOCH, NO_LEADER
from kstore.testing.model.nodes import PARTITION, Called, Nodes, Returned, Version
from kstore.testing.model.scope import Scope
from kstore.testing.model.table import Numbered


class Ruling(NamedTuple):
    """The controller after a step."""

    controller: int
    version: int
    """What it publishes, -1 for nothing new."""
    answer: int = -1
    """The number of its answer to a leader, -1 for none."""
    broker_epoch: int = NO_EPOCH
    problem: str = ""


REFUSED = Ruling(-1, -1)
"""Beyond the scope, or nothing to do."""


class Standing(NamedTuple):
    """How the partition stands."""

    leader: int
    """The index of the leading replica, -1 for none."""
    isr: tuple[int, ...]
    """Indexes, as in `elr`."""
    elr: tuple[int, ...]
    """Without those whose present life may have lost records: they leave it before they are unfenced."""
    fenced: tuple[bool, ...]
    """Of each broker."""


class Controllers:
    """All states of the controller that occur in an exploration, by number, and its steps."""

    def __init__(self, scope: Scope, nodes: Nodes) -> None:
        self.scope = scope
        self.nodes = nodes
        self.states: Numbered[Controller] = Numbered()
        self._standings: dict[int, Standing] = {}
        self._steps: dict[tuple[str, int, int], Ruling] = {}

    def founded(self) -> int:
        """All brokers alive, one partition on all of them, the first of them leading."""
        state = Controller()
        brokers = tuple(range(1, self.scope.replicas + 1))
        for broker in brokers:
            state, reply, _ = machine.step(state, cmd.RegisterBroker(broker, f"{broker}.0"), 0)
            assert isinstance(reply, cmd.RegistrationAnswer)
            if broker <= self.scope.replicas - self.scope.absent:
                state, _, _ = machine.step(state, cmd.Heartbeat(broker, reply.broker_epoch), 0)
        rules = TopicRules(self.scope.min_isr)
        topic, _ = PARTITION
        state, _, _ = machine.step(state, cmd.CreateTopic(topic, rules=rules, assignments=(brokers,)), 0)
        return self.states.number(state)

    def version(self, controller: int) -> int:
        """What the controller would publish now, as a number of `Nodes.versions`."""
        cluster = self.states.values[controller].cluster
        return self.nodes.versions.number(Version(cluster.partitions[PARTITION], cluster.eligible()))

    def standing(self, controller: int) -> Standing:
        """How the partition stands."""
        known = self._standings.get(controller)
        if known is None:
            cluster = self.states.values[controller].cluster
            now = cluster.partitions[PARTITION]
            known = self._standings[controller] = Standing(
                -1 if now.leader == NO_LEADER else now.leader - 1,
                tuple(r - 1 for r in now.isr),
                tuple(r - 1 for r in now.elr if cluster.brokers[r].epoch in cluster.brokers[r].whole),
                tuple(broker.fenced for broker in cluster.brokers.values()),
            )
        return known

    # -- steps -----------------------------------------------------------------------------------------------

    def called(self, controller: int, call: int) -> Ruling:
        """A leader's command arrives."""
        key = "call", controller, call
        known = self._steps.get(key)
        if known is None:
            known = self._steps[key] = self._called(controller, call)
        return known

    def _called(self, controller: int, call: int) -> Ruling:
        called = self.nodes.calls.values[call]
        assert isinstance(called, Called)
        ruling, reply = self._do(controller, (called.command,))
        before = self.states.values[controller].cluster.partitions[PARTITION]
        if ruling.version >= 0 and called.command.leader_epoch < before.leader_epoch:
            return ruling._replace(problem="I15: the command of a leader of a fenced epoch is taken")
        if ruling is not REFUSED and isinstance(reply, cmd.PartitionAnswer):
            answer = Returned(called.by, messages.answered(reply))
            return ruling._replace(answer=self.nodes.calls.number(answer))
        return ruling

    def fenced(self, controller: int, broker: int) -> Ruling:
        """The session of a broker is over."""
        return self._of_broker("fence", controller, broker)

    def unfenced(self, controller: int, broker: int) -> Ruling:
        """A heartbeat brings a broker back."""
        return self._of_broker("unfence", controller, broker)

    def registered(self, controller: int, broker: int, whole: bool) -> Ruling:
        """A broker has started again, and its session of before is over; `whole` when it has all it has promised."""
        return self._of_broker("whole" if whole else "less", controller, broker)

    def preferred(self, controller: int) -> Ruling:
        """An operator has the preferred leader elected."""
        return self._of_broker("prefer", controller, 0)

    def _of_broker(self, what: str, controller: int, broker: int) -> Ruling:
        key = what, controller, broker
        known = self._steps.get(key)
        if known is None:
            known = self._steps[key] = self._about(what, controller, broker)
        return known

    def _about(self, what: str, controller: int, broker: int) -> Ruling:
        state = self.states.values[controller]
        if what == "prefer":
            return self._do(controller, (cmd.ElectLeader(*PARTITION, cmd.Election.PREFERRED),))[0]
        known = state.cluster.brokers[broker]
        if what == "fence":
            return REFUSED if known.fenced else self._do(controller, (cmd.ExpireSessions(),), silent=broker)[0]
        if what == "unfence":
            return self._do(controller, (cmd.Heartbeat(broker, known.epoch),))[0]
        life = int(known.incarnation.partition(".")[2]) + 1
        previous = known.epoch if what == "whole" else NO_EPOCH
        register = cmd.RegisterBroker(broker, f"{broker}.{life}", None, previous)
        ruling, reply = self._do(controller, (cmd.ExpireSessions(), register), silent=broker)
        assert isinstance(reply, cmd.RegistrationAnswer | None)
        return ruling if reply is None else ruling._replace(broker_epoch=reply.broker_epoch)

    def _do(
        self, controller: int, commands: tuple[cmd.Command, ...], silent: int = 0
    ) -> tuple[Ruling, cmd.Reply | None]:
        """Do commands; `silent` was not heard of for longer than a session lasts."""
        state = before = self.states.values[controller]
        if silent and silent in state.contacts:
            long_ago = -state.session_timeout_ms - 1
            state = replace(state, contacts=state.contacts.put({silent: long_ago}))
        reply: cmd.Reply | None = None
        try:
            for command in commands:
                state, reply, _ = machine.step(state, command, 0)
        except InvariantError as broken:
            return Ruling(controller, -1, problem=str(broken)), None
        now = state.cluster.partitions[PARTITION]
        if now.partition_epoch > self.scope.changes or now.leader_epoch >= self.scope.epochs:
            return REFUSED, None
        number = self.states.number(state)
        was = before.cluster
        published = now != was.partitions[PARTITION] or state.cluster.eligible() != was.eligible()
        return Ruling(number, self.version(number) if published else -1), reply


