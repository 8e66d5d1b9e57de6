"""JoinGroup of classic groups: who may come in, under which id, and whether the others must hear of it.

Owns the checks of a join, the handshake of member ids (KIP-394), static members (KIP-345, KIP-814) and the limit on
a group's size. Ends no phase itself. Called by `coordinator`.

Invariants
1. A refused join changes nothing, but for a member that a full group turns away while it rebalances.
2. A static member that comes back with the same protocol causes no rebalance, and whoever held its instance id
   before is told FENCED_INSTANCE_ID.
3. A member id is given out once, and only ids that were given out can join by id.

After GroupMetadataManager.classicGroupJoinToClassicGroup and what it calls.
"""

from __future__ import annotations

from kstore.groups.classic.group import ClassicGroup, ClassicMember, State
from kstore.groups.classic.rebalance import (
    answer_join,
    answer_sync,
    complete_join_if_ready,
    expire_session,
    heartbeat_key,
    joined,
    park_join,
    prepare_rebalance,
    rebalance_or_complete,
    renew_session,
)
from kstore.groups.codes import Code, Refused
from kstore.groups.effects import Record
from kstore.groups.offsets import GroupState
from kstore.groups.records import group_metadata_record
from kstore.groups.requests import Context, JoinGroupRequest
from kstore.groups.responses import JoinGroupResponse, SyncGroupResponse
from kstore.groups.shard import Shard

_KNOWN_ID_VERSION = 4
"""From here on a dynamic member without an id is told MEMBER_ID_REQUIRED (JoinGroupRequest.requiresKnownMemberId)."""
_SKIP_ASSIGNMENT_VERSION = 9
"""From here on a returning static leader learns that it need not assign (KIP-814)."""


def join_group(shard: Shard, token: object, request: JoinGroupRequest, context: Context) -> None:
    """Answer a JoinGroup, now or when the phase ends."""
    error = _refusal_of_request(shard, request)
    if error is not None:
        shard.reply(token, JoinGroupResponse(request.member_id, error))
        return
    found = shard.groups.get(request.group_id)
    tombstones: list[Record] = []
    if found is not None and not isinstance(found, ClassicGroup):
        if not found.is_empty:
            # Members of both protocols in one group (KIP-848's migration) are not supported.
            shard.reply(token, JoinGroupResponse(request.member_id, Code.INCONSISTENT_GROUP_PROTOCOL))
            return
        if request.member_id:
            shard.reply(token, JoinGroupResponse(request.member_id, Code.UNKNOWN_MEMBER_ID))
            return
        tombstones = found.tombstones()
        found = None
    if found is None:
        if request.member_id:
            shard.reply(token, JoinGroupResponse(request.member_id, Code.UNKNOWN_MEMBER_ID))
            return
        _join_new_group(shard, token, request, context, tombstones)
        return
    _join_existing_group(shard, found, token, request, context)


def _refusal_of_request(shard: Shard, request: JoinGroupRequest) -> Code | None:
    settings = shard.settings
    if not request.group_id:
        return Code.INVALID_GROUP_ID
    if not (
        settings.group_min_session_timeout_ms <= request.session_timeout_ms <= settings.group_max_session_timeout_ms
    ):
        return Code.INVALID_SESSION_TIMEOUT
    return None


def _join_new_group(
    shard: Shard, token: object, request: JoinGroupRequest, context: Context, tombstones: list[Record]
) -> None:
    """Make the group, on disk too: a group that is in no log would be unknown to the next coordinator."""
    before = shard.groups.get(request.group_id)
    group = ClassicGroup(request.group_id, state_timestamp_ms=shard.now_ms)
    shard.groups[request.group_id] = group
    _join_existing_group(shard, group, token, request, context)
    empty = GroupState("", 0, None, None, shard.now_ms, ())

    def done(at: Shard, error: Code, _base_offset: int) -> None:
        if error is Code.NONE or at.groups.get(request.group_id) is not group:
            return
        for member in list(group.members.values()):
            answer_join(at, member, JoinGroupResponse(member.member_id, error))
        if before is None:
            del at.groups[request.group_id]
        else:
            at.groups[request.group_id] = before

    shard.append(request.group_id, [*tombstones, group_metadata_record(request.group_id, empty)], done)


