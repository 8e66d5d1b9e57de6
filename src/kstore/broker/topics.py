"""Making, deleting and growing topics for clients.

Owns the handlers of CreateTopics, DeleteTopics and CreatePartitions, and which requests contradict themselves. Must not
know how a topic lies on the disk: `cluster` makes the change, off the loop. Called by `dispatch`.

Invariants
1. What an answer calls made or deleted is so on the medium; what one topic is refused for touches no other.
2. Codes and their order are Kafka's: ControllerApis and ReplicationControlManager of 4.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from kstore.broker import config_entries
from kstore.errors import KStoreError, TopicExists
from kstore.log import names
from kstore.store.directory import METADATA_TOPIC
from kstore.wire.error_codes import code_of
from kstore.wire.messages.topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.cluster.metadata import TopicInfo

INVALID_TOPIC = 17
AUTHORIZATION_FAILED = 29
TOPIC_EXISTS = 36
INVALID_PARTITIONS = 37
INVALID_REPLICATION_FACTOR = 38
INVALID_ASSIGNMENT = 39
INVALID_CONFIG = 40
INVALID_REQUEST = 42
UNKNOWN_TOPIC = 3
UNKNOWN_TOPIC_ID = 100
DELETION_DISABLED = 73
DELETION_DISABLED_SINCE_VERSION = 3
DELETE_BY_ID_SINCE_VERSION = 6
DEFAULT = -1


class Refusal(KStoreError):
    """A part of a request that is refused with a code and a sentence."""

    def __init__(self, error_code: int, message: str) -> None:
        self.error_code = error_code
        super().__init__(message)


# -- making ----------------------------------------------------------------------------------------------


def create_topics(broker: Broker, call: Call) -> None:
    """Make topics, each for itself; with `validate_only` say what would be made."""
    request: CreateTopicsRequest = call.body
    asked = list(request.topics)
    twice = _repeated(topic.name for topic in asked)

    def create() -> list[CreatableTopicResult]:
        refused = [_refused(name, Refusal(INVALID_REQUEST, "Duplicate topic name.")) for name in sorted(twice)]
        return refused + [
            _create(broker, topic, validate_only=request.validate_only) for topic in asked if topic.name not in twice
        ]

    def then(results: list[CreatableTopicResult] | None, error: KStoreError | None) -> None:
        if results is None:
            results = [_refused(topic.name, error or KStoreError()) for topic in asked]
        call.answer(CreateTopicsResponse(topics=results))

    broker.off_loop(create, then)


def _create(broker: Broker, topic: CreatableTopic, *, validate_only: bool) -> CreatableTopicResult:
    name = topic.name
    try:
        _require_new(broker, name)
        config = _config_of(topic)
        broker.store.config.topic(config)
        partitions = _partitions_of(broker, topic)
        made = broker.cluster.create_topic(name, partitions, DEFAULT, config, validate_only=validate_only)
    except TopicExists as error:
        return _refused(name, error if name in broker.cluster.metadata.topics else Refusal(INVALID_TOPIC, str(error)))
    except KStoreError as error:
        return _refused(name, error)
    return _made(broker, made)


def _require_new(broker: Broker, name: str) -> None:
    if name == METADATA_TOPIC:
        raise Refusal(AUTHORIZATION_FAILED, f"{name} is Kafka's own metadata log")
    names.validate_topic_name(name)
    if name in broker.cluster.metadata.topics:
        raise Refusal(TOPIC_EXISTS, f"Topic '{name}' already exists.")


def _config_of(topic: CreatableTopic) -> dict[str, str]:
    config = {one.name: one.value for one in topic.configs}
    if missing := [key for key, value in config.items() if value is None]:
        raise Refusal(INVALID_CONFIG, f"Null value not supported for topic configs: {','.join(missing)}")
    return {key: value for key, value in config.items() if value is not None}


def _partitions_of(broker: Broker, topic: CreatableTopic) -> int:
    """How many partitions are asked for; -1 for the broker's default. Raises `Refusal`."""
    assignments = list(topic.assignments)
    if assignments:
        if topic.replication_factor != DEFAULT:
            raise Refusal(
                INVALID_REQUEST,
                "A manual partition assignment was specified, but replication factor was not set to -1.",
            )
        if topic.num_partitions != DEFAULT:
            raise Refusal(
                INVALID_REQUEST, "A manual partition assignment was specified, but numPartitions was not set to -1."
            )
        indexes = Counter(one.partition_index for one in assignments)
        for index, count in indexes.items():
            if count > 1:
                raise Refusal(
                    INVALID_ASSIGNMENT, f"Found multiple manual partition assignments for partition {index}"
                )
        _require_assignable(broker, (list(one.broker_ids) for one in assignments))
        if set(indexes) != set(range(len(assignments))):
            raise Refusal(INVALID_ASSIGNMENT, "partitions should be a consecutive 0-based integer sequence")
        return len(assignments)
    factor, count = topic.replication_factor, topic.num_partitions
    if factor < DEFAULT or factor == 0:
        raise Refusal(
            INVALID_REPLICATION_FACTOR, "Replication factor must be larger than 0, or -1 to use the default value."
        )
    if count < DEFAULT or count == 0:
        raise Refusal(INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value.")
    brokers = len(broker.cluster.metadata.nodes)
    if factor > brokers:
        raise Refusal(
            INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be "
            f"reached because only {brokers} broker(s) are registered.",
        )
    return count


def _require_assignable(broker: Broker, assignments: Iterable[list[int]]) -> None:
    """ReplicationControlManager.validateManualPartitionAssignment: replicas on brokers that there are, once each."""
    known = {node.node_id for node in broker.cluster.metadata.nodes}
    size = None
    for replicas in assignments:
        if not replicas:
            raise Refusal(INVALID_ASSIGNMENT, "The manual partition assignment includes an empty replica list.")
        for one in sorted(replicas):
            if one not in known:
                raise Refusal(
                    INVALID_ASSIGNMENT,
                    f"The manual partition assignment includes broker {one}, but no such broker is registered.",
                )
        for one, count in Counter(replicas).items():
            if count > 1:
                raise Refusal(
                    INVALID_ASSIGNMENT, f"The manual partition assignment includes the broker {one} more than once."
                )
        if size is not None and len(replicas) != size:
            raise Refusal(
                INVALID_ASSIGNMENT,
                f"The manual partition assignment includes a partition with {len(replicas)} replica(s), but this is "
                f"not consistent with previous partitions, which have {size} replica(s).",
            )
        size = len(replicas)


def _made(broker: Broker, made: TopicInfo) -> CreatableTopicResult:
    entries = [
        CreatableTopicConfigs(
            name=entry.name,
            value=entry.value,
            read_only=entry.read_only,
            config_source=entry.source,
            is_sensitive=False,
        )
        for entry in config_entries.topic_entries(broker, made)
    ]
    return CreatableTopicResult(
        name=made.name,
        topic_id=made.topic_id,
        error_code=0,
        error_message=None,
        num_partitions=len(made.partitions),
        replication_factor=1,
        configs=entries,
    )


def _refused(name: str, error: KStoreError) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error_code=code_of(error), error_message=str(error))


