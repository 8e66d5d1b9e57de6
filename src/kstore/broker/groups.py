"""Membership of classic groups, from the wire to the coordinators and back.

Owns the handlers of JoinGroup, SyncGroup, Heartbeat and LeaveGroup, and what their old versions lack. Must not know
the rules of a group. Called by `dispatch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from kstore.broker.group_calls import context_of
from kstore.groups import requests, responses
from kstore.wire.messages import groups as wire

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker

SKIP_ASSIGNMENT_SINCE_VERSION = 9
PROTOCOL_MAY_BE_NULL_SINCE_VERSION = 7
MEMBERS_SINCE_VERSION = 3
PROTOCOL_SINCE_VERSION = 5
"""Since then whoever syncs says what it takes the group's protocol for (KIP-559)."""
INCONSISTENT_GROUP_PROTOCOL = 23


def join_group(broker: Broker, call: Call) -> None:
    """Answered when the group has its next generation."""
    body: wire.JoinGroupRequest = call.body
    request = requests.JoinGroupRequest(
        group_id=body.group_id,
        session_timeout_ms=body.session_timeout_ms,
        rebalance_timeout_ms=body.rebalance_timeout_ms,
        member_id=body.member_id,
        group_instance_id=body.group_instance_id,
        protocol_type=body.protocol_type,
        protocols=tuple(requests.Protocol(one.name, bytes(one.metadata)) for one in body.protocols),
    )

    def then(response: responses.Response) -> None:
        found = cast(responses.JoinGroupResponse, response)
        null_name = None if call.version >= PROTOCOL_MAY_BE_NULL_SINCE_VERSION else ""
        call.answer(
            wire.JoinGroupResponse(
                error_code=found.error_code,
                generation_id=found.generation_id,
                protocol_type=found.protocol_type,
                protocol_name=null_name if found.protocol_name is None else found.protocol_name,
                leader=found.leader,
                skip_assignment=found.skip_assignment and call.version >= SKIP_ASSIGNMENT_SINCE_VERSION,
                member_id=found.member_id,
                members=[
                    wire.JoinGroupResponseMember(
                        member_id=one.member_id, group_instance_id=one.group_instance_id, metadata=one.metadata
                    )
                    for one in found.members
                ],
            )
        )

    broker.coordination.call(body.group_id, request, context_of(call), then)


def sync_group(broker: Broker, call: Call) -> None:
    """Answered when the leader's assignment is stored."""
    body: wire.SyncGroupRequest = call.body
    if call.version >= PROTOCOL_SINCE_VERSION and (body.protocol_type is None or body.protocol_name is None):
        call.answer(wire.SyncGroupResponse(error_code=INCONSISTENT_GROUP_PROTOCOL, assignment=b""))
        return
    request = requests.SyncGroupRequest(
        group_id=body.group_id,
        generation_id=body.generation_id,
        member_id=body.member_id,
        group_instance_id=body.group_instance_id,
        protocol_type=body.protocol_type,
        protocol_name=body.protocol_name,
        assignments=tuple((one.member_id, bytes(one.assignment)) for one in body.assignments),
    )

    def then(response: responses.Response) -> None:
        found = cast(responses.SyncGroupResponse, response)
        call.answer(
            wire.SyncGroupResponse(
                error_code=found.error_code,
                protocol_type=found.protocol_type,
                protocol_name=found.protocol_name,
                assignment=found.assignment,
            )
        )

    broker.coordination.call(body.group_id, request, context_of(call), then)


def heartbeat(broker: Broker, call: Call) -> None:
    """Whether the member is still one, and whether it must join again."""
    body: wire.HeartbeatRequest = call.body
    request = requests.HeartbeatRequest(body.group_id, body.generation_id, body.member_id, body.group_instance_id)

    def then(response: responses.Response) -> None:
        call.answer(wire.HeartbeatResponse(error_code=cast(responses.HeartbeatResponse, response).error_code))

    broker.coordination.call(body.group_id, request, context_of(call), then)


def leave_group(broker: Broker, call: Call) -> None:
    """Members go; before version 3 it is one, and its error is the answer's."""
    body: wire.LeaveGroupRequest = call.body
    is_single = call.version < MEMBERS_SINCE_VERSION
    if is_single:
        members: tuple[requests.MemberIdentity, ...] = (requests.MemberIdentity(body.member_id),)
    else:
        members = tuple(requests.MemberIdentity(one.member_id, one.group_instance_id) for one in body.members)

    def then(response: responses.Response) -> None:
        found = cast(responses.LeaveGroupResponse, response)
        if is_single:
            code = found.error_code or next((one.error_code for one in found.members), 0)
            call.answer(wire.LeaveGroupResponse(error_code=code))
            return
        results = [
            wire.MemberResponse(
                member_id=one.member_id, group_instance_id=one.group_instance_id, error_code=one.error_code
            )
            for one in found.members
        ]
        call.answer(wire.LeaveGroupResponse(error_code=found.error_code, members=results))

    broker.coordination.call(body.group_id, requests.LeaveGroupRequest(body.group_id, members), context_of(call), then)
