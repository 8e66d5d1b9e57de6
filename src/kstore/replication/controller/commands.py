"""Commands: everything that the controller can be asked, in the imperative, and what it answers.

Owns the vocabulary of `machine.step`. It must not know how anything is decided. Everything is a frozen value, hashable,
so that a simulator records it and a model checker enumerates it. Answers carry Kafka's error codes; a command that is
refused changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from kstore.replication.codes import Code
from kstore.replication.controller.cluster import TopicRules
from kstore.replication.state import NO_EPOCH, Assignment

# -- from brokers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegisterBroker:
    """A broker has started and asks to belong to the cluster (BrokerRegistrationRequest)."""

    broker_id: int
    incarnation: str
    rack: str | None = None
    previous_epoch: int = NO_EPOCH
    """The broker epoch of the last life that this one knows of, where it is sure that nothing is missing of what that
    life held as replicated: it was shut down cleanly (KIP-966), or counted only what was fsynced. Anything else says:
    records may be lost."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A broker lives, and says what it wants (BrokerHeartbeatRequest)."""

    broker_id: int
    broker_epoch: int
    caught_up: bool = True
    """Whether it has seen the metadata up to its own registration; before that it is not unfenced."""
    want_fence: bool = False
    want_shut_down: bool = False


@dataclass(frozen=True, slots=True)
class AlterPartition:
    """A leader proposes another ISR (AlterPartitionRequest, KIP-497); see `effects.ProposeIsr`."""

    broker_id: int
    broker_epoch: int
    topic: str
    index: int
    leader_epoch: int
    partition_epoch: int
    isr: tuple[tuple[int, int], ...]
    """(broker id, broker epoch); -1 where the epoch is not known, which is good enough for a present member only."""
    recovering: bool = False


@dataclass(frozen=True, slots=True)
class ResignLeader:
    """A leader cannot serve what it must, its log being damaged or its disk gone; see `effects.Resign`."""

    broker_id: int
    broker_epoch: int
    topic: str
    index: int
    leader_epoch: int
    lost: bool = True
    """Whether committed records may be missing; a disk that is full or refuses to write has them all."""


# -- from the controller's own clock -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExpireSessions:
    """Fence every broker that was not heard of for the session timeout."""


@dataclass(frozen=True, slots=True)
class BalanceLeaders:
    """Give partitions back to their preferred leaders (auto.leader.rebalance.enable)."""

    elections_max: int = 1000
    """Kafka's MAX_ELECTIONS_PER_IMBALANCE; what is left waits for the next call."""


# -- from operators ----------------------------------------------------------------------------------------------


class Election(Enum):
    """Which election an operator asks for (ElectLeadersRequest)."""

    PREFERRED = "preferred"
    UNCLEAN = "unclean"


@dataclass(frozen=True, slots=True)
class ElectLeader:
    """Elect a leader now. `UNCLEAN` may lose committed records, whatever the topic's rules say."""

    topic: str
    index: int
    election: Election


@dataclass(frozen=True, slots=True)
class UnregisterBroker:
    """A broker will not come back: forget it and what it may hold."""

    broker_id: int


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """Make a topic, placed over the racks, or as `assignments` says (CreateTopicsRequest)."""

    topic: str
    partitions: int = 1
    replication_factor: int = 1
    rules: TopicRules = field(default_factory=TopicRules)
    assignments: tuple[tuple[int, ...], ...] | None = None
    """The replicas of each partition, in order of preference; the two counts are not looked at then."""
    seed: int = 0
    """Where the placement starts; a caller that wants topics spread evenly draws one for each."""


@dataclass(frozen=True, slots=True)
class CreatePartitions:
    """Have `partitions` partitions in all (CreatePartitionsRequest)."""

    topic: str
    partitions: int
    assignments: tuple[tuple[int, ...], ...] | None = None
    """The replicas of each additional partition."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DeleteTopic:
    """Forget a topic and its partitions."""

    topic: str


@dataclass(frozen=True, slots=True)
class SetTopicRules:
    """Give a topic other rules."""

    topic: str
    rules: TopicRules


@dataclass(frozen=True, slots=True)
class Reassign:
    """Move a partition to other replicas, or stop moving it (AlterPartitionReassignmentsRequest, KIP-455)."""

    topic: str
    index: int
    replicas: tuple[int, ...] | None
    """None cancels."""


Command = (
    RegisterBroker
    | Heartbeat
    | AlterPartition
    | ResignLeader
    | ExpireSessions
    | BalanceLeaders
    | ElectLeader
    | UnregisterBroker
    | CreateTopic
    | CreatePartitions
    | DeleteTopic
    | SetTopicRules
    | Reassign
)

# -- answers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """Done, or why not; `message` is for people."""

    code: Code = Code.NONE
    message: str = ""


@dataclass(frozen=True, slots=True)
class RegistrationAnswer:
    """The epoch of the broker's life: it goes with everything that the broker asks from now on."""

    code: Code
    broker_epoch: int = NO_EPOCH


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """How the controller sees the broker after its heartbeat."""

    code: Code
    fenced: bool = True
    should_shut_down: bool = False
    """The broker leads nothing any more and may stop."""


@dataclass(frozen=True, slots=True)
class PartitionAnswer:
    """What became of a proposed ISR; goes on as `events.ProposalAnswered`."""

    code: Code
    leader_epoch: int
    """Of the proposal, as the next one: they tell which proposal this answers."""
    partition_epoch: int
    assignment: Assignment | None = None
    """What the controller holds now, None with an error."""


Reply = Answer | RegistrationAnswer | HeartbeatAnswer | PartitionAnswer
