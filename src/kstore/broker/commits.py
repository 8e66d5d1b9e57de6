"""Committed offsets, from the wire to the coordinators and back.

Owns the handlers of OffsetCommit, OffsetFetch and OffsetDelete: topics by id or name, topics that are not there, and
what old versions lack. Must not know when a commit counts. Called by `dispatch`.

Invariants
1. A partition that does not exist is refused here; the coordinator never stores an offset for it.
2. An answer names the partitions in the order in which they were asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from kstore.broker.group_calls import context_of, gather
from kstore.groups import requests, responses
from kstore.wire.messages import commits as wire

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.cluster.metadata import Metadata, TopicInfo

TOPIC_IDS_SINCE_VERSION = 10
GROUPS_SINCE_VERSION = 8
GROUP_ERROR_SINCE_VERSION = 2
UNKNOWN_TOPIC = 3
UNKNOWN_TOPIC_ID = 100
NO_OFFSET = -1

Told = TypeVar("Told")


# -- OffsetCommit ------------------------------------------------------------------------------------------------


def offset_commit(broker: Broker, call: Call) -> None:
    """Store positions of a group; answered when they are in the log."""
    body: wire.OffsetCommitRequest = call.body
    picture = broker.cluster.metadata
    asked: list[tuple[wire.OffsetCommitRequestTopic, TopicInfo | None, list[wire.OffsetCommitRequestPartition]]] = []
    for topic in body.topics:
        found = _find(picture, call, topic.name, topic.topic_id)
        asked.append((topic, found, list(topic.partitions)))
    topics = tuple(
        requests.OffsetCommitTopic(found.name, good, found.topic_id)
        for _, found, partitions in asked
        if found is not None and (good := tuple(_commit_of(one) for one in partitions if _has(found, one)))
    )
    request = requests.OffsetCommitRequest(
        group_id=body.group_id,
        topics=topics,
        generation_id_or_member_epoch=body.generation_id_or_member_epoch,
        member_id=body.member_id,
        group_instance_id=body.group_instance_id,
        retention_time_ms=body.retention_time_ms,
    )

    def then(response: responses.Response) -> None:
        codes = {
            (topic.name, one.partition_index): int(one.error_code)
            for topic in cast(responses.OffsetCommitResponse, response).topics
            for one in topic.partitions
        }
        results = []
        for topic, found, partitions in asked:
            absent = UNKNOWN_TOPIC if found or call.version < TOPIC_IDS_SINCE_VERSION else UNKNOWN_TOPIC_ID
            name = topic.name if found is None else found.name
            outcomes = [
                wire.OffsetCommitResponsePartition(
                    partition_index=one.partition_index, error_code=codes.get((name, one.partition_index), absent)
                )
                for one in partitions
            ]
            results.append(
                wire.OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=outcomes)
            )
        call.answer(wire.OffsetCommitResponse(topics=results))

    broker.coordination.call(body.group_id, request, context_of(call), then)


def _find(picture: Metadata, call: Call, name: str, topic_id: bytes) -> TopicInfo | None:
    if call.version >= TOPIC_IDS_SINCE_VERSION:
        return picture.by_id.get(topic_id)
    return picture.topics.get(name)


def _has(topic: TopicInfo, partition: wire.OffsetCommitRequestPartition) -> bool:
    return 0 <= partition.partition_index < len(topic.partitions)


def _commit_of(partition: wire.OffsetCommitRequestPartition) -> requests.OffsetCommitPartition:
    return requests.OffsetCommitPartition(
        partition_index=partition.partition_index,
        committed_offset=partition.committed_offset,
        committed_leader_epoch=partition.committed_leader_epoch,
        committed_metadata=partition.committed_metadata,
    )


# -- OffsetFetch -------------------------------------------------------------------------------------------------


def offset_fetch(broker: Broker, call: Call) -> None:
    """Tell positions of one group, or since version 8 of several."""
    body: wire.OffsetFetchRequest = call.body
    if call.version < GROUPS_SINCE_VERSION:
        _fetch_one(broker, call, body)
        return
    starts = [partial(_fetch_group, broker, call, body.require_stable, group) for group in body.groups]
    gather(starts, lambda groups: call.answer(wire.OffsetFetchResponse(groups=groups)))


def _fetch_one(broker: Broker, call: Call, body: wire.OffsetFetchRequest) -> None:
    topics = None if body.topics is None else tuple((one.name, tuple(one.partition_indexes)) for one in body.topics)
    request = requests.OffsetFetchRequest(body.group_id, topics, body.require_stable)

    def then(response: responses.Response) -> None:
        found = cast(responses.OffsetFetchResponse, response)
        answered = found.topics
        if found.error_code and call.version < GROUP_ERROR_SINCE_VERSION:
            answered = tuple(
                responses.OffsetFetchTopic(
                    name, tuple(responses.OffsetFetchPartition(n, error_code=found.error_code) for n in numbers)
                )
                for name, numbers in topics or ()
            )
        results = [
            wire.OffsetFetchResponseTopic(
                name=topic.name,
                partitions=_told(wire.OffsetFetchResponsePartition, topic),
            )
            for topic in answered
        ]
        call.answer(wire.OffsetFetchResponse(topics=results, error_code=found.error_code))

    broker.coordination.call(body.group_id, request, context_of(call), then)


def _fetch_group(
    broker: Broker,
    call: Call,
    require_stable: bool,
    group: wire.OffsetFetchRequestGroup,
    done: Callable[[wire.OffsetFetchResponseGroup], None],
) -> None:
    by_id = call.version >= TOPIC_IDS_SINCE_VERSION
    picture = broker.cluster.metadata
    unknown: list[wire.OffsetFetchResponseTopics] = []
    topics: list[tuple[str, tuple[int, ...]]] | None = None if group.topics is None else []
    for topic in group.topics or ():
        found = picture.by_id.get(topic.topic_id) if by_id else None
        if by_id and found is None:
            unknown.append(_unknown(topic))
        elif topics is not None:
            topics.append((topic.name if found is None else found.name, tuple(topic.partition_indexes)))
    request = requests.OffsetFetchRequest(
        group.group_id, None if topics is None else tuple(topics), require_stable, group.member_id, group.member_epoch
    )

    def then(response: responses.Response) -> None:
        found = cast(responses.OffsetFetchResponse, response)
        results = []
        for topic in found.topics:
            info = picture.topics.get(topic.name)
            if by_id and info is None:
                continue  # committed for a topic that is gone: it has no id any more
            results.append(_positions(topic, "" if by_id else topic.name, info.topic_id if by_id and info else None))
        done(
            wire.OffsetFetchResponseGroup(
                group_id=group.group_id, topics=[*results, *unknown], error_code=found.error_code
            )
        )

    broker.coordination.call(group.group_id, request, context_of(call), then)


def _positions(topic: responses.OffsetFetchTopic, name: str, topic_id: bytes | None) -> wire.OffsetFetchResponseTopics:
    partitions = _told(wire.OffsetFetchResponsePartitions, topic)
    if topic_id is None:
        return wire.OffsetFetchResponseTopics(name=name, partitions=partitions)
    return wire.OffsetFetchResponseTopics(topic_id=topic_id, partitions=partitions)


def _told(kind: Callable[..., Told], topic: responses.OffsetFetchTopic) -> list[Told]:
    """Each partition of a topic as the answer's version has it: one group's and several groups' have structs apart."""
    return [
        kind(
            partition_index=one.partition_index,
            committed_offset=one.committed_offset,
            committed_leader_epoch=one.committed_leader_epoch,
            metadata=one.metadata,
            error_code=one.error_code,
        )
        for one in topic.partitions
    ]


