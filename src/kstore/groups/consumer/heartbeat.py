"""ConsumerGroupHeartbeat: joining, staying in and leaving a consumer group of KIP-848, and what happens to the silent.

Owns the checks of a heartbeat, its steps in their order (member, topics, epoch, target, reconciliation), and the
deadlines of sessions and revocations. Each step prepares records; nothing is answered before they are committed.
Called by `coordinator` and by its own timers.

Invariants
1. A member of an older epoch is fenced, unless it is the epoch before and the member owns nothing that it lost: then
   only the last answer was lost.
2. An instance id has one member; another may take it over once the first has left with epoch -2.
3. A member that does not give up what it must within its rebalance timeout is fenced, so no group waits for ever.

After GroupMetadataManager.consumerGroupHeartbeat, consumerGroupLeave and consumerGroupFenceMember.
"""

from __future__ import annotations

from kstore.groups.assignors import ASSIGNORS
from kstore.groups.classic.group import ClassicGroup
from kstore.groups.codes import Code, Refused
from kstore.groups.consumer.draft import Draft
from kstore.groups.consumer.group import (
    LEAVE,
    LEAVE_STATIC,
    NO_METADATA,
    ConsumerGroup,
    ConsumerMember,
    MemberState,
)
from kstore.groups.consumer.patterns import Pattern
from kstore.groups.consumer.reconcile import Owned, TargetOf, reconcile
from kstore.groups.consumer.target import update_target
from kstore.groups.records import (
    NO_PARTITIONS,
    ConsumerGroupCurrent,
    ConsumerGroupMember,
    ConsumerGroupTarget,
    CurrentAssignment,
    MemberMetadata,
    group_metadata_record,
)
from kstore.groups.replaying import replay_consumer
from kstore.groups.requests import ConsumerGroupHeartbeatRequest, Context, TopicPartitions
from kstore.groups.responses import ConsumerGroupHeartbeatResponse
from kstore.groups.shard import Shard
from kstore.groups.timers import TimerKey

_OWN_ID_VERSION = 1
"""From here on a member makes its id itself (KIP-1082)."""


def consumer_group_heartbeat(
    shard: Shard, token: object, request: ConsumerGroupHeartbeatRequest, context: Context
) -> None:
    """Answer a heartbeat, at once or when what it changed is in the log."""
    try:
        _check_request(shard, request, context)
        if request.member_epoch < 0:
            _leave(shard, token, request)
        else:
            _beat(shard, token, request, context)
    except Refused as refused:
        shard.reply(token, ConsumerGroupHeartbeatResponse(refused.code, str(refused)))


def _check_request(shard: Shard, request: ConsumerGroupHeartbeatRequest, context: Context) -> None:
    def check(is_fine: bool, message: str) -> None:
        if not is_fine:
            raise Refused(Code.INVALID_REQUEST, message)

    check(bool(request.group_id.strip()), "GroupId can't be empty.")
    check(request.instance_id is None or bool(request.instance_id.strip()), "InstanceId can't be empty.")
    check(request.rack_id is None or bool(request.rack_id.strip()), "RackId can't be empty.")
    has_id = bool(request.member_id.strip())
    epoch = request.member_epoch
    check(has_id or (epoch == 0 and context.api_version < _OWN_ID_VERSION), "MemberId can't be empty.")
    if epoch == 0:
        check(request.rebalance_timeout_ms != -1, "RebalanceTimeoutMs must be provided in first request.")
        check(request.topic_partitions == (), "TopicPartitions must be empty when (re-)joining.")
        check(
            request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None,
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        )
    check(epoch != LEAVE_STATIC or request.instance_id is not None, "InstanceId can't be null.")
    check(epoch >= LEAVE_STATIC, "MemberEpoch is invalid.")
    offered = shard.settings.group_consumer_assignors
    if request.server_assignor is not None and (
        request.server_assignor not in offered or request.server_assignor not in ASSIGNORS
    ):
        raise Refused(
            Code.UNSUPPORTED_ASSIGNOR,
            f"ServerAssignor {request.server_assignor} is not supported. Supported assignors: {', '.join(offered)}.",
        )


# -- a regular heartbeat -----------------------------------------------------------------------------------------


