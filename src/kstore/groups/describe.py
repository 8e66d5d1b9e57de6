"""ListGroups, DescribeGroups and ConsumerGroupDescribe: what an admin sees of the groups.

Owns the words and the filters. Changes nothing. Called by `coordinator`.

Invariants
1. A group that is not there is Dead, not an error, to clients that know no error for it.

After GroupMetadataManager.listGroups, describeGroups and consumerGroupDescribe.
"""

from __future__ import annotations

from collections.abc import Iterable

from kstore.groups.classic.group import ClassicGroup, State
from kstore.groups.codes import Code
from kstore.groups.consumer.group import ConsumerGroup, ConsumerMember
from kstore.groups.requests import (
    ConsumerGroupDescribeRequest,
    Context,
    DescribeGroupsRequest,
    ListGroupsRequest,
)
from kstore.groups.responses import (
    ConsumerGroupDescribeResponse,
    ConsumerGroupMemberDescription,
    DescribedConsumerGroup,
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsResponse,
    ListedGroup,
    ListGroupsResponse,
    NamedPartitions,
)
from kstore.groups.shard import Shard

_NOT_FOUND_VERSION = 6
"""From here on DescribeGroups says GROUP_ID_NOT_FOUND (KIP-1043)."""


def list_groups(shard: Shard, token: object, request: ListGroupsRequest) -> None:
    """Groups that pass both filters, by name."""
    states = {name.strip().lower() for name in request.states_filter}
    types = {name.strip().lower() for name in request.types_filter}
    groups = tuple(
        ListedGroup(group_id, _protocol_type(group), group.state_name, group.group_type)
        for group_id, group in sorted(shard.groups.items())
        if (not states or group.state_name.lower() in states) and (not types or group.group_type in types)
    )
    shard.reply(token, ListGroupsResponse(Code.NONE, groups))


def _protocol_type(group: ClassicGroup | ConsumerGroup) -> str:
    return "consumer" if isinstance(group, ConsumerGroup) else group.protocol_type or ""


def describe_groups(shard: Shard, token: object, request: DescribeGroupsRequest, context: Context) -> None:
    """Classic groups with their members; a consumer group has its own API and is Dead here."""
    groups = tuple(_describe_classic(shard, group_id, context) for group_id in request.groups)
    shard.reply(token, DescribeGroupsResponse(groups))


def _describe_classic(shard: Shard, group_id: str, context: Context) -> DescribedGroup:
    group = shard.groups.get(group_id)
    if not isinstance(group, ClassicGroup):
        dead = State.DEAD.value
        if context.api_version < _NOT_FOUND_VERSION:
            return DescribedGroup(group_id, group_state=dead)
        message = f"Group {group_id} not found." if group is None else f"Group {group_id} is not a classic group."
        return DescribedGroup(group_id, Code.GROUP_ID_NOT_FOUND, message, dead)
    is_stable = group.state is State.STABLE
    name = group.protocol_name or ""
    members = tuple(
        DescribedGroupMember(
            member.member_id,
            member.instance_id,
            member.client_id,
            member.client_host,
            member.metadata(name) if is_stable else b"",
            member.assignment if is_stable else b"",
        )
        for member in group.members.values()
    )
    protocol = name if is_stable else ""
    return DescribedGroup(group_id, Code.NONE, None, group.state_name, group.protocol_type or "", protocol, members)


def describe_consumer_groups(shard: Shard, token: object, request: ConsumerGroupDescribeRequest) -> None:
    """Consumer groups with epochs, current and target assignments."""
    names = {topic.topic_id: name for name, topic in shard.topics.items()}
    groups = tuple(_describe_consumer(shard, group_id, names) for group_id in request.group_ids)
    shard.reply(token, ConsumerGroupDescribeResponse(groups))


def _describe_consumer(shard: Shard, group_id: str, names: dict[bytes, str]) -> DescribedConsumerGroup:
    group = shard.groups.get(group_id)
    if not group_id:
        return DescribedConsumerGroup(group_id, Code.INVALID_GROUP_ID)
    if not isinstance(group, ConsumerGroup):
        what = "not found" if group is None else "is not a consumer group"
        return DescribedConsumerGroup(group_id, Code.GROUP_ID_NOT_FOUND, f"Group {group_id} {what}.")

    def describe(member: ConsumerMember) -> ConsumerGroupMemberDescription:
        metadata = member.metadata
        return ConsumerGroupMemberDescription(
            member.member_id,
            metadata.instance_id,
            metadata.rack_id,
            member.epoch,
            metadata.client_id,
            metadata.client_host,
            tuple(sorted(metadata.subscribed_topic_names)),
            metadata.subscribed_topic_regex,
            named(member.current.assigned.items()),
            named(group.target.get(member.member_id, {}).items()),
        )

    def named(partitions: Iterable[tuple[bytes, Iterable[int]]]) -> tuple[NamedPartitions, ...]:
        # A topic that was deleted meanwhile has no name any more and is left out, as Kafka does.
        return tuple(
            NamedPartitions(topic_id, names[topic_id], tuple(sorted(numbers)))
            for topic_id, numbers in sorted(partitions)
            if topic_id in names
        )

    return DescribedConsumerGroup(
        group_id,
        Code.NONE,
        None,
        group.state_name,
        group.group_epoch,
        group.assignment_epoch,
        preferred_assignor(shard, group),
        tuple(describe(member) for member in group.members.values()),
    )


def preferred_assignor(shard: Shard, group: ConsumerGroup) -> str:
    """The assignor that most members ask for; the default where none asks (ConsumerGroup.preferredServerAssignor)."""
    return most_wanted(
        (member.metadata.server_assignor for member in group.members.values()),
        shard.settings.group_consumer_assignors[0],
    )


def most_wanted(assignors: Iterable[str | None], default: str) -> str:
    """The name that comes up most; the first of them where several do."""
    votes: dict[str, int] = {}
    for name in assignors:
        if name is not None:
            votes[name] = votes.get(name, 0) + 1
    return max(votes, key=lambda name: votes[name]) if votes else default