def _join_existing_group(
    shard: Shard, group: ClassicGroup, token: object, request: JoinGroupRequest, context: Context
) -> None:
    member_id = request.member_id
    if not _has_room(shard, group, member_id):
        gone = group.members.get(member_id)
        if gone is not None:
            answer_sync(shard, gone, SyncGroupResponse(Code.UNKNOWN_MEMBER_ID))
        group.remove(member_id)
        shard.reply(token, JoinGroupResponse(error_code=Code.GROUP_MAX_SIZE_REACHED))
    elif group.state is State.DEAD:
        shard.reply(token, JoinGroupResponse(member_id, Code.COORDINATOR_NOT_AVAILABLE))
    elif not group.supports(request.protocol_type, request.protocols):
        shard.reply(token, JoinGroupResponse(member_id, Code.INCONSISTENT_GROUP_PROTOCOL))
    elif not member_id:
        _join_without_id(shard, group, token, request, context)
    elif member_id in group.pending_join:
        if request.group_instance_id is not None:
            # Ids of static members are never pending; Kafka fails here with an illegal state.
            shard.reply(token, JoinGroupResponse(member_id, Code.UNKNOWN_SERVER_ERROR))
        else:
            _add_member(shard, group, token, request, context, member_id)
    else:
        try:
            group.validate_member(member_id, request.group_instance_id)
        except Refused as refused:
            shard.reply(token, JoinGroupResponse(member_id, refused.code))
            return
        _rejoin(shard, group, group.members[member_id], token, request)


def _has_room(shard: Shard, group: ClassicGroup, member_id: str) -> bool:
    """Whether the group takes this join (GroupMetadataManager.acceptJoiningMember).

    While a rebalance prepares, those who have rejoined are counted: the group may be above the limit already, after
    the limit was lowered, and the last ones to rejoin are turned away.
    """
    limit = shard.settings.group_max_size
    member = group.members.get(member_id)
    if group.state in (State.EMPTY, State.DEAD):
        return True
    if group.state is State.PREPARING_REBALANCE:
        return (member is not None and member.join_token is not None) or group.awaiting_join < limit
    return member is not None or len(group.members) < limit


def _join_without_id(
    shard: Shard, group: ClassicGroup, token: object, request: JoinGroupRequest, context: Context
) -> None:
    instance_id = request.group_instance_id
    new_id = f"{instance_id if instance_id is not None else context.client_id}-{context.fresh_id}"
    if instance_id is not None:
        old_id = group.static_members.get(instance_id)
        if old_id is None:
            _add_member(shard, group, token, request, context, new_id)
        else:
            _replace_static(shard, group, token, request, context, old_id, new_id)
    elif context.api_version >= _KNOWN_ID_VERSION:
        group.pending_join.add(new_id)
        group_id = group.group_id
        shard.schedule(
            heartbeat_key(group_id, new_id), request.session_timeout_ms, lambda at: expire_session(at, group_id, new_id)
        )
        shard.reply(token, JoinGroupResponse(new_id, Code.MEMBER_ID_REQUIRED))
    else:
        _add_member(shard, group, token, request, context, new_id)


def _rebalance_timeout_ms(request: JoinGroupRequest) -> int:
    return request.rebalance_timeout_ms if request.rebalance_timeout_ms >= 0 else request.session_timeout_ms


def _add_member(
    shard: Shard, group: ClassicGroup, token: object, request: JoinGroupRequest, context: Context, member_id: str
) -> None:
    member = ClassicMember(
        member_id,
        request.group_instance_id,
        context.client_id,
        context.client_host,
        _rebalance_timeout_ms(request),
        request.session_timeout_ms,
        request.protocol_type,
        request.protocols,
        join_token=token,
        is_new=True,
    )
    if group.state is State.PREPARING_REBALANCE and group.previous_state is State.EMPTY:
        group.new_member_added = True
    group.add(member)
    # It cannot heartbeat while its join is parked, and a client that gave up and came again under another id would
    # leave a ghost behind: so the park itself has a limit.
    renew_session(shard, group, member_id, shard.settings.group_new_member_join_timeout_ms)
    rebalance_or_complete(shard, group)


