"""The target assignment of a consumer group: computed anew when the group epoch has moved past it.

Owns the step from subscriptions and topics to target records. Assigns nothing to anybody yet: `reconcile` does.
Called by `consumer.heartbeat`.

Invariants
1. After it the assignment epoch is the group epoch.
2. A static member that is away keeps its part of the target.

After org.apache.kafka.coordinator.group.modern.TargetAssignmentBuilder.
"""

from __future__ import annotations

from kstore.groups.assignors import ASSIGNORS, Subscriber
from kstore.groups.consumer.draft import Draft
from kstore.groups.describe import preferred_assignor
from kstore.groups.records import ConsumerGroupTarget, ConsumerGroupTargetEpoch
from kstore.groups.shard import Shard


def update_target(shard: Shard, draft: Draft) -> None:
    """Let the group's assignor assign, and prepare records for what changed."""
    group = draft.group
    assign = ASSIGNORS[preferred_assignor(shard, group)]
    members: dict[str, Subscriber] = {}
    counts: dict[bytes, int] = {}
    for member_id, member in group.members.items():
        names = group.topics_of(member.metadata) & shard.topics.keys()
        topics = [shard.topics[name] for name in names]
        counts.update((topic.topic_id, topic.partition_count) for topic in topics)
        known = group.target.get(member_id, {})
        subscribed = frozenset(topic.topic_id for topic in topics)
        members[member_id] = Subscriber(member.metadata.instance_id, subscribed, known)
    target = assign(members, dict(sorted(counts.items())))
    for member_id in members:
        if group.target.get(member_id) != target[member_id]:
            draft.add(ConsumerGroupTarget(group.group_id, member_id, target[member_id]))
    draft.add(ConsumerGroupTargetEpoch(group.group_id, group.group_epoch, shard.now_ms))
