"""Groups as an admin sees them: listing, describing, deleting.

Owns the handlers of ListGroups, DescribeGroups and DeleteGroups. Called by `dispatch`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from kstore.broker import operations
from kstore.broker.group_calls import context_of, gather
from kstore.groups import requests, responses
from kstore.wire.messages import group_admin as wire
from kstore.wire.schema import NO_OPERATIONS

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker

ERROR_MESSAGE_SINCE_VERSION = 6


def list_groups(broker: Broker, call: Call) -> None:
    """The groups of every coordinator here."""
    body: wire.ListGroupsRequest = call.body
    request = requests.ListGroupsRequest(tuple(body.states_filter), tuple(body.types_filter))

    def then(found: list[responses.Response]) -> None:
        answers = [cast(responses.ListGroupsResponse, one) for one in found]
        groups = [
            wire.ListedGroup(
                group_id=one.group_id,
                protocol_type=one.protocol_type,
                group_state=one.group_state,
                group_type=one.group_type,
            )
            for answer in answers
            for one in answer.groups
        ]
        code = next((answer.error_code for answer in answers if answer.error_code), 0)
        call.answer(wire.ListGroupsResponse(error_code=code, groups=groups))

    broker.coordination.call_all(request, context_of(call), then)


def describe_groups(broker: Broker, call: Call) -> None:
    """Classic groups with their members."""
    body: wire.DescribeGroupsRequest = call.body
    allowed = operations.GROUP if body.include_authorized_operations else NO_OPERATIONS
    context = context_of(call)
    starts = [
        partial(broker.coordination.call, name, requests.DescribeGroupsRequest((name,)), context)
        for name in body.groups
    ]

    def then(found: list[responses.Response]) -> None:
        groups = [
            _described(call, group, allowed)
            for response in found
            for group in cast(responses.DescribeGroupsResponse, response).groups
        ]
        call.answer(wire.DescribeGroupsResponse(groups=groups))

    gather(starts, then)


def _described(call: Call, group: responses.DescribedGroup, allowed: int) -> wire.DescribedGroup:
    return wire.DescribedGroup(
        error_code=group.error_code,
        error_message=group.error_message if call.version >= ERROR_MESSAGE_SINCE_VERSION else None,
        group_id=group.group_id,
        group_state=group.group_state,
        protocol_type=group.protocol_type,
        protocol_data=group.protocol_data,
        members=[
            wire.DescribedGroupMember(
                member_id=one.member_id,
                group_instance_id=one.group_instance_id,
                client_id=one.client_id,
                client_host=one.client_host,
                member_metadata=one.member_metadata,
                member_assignment=one.member_assignment,
            )
            for one in group.members
        ],
        authorized_operations=allowed,
    )


def delete_groups(broker: Broker, call: Call) -> None:
    """Empty groups go, with their offsets."""
    body: wire.DeleteGroupsRequest = call.body
    context = context_of(call)
    starts = [
        partial(broker.coordination.call, name, requests.DeleteGroupsRequest((name,)), context)
        for name in dict.fromkeys(body.groups_names)
    ]

    def then(found: list[responses.Response]) -> None:
        results = [
            wire.DeletableGroupResult(group_id=one.group_id, error_code=one.error_code)
            for response in found
            for one in cast(responses.DeleteGroupsResponse, response).results
        ]
        call.answer(wire.DeleteGroupsResponse(results=results))

    gather(starts, then)
