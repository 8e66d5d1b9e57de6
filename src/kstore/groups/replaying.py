"""Records of `__consumer_offsets` into the state of a coordinator: at load, and for consumer groups after an append.

Owns what each record makes of the shard. Decides nothing and answers nobody. Called by `coordinator` and
`consumer.*`.

Invariants
1. Replaying the records of a partition in order gives the state that wrote them, but for what is soft: parked
   requests, pending members, deadlines.
2. A record that cannot be read is the caller's to report; it changes nothing.

After the replay methods of GroupMetadataManager and OffsetMetadataManager.
"""

from __future__ import annotations

from kstore.groups.classic.group import ClassicGroup, ClassicMember, State
from kstore.groups.consumer.group import ConsumerGroup
from kstore.groups.offsets import GroupMetadata, GroupState, OffsetCommit, OtherRecord
from kstore.groups.records import ConsumerGroupMetadata, ConsumerRecord, Decoded
from kstore.groups.requests import Protocol
from kstore.groups.shard import Shard
from kstore.groups.stored import Stored

_NO_PRODUCER = -1


def replay(shard: Shard, record: Decoded, offset: int, producer_id: int = _NO_PRODUCER) -> None:
    """Take in one record that stands at `offset`; `producer_id` is set where it is part of a transaction."""
    match record:
        case OffsetCommit():
            _replay_commit(shard, record, offset, producer_id)
        case GroupMetadata(group_id, None):
            if isinstance(shard.groups.get(group_id), ClassicGroup):
                del shard.groups[group_id]
        case GroupMetadata(group_id, state) if state is not None:
            shard.groups[group_id] = classic_from(group_id, state)
        case OtherRecord():
            pass  # a share or streams group, or something newer: not ours, and kept by compaction
        case _:
            replay_consumer(shard, record)  # type: ignore[arg-type]


def _replay_commit(shard: Shard, record: OffsetCommit, offset: int, producer_id: int) -> None:
    key, value = record
    place = (key.topic, key.partition)
    if value is None:
        shard.offsets.delete(key.group, place)
        return
    # Who commits without being a member has a simple group: an empty classic one without protocol type.
    shard.groups.setdefault(key.group, ClassicGroup(key.group))
    if producer_id == _NO_PRODUCER:
        shard.offsets.put(key.group, place, Stored(value, offset))
    else:
        shard.offsets.put_pending(producer_id, key.group, place, Stored(value, offset))


def classic_from(group_id: str, state: GroupState) -> ClassicGroup:
    """The group that a record describes: Stable with members, else Empty."""
    group = ClassicGroup(
        group_id,
        State.STABLE if state.members else State.EMPTY,
        state_timestamp_ms=state.state_timestamp_ms,
        generation=state.generation,
        protocol_type=state.protocol_type or None,
        protocol_name=state.protocol,
    )
    for stored in state.members:
        rebalance_ms = stored.session_timeout_ms if stored.rebalance_timeout_ms == -1 else stored.rebalance_timeout_ms
        member = ClassicMember(
            stored.member_id,
            stored.group_instance_id,
            stored.client_id,
            stored.client_host,
            rebalance_ms,
            stored.session_timeout_ms,
            state.protocol_type,
            (Protocol(state.protocol or "", stored.subscription),),
            stored.assignment,
        )
        group.add(member)
    group.leader_id = state.leader if state.leader in group.members else next(iter(group.members), None)
    group.subscribed_topics = group.read_subscriptions()
    return group


def replay_consumer(shard: Shard, record: ConsumerRecord) -> None:
    """Take in one record of a consumer group."""
    group = shard.groups.get(record.group)
    value = record[-1] if not isinstance(record, ConsumerGroupMetadata) else record.epoch
    if not isinstance(group, ConsumerGroup):
        if value is None or (group is not None and not group.is_empty):
            return  # a tombstone of what is not there, or leftovers under a classic group
        group = ConsumerGroup(record.group)
        shard.groups[record.group] = group
    if isinstance(record, ConsumerGroupMetadata) and record.epoch is None:
        del shard.groups[record.group]
    else:
        group.apply(record)
