"""OffsetCommit, OffsetFetch, OffsetDelete, DeleteGroups, and the expiry of what nobody needs any more.

Owns the checks of a commit against its group and the records of commits and deletions. Keeps no offsets itself:
`stored` does. Called by `coordinator`.

Invariants
1. A commit counts, and is answered, when its record is committed; a refused one leaves no trace (I16).
2. A committed offset goes away by a request, by retention or with its topic, never otherwise.
3. An offset of a topic that the group is subscribed to neither expires nor is deleted.

After OffsetMetadataManager and GroupCoordinatorShard.deleteGroups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kstore.groups import offsets
from kstore.groups.classic.group import ClassicGroup, State
from kstore.groups.classic.rebalance import renew_session
from kstore.groups.codes import Code, Refused
from kstore.groups.consumer.group import ConsumerGroup
from kstore.groups.effects import Record
from kstore.groups.records import group_metadata_record
from kstore.groups.refusals import refused_topics
from kstore.groups.requests import (
    Context,
    OffsetCommitPartition,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
)
from kstore.groups.responses import (
    DeletableGroupResult,
    OffsetCommitResponse,
    OffsetDeleteResponse,
    OffsetFetchPartition,
    OffsetFetchResponse,
    OffsetFetchTopic,
    PartitionResult,
    TopicResult,
)
from kstore.groups.shard import Shard
from kstore.groups.stored import Place, Stored

Group = ClassicGroup | ConsumerGroup
_GROUP_ID_NOT_FOUND_VERSION = 9
"""From here on OffsetCommit says GROUP_ID_NOT_FOUND; older clients know ILLEGAL_GENERATION alone."""
_EXPIRE_VERSION = 1
"""The version of a value that has room for a retention of its own."""


# -- commit ------------------------------------------------------------------------------------------------------


def commit_offsets(shard: Shard, token: object, request: OffsetCommitRequest, context: Context) -> None:
    """Store positions; the answer comes when they are in the log."""
    try:
        group = _check_commit(shard, request, context)
    except Refused as refused:
        shard.reply(token, OffsetCommitResponse(refused_topics(request.topics, refused.code)))
        return
    if isinstance(group, ClassicGroup) and group.state in (State.STABLE, State.PREPARING_REBALANCE):
        member = group.members[request.member_id]
        renew_session(shard, group, member.member_id, member.session_timeout_ms)
    commits, response = _commits(shard, request)
    if not commits:
        shard.reply(token, response)
        return
    version = offsets.COMMIT_VERSION if request.retention_time_ms == -1 else _EXPIRE_VERSION
    records: list[Record] = [
        (offsets.encode_key(request.group_id, *place), offsets.encode_value(value, version=version))
        for place, value in commits
    ]

    def done(at: Shard, error: Code, base_offset: int) -> None:
        if error is not Code.NONE:
            at.reply(token, OffsetCommitResponse(refused_topics(request.topics, error)))
            return
        at.groups.setdefault(request.group_id, ClassicGroup(request.group_id))
        for index, (place, value) in enumerate(commits):
            at.offsets.put(request.group_id, place, Stored(value, base_offset + index))
        at.reply(token, response)

    shard.append(request.group_id, records, done, shared=True)


def _check_commit(shard: Shard, request: OffsetCommitRequest, context: Context) -> Group | None:
    epoch = request.generation_id_or_member_epoch
    group = shard.groups.get(request.group_id)
    if group is None:
        if epoch < 0:
            return None  # a simple group, which needs no members to commit
        old = context.api_version < _GROUP_ID_NOT_FOUND_VERSION
        raise Refused(Code.ILLEGAL_GENERATION if old else Code.GROUP_ID_NOT_FOUND)
    if isinstance(group, ConsumerGroup):
        places = [(topic.name, topic.topic_id, one.partition_index) for topic in request.topics
                  for one in topic.partitions]  # fmt: skip
        group.validate_commit(request.member_id, epoch, context.api_version, places, shard.topics)
        return group
    if group.state is State.DEAD:
        raise Refused(Code.COORDINATOR_NOT_AVAILABLE)
    if epoch < 0 and group.is_empty:
        return group
    if epoch < 0 and not request.member_id and request.group_instance_id is None:
        raise Refused(Code.UNKNOWN_MEMBER_ID)
    group.validate_member(request.member_id, request.group_instance_id)
    if epoch != group.generation:
        raise Refused(Code.ILLEGAL_GENERATION)
    if group.state is State.COMPLETING_REBALANCE:
        # It knows the new generation but not yet what it owns: let it fetch that first.
        raise Refused(Code.REBALANCE_IN_PROGRESS)
    return group


def _commits(
    shard: Shard, request: OffsetCommitRequest
) -> tuple[list[tuple[Place, offsets.OffsetValue]], OffsetCommitResponse]:
    now_ms, retention_ms = shard.now_ms, request.retention_time_ms
    expire_ms = -1 if retention_ms == -1 else now_ms + retention_ms
    commits: list[tuple[Place, offsets.OffsetValue]] = []
    results: list[TopicResult] = []
    for topic in request.topics:
        partitions: list[PartitionResult] = []
        for one in topic.partitions:
            if _metadata_units(one) > shard.settings.offset_metadata_max_bytes:
                partitions.append(PartitionResult(one.partition_index, Code.OFFSET_METADATA_TOO_LARGE))
                continue
            partitions.append(PartitionResult(one.partition_index))
            # Version 1 has no room for an epoch and a topic id: what a reload would not find is not kept here either.
            epoch, topic_id = (one.committed_leader_epoch, topic.topic_id) if expire_ms == -1 else (-1, None)
            metadata = one.committed_metadata or ""
            value = offsets.OffsetValue(one.committed_offset, epoch, metadata, now_ms, expire_ms, topic_id)
            commits.append(((topic.name, one.partition_index), value))
        results.append(TopicResult(topic.name, tuple(partitions)))
    return commits, OffsetCommitResponse(tuple(results))


def _metadata_units(one: OffsetCommitPartition) -> int:
    return len((one.committed_metadata or "").encode("utf-16-le", "surrogatepass")) // 2


# -- fetch -------------------------------------------------------------------------------------------------------


def fetch_offsets(shard: Shard, token: object, request: OffsetFetchRequest) -> None:
    """Tell positions; those in an open transaction are UNSTABLE_OFFSET_COMMIT where the client asked for it."""
    group = shard.groups.get(request.group_id)
    if isinstance(group, ConsumerGroup):
        try:
            group.validate_fetch(request.member_id, request.member_epoch)
        except Refused as refused:
            shard.reply(token, OffsetFetchResponse(request.group_id, refused.code))
            return
    known = shard.offsets.of_group(request.group_id)
    asked = request.topics
    if asked is None:
        by_topic: dict[str, list[int]] = {}
        for name, partition in sorted(known):
            by_topic.setdefault(name, []).append(partition)
        asked = tuple((name, tuple(partitions)) for name, partitions in by_topic.items())

    def answer(name: str, partition: int) -> OffsetFetchPartition:
        place = (name, partition)
        if request.require_stable and shard.offsets.is_unstable(request.group_id, place):
            return OffsetFetchPartition(partition, error_code=Code.UNSTABLE_OFFSET_COMMIT)
        stored = known.get(place)
        if stored is None:
            return OffsetFetchPartition(partition)
        value = stored.value
        return OffsetFetchPartition(partition, value.offset, value.leader_epoch, value.metadata)

    topics = tuple(
        OffsetFetchTopic(name, tuple(answer(name, partition) for partition in partitions)) for name, partitions in asked
    )
    shard.reply(token, OffsetFetchResponse(request.group_id, Code.NONE, topics))


# -- delete ------------------------------------------------------------------------------------------------------


def delete_offsets(shard: Shard, token: object, request: OffsetDeleteRequest) -> None:
    """Delete positions of topics that nobody in the group reads."""
    group = shard.groups.get(request.group_id)
    error = _refusal_of_delete(group)
    if group is None or error is not Code.NONE:
        shard.reply(token, OffsetDeleteResponse(error))
        return
    places: list[Place] = []
    results: list[TopicResult] = []
    for name, partitions in request.topics:
        in_use = group.is_subscribed_to(name)
        code = Code.GROUP_SUBSCRIBED_TO_TOPIC if in_use else Code.NONE
        results.append(TopicResult(name, tuple(PartitionResult(partition, code) for partition in partitions)))
        if not in_use:
            places += [(name, partition) for partition in partitions]
    known = shard.offsets.of_group(request.group_id).keys() | shard.offsets.pending_places(request.group_id)
    places = [place for place in places if place in known]
    response = OffsetDeleteResponse(Code.NONE, tuple(results))
    if not places:
        shard.reply(token, response)
        return
    remove_records(
        shard, request.group_id, places, [],
        lambda at, code: at.reply(token, response if code is Code.NONE else OffsetDeleteResponse(code)),
    )  # fmt: skip


def _refusal_of_delete(group: Group | None) -> Code:
    if group is None or (isinstance(group, ClassicGroup) and group.state is State.DEAD):
        return Code.GROUP_ID_NOT_FOUND
    if isinstance(group, ClassicGroup) and not group.is_empty and not group.uses_consumer_protocol:
        return Code.NON_EMPTY_GROUP
    return Code.NONE


def delete_group(shard: Shard, group_id: str, then: Callable[[Shard, DeletableGroupResult], None]) -> None:
    """Delete an empty group and its offsets."""
    group = shard.groups.get(group_id)
    if group is None or (isinstance(group, ClassicGroup) and group.state is State.DEAD):
        then(shard, DeletableGroupResult(group_id, Code.GROUP_ID_NOT_FOUND))
    elif not group.is_empty:
        then(shard, DeletableGroupResult(group_id, Code.NON_EMPTY_GROUP))
    else:
        places = shard.offsets.of_group(group_id).keys() | shard.offsets.pending_places(group_id)
        remove_records(
            shard, group_id, sorted(places), group_tombstones(group),
            lambda at, code: then(at, DeletableGroupResult(group_id, code)),
        )  # fmt: skip


def group_tombstones(group: Group) -> list[Record]:
    """Records that delete a group, without its offsets."""
    if isinstance(group, ConsumerGroup):
        return group.tombstones()
    return [group_metadata_record(group.group_id, None)]


def remove_records(
    shard: Shard, group_id: str, places: Iterable[Place], extra: list[Record], then: Callable[[Shard, Code], None]
) -> None:
    """Append tombstones for offsets, and with `extra` for the group itself; what they name is gone after that."""
    gone = list(places)
    records: list[Record] = [(offsets.encode_key(group_id, *place), None) for place in gone]

    def done(at: Shard, error: Code, _base_offset: int) -> None:
        if error is Code.NONE:
            for place in gone:
                at.offsets.delete(group_id, place)
            if extra:
                at.groups.pop(group_id, None)
        then(at, error)

    shard.append(group_id, [*records, *extra], done)


# -- retention ---------------------------------------------------------------------------------------------------


def expire_group(shard: Shard, group_id: str) -> None:
    """Delete what the group committed too long ago, and the group where nothing is left of it."""
    group = shard.groups.get(group_id)
    if group is None:
        return
    known = shard.offsets.of_group(group_id)
    expired = [place for place, stored in known.items() if _is_expired(shard, group, place, stored)]
    left = len(known) - len(expired)
    delete = group.is_empty and not left and not shard.offsets.pending_places(group_id)
    if expired or delete:
        remove_records(shard, group_id, expired, group_tombstones(group) if delete else [], lambda _at, _code: None)


def _is_expired(shard: Shard, group: Group, place: Place, stored: Stored) -> bool:
    since_ms = _retained_since(group, stored)
    if since_ms is None or group.is_subscribed_to(place[0]) or shard.offsets.is_unstable(group.group_id, place):
        return False
    if stored.value.expire_timestamp_ms != -1:
        return shard.now_ms >= stored.value.expire_timestamp_ms
    return shard.now_ms - since_ms >= shard.settings.offsets_retention_ms


def _retained_since(group: Group, stored: Stored) -> int | None:
    """From when on retention counts; None while it does not (ClassicGroup.offsetExpirationCondition)."""
    if isinstance(group, ConsumerGroup) or group.protocol_type is None:
        return stored.value.commit_timestamp_ms
    if group.is_empty:
        known = group.state_timestamp_ms != -1
        return group.state_timestamp_ms if known else stored.value.commit_timestamp_ms
    if group.uses_consumer_protocol and group.subscribed_topics is not None and group.state is State.STABLE:
        return stored.value.commit_timestamp_ms
    return None


def delete_topics(shard: Shard, group_id: str, names: frozenset[str]) -> None:
    """Delete what a group committed for topics that are gone."""
    places = shard.offsets.of_group(group_id).keys() | shard.offsets.pending_places(group_id)
    gone = sorted(place for place in places if place[0] in names)
    if gone:
        remove_records(shard, group_id, gone, [], lambda _at, _code: None)
