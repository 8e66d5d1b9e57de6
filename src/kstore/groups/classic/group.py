"""One classic group: members, protocol, leader, generation, state.

Owns the bookkeeping that a transition needs, and the checks that need nothing but the group. Starts no rebalance,
replies to nobody but through what it is given. Called by `classic.*`, `committed`, `describe` and `replaying`.

Invariants
1. The generation only grows while the group lives.
2. `leader_id` is a member's, or None when there is no member.
3. Every member supports `protocol_name` of the current generation: a join that would leave no common protocol is
   refused before it changes anything.
4. State moves only along `_FROM`.

After org.apache.kafka.coordinator.group.classic.ClassicGroup and ClassicGroupMember.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Final

from kstore.errors import InvariantError
from kstore.groups.codes import Code, Refused
from kstore.groups.offsets import GroupMember, GroupState
from kstore.groups.requests import Protocol
from kstore.groups.responses import JoinGroupMember
from kstore.primitives import Reader

CONSUMER_PROTOCOL: Final = "consumer"
"""The protocol type whose metadata names topics (ConsumerProtocol.PROTOCOL_TYPE)."""


class State(Enum):
    """Where a classic group stands; the values are Kafka's names."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


_FROM: Final = {
    State.EMPTY: {State.PREPARING_REBALANCE},
    State.PREPARING_REBALANCE: {State.STABLE, State.COMPLETING_REBALANCE, State.EMPTY},
    State.COMPLETING_REBALANCE: {State.PREPARING_REBALANCE},
    State.STABLE: {State.COMPLETING_REBALANCE},
    State.DEAD: set(State),
}