# -- deleting --------------------------------------------------------------------------------------------


class _Doomed(NamedTuple):
    name: str | None
    topic_id: bytes


def delete_topics(broker: Broker, call: Call) -> None:
    """Delete topics by name or id; fetches that wait for them are answered (`node`)."""
    request: DeleteTopicsRequest = call.body
    if call.version >= DELETE_BY_ID_SINCE_VERSION:
        asked = [_Doomed(one.name, one.topic_id) for one in request.topics]
    else:
        asked = [_Doomed(name, names.ZERO_UUID) for name in request.topic_names]
    if not broker.config.delete_topic_enable:
        code = DELETION_DISABLED if call.version >= DELETION_DISABLED_SINCE_VERSION else INVALID_REQUEST
        disabled = Refusal(code, "Topic deletion is disabled: delete.topic.enable is false.")
        call.answer(DeleteTopicsResponse(responses=[_deleted(one, disabled) for one in asked]))
        return
    twice_names = _repeated(one.name for one in asked if one.name is not None)
    twice_ids = _repeated(one.topic_id for one in asked if one.topic_id != names.ZERO_UUID)

    def delete() -> list[DeletableTopicResult]:
        results = {}
        for one in asked:
            if one.name in twice_names:
                results[one] = _deleted(one, Refusal(INVALID_REQUEST, "Duplicate topic name."))
            elif one.topic_id in twice_ids:
                results[one] = _deleted(one, Refusal(INVALID_REQUEST, "Duplicate topic id."))
            else:
                results[one] = _delete(broker, one)
        return list(results.values())

    def then(results: list[DeletableTopicResult] | None, error: KStoreError | None) -> None:
        if results is None:
            results = [_deleted(one, error) for one in asked]
        call.answer(DeleteTopicsResponse(responses=results))

    broker.off_loop(delete, then)