def _unknown(topic: wire.OffsetFetchRequestTopics) -> wire.OffsetFetchResponseTopics:
    partitions = [
        wire.OffsetFetchResponsePartitions(
            partition_index=index, committed_offset=NO_OFFSET, metadata="", error_code=UNKNOWN_TOPIC_ID
        )
        for index in topic.partition_indexes
    ]
    return wire.OffsetFetchResponseTopics(topic_id=topic.topic_id, partitions=partitions)


# -- OffsetDelete ------------------------------------------------------------------------------------------------


def offset_delete(broker: Broker, call: Call) -> None:
    """Forget positions of topics that the group no longer reads."""
    body: wire.OffsetDeleteRequest = call.body
    picture = broker.cluster.metadata
    asked = [(topic.name, [one.partition_index for one in topic.partitions]) for topic in body.topics]
    known = tuple(
        (name, tuple(number for number in numbers if 0 <= number < len(picture.topics[name].partitions)))
        for name, numbers in asked
        if name in picture.topics
    )

    def then(response: responses.Response) -> None:
        found = cast(responses.OffsetDeleteResponse, response)
        codes = {
            (topic.name, one.partition_index): int(one.error_code) for topic in found.topics for one in topic.partitions
        }
        results = [
            wire.OffsetDeleteResponseTopic(
                name=name,
                partitions=[
                    wire.OffsetDeleteResponsePartition(
                        partition_index=number, error_code=codes.get((name, number), UNKNOWN_TOPIC)
                    )
                    for number in numbers
                ],
            )
            for name, numbers in asked
        ]
        call.answer(
            wire.OffsetDeleteResponse(error_code=found.error_code, topics=[] if found.error_code else results)
        )

    broker.coordination.call(
        body.group_id, requests.OffsetDeleteRequest(body.group_id, known), context_of(call), then
    )
