"""Looking at groups from outside.

Owns the field tables of DescribeGroups, ListGroups and DeleteGroups; must not know what anyone does with them.
Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import (
    NO_OPERATIONS,
    Array,
    Bool,
    Bytes,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Struct,
    field,
)


class DescribeGroupsRequest(Request, api=15):
    """Asks for the state and members of groups."""

    groups: Array[String]
    include_authorized_operations: Bool = field(3, default=False)


class DescribedGroupMember(Struct):
    member_id: String
    group_instance_id: String | None = field(4, default=None, ignorable=True)
    client_id: String
    client_host: String
    member_metadata: Bytes
    member_assignment: Bytes


class DescribedGroup(Struct):
    error_code: Int16
    error_message: String | None = field(6, default=None)
    group_id: String
    group_state: String
    protocol_type: String
    protocol_data: String
    members: Array[DescribedGroupMember]
    authorized_operations: Int32 = field(3, default=NO_OPERATIONS)


class DescribeGroupsResponse(Response, api=15):
    """The groups, with what their members said in the group's own protocol."""

    throttle_time_ms: Int32 = field(1, default=0, ignorable=True)
    groups: Array[DescribedGroup]


class ListGroupsRequest(Request, api=16):
    """Asks a broker for the groups that it coordinates."""

    states_filter: Array[String] = field(4, default=())
    types_filter: Array[String] = field(5, default=())


class ListedGroup(Struct):
    group_id: String
    protocol_type: String
    group_state: String = field(4, default="", ignorable=True)
    group_type: String = field(5, default="", ignorable=True)


class ListGroupsResponse(Response, api=16):
    """The groups, their states and types."""

    throttle_time_ms: Int32 = field(1, default=0, ignorable=True)
    error_code: Int16
    groups: Array[ListedGroup]


class DeleteGroupsRequest(Request, api=42):
    """Removes empty groups and their offsets."""

    groups_names: Array[String]


class DeletableGroupResult(Struct):
    group_id: String
    error_code: Int16


class DeleteGroupsResponse(Response, api=42):
    """An error code for each group."""

    throttle_time_ms: Int32 = field(default=0)
    results: Array[DeletableGroupResult]
