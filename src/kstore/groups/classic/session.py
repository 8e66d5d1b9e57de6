"""SyncGroup, Heartbeat and LeaveGroup of classic groups.

Owns their checks, in Kafka's order, and the moment at which an assignment counts: when its record is committed.
Called by `coordinator`.

Invariants
1. No member learns its assignment before the group's record is in the log: a coordinator that takes over gives the
   same answer.
2. A request of another generation, or of a member id that lost its instance id, changes nothing.

After GroupMetadataManager.classicGroupSyncToClassicGroup, classicGroupHeartbeatToClassicGroup and
classicGroupLeaveToClassicGroup.
"""

from __future__ import annotations

from kstore.groups.classic.group import ClassicGroup, State
from kstore.groups.classic.rebalance import (
    classic_group,
    complete_join_if_ready,
    hand_out,
    heartbeat_key,
    park_sync,
    prepare_rebalance,
    rebalance_or_complete,
    remove_member,
    renew_session,
    reset_assignments,
    sync_came,
)
from kstore.groups.codes import Code, Refused
from kstore.groups.records import group_metadata_record
from kstore.groups.requests import HeartbeatRequest, LeaveGroupRequest, MemberIdentity, SyncGroupRequest
from kstore.groups.responses import HeartbeatResponse, LeaveGroupMember, LeaveGroupResponse, SyncGroupResponse
from kstore.groups.shard import Shard


def sync_group(shard: Shard, token: object, request: SyncGroupRequest) -> None:
    """Answer a SyncGroup: with the assignment, or when the leader's is stored."""
    try:
        group = _group_to_sync(shard, request)
    except Refused as refused:
        shard.reply(token, SyncGroupResponse(refused.code))
        return
    member = group.members[request.member_id]
    sync_came(shard, group, request.member_id)
    if group.state is State.STABLE:
        answer = SyncGroupResponse(Code.NONE, group.protocol_type, group.protocol_name, member.assignment)
        shard.reply(token, answer)
        return
    park_sync(shard, member, token)
    if request.member_id == group.leader_id:
        _store_assignments(shard, group, dict(request.assignments))


def _group_to_sync(shard: Shard, request: SyncGroupRequest) -> ClassicGroup:
    if not request.group_id:
        raise Refused(Code.INVALID_GROUP_ID)
    group = classic_group(shard, request.group_id)
    if group is None or group.is_empty:
        raise Refused(Code.UNKNOWN_MEMBER_ID)
    if group.state is State.DEAD:
        raise Refused(Code.COORDINATOR_NOT_AVAILABLE)
    group.validate_member(request.member_id, request.group_instance_id)
    if request.generation_id != group.generation:
        raise Refused(Code.ILLEGAL_GENERATION)
    if _differs(request.protocol_type, group.protocol_type) or _differs(request.protocol_name, group.protocol_name):
        raise Refused(Code.INCONSISTENT_GROUP_PROTOCOL)
    if group.state is State.PREPARING_REBALANCE:
        raise Refused(Code.REBALANCE_IN_PROGRESS)
    return group


def _differs(asked: str | None, is_now: str | None) -> bool:
    return asked is not None and is_now is not None and asked != is_now


def _store_assignments(shard: Shard, group: ClassicGroup, given: dict[str, bytes]) -> None:
    """Append the leader's assignment; the group is Stable, and everyone answered, when that is committed."""
    assignments = {member_id: given.get(member_id, b"") for member_id in group.members}
    generation = group.generation

    def done(at: Shard, error: Code, _base_offset: int) -> None:
        if group.state is not State.COMPLETING_REBALANCE or group.generation != generation:
            return
        if error is Code.NONE:
            hand_out(at, group, assignments)
            group.move_to(State.STABLE, at.now_ms)
        else:
            reset_assignments(at, group, error)
            prepare_rebalance(at, group)

    shard.append(group.group_id, [group_metadata_record(group.group_id, group.as_stored(assignments))], done)


# -- Heartbeat ---------------------------------------------------------------------------------------------------


def heartbeat(shard: Shard, token: object, request: HeartbeatRequest) -> None:
    """Renew a session; REBALANCE_IN_PROGRESS tells the member to join again."""
    try:
        shard.reply(token, HeartbeatResponse(_heartbeat(shard, request)))
    except Refused as refused:
        shard.reply(token, HeartbeatResponse(refused.code))


def _heartbeat(shard: Shard, request: HeartbeatRequest) -> Code:
    if not request.group_id:
        raise Refused(Code.INVALID_GROUP_ID)
    group = classic_group(shard, request.group_id)
    if group is None:
        raise Refused(Code.UNKNOWN_MEMBER_ID)
    if group.state is State.DEAD:
        raise Refused(Code.COORDINATOR_NOT_AVAILABLE)
    group.validate_member(request.member_id, request.group_instance_id)
    if request.generation_id != group.generation:
        raise Refused(Code.ILLEGAL_GENERATION)
    renew_session(shard, group, request.member_id, group.members[request.member_id].session_timeout_ms)
    # In CompletingRebalance a heartbeat is as good as in Stable: clients begin once their JoinGroup is answered.
    return Code.REBALANCE_IN_PROGRESS if group.state is State.PREPARING_REBALANCE else Code.NONE


# -- LeaveGroup --------------------------------------------------------------------------------------------------


def leave_group(shard: Shard, token: object, request: LeaveGroupRequest) -> None:
    """Let members go, each with its own result; the others rebalance once for all of them."""
    if not request.group_id:
        shard.reply(token, LeaveGroupResponse(Code.INVALID_GROUP_ID))
        return
    group = classic_group(shard, request.group_id)
    if group is not None and group.state is State.DEAD:
        shard.reply(token, LeaveGroupResponse(Code.COORDINATOR_NOT_AVAILABLE))
        return
    results = tuple(
        LeaveGroupMember(
            member.member_id,
            member.group_instance_id,
            Code.UNKNOWN_MEMBER_ID if group is None else _leave(shard, group, member),
        )
        for member in request.members
    )
    shard.reply(token, LeaveGroupResponse(Code.NONE, results))
    if group is None or all(result.error_code is not Code.NONE for result in results):
        return
    if group.state in (State.STABLE, State.COMPLETING_REBALANCE):
        rebalance_or_complete(shard, group)
    elif group.state is State.PREPARING_REBALANCE:
        complete_join_if_ready(shard, group)


def _leave(shard: Shard, group: ClassicGroup, leaver: MemberIdentity) -> Code:
    member_id, instance_id = leaver.member_id, leaver.group_instance_id
    if not member_id:
        # An admin removes a static member by its instance id alone.
        holder = None if instance_id is None else group.static_members.get(instance_id)
        if holder is None:
            return Code.UNKNOWN_MEMBER_ID
        member_id = holder
    elif member_id in group.pending_join:
        group.remove(member_id)
        shard.cancel(heartbeat_key(group.group_id, member_id))
        return Code.NONE
    else:
        try:
            group.validate_member(member_id, instance_id)
        except Refused as refused:
            return refused.code
    remove_member(shard, group, group.members[member_id])
    return Code.NONE
