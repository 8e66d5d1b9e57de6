"""The error codes of Kafka's protocol that a group coordinator answers with, and the exception that carries one.

Owns the numbers (org.apache.kafka.common.protocol.Errors) and what a failed append looks like to a client. Knows no
group. Called by every module of `groups`; the broker puts the numbers on the wire as they are.

Invariants
1. Every code a coordinator replies with stands here; a reply's `error_code` is one of them.
2. `Refused` never leaves this package: the coordinator turns it into a reply.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from kstore.errors import RejectedError


class Code(IntEnum):
    """Error codes by Kafka's names."""

    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    UNKNOWN_TOPIC_OR_PARTITION = 3
    INVALID_FETCH_SIZE = 4
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    UNSUPPORTED_VERSION = 35
    INVALID_REQUEST = 42
    KAFKA_STORAGE_ERROR = 56
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    MEMBER_ID_REQUIRED = 79
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    UNSTABLE_OFFSET_COMMIT = 88
    FENCED_MEMBER_EPOCH = 110
    UNRELEASED_INSTANCE_ID = 111
    UNSUPPORTED_ASSIGNOR = 112
    STALE_MEMBER_EPOCH = 113
    INVALID_REGULAR_EXPRESSION = 128


class Refused(RejectedError):
    """A request that the group's state or rules forbid; `code` is the answer, the message is for people."""

    def __init__(self, code: Code, message: str = "") -> None:
        self.code = code
        self.error_code = int(code)
        super().__init__(message or code.name)


_APPEND_ERRORS: Final = {
    Code.UNKNOWN_TOPIC_OR_PARTITION: Code.COORDINATOR_NOT_AVAILABLE,
    Code.NOT_ENOUGH_REPLICAS: Code.COORDINATOR_NOT_AVAILABLE,
    Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND: Code.COORDINATOR_NOT_AVAILABLE,
    Code.REQUEST_TIMED_OUT: Code.COORDINATOR_NOT_AVAILABLE,
    Code.NOT_LEADER_OR_FOLLOWER: Code.NOT_COORDINATOR,
    Code.KAFKA_STORAGE_ERROR: Code.NOT_COORDINATOR,
    Code.MESSAGE_TOO_LARGE: Code.UNKNOWN_SERVER_ERROR,
    Code.RECORD_LIST_TOO_LARGE: Code.UNKNOWN_SERVER_ERROR,
    Code.INVALID_FETCH_SIZE: Code.UNKNOWN_SERVER_ERROR,
}


def code_of_append_error(error_code: int) -> Code:
    """What a client is told when the append behind its request failed with `error_code`.

    A client of a coordinator must not see the errors of a log, which it would act on as a producer
    (GroupMetadataManager.appendGroupMetadataErrorToResponseError). A code that is not known here is -1.
    """
    try:
        code = Code(error_code)
    except ValueError:
        return Code.UNKNOWN_SERVER_ERROR
    return _APPEND_ERRORS.get(code, code)
