"""Where replicas lie, which one leads, and moving them.

Owns the field tables of DescribeLogDirs, AlterReplicaLogDirs, ElectLeaders and partition reassignments; must not know
what anyone does with them. Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a
table reads.
"""

from __future__ import annotations

from kstore.wire.schema import Array, Bool, Int8, Int16, Int32, Int64, Request, Response, String, Struct, field


class DescribableLogDirTopic(Struct):
    topic: String
    partitions: Array[Int32]


class DescribeLogDirsRequest(Request, api=35):
    """Asks what lies in the log directories of a broker."""

    topics: Array[DescribableLogDirTopic] | None


class DescribeLogDirsPartition(Struct):
    partition_index: Int32
    partition_size: Int64
    offset_lag: Int64
    is_future_key: Bool


class DescribeLogDirsTopic(Struct):
    name: String
    partitions: Array[DescribeLogDirsPartition]


class DescribeLogDirsResult(Struct):
    error_code: Int16
    log_dir: String
    topics: Array[DescribeLogDirsTopic]
    total_bytes: Int64 = field(4, default=-1, ignorable=True)
    usable_bytes: Int64 = field(4, default=-1, ignorable=True)
    is_cordoned: Bool = field(5, default=False, ignorable=True)


class DescribeLogDirsResponse(Response, api=35):
    """Directories, and the replicas in them with their sizes."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16 = field(3, default=0, ignorable=True)
    results: Array[DescribeLogDirsResult]


class AlterReplicaLogDirTopic(Struct):
    name: String
    partitions: Array[Int32]


class AlterReplicaLogDir(Struct):
    path: String
    topics: Array[AlterReplicaLogDirTopic]


class AlterReplicaLogDirsRequest(Request, api=34):
    """Moves replicas of a broker to other log directories (KIP-113)."""

    dirs: Array[AlterReplicaLogDir]


class AlterReplicaLogDirPartitionResult(Struct):
    partition_index: Int32
    error_code: Int16


class AlterReplicaLogDirTopicResult(Struct):
    topic_name: String
    partitions: Array[AlterReplicaLogDirPartitionResult]


class AlterReplicaLogDirsResponse(Response, api=34):
    """An error code for each partition."""

    throttle_time_ms: Int32 = field(default=0)
    results: Array[AlterReplicaLogDirTopicResult]


class TopicPartitions(Struct):
    topic: String
    partitions: Array[Int32]


class ElectLeadersRequest(Request, api=43):
    """Has leaders elected anew, the preferred ones or any (KIP-460)."""

    election_type: Int8 = field(1, default=0)
    topic_partitions: Array[TopicPartitions] | None
    timeout_ms: Int32 = field(default=60000)


class PartitionResult(Struct):
    partition_id: Int32
    error_code: Int16
    error_message: String | None


class ReplicaElectionResult(Struct):
    topic: String
    partition_result: Array[PartitionResult]


class ElectLeadersResponse(Response, api=43):
    """An error code for each partition."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16 = field(1, default=0)
    replica_election_results: Array[ReplicaElectionResult]


class ReassignablePartition(Struct):
    partition_index: Int32
    replicas: Array[Int32] | None = field(default=None)


class ReassignableTopic(Struct):
    name: String
    partitions: Array[ReassignablePartition]


class AlterPartitionReassignmentsRequest(Request, api=45):
    """Moves partitions to other brokers, or stops a move (KIP-455)."""

    timeout_ms: Int32 = field(default=60000)
    allow_replication_factor_change: Bool = field(1, default=True)
    topics: Array[ReassignableTopic]


class ReassignablePartitionResponse(Struct):
    partition_index: Int32
    error_code: Int16
    error_message: String | None


class ReassignableTopicResponse(Struct):
    name: String
    partitions: Array[ReassignablePartitionResponse]


class AlterPartitionReassignmentsResponse(Response, api=45):
    """An error code for each partition."""

    throttle_time_ms: Int32 = field(default=0)
    allow_replication_factor_change: Bool = field(1, default=True, ignorable=True)
    error_code: Int16
    error_message: String | None
    responses: Array[ReassignableTopicResponse]


class ListPartitionReassignmentsTopics(Struct):
    name: String
    partition_indexes: Array[Int32]


class ListPartitionReassignmentsRequest(Request, api=46):
    """Asks for the moves that are under way (KIP-455)."""

    timeout_ms: Int32 = field(default=60000)
    topics: Array[ListPartitionReassignmentsTopics] | None = field(default=None)


class OngoingPartitionReassignment(Struct):
    partition_index: Int32
    replicas: Array[Int32]
    adding_replicas: Array[Int32]
    removing_replicas: Array[Int32]


class OngoingTopicReassignment(Struct):
    name: String
    partitions: Array[OngoingPartitionReassignment]


class ListPartitionReassignmentsResponse(Response, api=46):
    """The partitions, with replicas that come and go."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    error_message: String | None
    topics: Array[OngoingTopicReassignment]
