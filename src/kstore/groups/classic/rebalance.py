"""The two phases of a classic rebalance: who joined, and who fetched its assignment; and the deadlines of both.

Owns the transitions Stable -> PreparingRebalance -> CompletingRebalance (or Empty) and the replies that end a parked
JoinGroup or SyncGroup. Validates no request. Called by `classic.join`, `classic.session` and its own timers.

Invariants
1. A member that did not join again before the rebalance timeout is out, unless it is static.
2. Every parked request is answered when its member goes or the phase ends; none is forgotten.
3. Who is a member of a generation is decided in one place, `complete_join`.

After GroupMetadataManager's classic half. Where Kafka drops a parked future without an answer (a member that leaves
while its SyncGroup waits, a second JoinGroup of one member), the answer here is UNKNOWN_MEMBER_ID or
REBALANCE_IN_PROGRESS: a client that is still there retries at once, and no request stays open for ever.
"""

from __future__ import annotations

from collections.abc import Mapping

from kstore.groups.classic.group import ClassicGroup, ClassicMember, State
from kstore.groups.codes import Code
from kstore.groups.records import group_metadata_record
from kstore.groups.responses import JoinGroupResponse, SyncGroupResponse
from kstore.groups.shard import Shard
from kstore.groups.timers import TimerKey


def classic_group(shard: Shard, group_id: str) -> ClassicGroup | None:
    """The group of that name, if it is there and classic."""
    group = shard.groups.get(group_id)
    return group if isinstance(group, ClassicGroup) else None


# -- sessions ----------------------------------------------------------------------------------------------------


def heartbeat_key(group_id: str, member_id: str) -> TimerKey:
    """The deadline of a member's session."""
    return TimerKey("heartbeat", group_id, member_id)


def _join_key(group: ClassicGroup) -> TimerKey:
    return TimerKey("join", group.group_id)


def _sync_key(group: ClassicGroup) -> TimerKey:
    return TimerKey("sync", group.group_id)


def renew_session(shard: Shard, group: ClassicGroup, member_id: str, timeout_ms: int) -> None:
    """Expect the next sign of life within `timeout_ms`."""
    group_id = group.group_id
    shard.schedule(heartbeat_key(group_id, member_id), timeout_ms, lambda at: expire_session(at, group_id, member_id))


def expire_session(shard: Shard, group_id: str, member_id: str) -> None:
    """A member gave no sign of life: it is out, unless a parked request stands for it."""
    group = classic_group(shard, group_id)
    if group is None or group.state is State.DEAD:
        return
    if member_id in group.pending_join:
        group.remove(member_id)
        _complete_if_all_joined(shard, group)
        return
    member = group.members.get(member_id)
    if member is None or member.awaits:
        return
    remove_member(shard, group, member)
    if group.state in (State.STABLE, State.COMPLETING_REBALANCE):
        prepare_rebalance(shard, group)
    else:
        _complete_if_all_joined(shard, group)


def _complete_if_all_joined(shard: Shard, group: ClassicGroup) -> None:
    if group.state is State.PREPARING_REBALANCE and group.all_joined:
        complete_join(shard, group)


def remove_member(shard: Shard, group: ClassicGroup, member: ClassicMember) -> None:
    """Take a member out; what it has parked ends with UNKNOWN_MEMBER_ID, so that it joins anew if it lives."""
    shard.cancel(heartbeat_key(group.group_id, member.member_id))
    answer_join(shard, member, JoinGroupResponse(error_code=Code.UNKNOWN_MEMBER_ID))
    answer_sync(shard, member, SyncGroupResponse(Code.UNKNOWN_MEMBER_ID))
    group.remove(member.member_id)


# -- parked requests ---------------------------------------------------------------------------------------------


def answer_join(shard: Shard, member: ClassicMember, response: JoinGroupResponse) -> None:
    """End the member's parked JoinGroup, if it has one."""
    if member.join_token is not None:
        shard.reply(member.join_token, response)
        member.join_token = None


def answer_sync(shard: Shard, member: ClassicMember, response: SyncGroupResponse) -> bool:
    """End the member's parked SyncGroup; False if it has none."""
    if member.sync_token is None:
        return False
    shard.reply(member.sync_token, response)
    member.sync_token = None
    return True


def park_join(shard: Shard, member: ClassicMember, token: object) -> None:
    """Let a JoinGroup wait for the end of the phase; an earlier one of the member ends now."""
    answer_join(shard, member, JoinGroupResponse(member.member_id, Code.REBALANCE_IN_PROGRESS))
    member.join_token = token


def park_sync(shard: Shard, member: ClassicMember, token: object) -> None:
    """Let a SyncGroup wait for the leader's; an earlier one of the member ends now."""
    answer_sync(shard, member, SyncGroupResponse(Code.REBALANCE_IN_PROGRESS))
    member.sync_token = token


# -- the join phase ----------------------------------------------------------------------------------------------


def rebalance_or_complete(shard: Shard, group: ClassicGroup) -> None:
    """Someone came, changed or went: start a rebalance, or see whether the running one has all it waits for."""
    if group.state in (State.STABLE, State.COMPLETING_REBALANCE, State.EMPTY):
        prepare_rebalance(shard, group)
    else:
        complete_join_if_ready(shard, group)


