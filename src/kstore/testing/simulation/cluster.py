"""A simulated cluster: brokers, controllers, network, clients and the judge, put together.

Owns who is who and the start: brokers up, topics made. It must not know schedules or scenarios, which drive it.

Invariant: what code of kstore draws from the operating system (ids of directories and topics) comes from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from kstore.log import names
from kstore.replication.controller import commands as cmd
from kstore.replication.state import Assignment
from kstore.testing.simulation.clients import Consumer, Producer
from kstore.testing.simulation.control import Controllers
from kstore.testing.simulation.judge import Judge
from kstore.testing.simulation.network import Network
from kstore.testing.simulation.node import Node
from kstore.testing.simulation.options import Options
from kstore.testing.simulation.world import World

BOOT_US = 20_000_000
"""Within this time an undisturbed cluster is up; taking longer is a failure of its own."""


class SimCluster:
    """Everything of one run."""

    def __init__(self, world: World, options: Options) -> None:
        self.world = world
        self.options = options
        self.network = Network(world)
        self.judge = Judge(self)
        self.control = Controllers(self, options.controllers, options.session_timeout_ms)
        dice = world.dice("topic ids")
        self.topic_ids = {key: names.uuid_to_text(names.random_uuid(dice.randbytes)) for key in options.keys}
        self.nodes = {number: Node(self, number) for number in range(1, options.brokers + 1)}
        self._names = {node.name: node for node in self.nodes.values()}
        self.producers: dict[str, Producer] = {}
        self.consumers: dict[str, Consumer] = {}

    def named(self, name: str) -> Node:
        """A broker by its name."""
        return self._names[name]

    def assignment(self, key: str) -> Assignment | None:
        """What the controllers' log says of a partition."""
        found: Assignment | None = self.control.image.partitions.get((key, 0))
        return found

    def leader(self, key: str) -> Node | None:
        """The broker that leads as the controllers' log has it."""
        assignment = self.assignment(key)
        return None if assignment is None else self.nodes.get(assignment.leader)

    def boot(self, placement: dict[str, tuple[int, ...]] | None = None) -> None:
        """Start every broker and make the topics, in fair weather; `placement` says where replicas lie, or chance."""
        dice = self.world.dice("placement")
        for node in self.nodes.values():
            node.start()
        self.world.run_until(BOOT_US, lambda: all(self.control.image.is_active(number) for number in self.nodes))
        for key in self.options.keys:
            drawn = tuple(dice.sample(sorted(self.nodes), self.options.replication_factor))
            replicas = drawn if placement is None else placement[key]
            self.control.order(cmd.CreateTopic(key, rules=self.options.topic_rules, assignments=(replicas,)))
        self.world.run_until(self.world.now_us + BOOT_US, self._is_ready)

    def _is_ready(self) -> bool:
        return all(
            (replica := node.replicas.get(key)) is not None and replica.state.assignment.leader_epoch >= 0
            for key in self.options.keys
            if (assignment := self.assignment(key)) is not None
            for node in map(self.nodes.__getitem__, assignment.replicas)
        )


@contextmanager
def settled_ids(dice: random.Random) -> Iterator[None]:
    """Have ids that kstore would draw from the operating system drawn from `dice`."""
    uuid, digits = names.random_uuid, names.random_hex
    names.random_uuid = lambda random_bytes=dice.randbytes: uuid(random_bytes)
    names.random_hex = lambda random_bytes=dice.randbytes: digits(random_bytes)
    try:
        yield
    finally:
        names.random_uuid, names.random_hex = uuid, digits