def _delete(broker: Broker, one: _Doomed) -> DeletableTopicResult:
    by_id = one.topic_id != names.ZERO_UUID
    try:
        if by_id and one.name is not None:
            raise Refusal(INVALID_REQUEST, "You may not specify both topic name and topic id.")
        if by_id:
            found = broker.cluster.metadata.by_id.get(one.topic_id)
            if found is None:
                raise Refusal(UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
            one = one._replace(name=found.name)
        if one.name is None:
            raise Refusal(INVALID_REQUEST, "Neither topic name nor id were specified.")
        known = broker.cluster.metadata.topics.get(one.name)
        broker.cluster.delete_topic(one.name)
    except KStoreError as error:
        return _deleted(one, error)
    return _deleted(one if known is None else one._replace(topic_id=known.topic_id), None)


def _deleted(one: _Doomed, error: KStoreError | None) -> DeletableTopicResult:
    return DeletableTopicResult(
        name=one.name,
        topic_id=one.topic_id,
        error_code=0 if error is None else code_of(error),
        error_message=None if error is None else str(error),
    )


# -- growing ---------------------------------------------------------------------------------------------


def create_partitions(broker: Broker, call: Call) -> None:
    """Give topics more partitions, up to the number asked for."""
    request: CreatePartitionsRequest = call.body
    asked = list(request.topics)
    twice = _repeated(topic.name for topic in asked)

    def grow() -> list[CreatePartitionsTopicResult]:
        refused = [_grown(name, Refusal(INVALID_REQUEST, "Duplicate topic name.")) for name in sorted(twice)]
        return refused + [
            _grow(broker, topic, validate_only=request.validate_only) for topic in asked if topic.name not in twice
        ]

    def then(results: list[CreatePartitionsTopicResult] | None, error: KStoreError | None) -> None:
        if results is None:
            results = [_grown(topic.name, error) for topic in asked]
        call.answer(CreatePartitionsResponse(results=results))

    broker.off_loop(grow, then)


def _grow(broker: Broker, topic: CreatePartitionsTopic, *, validate_only: bool) -> CreatePartitionsTopicResult:
    name = topic.name
    try:
        found = broker.cluster.metadata.topics.get(name)
        if found is None:
            raise Refusal(UNKNOWN_TOPIC, "This server does not host this topic-partition.")
        there = len(found.partitions)
        if topic.count == there:
            raise Refusal(INVALID_PARTITIONS, f"Topic already has {there} partition(s).")
        if topic.count < there:
            raise Refusal(
                INVALID_PARTITIONS,
                f"The topic {name} currently has {there} partition(s); {topic.count} would not be an increase.",
            )
        if topic.assignments is not None:
            assignments = [list(one.broker_ids) for one in topic.assignments]
            if len(assignments) != topic.count - there:
                raise Refusal(
                    INVALID_ASSIGNMENT,
                    f"Attempted to add {topic.count - there} additional partition(s), but only {len(assignments)} "
                    f"assignment(s) were specified.",
                )
            _require_assignable(broker, assignments)
        broker.cluster.create_partitions(name, topic.count, validate_only=validate_only)
    except KStoreError as error:
        return _grown(name, error)
    return _grown(name, None)


def _grown(name: str, error: KStoreError | None) -> CreatePartitionsTopicResult:
    return CreatePartitionsTopicResult(
        name=name,
        error_code=0 if error is None else code_of(error),
        error_message=None if error is None else str(error),
    )


def _repeated(words: Iterable[Any]) -> set[Any]:
    return {word for word, count in Counter(words).items() if count > 1}