def prepare_rebalance(shard: Shard, group: ClassicGroup) -> None:
    """Ask everyone to join again; the first rebalance of an empty group waits for company instead."""
    if group.state is State.COMPLETING_REBALANCE:
        reset_assignments(shard, group, Code.REBALANCE_IN_PROGRESS)
    group.pending_sync.clear()
    shard.cancel(_sync_key(group))
    initial = group.state is State.EMPTY
    group.move_to(State.PREPARING_REBALANCE, shard.now_ms)
    if initial:
        delay_ms = shard.settings.group_initial_rebalance_delay_ms
        _delay_initial(shard, group, delay_ms, max(group.rebalance_timeout_ms - delay_ms, 0))
    elif group.all_joined:
        complete_join(shard, group)
    else:
        _await_joins(shard, group)


def _await_joins(shard: Shard, group: ClassicGroup) -> None:
    group_id = group.group_id

    def expire(at: Shard) -> None:
        found = classic_group(at, group_id)
        if found is not None and found.state is State.PREPARING_REBALANCE:
            complete_join(at, found)

    shard.schedule(_join_key(group), group.rebalance_timeout_ms, expire)


def _delay_initial(shard: Shard, group: ClassicGroup, delay_ms: int, remaining_ms: int) -> None:
    """Wait `delay_ms` for company, and again while company comes, within the rebalance timeout."""
    group_id = group.group_id

    def expire(at: Shard) -> None:
        found = classic_group(at, group_id)
        if found is None or found.state is not State.PREPARING_REBALANCE:
            return
        if found.new_member_added and remaining_ms > 0:
            found.new_member_added = False
            next_ms = min(at.settings.group_initial_rebalance_delay_ms, remaining_ms)
            _delay_initial(at, found, next_ms, max(remaining_ms - delay_ms, 0))
        else:
            complete_join(at, found)

    shard.schedule(_join_key(group), delay_ms, expire)


def complete_join_if_ready(shard: Shard, group: ClassicGroup) -> None:
    """End the join phase when everyone is there; the initial one ends by its deadline alone."""
    if group.state is State.PREPARING_REBALANCE and group.previous_state is not State.EMPTY and group.all_joined:
        complete_join(shard, group)


def complete_join(shard: Shard, group: ClassicGroup) -> None:
    """End the join phase: drop who did not come, count the generation up, tell everyone."""
    shard.cancel(_join_key(group))
    for member in [member for member in group.members.values() if member.join_token is None]:
        if member.instance_id is None:
            remove_member(shard, group, member)
    if group.members and not group.elect_joined_leader():
        # Static members only, none of them back: wait on, their sessions will end it.
        _await_joins(shard, group)
        return
    group.new_member_added = False
    group.next_generation(shard.now_ms)
    if group.state is State.EMPTY:
        # If this append fails the generation before stays in the log; nobody is in it, so nobody is hurt.
        shard.append(group.group_id, [group_metadata_record(group.group_id, group.as_stored({}))], _ignore)
        return
    for member in group.members.values():
        is_leader = member.member_id == group.leader_id
        response = joined(group, member.member_id, members=group.described_members() if is_leader else ())
        answer_join(shard, member, response)
        renew_session(shard, group, member.member_id, member.session_timeout_ms)
        member.is_new = False
        group.pending_sync.add(member.member_id)
    _await_syncs(shard, group)


def _ignore(_shard: Shard, _error: Code, _base_offset: int) -> None:
    pass


def joined(
    group: ClassicGroup,
    member_id: str,
    *,
    members: tuple[object, ...] = (),
    leader: str | None = None,
    skip_assignment: bool = False,
) -> JoinGroupResponse:
    """The answer to a JoinGroup that made it into the current generation."""
    return JoinGroupResponse(
        member_id,
        Code.NONE,
        group.generation,
        group.protocol_type,
        group.protocol_name,
        (group.leader_id if leader is None else leader) or "",
        skip_assignment,
        members,  # type: ignore[arg-type]
    )


# -- the sync phase ----------------------------------------------------------------------------------------------


def _await_syncs(shard: Shard, group: ClassicGroup) -> None:
    """Who joined must ask for its assignment within the rebalance timeout, or it is out."""
    group_id, generation = group.group_id, group.generation

    def expire(at: Shard) -> None:
        found = classic_group(at, group_id)
        if found is None or found.generation != generation or not found.pending_sync:
            return
        if found.state in (State.COMPLETING_REBALANCE, State.STABLE):
            for member_id in sorted(found.pending_sync):
                remove_member(at, found, found.members[member_id])
            prepare_rebalance(at, found)

    shard.schedule(_sync_key(group), group.rebalance_timeout_ms, expire)


def sync_came(shard: Shard, group: ClassicGroup, member_id: str) -> None:
    """Note that a member has asked for its assignment."""
    group.pending_sync.discard(member_id)
    if not group.pending_sync:
        shard.cancel(_sync_key(group))


def reset_assignments(shard: Shard, group: ClassicGroup, error: Code) -> None:
    """Take all assignments back and end every parked SyncGroup with an error."""
    for member in group.members.values():
        member.assignment = b""
        if answer_sync(shard, member, SyncGroupResponse(error)):
            renew_session(shard, group, member.member_id, member.session_timeout_ms)


def hand_out(shard: Shard, group: ClassicGroup, assignments: Mapping[str, bytes]) -> None:
    """Give every member its assignment, and those who wait for it an answer."""
    for member in group.members.values():
        member.assignment = assignments.get(member.member_id, b"")
        response = SyncGroupResponse(Code.NONE, group.protocol_type, group.protocol_name, member.assignment)
        if answer_sync(shard, member, response):
            # Its session may have run out while the request was parked: count anew from here.
            renew_session(shard, group, member.member_id, member.session_timeout_ms)