def _beat(shard: Shard, token: object, request: ConsumerGroupHeartbeatRequest, context: Context) -> None:
    joins = request.member_epoch == 0
    draft = _draft_of(shard, request.group_id, joins)
    member_id = request.member_id or context.fresh_id
    limit = shard.settings.group_consumer_max_size
    if member_id not in draft.group.members and len(draft.group.members) >= limit:
        message = f"The consumer group has reached its maximum capacity of {limit} members."
        raise Refused(Code.GROUP_MAX_SIZE_REACHED, message)
    before = _find_member(draft, request, member_id, joins)
    is_changed = _update_member(draft, before, request, context)
    group = draft.group
    if is_changed or group.topics_seen != shard.topics_version:
        is_changed = draft.refresh_regexes(shard) or is_changed
        draft.bump_epoch_if_changed(shard, is_changed)
    if draft.group.group_epoch > draft.group.assignment_epoch:
        update_target(shard, draft)
    _reconcile(draft, member_id, request.topic_partitions)
    after = draft.group.members[member_id]
    is_full = joins or (
        request.rebalance_timeout_ms != -1
        and (request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None)
        and request.topic_partitions is not None
    )
    shows = is_full or _numbers(after.current) != _numbers(before.current)
    response = ConsumerGroupHeartbeatResponse(
        member_id=member_id,
        member_epoch=after.epoch,
        heartbeat_interval_ms=shard.settings.group_consumer_heartbeat_interval_ms,
        assignment=_assignment(after.current) if shows else None,
    )
    _finish(shard, token, draft, response, member_id)


def _draft_of(shard: Shard, group_id: str, joins: bool) -> Draft:
    group = shard.groups.get(group_id)
    if isinstance(group, ConsumerGroup):
        return Draft(group)
    if group is None and joins:
        return Draft(ConsumerGroup(group_id))
    if isinstance(group, ClassicGroup) and joins and group.is_empty:
        return Draft(ConsumerGroup(group_id), [group_metadata_record(group_id, None)])
    # Members of both protocols in one group (KIP-848's online upgrade) are not supported, as with Kafka's
    # group.consumer.migration.policy=disabled.
    what = "not found" if group is None else "is not a consumer group"
    raise Refused(Code.GROUP_ID_NOT_FOUND, f"Group {group_id} {what}.")


def _find_member(draft: Draft, request: ConsumerGroupHeartbeatRequest, member_id: str, joins: bool) -> ConsumerMember:
    """The member that beats, as it was before; a new one where it joins."""
    group, instance_id = draft.group, request.instance_id
    if instance_id is None:
        member = group.members.get(member_id)
        if member is None:
            if not joins:
                raise Refused(Code.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {group.group_id}.")
            return ConsumerMember(member_id)
        _check_epoch(member, request)
        return member
    holder = group.static_member(instance_id)
    if not joins:
        if holder is None:
            raise Refused(Code.UNKNOWN_MEMBER_ID, f"Instance id {instance_id} is unknown.")
        _check_not_fenced(holder, member_id, instance_id)
        _check_epoch(holder, request)
        return holder
    if holder is None:
        return group.members.get(member_id, ConsumerMember(member_id))
    if holder.epoch != LEAVE_STATIC:
        raise Refused(
            Code.UNRELEASED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} cannot join the group because the instance id"
            f" is owned by {holder.member_id} member.",
        )
    return _replace(draft, holder, member_id)


def _check_not_fenced(holder: ConsumerMember, member_id: str, instance_id: str) -> None:
    if holder.member_id != member_id:
        raise Refused(
            Code.FENCED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} was fenced by member {holder.member_id}.",
        )


def _check_epoch(member: ConsumerMember, request: ConsumerGroupHeartbeatRequest) -> None:
    received, current = request.member_epoch, member.current
    if received == current.member_epoch:
        return
    lost_answer = received == current.previous_member_epoch and received < current.member_epoch
    if not lost_answer or not _is_subset(request.topic_partitions, current):
        relation = "greater" if received > current.member_epoch else "smaller"
        raise Refused(
            Code.FENCED_MEMBER_EPOCH,
            f"The consumer group member has a {relation} member epoch ({received}) than the one known by the group"
            f" coordinator ({current.member_epoch}). The member must abandon all its partitions and rejoin.",
        )


def _is_subset(owned: Owned, current: CurrentAssignment) -> bool:
    if owned is None:
        return False
    return all(set(topic.partitions) <= current.assigned.get(topic.topic_id, {}).keys() for topic in owned)


