"""One consumer group of KIP-848: what its records say, and what follows from them alone.

Owns epochs, members, target and current assignments and who owns which partition. State changes by `apply` and by
nothing else, the same for a record just committed and one read at load. Called by `consumer.*`, `committed`,
`describe` and `replaying`.

Invariants
1. A partition has at most one owner: a member gets it only while nobody holds it, not even to give it up (I16).
2. Group, assignment and member epochs never go back while the group lives.
3. The state after a record is a function of the records so far.

After org.apache.kafka.coordinator.group.modern.consumer.ConsumerGroup and the replay methods of
GroupMetadataManager.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, Final

from kstore.groups.codes import Code, Refused
from kstore.groups.effects import Record, Topic
from kstore.groups.records import (
    NO_PARTITIONS,
    ConsumerGroupCurrent,
    ConsumerGroupMember,
    ConsumerGroupMetadata,
    ConsumerGroupPartitionMetadata,
    ConsumerGroupRegex,
    ConsumerGroupTarget,
    ConsumerGroupTargetEpoch,
    ConsumerRecord,
    CurrentAssignment,
    MemberMetadata,
    ResolvedRegex,
    encode,
)

LEAVE: Final = -1
"""The member epoch of a member that is going (ConsumerGroupHeartbeatRequest.LEAVE_GROUP_MEMBER_EPOCH)."""
LEAVE_STATIC: Final = -2
"""The member epoch of a static member that will be back (LEAVE_GROUP_STATIC_MEMBER_EPOCH)."""
FIRST_EPOCH: Final = 1
"""The epoch of a group before anyone subscribed; the first member's makes it 2, as in Kafka 4.3."""
_COMMIT_VERSION_MIN = 9
"""The first OffsetCommit that carries a member epoch."""


