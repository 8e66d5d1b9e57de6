"""Kafka's error codes: number, name, whether a retry may help, and a sentence.

Owns the table (org.apache.kafka.common.protocol.Errors, as of Kafka 4.2; the sentences are ours), and which code a
failure of kstore's gets. Must not know what a handler does with it. Called by handlers and by clients.

Invariants
1. Codes in messages stay plain integers: a code that is not in the table is read and passed on like any other.
2. Every exception has a code; -1 is for those that no peer can do anything about.
"""

from __future__ import annotations

from typing import NamedTuple

from kstore.errors import KStoreError


class ErrorCode(NamedTuple):
    """One row of the table."""

    code: int
    name: str
    retriable: bool
    message: str


# number, r when the same request may succeed later, name, sentence
_TABLE = """
  -1 - UNKNOWN_SERVER_ERROR: The broker met an error that has no code of its own.
   0 - NONE: Success.
   1 - OFFSET_OUT_OF_RANGE: The partition holds no such offset: it was deleted, or was never written.
   2 r CORRUPT_MESSAGE: A batch fails its checksum, its size limit, or has no key in a compacted topic.
   3 r UNKNOWN_TOPIC_OR_PARTITION: This broker has no such topic or partition.
   4 - INVALID_FETCH_SIZE: The fetch asks for an impossible number of bytes.
   5 r LEADER_NOT_AVAILABLE: The partition has no leader at the moment; one is being elected.
   6 r NOT_LEADER_OR_FOLLOWER: This broker does not lead the partition, or has no replica of it.
   7 r REQUEST_TIMED_OUT: The request took longer than it allowed.
   8 - BROKER_NOT_AVAILABLE: The broker is not available.
   9 r REPLICA_NOT_AVAILABLE: The replica is not available.
  10 - MESSAGE_TOO_LARGE: A batch is above max.message.bytes.
  11 - STALE_CONTROLLER_EPOCH: Another controller has taken over.
  12 - OFFSET_METADATA_TOO_LARGE: The metadata of a committed offset is above offset.metadata.max.bytes.
  13 r NETWORK_EXCEPTION: The connection ended before the answer came.
  14 r COORDINATOR_LOAD_IN_PROGRESS: The coordinator is still reading its state.
  15 r COORDINATOR_NOT_AVAILABLE: There is no coordinator at the moment.
  16 r NOT_COORDINATOR: Another broker is the coordinator.
  17 - INVALID_TOPIC_EXCEPTION: No topic may have that name, or a client may not write to it.
  18 - RECORD_LIST_TOO_LARGE: A batch is larger than a segment.
  19 r NOT_ENOUGH_REPLICAS: Fewer replicas are in sync than min.insync.replicas; nothing was written.
  20 r NOT_ENOUGH_REPLICAS_AFTER_APPEND: The batch was written, but to fewer replicas than min.insync.replicas.
  21 - INVALID_REQUIRED_ACKS: acks is -1, 0 or 1.
  22 - ILLEGAL_GENERATION: The group is in another generation.
  23 - INCONSISTENT_GROUP_PROTOCOL: The member shares no protocol with the rest of its group.
  24 - INVALID_GROUP_ID: No group may have that id.
  25 - UNKNOWN_MEMBER_ID: The group has no such member.
  26 - INVALID_SESSION_TIMEOUT: The session timeout is outside group.{min,max}.session.timeout.ms.
  27 - REBALANCE_IN_PROGRESS: The group rebalances: join again.
  28 - INVALID_COMMIT_OFFSET_SIZE: The commit is too large to be stored.
  29 - TOPIC_AUTHORIZATION_FAILED: The principal may not do this to the topic.
  30 - GROUP_AUTHORIZATION_FAILED: The principal may not do this to the group.
  31 - CLUSTER_AUTHORIZATION_FAILED: The principal may not do this to the cluster.
  32 - INVALID_TIMESTAMP: A record's time is too far from the broker's.
  33 - UNSUPPORTED_SASL_MECHANISM: The broker does not have that mechanism.
  34 - ILLEGAL_SASL_STATE: The request does not fit the state of the authentication.
  35 - UNSUPPORTED_VERSION: The broker does not know that version of the API.
  36 - TOPIC_ALREADY_EXISTS: There is a topic of that name.
  37 - INVALID_PARTITIONS: A topic has one partition at least, and never fewer than it had.
  38 - INVALID_REPLICATION_FACTOR: The replication factor is below 1 or above the number of brokers.
  39 - INVALID_REPLICA_ASSIGNMENT: The assignment names no possible set of replicas.
  40 - INVALID_CONFIG: A configuration is unknown or its value does not fit.
  41 r NOT_CONTROLLER: Another broker is the controller.
  42 - INVALID_REQUEST: The request contradicts itself, or its bytes are no such request.
  43 - UNSUPPORTED_FOR_MESSAGE_FORMAT: The stored message format cannot answer the request.
  44 - POLICY_VIOLATION: The broker's policy forbids it.
  45 - OUT_OF_ORDER_SEQUENCE_NUMBER: A batch before this one of the same producer is missing.
  46 - DUPLICATE_SEQUENCE_NUMBER: The batch was written before; its offsets are forgotten.
  47 - INVALID_PRODUCER_EPOCH: A newer instance of the producer has written to the partition.
  48 - INVALID_TXN_STATE: The transaction is in a state that does not allow this.
  49 - INVALID_PRODUCER_ID_MAPPING: The transactional id belongs to another producer id.
  50 - INVALID_TRANSACTION_TIMEOUT: The transaction's timeout is above transaction.max.timeout.ms.
  51 r CONCURRENT_TRANSACTIONS: The transaction before is still being completed.
  52 - TRANSACTION_COORDINATOR_FENCED: A newer transaction coordinator has taken over.
  53 - TRANSACTIONAL_ID_AUTHORIZATION_FAILED: The principal may not use the transactional id.
  54 - SECURITY_DISABLED: The broker has no authorizer.
  55 - OPERATION_NOT_ATTEMPTED: Another part of the request failed before this one's turn.
  56 r KAFKA_STORAGE_ERROR: The broker's disk failed.
  57 - LOG_DIR_NOT_FOUND: The broker has no such log directory.
  58 - SASL_AUTHENTICATION_FAILED: The credentials are wrong.
  59 - UNKNOWN_PRODUCER_ID: The partition knows nothing of the producer, probably because its records were deleted.
  60 - REASSIGNMENT_IN_PROGRESS: The partition is being moved.
  61 - DELEGATION_TOKEN_AUTH_DISABLED: The broker has no delegation tokens.
  62 - DELEGATION_TOKEN_NOT_FOUND: There is no such delegation token.
  63 - DELEGATION_TOKEN_OWNER_MISMATCH: The principal neither owns nor renews the delegation token.
  64 - DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: Delegation tokens are not dealt with on this kind of connection.
  65 - DELEGATION_TOKEN_AUTHORIZATION_FAILED: The principal may not do this to the delegation token.
  66 - DELEGATION_TOKEN_EXPIRED: The delegation token has expired.
  67 - INVALID_PRINCIPAL_TYPE: There is no such type of principal.
  68 - NON_EMPTY_GROUP: The group has members.
  69 - GROUP_ID_NOT_FOUND: There is no such group.
  70 r FETCH_SESSION_ID_NOT_FOUND: The fetch session was evicted or never was.
  71 r INVALID_FETCH_SESSION_EPOCH: The request is not the next one of its fetch session.
  72 r LISTENER_NOT_FOUND: The leader has no listener of the name that this request came through.
  73 - TOPIC_DELETION_DISABLED: delete.topic.enable is false.
  74 r FENCED_LEADER_EPOCH: The request's leader epoch is older than the partition's.
  75 r UNKNOWN_LEADER_EPOCH: The request's leader epoch is newer than the partition's.
  76 - UNSUPPORTED_COMPRESSION_TYPE: The version of the request cannot carry batches of that codec.
  77 - STALE_BROKER_EPOCH: The broker has registered anew since.
  78 r OFFSET_NOT_AVAILABLE: The leader is new and does not know its high watermark yet.
  79 - MEMBER_ID_REQUIRED: Join again with the member id in this answer.
  80 r PREFERRED_LEADER_NOT_AVAILABLE: The preferred leader is not available.
  81 - GROUP_MAX_SIZE_REACHED: The group has group.max.size members.
  82 - FENCED_INSTANCE_ID: Another member has taken the group.instance.id.
  83 r ELIGIBLE_LEADERS_NOT_AVAILABLE: No replica that may lead is available.
  84 r ELECTION_NOT_NEEDED: The partition has the leader that was asked for.
  85 - NO_REASSIGNMENT_IN_PROGRESS: The partition is not being moved.
  86 - GROUP_SUBSCRIBED_TO_TOPIC: The group reads the topic: its offsets stay.
  87 - INVALID_RECORD: The broker refuses a record.
  88 r UNSTABLE_OFFSET_COMMIT: A transaction has offsets in flight; ask again.
  89 r THROTTLING_QUOTA_EXCEEDED: The quota is used up; ask again later.
  90 - PRODUCER_FENCED: A newer producer has taken the transactional id.
  91 - RESOURCE_NOT_FOUND: There is no such resource.
  92 - DUPLICATE_RESOURCE: The request names a resource twice.
  93 - UNACCEPTABLE_CREDENTIAL: The credential does not meet the broker's demands.
  94 - INCONSISTENT_VOTER_SET: One of both sides is no voter of the quorum.
  95 - INVALID_UPDATE_VERSION: The state was changed by someone else in between.
  96 - FEATURE_UPDATE_FAILED: The features could not be changed.
  97 - PRINCIPAL_DESERIALIZATION_FAILURE: The principal of a forwarded request cannot be read.
  98 - SNAPSHOT_NOT_FOUND: There is no such snapshot.
  99 - POSITION_OUT_OF_RANGE: The position lies outside the snapshot.
 100 r UNKNOWN_TOPIC_ID: This broker has no topic of that id.
 101 - DUPLICATE_BROKER_REGISTRATION: Another broker has that id.
 102 - BROKER_ID_NOT_REGISTERED: No broker of that id is registered.
 103 r INCONSISTENT_TOPIC_ID: The log belongs to a topic of another id.
 104 - INCONSISTENT_CLUSTER_ID: The broker belongs to another cluster.
 105 - TRANSACTIONAL_ID_NOT_FOUND: The coordinator does not know the transactional id.
 106 r FETCH_SESSION_TOPIC_ID_ERROR: The fetch session names topics by id and by name.
 107 - INELIGIBLE_REPLICA: A replica of the new ISR may not be in it.
 108 - NEW_LEADER_ELECTED: The change was made, and the partition has another leader now.
 109 - OFFSET_MOVED_TO_TIERED_STORAGE: The offset is in tiered storage only.
 110 - FENCED_MEMBER_EPOCH: The coordinator fenced the member: give up all partitions and join again.
 111 - UNRELEASED_INSTANCE_ID: Another member still has the instance id.
 112 - UNSUPPORTED_ASSIGNOR: The group does not have that assignor.
 113 - STALE_MEMBER_EPOCH: The member's epoch is old: take the new one from its heartbeat.
 114 - MISMATCHED_ENDPOINT_TYPE: The request went to a broker instead of a controller, or the reverse.
 115 - UNSUPPORTED_ENDPOINT_TYPE: There is no such type of endpoint here.
 116 - UNKNOWN_CONTROLLER_ID: There is no controller of that id.
 117 - UNKNOWN_SUBSCRIPTION_ID: The telemetry belongs to no subscription, or to an old one.
 118 - TELEMETRY_TOO_LARGE: The telemetry is larger than the broker takes.
 119 - INVALID_REGISTRATION: The controller refuses the broker's registration.
 120 - TRANSACTION_ABORTABLE: Abort the transaction; the transactional id stays of use.
 121 - INVALID_RECORD_STATE: The record cannot be acknowledged in its state.
 122 r SHARE_SESSION_NOT_FOUND: There is no such share session.
 123 r INVALID_SHARE_SESSION_EPOCH: The request is not the next one of its share session.
 124 - FENCED_STATE_EPOCH: The share group's state has another epoch.
 125 - INVALID_VOTER_KEY: The voter's key is not the replica's.
 126 - DUPLICATE_VOTER: The quorum has that voter.
 127 - VOTER_NOT_FOUND: The quorum has no such voter.
 128 - INVALID_REGULAR_EXPRESSION: The regular expression cannot be read.
 129 - REBOOTSTRAP_REQUIRED: The client's metadata is of no use: begin with the bootstrap servers.
 130 - STREAMS_INVALID_TOPOLOGY: The topology is not valid.
 131 - STREAMS_INVALID_TOPOLOGY_EPOCH: The topology's epoch is not valid.
 132 - STREAMS_TOPOLOGY_FENCED: The topology's epoch is old.
 133 r SHARE_SESSION_LIMIT_REACHED: The broker has as many share sessions as it takes.
"""


def _row(line: str) -> ErrorCode:
    number, retriable, rest = line.split(maxsplit=2)
    name, message = rest.split(": ", 1)
    return ErrorCode(int(number), name, retriable == "r", message)


BY_CODE: dict[int, ErrorCode] = {row.code: row for row in map(_row, _TABLE.strip().splitlines())}
BY_NAME: dict[str, ErrorCode] = {row.name: row for row in BY_CODE.values()}

UNKNOWN_SERVER_ERROR = -1
NONE = 0
UNSUPPORTED_VERSION = 35


def of(code: int) -> ErrorCode:
    """The row of a code, also of one that a newer Kafka has made up."""
    return BY_CODE.get(code) or ErrorCode(code, f"UNKNOWN_{code}", False, f"Error {code}, which kstore does not know.")


def code_of(error: BaseException) -> int:
    """The code that answers for an exception: its `error_code` where kstore raised it, -1 for all others."""
    code = error.error_code if isinstance(error, KStoreError) else UNKNOWN_SERVER_ERROR
    return code if code in BY_CODE and code != NONE else UNKNOWN_SERVER_ERROR
