"""Membership of groups whose broker assigns partitions (KIP-848).

Owns the field tables of ConsumerGroupHeartbeat and ConsumerGroupDescribe; must not know what anyone does with them.
Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import (
    NO_OPERATIONS,
    Array,
    Bool,
    Int8,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    field,
)


class ConsumerGroupHeartbeatRequestTopicPartitions(Struct):
    topic_id: Uuid
    partitions: Array[Int32]


class ConsumerGroupHeartbeatRequest(Request, api=68):
    """Joins, stays and leaves by one request; a null says that nothing changed."""

    group_id: String
    member_id: String
    member_epoch: Int32
    instance_id: String | None = field(default=None)
    rack_id: String | None = field(default=None)
    rebalance_timeout_ms: Int32 = field(default=-1)
    subscribed_topic_names: Array[String] | None = field(default=None)
    subscribed_topic_regex: String | None = field(1, default=None)
    server_assignor: String | None = field(default=None)
    topic_partitions: Array[ConsumerGroupHeartbeatRequestTopicPartitions] | None = field(default=None)


class ConsumerGroupHeartbeatResponseTopicPartitions(Struct):
    topic_id: Uuid
    partitions: Array[Int32]


class ConsumerGroupHeartbeatResponseAssignment(Struct):
    topic_partitions: Array[ConsumerGroupHeartbeatResponseTopicPartitions]


class ConsumerGroupHeartbeatResponse(Response, api=68):
    """The member's epoch, and its assignment when that changed."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    error_message: String | None = field(default=None)
    member_id: String | None = field(default=None)
    member_epoch: Int32
    heartbeat_interval_ms: Int32
    assignment: ConsumerGroupHeartbeatResponseAssignment | None = field(default=None)


class ConsumerGroupDescribeRequest(Request, api=69):
    """Asks for the state and members of groups."""

    group_ids: Array[String]
    include_authorized_operations: Bool


class ConsumerGroupDescribeResponseTopicPartitions(Struct):
    topic_id: Uuid
    topic_name: String
    partitions: Array[Int32]


class ConsumerGroupDescribeResponseAssignment(Struct):
    topic_partitions: Array[ConsumerGroupDescribeResponseTopicPartitions]


class Member(Struct):
    member_id: String
    instance_id: String | None = field(default=None)
    rack_id: String | None = field(default=None)
    member_epoch: Int32
    client_id: String
    client_host: String
    subscribed_topic_names: Array[String]
    subscribed_topic_regex: String | None = field(default=None)
    assignment: ConsumerGroupDescribeResponseAssignment
    target_assignment: ConsumerGroupDescribeResponseAssignment
    member_type: Int8 = field(1, default=-1, ignorable=True)


class DescribedGroup(Struct):
    error_code: Int16
    error_message: String | None = field(default=None)
    group_id: String
    group_state: String
    group_epoch: Int32
    assignment_epoch: Int32
    assignor_name: String
    members: Array[Member]
    authorized_operations: Int32 = field(default=NO_OPERATIONS)


class ConsumerGroupDescribeResponse(Response, api=69):
    """The groups; assignments as topic ids and partitions."""

    throttle_time_ms: Int32 = field(default=0)
    groups: Array[DescribedGroup]
