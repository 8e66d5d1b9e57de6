"""What the controller knows: brokers, topics and partitions, as values, and the changes that lead from one to the next.

Owns the vocabulary of what is persisted. A store of whichever kind keeps the changes, or the cluster that they make; a
controller that takes over applies them and knows the same. It must not know commands, elections, or where anything is
stored. Called by every module of this package and by whoever stores its results.

Invariants (checked by `invariants.check` after every step)
1. `isr`, `elr`, `adding` and `removing` are sorted subsets of `replicas`, `isr` and `elr` without common members.
2. A partition has a leader exactly when its ISR has members, and the leader is one of them.
3. Every ISR member is active: registered, not fenced, not shutting down (KIP-841). So nobody is in an ISR with an older
   life than the registered one (KIP-903).
4. The ELR has members only while the ISR is smaller than min.insync.replicas (KIP-966).
5. Epochs never fall; the partition epoch rises by one with each change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from kstore.errors import InvalidConfig, InvariantError
from kstore.replication.controller.table import Table
from kstore.replication.state import Assignment
from kstore.replication.values import replace

TopicPartition = tuple[str, int]
"""A topic and the index of a partition. The topic is opaque here: a name, or an id where names may come back."""


class Unclean(IntEnum):
    """Who may lead when neither ISR nor ELR has anyone alive: each step may lose committed records.

    KIP-966's unclean.recovery.strategy, without asking replicas for their logs.
    """

    NEVER = 0
    """Nobody: the partition waits. Kafka without ELR and with `unclean.leader.election.enable=false`."""
    LAST_LEADER = 1
    """The leader that the partition had last. Kafka with ELR does this even where unclean elections are off."""
    ANY = 2
    """That one, or else the first replica that is alive (`unclean.leader.election.enable=true`)."""


@dataclass(frozen=True, slots=True)
class TopicRules:
    """The configuration of a topic that the controller reads. `InvalidConfig` where it makes no sense."""

    min_insync_replicas: int = 1
    unclean: Unclean = Unclean.NEVER

    def __post_init__(self) -> None:
        if self.min_insync_replicas < 1:
            raise InvalidConfig(f"min.insync.replicas must be at least 1, not {self.min_insync_replicas}")

    def min_isr(self, replicas: tuple[int, ...]) -> int:
        """`min.insync.replicas`, but no more than there are replicas (getTopicEffectiveMinIsr)."""
        return min(self.min_insync_replicas, len(replicas))


@dataclass(frozen=True, slots=True)
class Broker:
    """A registered broker (Kafka's BrokerRegistration)."""

    id: int
    epoch: int
    """Of this life: rises over all brokers with each registration of a new incarnation."""
    incarnation: str
    """Drawn by the broker's process when it starts; the same one registering again is the same life."""
    rack: str | None = None
    fenced: bool = True
    """Registered, but neither a leader nor in sync: it has not caught up yet, or was not heard of for too long."""
    shutting_down: bool = False
    """In controlled shutdown: it has left every ISR, and leads nothing."""
    whole: tuple[int, ...] = ()
    """Epochs of lives that have all that is counted on: the last one that was unfenced, and those since that began with
    all that one of these had."""

    @property
    def is_active(self) -> bool:
        """Whether it may lead and be in sync."""
        return not self.fenced and not self.shutting_down


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything that a change of controller must not forget."""

    brokers: Table[int, Broker] = field(default_factory=Table)
    topics: Table[str, TopicRules] = field(default_factory=Table)
    partitions: Table[TopicPartition, Assignment] = field(default_factory=Table)
    next_broker_epoch: int = 0

    def is_active(self, broker_id: int) -> bool:
        """Whether a broker is registered and may lead and be in sync (ClusterControlManager.isActive)."""
        broker = self.brokers.get(broker_id)
        return broker is not None and broker.is_active

    def eligible(self) -> tuple[tuple[int, int], ...]:
        """What `events.BrokersChanged` tells the leaders: active brokers and their epochs, by id."""
        return tuple((broker.id, broker.epoch) for broker in self.brokers.values() if broker.is_active)

    def is_current(self, broker_id: int, broker_epoch: int) -> bool:
        """Whether that is the broker's registered life (ClusterControlManager.checkBrokerEpoch)."""
        broker = self.brokers.get(broker_id)
        return broker is not None and broker.epoch == broker_epoch

    def indexes_of(self, topic: str) -> tuple[int, ...]:
        """The indexes of a topic's partitions, ascending."""
        return tuple(index for name, index in self.partitions if name == topic)


# -- changes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BrokerRegistered:
    """A broker registered, or amended its registration (RegisterBrokerRecord)."""

    broker: Broker


@dataclass(frozen=True, slots=True)
class BrokerChanged:
    """A registered broker was fenced, unfenced, or began to shut down (BrokerRegistrationChangeRecord)."""

    broker_id: int
    broker_epoch: int
    fenced: bool
    shutting_down: bool


@dataclass(frozen=True, slots=True)
class BrokerUnregistered:
    """A broker is gone for good (UnregisterBrokerRecord)."""

    broker_id: int


@dataclass(frozen=True, slots=True)
class TopicChanged:
    """A topic was created, or has other rules."""

    topic: str
    rules: TopicRules


@dataclass(frozen=True, slots=True)
class TopicDeleted:
    """A topic is gone, with all of its partitions (RemoveTopicRecord)."""

    topic: str


@dataclass(frozen=True, slots=True)
class PartitionChanged:
    """A partition was made or has another assignment (PartitionRecord, PartitionChangeRecord)."""

    topic: str
    index: int
    assignment: Assignment


Change = BrokerRegistered | BrokerChanged | BrokerUnregistered | TopicChanged | TopicDeleted | PartitionChanged
Changes = tuple[Change, ...]


def apply(cluster: Cluster, changes: Iterable[Change]) -> Cluster:
    """The cluster after `changes`, in order: what a controller that takes over does with what was stored.

    A change of something that is not there raises `InvariantError`: the store has lost an earlier one.
    """
    brokers: dict[int, Broker | None] = {}
    topics: dict[str, TopicRules | None] = {}
    partitions: dict[TopicPartition, Assignment | None] = {}
    next_epoch = cluster.next_broker_epoch

    for change in changes:
        if isinstance(change, PartitionChanged):
            if topics.get(change.topic, cluster.topics.get(change.topic)) is None:
                raise InvariantError(f"{change} is stored, but not its topic: an earlier change is lost")
            partitions[change.topic, change.index] = change.assignment
        elif isinstance(change, BrokerRegistered):
            brokers[change.broker.id] = change.broker
            next_epoch = max(next_epoch, change.broker.epoch + 1)
        elif isinstance(change, BrokerChanged):
            known = brokers.get(change.broker_id, cluster.brokers.get(change.broker_id))
            if known is None or known.epoch != change.broker_epoch:
                raise InvariantError(f"{change} is stored, but {known} is registered: an earlier change is lost")
            whole = known.whole if change.fenced else (known.epoch,)
            brokers[known.id] = replace(known, fenced=change.fenced, shutting_down=change.shutting_down, whole=whole)
        elif isinstance(change, BrokerUnregistered):
            brokers[change.broker_id] = None
        elif isinstance(change, TopicChanged):
            topics[change.topic] = change.rules
        else:
            topics[change.topic] = None
            known_keys = {*cluster.partitions, *partitions}
            partitions.update({key: None for key in sorted(known_keys) if key[0] == change.topic})
    return Cluster(
        cluster.brokers.put(brokers),
        cluster.topics.put(topics),
        cluster.partitions.put(partitions),
        next_epoch,
    )