def _rejoin(shard: Shard, group: ClassicGroup, member: ClassicMember, token: object, request: JoinGroupRequest) -> None:
    """A member joins again: with news it starts a rebalance, without it learns of the generation it missed."""
    unchanged = member.protocols == request.protocols
    is_leader = group.leader_id == member.member_id
    if group.state is State.EMPTY:
        shard.reply(token, JoinGroupResponse(member.member_id, Code.UNKNOWN_MEMBER_ID))
    elif group.state is State.COMPLETING_REBALANCE and unchanged:
        # It may have missed the answer to its first JoinGroup.
        members = group.described_members() if is_leader else ()
        shard.reply(token, joined(group, member.member_id, members=members))
    elif group.state is State.STABLE and unchanged and not is_leader:
        shard.reply(token, joined(group, member.member_id))
    else:
        # In Stable the leader's join always rebalances: that is how it tells of new partitions.
        group.update(member, request.protocols, _rebalance_timeout_ms(request), request.session_timeout_ms)
        park_join(shard, member, token)
        rebalance_or_complete(shard, group)


def _replace_static(
    shard: Shard, group: ClassicGroup, token: object, request: JoinGroupRequest, context: Context,
    old_id: str, new_id: str,
) -> None:  # fmt: skip
    """A static member came back without its id: it takes its place again, and whoever holds the place is fenced."""
    leader_before = group.leader_id
    old = group.members[old_id]
    answer_join(shard, old, JoinGroupResponse(old_id, Code.FENCED_INSTANCE_ID))
    answer_sync(shard, old, SyncGroupResponse(Code.FENCED_INSTANCE_ID))
    member = group.replace_static(old_id, new_id)
    shard.cancel(heartbeat_key(group.group_id, old_id))
    renew_session(shard, group, new_id, member.session_timeout_ms)
    told_before = (member.protocols, member.rebalance_timeout_ms, member.session_timeout_ms)
    group.update(member, request.protocols, _rebalance_timeout_ms(request), request.session_timeout_ms)
    member.join_token = token
    if group.state is State.STABLE and group.choose_protocol() == group.protocol_name:
        _store_replacement(shard, group, member, old_id, leader_before, told_before, context)
    elif group.state is State.STABLE:
        rebalance_or_complete(shard, group)
    elif group.state is State.COMPLETING_REBALANCE:
        # The leader may be assigning to the old id right now.
        prepare_rebalance(shard, group)
    else:
        complete_join_if_ready(shard, group)


def _store_replacement(
    shard: Shard, group: ClassicGroup, member: ClassicMember, old_id: str, leader_before: str | None,
    told_before: tuple[tuple[object, ...], int, int], context: Context,
) -> None:  # fmt: skip
    """Persist the new id within the same generation, then answer; a failed append brings the old id back."""
    new_id = member.member_id

    def done(at: Shard, error: Code, _base_offset: int) -> None:
        if group.members.get(new_id) is not member:
            return
        if error is not Code.NONE:
            response = joined(group, "", leader=leader_before)
            refused = JoinGroupResponse(
                "", error, response.generation_id, response.protocol_type, response.protocol_name, response.leader
            )
            answer_join(at, member, refused)
            group.update(member, *told_before)  # type: ignore[arg-type]
            restored = group.replace_static(new_id, old_id)
            at.cancel(heartbeat_key(group.group_id, new_id))
            renew_session(at, group, old_id, restored.session_timeout_ms)
        elif context.api_version >= _SKIP_ASSIGNMENT_VERSION:
            is_leader = group.leader_id == new_id
            members = group.described_members() if is_leader else ()
            answer_join(at, member, joined(group, new_id, members=members, skip_assignment=is_leader))
        else:
            # Told its old id as leader's, a returning leader takes itself for a follower and does not assign.
            answer_join(at, member, joined(group, new_id, leader=leader_before))

    assignments = {one.member_id: one.assignment for one in group.members.values()}
    shard.append(group.group_id, [group_metadata_record(group.group_id, group.as_stored(assignments))], done)
