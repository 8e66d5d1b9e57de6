"""Membership of classic groups.

Owns the field tables of FindCoordinator, JoinGroup, SyncGroup, Heartbeat and LeaveGroup; must not know what anyone
does with them. Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import Array, Bool, Bytes, Int8, Int16, Int32, Request, Response, String, Struct, field


class FindCoordinatorRequest(Request, api=10):
    """Asks which broker coordinates a group or a transactional id."""

    key: String = field(0, 3, default="")
    key_type: Int8 = field(1, default=0)
    coordinator_keys: Array[String] = field(4, default=())


class Coordinator(Struct):
    key: String
    node_id: Int32
    host: String
    port: Int32
    error_code: Int16
    error_message: String | None


class FindCoordinatorResponse(Response, api=10):
    """The coordinators."""

    throttle_time_ms: Int32 = field(1, default=0, ignorable=True)
    error_code: Int16 = field(0, 3, default=0)
    error_message: String | None = field(1, 3, default="", ignorable=True)
    node_id: Int32 = field(0, 3, default=0)
    host: String = field(0, 3, default="")
    port: Int32 = field(0, 3, default=0)
    coordinators: Array[Coordinator] = field(4, default=())


class JoinGroupRequestProtocol(Struct):
    name: String
    metadata: Bytes


class JoinGroupRequest(Request, api=11):
    """Joins a group, or joins again when it rebalances."""

    group_id: String
    session_timeout_ms: Int32
    rebalance_timeout_ms: Int32 = field(1, default=-1, ignorable=True)
    member_id: String
    group_instance_id: String | None = field(5, default=None)
    protocol_type: String
    protocols: Array[JoinGroupRequestProtocol]
    reason: String | None = field(8, default=None, ignorable=True)


class JoinGroupResponseMember(Struct):
    member_id: String
    group_instance_id: String | None = field(5, default=None, ignorable=True)
    metadata: Bytes


class JoinGroupResponse(Response, api=11):
    """The generation; the leader also gets the members."""

    throttle_time_ms: Int32 = field(2, default=0, ignorable=True)
    error_code: Int16
    generation_id: Int32 = field(default=-1)
    protocol_type: String | None = field(7, default=None, ignorable=True)
    protocol_name: String | None = field(nullable=7)
    leader: String
    skip_assignment: Bool = field(9, default=False)
    member_id: String
    members: Array[JoinGroupResponseMember]


class SyncGroupRequestAssignment(Struct):
    member_id: String
    assignment: Bytes


class SyncGroupRequest(Request, api=14):
    """Asks for the member's assignment; the leader's brings those of all."""

    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: String | None = field(3, default=None)
    protocol_type: String | None = field(5, default=None, ignorable=True)
    protocol_name: String | None = field(5, default=None, ignorable=True)
    assignments: Array[SyncGroupRequestAssignment]


class SyncGroupResponse(Response, api=14):
    """The member's assignment."""

    throttle_time_ms: Int32 = field(1, default=0, ignorable=True)
    error_code: Int16
    protocol_type: String | None = field(5, default=None, ignorable=True)
    protocol_name: String | None = field(5, default=None, ignorable=True)
    assignment: Bytes


class HeartbeatRequest(Request, api=12):
    """Says that a member is alive."""

    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: String | None = field(3, default=None)


class HeartbeatResponse(Response, api=12):
    """Whether the member must join again."""

    throttle_time_ms: Int32 = field(1, default=0, ignorable=True)
    error_code: Int16


class MemberIdentity(Struct):
    member_id: String
    group_instance_id: String | None = field(default=None)
    reason: String | None = field(5, default=None, ignorable=True)


class LeaveGroupRequest(Request, api=13):
    """Takes members out of a group."""

    group_id: String
    member_id: String = field(0, 2, default="")
    members: Array[MemberIdentity] = field(3, default=())


class MemberResponse(Struct):
    member_id: String
    group_instance_id: String | None
    error_code: Int16


class LeaveGroupResponse(Response, api=13):
    """An error code for each member."""

    throttle_time_ms: Int32 = field(1, default=0, ignorable=True)
    error_code: Int16
    members: Array[MemberResponse] = field(3, default=())
