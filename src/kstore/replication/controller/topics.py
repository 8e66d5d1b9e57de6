"""Topics: made, grown, deleted, and their rules.

Owns the rules of Kafka's ReplicationControlManager: createTopics, createPartitions, validateManualPartitionAssignment.
Where replicas go is `placement`'s. Names are not looked at: whoever takes them from a client checks them there. Called
by `machine.step`.

Invariants
1. A new partition's ISR is those of its replicas that are active, at least one; the first of them leads.
2. A change of min.insync.replicas bumps the partition epoch of every partition: a leader that does not know it yet can
   change no ISR, and so nobody becomes eligible by a rule that the leader does not keep.
"""

from __future__ import annotations

from kstore.errors import InvalidReplicationFactor
from kstore.replication.codes import Code
from kstore.replication.controller.change import NOTHING, altered
from kstore.replication.controller.cluster import Changes, Cluster, PartitionChanged, TopicChanged, TopicDeleted
from kstore.replication.controller.commands import Answer, CreatePartitions, CreateTopic, DeleteTopic, SetTopicRules
from kstore.replication.controller.controller import Controller
from kstore.replication.controller.placement import Place, draws, place
from kstore.replication.state import Assignment
from kstore.replication.values import replace

Replicas = tuple[int, ...]


def on_create(state: Controller, command: CreateTopic, now_ms: int) -> tuple[Controller, Answer, Changes]:
    """Make a topic and its partitions, or nothing."""
    if command.topic in state.cluster.topics:
        return state, Answer(Code.TOPIC_ALREADY_EXISTS, f"topic {command.topic} is there already"), ()
    if command.assignments is None and command.partitions < 1:
        return state, Answer(Code.INVALID_PARTITIONS, f"{command.partitions} partitions make no topic"), ()
    refused, lists = _replica_lists(
        state.cluster, command.assignments, command.partitions, command.replication_factor, command.seed
    )
    if refused is not None:
        return state, refused, ()
    return _made(state, command.topic, 0, lists, (TopicChanged(command.topic, command.rules),), command.assignments)


def on_create_partitions(
    state: Controller, command: CreatePartitions, now_ms: int
) -> tuple[Controller, Answer, Changes]:
    """Add partitions, with as many replicas as the first one has."""
    indexes = state.cluster.indexes_of(command.topic)
    if not indexes:
        return state, Answer(Code.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {command.topic}"), ()
    additional = command.partitions - len(indexes)
    if additional <= 0:
        reason = f"{command.topic} has {len(indexes)} partitions, {command.partitions} would not be more"
        return state, Answer(Code.INVALID_PARTITIONS, reason), ()
    given = command.assignments
    if given is not None and len(given) != additional:
        reason = f"{additional} partitions are added, and assignments given for {len(given)}"
        return state, Answer(Code.INVALID_REPLICA_ASSIGNMENT, reason), ()
    factor = len(state.cluster.partitions[command.topic, indexes[0]].replicas)
    refused, lists = _replica_lists(state.cluster, given, additional, factor, command.seed, len(indexes))
    if refused is not None:
        return state, refused, ()
    return _made(state, command.topic, len(indexes), lists, (), given)


def on_delete(state: Controller, command: DeleteTopic, now_ms: int) -> tuple[Controller, Answer, Changes]:
    """Forget a topic."""
    if command.topic not in state.cluster.topics:
        return state, Answer(Code.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {command.topic}"), ()
    changes: Changes = (TopicDeleted(command.topic),)
    return state.after(changes), Answer(), changes


def on_set_rules(state: Controller, command: SetTopicRules, now_ms: int) -> tuple[Controller, Answer, Changes]:
    """Give a topic other rules, and each of its partitions what follows from them: its ELR, and perhaps a leader.

    Kafka clears every ELR (ClearElrRecord). Here it stays where it is sound: below the new minimum, too, nothing was
    committed since.
    """
    cluster = state.cluster
    known = cluster.topics.get(command.topic)
    if known is None:
        return state, Answer(Code.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {command.topic}"), ()
    if known == command.rules:
        return state, Answer(), ()
    changes: Changes = (TopicChanged(command.topic, command.rules),)
    for index in cluster.indexes_of(command.topic):
        before = cluster.partitions[command.topic, index]
        after = altered(before, NOTHING, command.rules, cluster.is_active)
        if after is None and command.rules.min_insync_replicas != known.min_insync_replicas:
            after = replace(before, partition_epoch=before.partition_epoch + 1)
        if after is not None:
            changes += (PartitionChanged(command.topic, index, after),)
    return state.after(changes), Answer(), changes


# -- where replicas go -------------------------------------------------------------------------------------------


def invalid_replicas(cluster: Cluster, replicas: Replicas, factor: int | None = None) -> str:
    """What is wrong with a list of replicas that somebody asks for, empty if nothing is."""
    if not replicas:
        return "the assignment has no replica"
    for broker_id in sorted(replicas):
        if broker_id not in cluster.brokers:
            return f"the assignment has broker {broker_id}, which is not registered"
        if replicas.count(broker_id) > 1:
            return f"the assignment has broker {broker_id} more than once"
    if factor is not None and len(replicas) != factor:
        return f"an assignment has {len(replicas)} replicas, others have {factor}"
    return ""


def _replica_lists(
    cluster: Cluster, given: tuple[Replicas, ...] | None, count: int, factor: int, seed: int, first_index: int = 0
) -> tuple[Answer | None, tuple[Replicas, ...]]:
    """The replicas of each new partition: those given, or those placed. Or why not."""
    if given is None:
        places = (Place(b.id, b.rack, b.fenced) for b in cluster.brokers.values() if not b.shutting_down)
        try:
            return None, place(places, count, factor, draws(seed))
        except InvalidReplicationFactor as refused:
            return Answer(Code.INVALID_REPLICATION_FACTOR, str(refused)), ()
    if not given:
        return Answer(Code.INVALID_PARTITIONS, "no assignments make no topic"), ()
    expected = factor if first_index else len(given[0])
    for replicas in given:
        if reason := invalid_replicas(cluster, replicas, expected):
            return Answer(Code.INVALID_REPLICA_ASSIGNMENT, reason), ()
    return None, given


def _made(
    state: Controller,
    topic: str,
    first_index: int,
    lists: tuple[Replicas, ...],
    changes: Changes,
    given: tuple[Replicas, ...] | None,
) -> tuple[Controller, Answer, Changes]:
    for index, replicas in enumerate(lists, first_index):
        alive = [r for r in replicas if state.cluster.is_active(r)]
        if not alive:
            code = Code.INVALID_REPLICATION_FACTOR if given is None else Code.INVALID_REPLICA_ASSIGNMENT
            return state, Answer(code, f"all brokers of partition {index} are fenced or shutting down"), ()
        changes += (PartitionChanged(topic, index, Assignment(alive[0], 0, 0, replicas, tuple(sorted(alive)))),)
    return state.after(changes), Answer(), changes
