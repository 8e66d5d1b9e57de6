"""Metadata: which topics there are, who leads their partitions, and where brokers are.

Owns the handler of Metadata, auto-creation included. Called by `dispatch`.

Invariants
1. A topic that the answer calls created is on the medium: unlike Kafka nobody is sent away to ask again.
2. Asking for all topics opens no log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore.broker import operations
from kstore.errors import KStoreError, TopicExists
from kstore.log import names
from kstore.wire.error_codes import code_of
from kstore.wire.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from kstore.wire.schema import NO_OPERATIONS

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.cluster.metadata import TopicInfo

UNKNOWN_TOPIC = 3
INVALID_TOPIC = 17
INVALID_REQUEST = 42
UNKNOWN_TOPIC_ID = 100
LEADER_NOT_AVAILABLE = 5
NO_LEADER = -1
ALL_IS_EMPTY_LAST_VERSION = 0
"""In version 0 an empty list asks for all topics; since then null does, and an empty list for none."""
IDS_SINCE_VERSION = 12
"""In 10 and 11 a request has room for ids, and an answer none for a topic without a name."""
CREATIONS_MAX = 100
"""Topics that one request may have made for it; the rest is unknown to it, until it asks again."""


def metadata(broker: Broker, call: Call) -> None:
    """Brokers, and the topics that were asked for; those that are not there are made where that is allowed."""
    request: MetadataRequest = call.body
    asked = None if request.topics is None else list({(one.name, one.topic_id): one for one in request.topics}.values())
    if asked and call.version < IDS_SINCE_VERSION and any(_is_by_id(one) for one in asked):
        call.answer(
            MetadataResponse(
                brokers=[], topics=[_absent(one.name or "", one.topic_id, INVALID_REQUEST) for one in asked]
            )
        )
        return
    if asked is None or (not asked and call.version <= ALL_IS_EMPTY_LAST_VERSION):
        topics = broker.cluster.metadata.topics
        _answer(broker, call, [describe(broker, topics[name], opening=False) for name in sorted(topics)])
        return
    missing = []
    if broker.config.auto_create_topics_enable and request.allow_auto_topic_creation:
        known = broker.cluster.metadata.topics
        wanted = dict.fromkeys(one.name for one in asked if one.topic_id == names.ZERO_UUID and one.name)
        missing = [name for name in wanted if name not in known and names.is_valid_topic_name(name)]
    places = [(one.name, one.topic_id) for one in asked]
    if not missing:
        _answer(broker, call, [_found(broker, name, topic_id, {}) for name, topic_id in places])
        return

    def create() -> dict[str, int]:
        return {name: _create(broker, name) for name in missing[:CREATIONS_MAX]}

    def then(codes: dict[str, int] | None, error: KStoreError | None) -> None:
        failed = {name: code_of(error) for name in missing} if error is not None else codes or {}
        _answer(broker, call, [_found(broker, name, topic_id, failed) for name, topic_id in places])

    broker.off_loop(create, then)


def _is_by_id(asked: MetadataRequestTopic) -> bool:
    return asked.name is None or asked.topic_id != names.ZERO_UUID


def _create(broker: Broker, name: str) -> int:
    try:
        partitions, config = broker.defaults_of(name)
        broker.cluster.create_topic(name, partitions, -1, config, validate_only=False)
    except TopicExists:
        return 0 if name in broker.cluster.metadata.topics else INVALID_TOPIC  # its name collides with another's
    except KStoreError as error:
        return code_of(error)
    return 0


def _found(broker: Broker, name: str | None, topic_id: bytes, failed: dict[str, int]) -> MetadataResponseTopic:
    picture = broker.cluster.metadata
    if topic_id != names.ZERO_UUID:
        by_id = picture.by_id.get(topic_id)
        if by_id is None:
            return _absent(None, topic_id, UNKNOWN_TOPIC_ID)
        return describe(broker, by_id, opening=True)
    topic = picture.topics.get(name or "")
    if topic is None:
        code = failed.get(name or "") or UNKNOWN_TOPIC
        return _absent(name, topic_id, code if names.is_valid_topic_name(name or "") else INVALID_TOPIC)
    return describe(broker, topic, opening=True)


def _absent(name: str | None, topic_id: bytes, code: int) -> MetadataResponseTopic:
    return MetadataResponseTopic(error_code=code, name=name, topic_id=topic_id, partitions=[])


def describe(broker: Broker, topic: TopicInfo, *, opening: bool) -> MetadataResponseTopic:
    """A topic as Metadata shows it; `opening` opens logs to learn leader epochs, else those not open say -1."""
    partitions = []
    for index, assignment in enumerate(topic.partitions):
        has_leader = assignment.leader_id != NO_LEADER
        partitions.append(
            MetadataResponsePartition(
                error_code=0 if has_leader else LEADER_NOT_AVAILABLE,
                partition_index=index,
                leader_id=assignment.leader_id,
                leader_epoch=broker.leader_epoch(topic.name, index, opening=opening) if has_leader else -1,
                replica_nodes=assignment.replicas,
                isr_nodes=assignment.isr,
                offline_replicas=assignment.offline,
            )
        )
    return MetadataResponseTopic(
        error_code=0, name=topic.name, topic_id=topic.topic_id, is_internal=topic.is_internal, partitions=partitions
    )


def _answer(broker: Broker, call: Call, topics: list[MetadataResponseTopic]) -> None:
    request: MetadataRequest = call.body
    if request.include_topic_authorized_operations:
        topics = [
            topic if topic.error_code else topic.replace(topic_authorized_operations=operations.TOPIC)
            for topic in topics
        ]
    node = broker.node_for(call)
    brokers = [
        MetadataResponseBroker(node_id=one.node_id, host=one.host, port=one.port, rack=one.rack)
        for one in (node if one.node_id == node.node_id else one for one in broker.cluster.metadata.nodes)
    ]
    call.answer(
        MetadataResponse(
            brokers=brokers,
            cluster_id=broker.cluster.metadata.cluster_id,
            controller_id=broker.cluster.metadata.controller_id,
            topics=topics,
            cluster_authorized_operations=operations.CLUSTER
            if request.include_cluster_authorized_operations
            else NO_OPERATIONS,
        )
    )