@dataclass(slots=True)
class ClassicMember:
    """A member; `join_token` and `sync_token` are its parked requests."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocol_type: str
    protocols: tuple[Protocol, ...]
    assignment: bytes = b""
    join_token: object | None = None
    sync_token: object | None = None
    is_new: bool = False
    """Joined for the first time and knows its id from no answer yet: it cannot heartbeat, so its join may expire."""

    @property
    def awaits(self) -> bool:
        """Whether a parked request stands for its heartbeats."""
        return not self.is_new and (self.join_token is not None or self.sync_token is not None)

    def metadata(self, protocol_name: str) -> bytes:
        """What the member said of itself in a protocol."""
        for protocol in self.protocols:
            if protocol.name == protocol_name:
                return protocol.metadata
        raise InvariantError(f"member {self.member_id} does not support protocol {protocol_name}")


@dataclass(slots=True)
class ClassicGroup:
    """A classic group; a simple group, which only ever committed offsets, is one without protocol type."""

    group_type: ClassVar[str] = "classic"

    group_id: str
    state: State = State.EMPTY
    previous_state: State | None = None
    state_timestamp_ms: int = -1
    """When the state was entered; -1 where an old record did not say."""
    generation: int = 0
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader_id: str | None = None
    members: dict[str, ClassicMember] = field(default_factory=dict)
    support: dict[str, int] = field(default_factory=dict)
    """How many members support a protocol, by name."""
    static_members: dict[str, str] = field(default_factory=dict)
    """Member id by instance id."""
    pending_join: set[str] = field(default_factory=set)
    """Ids that were given out with MEMBER_ID_REQUIRED and did not come back yet."""
    pending_sync: set[str] = field(default_factory=set)
    """Members of this generation whose SyncGroup has not come."""
    new_member_added: bool = False
    """Someone joined while the initial rebalance was delayed: delay it again."""
    subscribed_topics: frozenset[str] | None = None
    """What members of the protocol type "consumer" read; None where it is not known."""

    # -- looking --------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """No member: another protocol may take the group over, it may be deleted."""
        return self.state is State.EMPTY

    @property
    def state_name(self) -> str:
        """Kafka's word for the state."""
        return self.state.value

    @property
    def uses_consumer_protocol(self) -> bool:
        """Whether the members' metadata names topics."""
        return self.protocol_type == CONSUMER_PROTOCOL

    @property
    def awaiting_join(self) -> int:
        """Members whose JoinGroup is parked."""
        return sum(member.join_token is not None for member in self.members.values())

    @property
    def all_joined(self) -> bool:
        """Whether the join phase has nobody to wait for."""
        return not self.pending_join and self.awaiting_join == len(self.members)

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest that any member asked for."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether offsets of `topic` are in use: certain ignorance counts as yes."""
        if self.subscribed_topics is None:
            return self.uses_consumer_protocol
        return topic in self.subscribed_topics

    def supports(self, protocol_type: str, protocols: Iterable[Protocol]) -> bool:
        """Whether a member that offers `protocols` has one in common with all members."""
        names = [protocol.name for protocol in protocols]
        if self.state is State.EMPTY:
            return bool(protocol_type and names)
        count = len(self.members)
        return self.protocol_type == protocol_type and any(self.support.get(name, 0) == count for name in names)

    def validate_member(self, member_id: str, instance_id: str | None) -> None:
        """Raise `Refused` unless this is a member, and the one that holds its instance id (KIP-345)."""
        if instance_id is not None:
            holder = self.static_members.get(instance_id)
            if holder is None:
                raise Refused(Code.UNKNOWN_MEMBER_ID)
            if holder != member_id:
                raise Refused(Code.FENCED_INSTANCE_ID)
        if member_id not in self.members:
            raise Refused(Code.UNKNOWN_MEMBER_ID)

    def described_members(self) -> tuple[JoinGroupMember, ...]:
        """What the leader needs to assign."""
        name = self.protocol_name or ""
        return tuple(
            JoinGroupMember(member.member_id, member.instance_id, member.metadata(name))
            for member in self.members.values()
        )

    def as_stored(self, assignments: dict[str, bytes]) -> GroupState:
        """The value of the group's record (GroupCoordinatorRecordHelpers.newGroupMetadataRecord)."""
        members = tuple(
            GroupMember(
                member.member_id,
                member.instance_id,
                member.client_id,
                member.client_host,
                member.rebalance_timeout_ms,
                member.session_timeout_ms,
                member.metadata(self.protocol_name or ""),
                assignments.get(member.member_id, b""),
            )
            for member in self.members.values()
        )
        return GroupState(
            self.protocol_type or "",
            self.generation,
            self.protocol_name,
            self.leader_id,
            self.state_timestamp_ms,
            members,
        )

    def choose_protocol(self) -> str:
        """The common protocol with most votes: each member votes for the first common one of its list."""
        common = {name for name, count in self.support.items() if count == len(self.members)}
        votes: dict[str, int] = {}
        for member in self.members.values():
            choice = next((protocol.name for protocol in member.protocols if protocol.name in common), None)
            if choice is None:
                raise InvariantError(f"group {self.group_id} has no protocol in common")
            votes[choice] = votes.get(choice, 0) + 1
        # Kafka leaves a tie to the order of a hash map; here the one that was voted for first wins.
        return max(votes, key=lambda name: votes[name])

    # -- changing -------------------------------------------------------------------------------------------

    def move_to(self, state: State, now_ms: int) -> None:
        """Enter a state."""
        if self.state not in _FROM[state]:
            raise InvariantError(f"group {self.group_id} cannot go from {self.state.value} to {state.value}")
        self.previous_state, self.state, self.state_timestamp_ms = self.state, state, now_ms

    def add(self, member: ClassicMember) -> None:
        """Take a member in; the caller has checked that it fits."""
        if not self.members:
            self.protocol_type = member.protocol_type
        self.members[member.member_id] = member
        self._count(member, 1)
        if member.instance_id is not None:
            self.static_members[member.instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.pending_join.discard(member.member_id)

    def remove(self, member_id: str) -> None:
        """Let a member or a pending one go; the next in line leads where the leader went."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._count(member, -1)
            if member.instance_id is not None:
                self.static_members.pop(member.instance_id, None)
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        self.pending_join.discard(member_id)
        self.pending_sync.discard(member_id)

    def update(
        self, member: ClassicMember, protocols: tuple[Protocol, ...], rebalance_timeout_ms: int, session_timeout_ms: int
    ) -> None:
        """Take over what a member says of itself when it joins again."""
        self._count(member, -1)
        member.protocols = protocols
        self._count(member, 1)
        member.rebalance_timeout_ms, member.session_timeout_ms = rebalance_timeout_ms, session_timeout_ms

    def _count(self, member: ClassicMember, change: int) -> None:
        for name in {protocol.name for protocol in member.protocols}:
            self.support[name] = self.support.get(name, 0) + change

    def replace_static(self, old_id: str, new_id: str) -> ClassicMember:
        """Give a static member's place, assignment and leadership to a new member id."""
        old = self.members.pop(old_id)
        new = ClassicMember(
            new_id, old.instance_id, old.client_id, old.client_host, old.rebalance_timeout_ms, old.session_timeout_ms,
            old.protocol_type, old.protocols, old.assignment,
        )  # fmt: skip
        self.members[new_id] = new
        if old.instance_id is not None:
            self.static_members[old.instance_id] = new_id
        if self.leader_id == old_id:
            self.leader_id = new_id
        if old_id in self.pending_sync:
            self.pending_sync.remove(old_id)
            self.pending_sync.add(new_id)
        return new

    def elect_joined_leader(self) -> bool:
        """Keep the leader if it has rejoined, else take one who has; False when nobody has."""
        if self.leader_id is None:
            return False
        if self.members[self.leader_id].join_token is not None:
            return True
        joined = next((member for member in self.members.values() if member.join_token is not None), None)
        if joined is None:
            return False
        self.leader_id = joined.member_id
        return True

    def next_generation(self, now_ms: int) -> None:
        """Count the generation up: CompletingRebalance with a protocol, or Empty without members."""
        self.generation += 1
        self.pending_sync.clear()
        self.protocol_name = self.choose_protocol() if self.members else None
        self.subscribed_topics = self.read_subscriptions()
        self.move_to(State.COMPLETING_REBALANCE if self.members else State.EMPTY, now_ms)

    def read_subscriptions(self) -> frozenset[str] | None:
        """Topics that the members read, from the prefix that every version of the consumer protocol shares."""
        if not self.uses_consumer_protocol:
            return None
        if not self.members:
            return frozenset()
        if self.protocol_name is None:
            return None
        topics: set[str] = set()
        try:
            for member in self.members.values():
                reader = Reader(member.metadata(self.protocol_name))
                reader.int16()
                topics.update(reader.array(reader.string))
        except ValueError:
            return None
        return frozenset(topics)
