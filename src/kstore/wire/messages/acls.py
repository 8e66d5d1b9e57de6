"""Who may do what.

Owns the field tables of DescribeAcls, CreateAcls and DeleteAcls; must not know what anyone does with them. Compiled
by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import Array, Int8, Int16, Int32, Request, Response, String, Struct, field


class DescribeAclsRequest(Request, api=29):
    """Asks for the ACLs that a filter matches."""

    resource_type_filter: Int8
    resource_name_filter: String | None
    pattern_type_filter: Int8 = field(default=3)
    principal_filter: String | None
    host_filter: String | None
    operation: Int8
    permission_type: Int8


class AclDescription(Struct):
    principal: String
    host: String
    operation: Int8
    permission_type: Int8


class DescribeAclsResource(Struct):
    resource_type: Int8
    resource_name: String
    pattern_type: Int8 = field(default=3)
    acls: Array[AclDescription]


class DescribeAclsResponse(Response, api=29):
    """The ACLs, by resource."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    error_message: String | None
    resources: Array[DescribeAclsResource]


class AclCreation(Struct):
    resource_type: Int8
    resource_name: String
    resource_pattern_type: Int8 = field(default=3)
    principal: String
    host: String
    operation: Int8
    permission_type: Int8


class CreateAclsRequest(Request, api=30):
    """Adds ACLs."""

    creations: Array[AclCreation]


class AclCreationResult(Struct):
    error_code: Int16
    error_message: String | None


class CreateAclsResponse(Response, api=30):
    """An error code for each ACL."""

    throttle_time_ms: Int32 = field(default=0)
    results: Array[AclCreationResult]


class DeleteAclsFilter(Struct):
    resource_type_filter: Int8
    resource_name_filter: String | None
    pattern_type_filter: Int8 = field(default=3)
    principal_filter: String | None
    host_filter: String | None
    operation: Int8
    permission_type: Int8


class DeleteAclsRequest(Request, api=31):
    """Removes the ACLs that filters match."""

    filters: Array[DeleteAclsFilter]


class DeleteAclsMatchingAcl(Struct):
    error_code: Int16
    error_message: String | None
    resource_type: Int8
    resource_name: String
    pattern_type: Int8 = field(default=3)
    principal: String
    host: String
    operation: Int8
    permission_type: Int8


class DeleteAclsFilterResult(Struct):
    error_code: Int16
    error_message: String | None
    matching_acls: Array[DeleteAclsMatchingAcl]


class DeleteAclsResponse(Response, api=31):
    """What each filter removed."""

    throttle_time_ms: Int32 = field(default=0)
    filter_results: Array[DeleteAclsFilterResult]