class MemberState(IntEnum):
    """How far a member is from its target; the numbers stand in records (Kafka's MemberState)."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    UNRELEASED_PARTITIONS = 2
    UNKNOWN = 127


NO_METADATA: Final = MemberMetadata(None, None, "", "", (), None, -1, None)
NO_ASSIGNMENT: Final = CurrentAssignment(0, 0, MemberState.STABLE, NO_PARTITIONS, NO_PARTITIONS)


@dataclass(frozen=True, slots=True)
class ConsumerMember:
    """A member: what it says of itself, and what it owns."""

    member_id: str
    metadata: MemberMetadata = NO_METADATA
    current: CurrentAssignment = NO_ASSIGNMENT

    @property
    def epoch(self) -> int:
        """The epoch that its next heartbeat has to carry."""
        return self.current.member_epoch

    def is_reconciled_to(self, epoch: int) -> bool:
        """Whether it owns exactly what the target assignment of `epoch` gives it."""
        return self.current.state == MemberState.STABLE and self.epoch == epoch


@dataclass(slots=True)
class ConsumerGroup:
    """A consumer group."""

    group_type: ClassVar[str] = "consumer"

    group_id: str
    group_epoch: int = FIRST_EPOCH
    metadata_hash: int = 0
    creation_time_ms: int = -1
    assignment_epoch: int = FIRST_EPOCH
    members: dict[str, ConsumerMember] = field(default_factory=dict)
    static_members: dict[str, str] = field(default_factory=dict)
    """Member id by instance id."""
    target: dict[str, Mapping[bytes, tuple[int, ...]]] = field(default_factory=dict)
    regexes: dict[str, ResolvedRegex] = field(default_factory=dict)
    owners: dict[tuple[bytes, int], str] = field(default_factory=dict)
    """Who holds a partition, to use it or still to give it up."""
    topics_seen: int = -1
    """`Shard.topics_version` of the last look at the topics: soft state, so that a reload looks again."""

    # -- looking --------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """No member, not even a static one that is away."""
        return not self.members

    @property
    def state_name(self) -> str:
        """Kafka's word for the state."""
        if not self.members:
            return "Empty"
        if self.group_epoch > self.assignment_epoch:
            return "Assigning"
        if all(member.is_reconciled_to(self.assignment_epoch) for member in self.members.values()):
            return "Stable"
        return "Reconciling"

    def topics_of(self, metadata: MemberMetadata) -> set[str]:
        """Topics that a member reads: by name and by its regular expression, as last resolved."""
        topics = set(metadata.subscribed_topic_names)
        resolved = self.regexes.get(metadata.subscribed_topic_regex or "")
        return topics if resolved is None else topics.union(resolved.topics)

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether a member reads `topic`."""
        return any(topic in self.topics_of(member.metadata) for member in self.members.values())

    def member(self, member_id: str) -> ConsumerMember:
        """The member of that id, or `Refused` with UNKNOWN_MEMBER_ID."""
        found = self.members.get(member_id)
        if found is None:
            raise Refused(Code.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}.")
        return found

    def static_member(self, instance_id: str) -> ConsumerMember | None:
        """Who holds an instance id."""
        return self.members.get(self.static_members.get(instance_id, ""))

    def validate_commit(
        self,
        member_id: str,
        epoch: int,
        api_version: int,
        places: Iterable[tuple[str, bytes | None, int]],
        topics: Mapping[str, Topic],
    ) -> None:
        """Whether a commit of `epoch` for `places` (topic, topic id, partition) counts.

        A commit that was on its way when the member's epoch moved on still counts for partitions that the member
        has had since (KIP-1251); for any other it is STALE_MEMBER_EPOCH.
        """
        if epoch < 0 and not self.members:
            return
        member = self.member(member_id)
        is_classic = member.metadata.classic is not None
        if not is_classic and api_version < _COMMIT_VERSION_MIN:
            raise Refused(Code.UNSUPPORTED_VERSION)
        if epoch == member.epoch:
            return
        stale = Refused(Code.ILLEGAL_GENERATION if is_classic else Code.STALE_MEMBER_EPOCH)
        if epoch < 0 or epoch > member.epoch:
            raise stale
        for name, topic_id, partition in places:
            known = topics.get(name)
            found = topic_id if topic_id is not None else None if known is None else known.topic_id
            if found is None:
                raise stale
            since = member.current.assigned.get(found, {}).get(partition)
            if since is None:
                since = member.current.pending_revocation.get(found, {}).get(partition)
            if since is None or since > epoch:
                raise stale

    def validate_fetch(self, member_id: str | None, epoch: int) -> None:
        """Whether OffsetFetch by this member is up to date; one that names no member always is."""
        if member_id is None and epoch < 0:
            return
        member = self.member(member_id or "")
        if epoch != member.epoch:
            is_classic = member.metadata.classic is not None
            raise Refused(Code.ILLEGAL_GENERATION if is_classic else Code.STALE_MEMBER_EPOCH)

    def tombstones(self) -> list[Record]:
        """Records that delete the group, in the order in which Kafka can replay them."""
        group, members = self.group_id, list(self.members)
        records: list[ConsumerRecord] = [ConsumerGroupCurrent(group, member, None) for member in members]
        records += [ConsumerGroupTarget(group, member, None) for member in {**self.members, **self.target}]
        records.append(ConsumerGroupTargetEpoch(group, None))
        records += [ConsumerGroupMember(group, member, None) for member in members]
        records += [ConsumerGroupRegex(group, regex, None) for regex in self.regexes]
        records.append(ConsumerGroupPartitionMetadata(group, None))
        records.append(ConsumerGroupMetadata(group, None))
        return [encode(record) for record in records]

    def copy(self) -> ConsumerGroup:
        """A group that can change without this one; members and assignments are shared, they never change."""
        return ConsumerGroup(
            self.group_id,
            self.group_epoch,
            self.metadata_hash,
            self.creation_time_ms,
            self.assignment_epoch,
            dict(self.members),
            dict(self.static_members),
            dict(self.target),
            dict(self.regexes),
            dict(self.owners),
            self.topics_seen,
        )

    # -- changing -------------------------------------------------------------------------------------------

    def apply(self, record: ConsumerRecord) -> None:
        """Take in one record of this group; the deletion of the group itself is not for it to do."""
        match record:
            case ConsumerGroupMetadata(_, epoch, metadata_hash, creation_ms) if epoch is not None:
                self.group_epoch, self.metadata_hash, self.creation_time_ms = epoch, metadata_hash, creation_ms
            case ConsumerGroupMember(_, member_id, None):
                self._remove(member_id)
            case ConsumerGroupMember(_, member_id, metadata) if metadata is not None:
                known = self.members.get(member_id)
                current = NO_ASSIGNMENT if known is None else known.current
                self._put(ConsumerMember(member_id, metadata, current))
            case ConsumerGroupTargetEpoch(_, epoch):
                self.assignment_epoch = LEAVE if epoch is None else epoch
            case ConsumerGroupTarget(_, member_id, None):
                self.target.pop(member_id, None)
            case ConsumerGroupTarget(_, member_id, partitions) if partitions is not None:
                self.target[member_id] = partitions
            case ConsumerGroupCurrent(_, member_id, None):
                # The member itself goes with its metadata's tombstone; from here on it owns nothing.
                if member_id in self.members:
                    gone = CurrentAssignment(LEAVE, LEAVE, MemberState.STABLE, NO_PARTITIONS, NO_PARTITIONS)
                    self._put(ConsumerMember(member_id, self.members[member_id].metadata, gone))
            case ConsumerGroupCurrent(_, member_id, current) if current is not None:
                known = self.members.get(member_id)
                metadata = NO_METADATA if known is None else known.metadata
                self._put(ConsumerMember(member_id, metadata, current))
            case ConsumerGroupRegex(_, regex, None):
                self.regexes.pop(regex, None)
            case ConsumerGroupRegex(_, regex, resolved) if resolved is not None:
                self.regexes[regex] = resolved

    def _put(self, member: ConsumerMember) -> None:
        self._release(member.member_id)
        self.members[member.member_id] = member
        if member.metadata.instance_id is not None:
            self.static_members[member.metadata.instance_id] = member.member_id
        for partitions in (member.current.assigned, member.current.pending_revocation):
            for topic_id, numbers in partitions.items():
                for number in numbers:
                    self.owners[topic_id, number] = member.member_id

    def _remove(self, member_id: str) -> None:
        self._release(member_id)
        member = self.members.pop(member_id, None)
        instance_id = None if member is None else member.metadata.instance_id
        if instance_id is not None and self.static_members.get(instance_id) == member_id:
            del self.static_members[instance_id]

    def _release(self, member_id: str) -> None:
        member = self.members.get(member_id)
        if member is None:
            return
        for partitions in (member.current.assigned, member.current.pending_revocation):
            for topic_id, numbers in partitions.items():
                for number in numbers:
                    if self.owners.get((topic_id, number)) == member_id:
                        del self.owners[topic_id, number]