def _replace(draft: Draft, holder: ConsumerMember, member_id: str) -> ConsumerMember:
    """Give a static member's place to its next incarnation: same target, same partitions, epoch 0."""
    group_id = draft.group.group_id
    target = draft.group.target.get(holder.member_id, {})
    _remove(draft, holder.member_id)
    current = holder.current._replace(member_epoch=0, previous_member_epoch=0)
    draft.add(ConsumerGroupMember(group_id, member_id, holder.metadata))
    draft.add(ConsumerGroupTarget(group_id, member_id, target))
    draft.add(ConsumerGroupCurrent(group_id, member_id, current))
    return draft.group.members[member_id]


def _update_member(
    draft: Draft, member: ConsumerMember, request: ConsumerGroupHeartbeatRequest, context: Context
) -> bool:
    """Take over what the heartbeat says of its member; whether its subscription changed."""
    old, names, regex = member.metadata, request.subscribed_topic_names, request.subscribed_topic_regex
    new = MemberMetadata(
        old.instance_id if request.instance_id is None else request.instance_id,
        old.rack_id if request.rack_id is None else request.rack_id,
        context.client_id,
        context.client_host,
        old.subscribed_topic_names if names is None else tuple(sorted(set(names))),
        old.subscribed_topic_regex if regex is None else regex,
        old.rebalance_timeout_ms if request.rebalance_timeout_ms == -1 else request.rebalance_timeout_ms,
        old.server_assignor if request.server_assignor is None else request.server_assignor,
    )
    if new == old and member.member_id in draft.group.members:
        return False
    regex_changed = (new.subscribed_topic_regex or "") != (old.subscribed_topic_regex or "")
    if regex_changed and new.subscribed_topic_regex:
        Pattern(new.subscribed_topic_regex)
    draft.add(ConsumerGroupMember(draft.group.group_id, member.member_id, new))
    return old is NO_METADATA or regex_changed or new.subscribed_topic_names != old.subscribed_topic_names


def _reconcile(draft: Draft, member_id: str, owned: Owned) -> None:
    group = draft.group
    member = group.members[member_id]
    if member.is_reconciled_to(group.assignment_epoch):
        return
    target = TargetOf(group.assignment_epoch, group.target.get(member_id, {}))
    current = reconcile(member, target, lambda topic_id, number: (topic_id, number) not in group.owners, owned)
    if current != member.current:
        draft.add(ConsumerGroupCurrent(group.group_id, member_id, current))


def _numbers(current: CurrentAssignment) -> dict[bytes, set[int]]:
    return {topic_id: set(numbers) for topic_id, numbers in current.assigned.items()}


def _assignment(current: CurrentAssignment) -> tuple[TopicPartitions, ...]:
    return tuple(TopicPartitions(topic_id, tuple(sorted(numbers))) for topic_id, numbers in
                 sorted(current.assigned.items(), key=lambda item: item[0]))  # fmt: skip


def _finish(
    shard: Shard, token: object, draft: Draft, response: ConsumerGroupHeartbeatResponse, member_id: str
) -> None:
    """Commit what the heartbeat changed, answer, and set the member's deadlines."""
    seen, group_id = shard.topics_version, draft.group.group_id
    moved = any(isinstance(record, ConsumerGroupCurrent) for record in draft.records)

    def done(at: Shard, error: Code, _base_offset: int) -> None:
        if error is not Code.NONE:
            at.reply(token, ConsumerGroupHeartbeatResponse(error))
            return
        commit(at, draft)
        group = at.groups[group_id]
        if isinstance(group, ConsumerGroup):
            group.topics_seen = seen
            _set_deadlines(at, group, group.members[member_id], moved)
        at.reply(token, response)

    if draft.records:
        shard.append(group_id, draft.encoded(), done)
    else:
        done(shard, Code.NONE, -1)


def commit(shard: Shard, draft: Draft) -> None:
    """Make a draft's records state: they are in the log."""
    group_id = draft.group.group_id
    if draft.before and isinstance(shard.groups.get(group_id), ClassicGroup):
        del shard.groups[group_id]
    for record in draft.records:
        replay_consumer(shard, record)


# -- leaving -----------------------------------------------------------------------------------------------------


