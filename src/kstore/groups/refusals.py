"""The response to a request that is refused as a whole: the same code in the place where its API has one.

Owns where each API puts an error. Called by `coordinator`, for requests that come while a partition loads or after
it moved away, and for APIs that are not supported.

Invariants
1. Every request type has a refusal.

After GroupCoordinatorService's exception handlers.
"""

from __future__ import annotations

from collections.abc import Iterable

from kstore.groups import requests, responses
from kstore.groups.codes import Code


def refusal(request: requests.Request, code: Code) -> responses.Response:
    """What to answer when all that can be said of a request is `code`."""
    match request:
        case requests.JoinGroupRequest():
            return responses.JoinGroupResponse(request.member_id, code)
        case requests.SyncGroupRequest():
            return responses.SyncGroupResponse(code)
        case requests.HeartbeatRequest():
            # While the group loads its members need not worry: they would only rejoin.
            loading = code is Code.COORDINATOR_LOAD_IN_PROGRESS
            return responses.HeartbeatResponse(Code.NONE if loading else code)
        case requests.LeaveGroupRequest():
            return responses.LeaveGroupResponse(code)
        case requests.ConsumerGroupHeartbeatRequest():
            return responses.ConsumerGroupHeartbeatResponse(code)
        case requests.OffsetCommitRequest():
            return responses.OffsetCommitResponse(refused_topics(request.topics, code))
        case requests.TxnOffsetCommitRequest():
            return responses.TxnOffsetCommitResponse(refused_topics(request.topics, code))
        case requests.OffsetFetchRequest():
            return responses.OffsetFetchResponse(request.group_id, code)
        case requests.OffsetDeleteRequest():
            return responses.OffsetDeleteResponse(code)
        case requests.DeleteGroupsRequest():
            results = (responses.DeletableGroupResult(name, code) for name in request.groups_names)
            return responses.DeleteGroupsResponse(tuple(results))
        case requests.ListGroupsRequest():
            # A partition that is not ours has no groups to list; its coordinator lists them.
            return responses.ListGroupsResponse(Code.NONE if code is Code.NOT_COORDINATOR else code)
        case requests.DescribeGroupsRequest():
            return responses.DescribeGroupsResponse(
                tuple(responses.DescribedGroup(name, code) for name in request.groups)
            )
        case requests.ConsumerGroupDescribeRequest():
            return responses.ConsumerGroupDescribeResponse(
                tuple(responses.DescribedConsumerGroup(name, code) for name in request.group_ids)
            )


def refused_topics(topics: Iterable[requests.OffsetCommitTopic], code: Code) -> tuple[responses.TopicResult, ...]:
    """Every partition of a commit with the same code."""
    return tuple(
        responses.TopicResult(
            topic.name, tuple(responses.PartitionResult(one.partition_index, code) for one in topic.partitions)
        )
        for topic in topics
    )
