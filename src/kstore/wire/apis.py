"""Which APIs have tables, in which versions, and what of it a broker says it can.

Owns the numbers: keys, ranges, the first flexible version (KIP-482), the module of the tables. Must not import a
table; `layouts` does, when one is needed. Called by `layouts`, `codec` and everyone who speaks the protocol.

Invariants
1. A range is Kafka 4.2's, and every version of it has a table for request and response.
2. What is advertised lies within the range, but for the lower end of Produce.
"""

from __future__ import annotations

from typing import NamedTuple

from kstore.errors import UnsupportedVersion


class Api(NamedTuple):
    """One row: versions `first` to `last` have tables, those from `flexible` on carry tagged fields (None: none do)."""

    key: int
    name: str
    first: int
    last: int
    flexible: int | None
    module: str

    def is_flexible(self, version: int) -> bool:
        """Whether `version` has compact lengths and tagged fields."""
        return self.flexible is not None and version >= self.flexible

    def has(self, version: int) -> bool:
        """Whether `version` has a table."""
        return self.first <= version <= self.last

    def request_header(self, version: int) -> int:
        """The version of the header before a request (ApiMessageType.requestHeaderVersion)."""
        return 2 if self.is_flexible(version) else 1

    def response_header(self, version: int) -> int:
        """The version of the header before a response: always 0 for ApiVersions, so that a client can read the answer
        to a version that the broker does not know (KIP-511)."""
        return 1 if self.is_flexible(version) and self.key != API_VERSIONS else 0


PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
INIT_PRODUCER_ID, END_TXN, TXN_OFFSET_COMMIT = 22, 26, 28

# key, name, first and last version, first flexible version, module
_ROWS = (
    Api(0, "Produce", 3, 13, 9, "produce"),
    Api(1, "Fetch", 4, 18, 12, "fetch"),
    Api(2, "ListOffsets", 1, 11, 6, "offsets"),
    Api(3, "Metadata", 0, 13, 9, "metadata"),
    Api(8, "OffsetCommit", 2, 10, 8, "commits"),
    Api(9, "OffsetFetch", 1, 10, 6, "commits"),
    Api(10, "FindCoordinator", 0, 6, 3, "groups"),
    Api(11, "JoinGroup", 0, 9, 6, "groups"),
    Api(12, "Heartbeat", 0, 4, 4, "groups"),
    Api(13, "LeaveGroup", 0, 5, 4, "groups"),
    Api(14, "SyncGroup", 0, 5, 4, "groups"),
    Api(15, "DescribeGroups", 0, 6, 5, "group_admin"),
    Api(16, "ListGroups", 0, 5, 3, "group_admin"),
    Api(17, "SaslHandshake", 0, 1, None, "sessions"),
    Api(18, "ApiVersions", 0, 4, 3, "sessions"),
    Api(19, "CreateTopics", 2, 7, 5, "topics"),
    Api(20, "DeleteTopics", 1, 6, 4, "topics"),
    Api(21, "DeleteRecords", 0, 2, 2, "offsets"),
    Api(22, "InitProducerId", 0, 6, 2, "transactions"),
    Api(23, "OffsetForLeaderEpoch", 2, 4, 4, "offsets"),
    Api(24, "AddPartitionsToTxn", 0, 5, 3, "transactions"),
    Api(25, "AddOffsetsToTxn", 0, 4, 3, "transactions"),
    Api(26, "EndTxn", 0, 5, 3, "transactions"),
    Api(27, "WriteTxnMarkers", 1, 2, 1, "transactions"),
    Api(28, "TxnOffsetCommit", 0, 5, 3, "transactions"),
    Api(29, "DescribeAcls", 1, 3, 2, "acls"),
    Api(30, "CreateAcls", 1, 3, 2, "acls"),
    Api(31, "DeleteAcls", 1, 3, 2, "acls"),
    Api(32, "DescribeConfigs", 1, 4, 4, "configs"),
    Api(33, "AlterConfigs", 0, 2, 2, "configs"),
    Api(34, "AlterReplicaLogDirs", 1, 2, 2, "replicas"),
    Api(35, "DescribeLogDirs", 1, 5, 2, "replicas"),
    Api(36, "SaslAuthenticate", 0, 2, 2, "sessions"),
    Api(37, "CreatePartitions", 0, 3, 2, "topics"),
    Api(42, "DeleteGroups", 0, 2, 2, "group_admin"),
    Api(43, "ElectLeaders", 0, 2, 2, "replicas"),
    Api(44, "IncrementalAlterConfigs", 0, 1, 1, "configs"),
    Api(45, "AlterPartitionReassignments", 0, 1, 0, "replicas"),
    Api(46, "ListPartitionReassignments", 0, 0, 0, "replicas"),
    Api(47, "OffsetDelete", 0, 0, None, "commits"),
    Api(48, "DescribeClientQuotas", 0, 1, 1, "quotas"),
    Api(49, "AlterClientQuotas", 0, 1, 1, "quotas"),
    Api(50, "DescribeUserScramCredentials", 0, 0, 0, "quotas"),
    Api(51, "AlterUserScramCredentials", 0, 0, 0, "quotas"),
    Api(55, "DescribeQuorum", 0, 2, 0, "quorum"),
    Api(57, "UpdateFeatures", 0, 2, 0, "quorum"),
    Api(60, "DescribeCluster", 0, 2, 0, "metadata"),
    Api(61, "DescribeProducers", 0, 0, 0, "producers"),
    Api(65, "DescribeTransactions", 0, 0, 0, "producers"),
    Api(66, "ListTransactions", 0, 2, 0, "producers"),
    Api(68, "ConsumerGroupHeartbeat", 0, 1, 0, "consumer_groups"),
    Api(69, "ConsumerGroupDescribe", 0, 1, 0, "consumer_groups"),
    Api(74, "ListConfigResources", 0, 1, 0, "configs"),
    Api(75, "DescribeTopicPartitions", 0, 0, 0, "metadata"),
)
APIS: dict[int, Api] = {row.key: row for row in _ROWS}
BY_NAME: dict[str, Api] = {row.name: row for row in _ROWS}

# Where less is advertised than there are tables for, or more:
# - Produce 0 to 2 have no table, but librdkafka takes features for missing when they are not advertised (KAFKA-18659);
# - Produce 12, TxnOffsetCommit 5 and EndTxn 5 mean that the broker keeps transactions as KIP-890 has them;
# - InitProducerId 6 means that it takes part in two-phase commits (KIP-939).
_ADVERTISED = {PRODUCE: (0, 11), INIT_PRODUCER_ID: (0, 5), END_TXN: (0, 4), TXN_OFFSET_COMMIT: (0, 4)}


def api(key: int, version: int | None = None) -> Api:
    """The row of an API; `UnsupportedVersion` when there is none, or `version` lies outside."""
    row = APIS.get(key)
    if row is None:
        raise UnsupportedVersion(key, -1 if version is None else version, "kstore knows no such API")
    if version is not None and not row.has(version):
        raise UnsupportedVersion(key, version, f"{row.name} has versions {row.first} to {row.last} here")
    return row


def advertised(key: int) -> tuple[int, int]:
    """The first and last version that a broker offers of an API."""
    row = api(key)
    return _ADVERTISED.get(key, (row.first, row.last))