def _leave(shard: Shard, token: object, request: ConsumerGroupHeartbeatRequest) -> None:
    group = shard.groups.get(request.group_id)
    if not isinstance(group, ConsumerGroup):
        raise Refused(Code.GROUP_ID_NOT_FOUND, f"Group {request.group_id} is not a consumer group.")
    if request.instance_id is None:
        member = group.member(request.member_id)
    else:
        holder = group.static_member(request.instance_id)
        if holder is None:
            raise Refused(Code.UNKNOWN_MEMBER_ID, f"Instance id {request.instance_id} is unknown.")
        _check_not_fenced(holder, request.member_id, request.instance_id)
        member = holder
    draft = Draft(group)
    if request.member_epoch == LEAVE_STATIC:
        # It keeps its partitions until its session ends: nobody else gets them meanwhile.
        away = member.current._replace(member_epoch=LEAVE_STATIC, pending_revocation=NO_PARTITIONS)
        draft.add(ConsumerGroupCurrent(group.group_id, member.member_id, away))
    else:
        _fence(shard, draft, member.member_id)
    response = ConsumerGroupHeartbeatResponse(member_id=request.member_id, member_epoch=request.member_epoch)

    def done(at: Shard, error: Code, _base_offset: int) -> None:
        if error is Code.NONE:
            commit(at, draft)
            at.cancel(_rebalance_key(group.group_id, member.member_id))
            if request.member_epoch == LEAVE:
                at.cancel(_session_key(group.group_id, member.member_id))
            at.reply(token, response)
        else:
            at.reply(token, ConsumerGroupHeartbeatResponse(error))

    shard.append(group.group_id, draft.encoded(), done)


def _remove(draft: Draft, member_id: str) -> None:
    group_id = draft.group.group_id
    draft.add(ConsumerGroupCurrent(group_id, member_id, None))
    draft.add(ConsumerGroupTarget(group_id, member_id, None))
    draft.add(ConsumerGroupMember(group_id, member_id, None))


def _fence(shard: Shard, draft: Draft, member_id: str) -> None:
    """Take a member out; the next heartbeat of another one assigns what it had."""
    _remove(draft, member_id)
    draft.refresh_regexes(shard)
    draft.bump_epoch_if_changed(shard, True)


# -- deadlines ---------------------------------------------------------------------------------------------------


def _session_key(group_id: str, member_id: str) -> TimerKey:
    return TimerKey("session", group_id, member_id)


def _rebalance_key(group_id: str, member_id: str) -> TimerKey:
    return TimerKey("revocation", group_id, member_id)


def _set_deadlines(shard: Shard, group: ConsumerGroup, member: ConsumerMember, moved: bool) -> None:
    """The session starts anew; a revocation has the rebalance timeout from when it was asked for (`moved`)."""
    group_id, member_id, epoch = group.group_id, member.member_id, member.epoch
    session_ms = shard.settings.group_consumer_session_timeout_ms
    shard.schedule(_session_key(group_id, member_id), session_ms, lambda at: _fence_member(at, group_id, member_id))
    key = _rebalance_key(group_id, member_id)
    if member.current.state != MemberState.UNREVOKED_PARTITIONS:
        shard.cancel(key)
    elif moved:
        timeout_ms = max(member.metadata.rebalance_timeout_ms, 0)
        shard.schedule(key, timeout_ms, lambda at: _fence_member(at, group_id, member_id, epoch))


def resume_members(shard: Shard, group: ConsumerGroup) -> None:
    """After a load: every member has a whole session, and a whole rebalance timeout, from now."""
    for member in group.members.values():
        _set_deadlines(shard, group, member, True)


def _fence_member(shard: Shard, group_id: str, member_id: str, epoch: int | None = None) -> None:
    """A deadline passed: the member is out, where it is still there and, for a revocation, still in `epoch`."""
    group = shard.groups.get(group_id)
    if not isinstance(group, ConsumerGroup) or member_id not in group.members:
        return
    if epoch is not None and group.members[member_id].epoch != epoch:
        return
    draft = Draft(group)
    _fence(shard, draft, member_id)

    def done(at: Shard, error: Code, _base_offset: int) -> None:
        if error is Code.NONE:
            commit(at, draft)
            at.cancel(_session_key(group_id, member_id))
            at.cancel(_rebalance_key(group_id, member_id))
        else:
            # The log did not take it: try again, or the group would wait for this member for ever.
            key = (_session_key if epoch is None else _rebalance_key)(group_id, member_id)
            retry_ms = at.settings.group_consumer_heartbeat_interval_ms
            at.schedule(key, retry_ms, lambda on: _fence_member(on, group_id, member_id, epoch))

    shard.append(group_id, draft.encoded(), done)
