"""Groups whose broker assigns partitions (KIP-848), from the wire to the coordinators and back.

Owns the handlers of ConsumerGroupHeartbeat and ConsumerGroupDescribe. Called by `dispatch`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, cast

from kstore.broker import operations
from kstore.broker.group_calls import context_of, gather
from kstore.groups import requests, responses
from kstore.wire.messages import consumer_groups as wire
from kstore.wire.schema import NO_OPERATIONS

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker

CONSUMER_MEMBER = 1
"""Member type: of this protocol; 0 would be a classic one in the same group."""


def heartbeat(broker: Broker, call: Call) -> None:
    """Joins, stays and leaves by one request."""
    body: wire.ConsumerGroupHeartbeatRequest = call.body
    names, owned = body.subscribed_topic_names, body.topic_partitions
    request = requests.ConsumerGroupHeartbeatRequest(
        group_id=body.group_id,
        member_id=body.member_id,
        member_epoch=body.member_epoch,
        instance_id=body.instance_id,
        rack_id=body.rack_id,
        rebalance_timeout_ms=body.rebalance_timeout_ms,
        subscribed_topic_names=None if names is None else tuple(names),
        subscribed_topic_regex=body.subscribed_topic_regex,
        server_assignor=body.server_assignor,
        topic_partitions=None
        if owned is None
        else tuple(requests.TopicPartitions(bytes(one.topic_id), tuple(one.partitions)) for one in owned),
    )

    def then(response: responses.Response) -> None:
        found = cast(responses.ConsumerGroupHeartbeatResponse, response)
        assignment = None
        if found.assignment is not None:
            assignment = wire.ConsumerGroupHeartbeatResponseAssignment(
                topic_partitions=[
                    wire.ConsumerGroupHeartbeatResponseTopicPartitions(
                        topic_id=one.topic_id, partitions=one.partitions
                    )
                    for one in found.assignment
                ]
            )
        call.answer(
            wire.ConsumerGroupHeartbeatResponse(
                error_code=found.error_code,
                error_message=found.error_message,
                member_id=found.member_id,
                member_epoch=found.member_epoch,
                heartbeat_interval_ms=found.heartbeat_interval_ms,
                assignment=assignment,
            )
        )

    broker.coordination.call(body.group_id, request, context_of(call), then)


def describe(broker: Broker, call: Call) -> None:
    """State and members of consumer groups."""
    body: wire.ConsumerGroupDescribeRequest = call.body
    allowed = operations.GROUP if body.include_authorized_operations else NO_OPERATIONS
    context = context_of(call)
    starts = [
        partial(broker.coordination.call, name, requests.ConsumerGroupDescribeRequest((name,)), context)
        for name in body.group_ids
    ]

    def then(found: list[responses.Response]) -> None:
        groups = [
            _described(group, allowed)
            for response in found
            for group in cast(responses.ConsumerGroupDescribeResponse, response).groups
        ]
        call.answer(wire.ConsumerGroupDescribeResponse(groups=groups))

    gather(starts, then)


def _described(group: responses.DescribedConsumerGroup, allowed: int) -> wire.DescribedGroup:
    return wire.DescribedGroup(
        error_code=group.error_code,
        error_message=group.error_message,
        group_id=group.group_id,
        group_state=group.group_state,
        group_epoch=group.group_epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name=group.assignor_name,
        members=[_member(one) for one in group.members],
        authorized_operations=allowed,
    )


def _member(member: responses.ConsumerGroupMemberDescription) -> wire.Member:
    return wire.Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.member_epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=member.subscribed_topic_names,
        subscribed_topic_regex=member.subscribed_topic_regex or "",
        assignment=_assignment(member.assignment),
        target_assignment=_assignment(member.target_assignment),
        member_type=CONSUMER_MEMBER,
    )


def _assignment(partitions: Iterable[responses.NamedPartitions]) -> wire.ConsumerGroupDescribeResponseAssignment:
    return wire.ConsumerGroupDescribeResponseAssignment(
        topic_partitions=[
            wire.ConsumerGroupDescribeResponseTopicPartitions(
                topic_id=one.topic_id, topic_name=one.topic_name, partitions=one.partitions
            )
            for one in partitions
        ]
    )
