"""Commits, fetches, deletions, retention."""

import pytest

from kstore.groups.codes import Code
from kstore.groups.effects import TopicsDeleted
from kstore.groups.requests import (
    DeleteGroupsRequest,
    LeaveGroupRequest,
    MemberIdentity,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    TxnOffsetCommitRequest,
)
from kstore.groups.settings import GroupSettings
from support.groups import Broker, commit, committed, dynamic_id, join, stable_group, sync

DAY_MS = 24 * 3600 * 1000
TOPIC_ID = bytes(range(16))


def code(answer) -> Code:
    return answer.topics[0].partitions[0].error_code


def leave_all(broker, ids):
    broker.ask(LeaveGroupRequest("g", tuple(MemberIdentity(one) for one in ids)))


def test_a_commit_is_answered_and_seen_when_it_is_in_the_log():
    broker = Broker()
    broker.hold = True
    token = broker.send(commit(7))
    assert token not in broker.replies
    assert committed(broker) == -1
    broker.release()
    assert code(broker.replies[token]) == Code.NONE
    assert committed(broker) == 7
    broker.restart()
    assert committed(broker) == 7


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Code.NOT_ENOUGH_REPLICAS, Code.COORDINATOR_NOT_AVAILABLE),
        (Code.REQUEST_TIMED_OUT, Code.COORDINATOR_NOT_AVAILABLE),
        (Code.NOT_LEADER_OR_FOLLOWER, Code.NOT_COORDINATOR),
        (Code.KAFKA_STORAGE_ERROR, Code.NOT_COORDINATOR),
        (Code.MESSAGE_TOO_LARGE, Code.UNKNOWN_SERVER_ERROR),
        (9_999, Code.UNKNOWN_SERVER_ERROR),
    ],
)
def test_a_commit_that_is_not_stored_leaves_no_trace(error, told):
    broker = Broker()
    broker.ask(commit(1))
    broker.hold = True
    token = broker.send(commit(2))
    broker.fail(error)
    assert code(broker.replies[token]) == told
    assert committed(broker) == 1


def test_commits_pass_one_another_and_the_later_record_counts():
    broker = Broker()
    broker.hold = True
    tokens = [broker.send(commit(offset)) for offset in (1, 2, 3)]
    assert len(broker.held) == 3
    for _ in tokens:
        broker.release()
    assert committed(broker) == 3


def test_a_commit_may_go_back_when_it_is_asked_for():
    broker = Broker()
    broker.ask(commit(10))
    broker.ask(commit(3))
    assert committed(broker) == 3


@pytest.mark.parametrize(
    ("who", "epoch", "instance", "expected"),
    [
        ("leader", 1, None, Code.NONE),
        ("leader", 0, None, Code.ILLEGAL_GENERATION),
        ("leader", 2, None, Code.ILLEGAL_GENERATION),
        ("leader", -1, None, Code.ILLEGAL_GENERATION),
        ("zombie", 1, None, Code.UNKNOWN_MEMBER_ID),
        ("", -1, None, Code.UNKNOWN_MEMBER_ID),
        ("leader", 1, "i", Code.UNKNOWN_MEMBER_ID),
    ],
)
def test_commit_codes_in_a_stable_group(who, epoch, instance, expected):
    broker = Broker()
    ids, _ = stable_group(broker)
    member = ids[0] if who == "leader" else who
    assert code(broker.ask(commit(5, member=member, epoch=epoch, instance=instance))) == expected
    assert committed(broker) == (5 if expected is Code.NONE else -1)


def test_a_fenced_static_member_commits_nothing():
    broker = Broker()
    token = broker.send(join(instance="i"))
    broker.pass_time(3_000)
    old = broker.replies[token].member_id
    broker.send(sync(old, 1, {old: b""}, instance="i"))
    broker.send(join(instance="i"))
    assert code(broker.ask(commit(5, member=old, epoch=1, instance="i"))) == Code.FENCED_INSTANCE_ID
    assert committed(broker) == -1


def test_between_join_and_sync_a_commit_must_wait():
    broker = Broker()
    member = dynamic_id(broker)
    broker.send(join(member))
    broker.pass_time(3_000)
    assert code(broker.ask(commit(5, member=member, epoch=1))) == Code.REBALANCE_IN_PROGRESS


def test_while_a_rebalance_prepares_the_old_generation_may_commit():
    broker = Broker()
    (leader, follower), generation = stable_group(broker)
    broker.send(join(leader))
    assert code(broker.ask(commit(5, member=follower, epoch=generation))) == Code.NONE


def test_commits_to_a_group_that_is_not_there():
    broker = Broker()
    assert code(broker.ask(commit(5, member="m", epoch=1), version=9)) == Code.GROUP_ID_NOT_FOUND
    assert code(broker.ask(commit(5, member="m", epoch=1), version=8)) == Code.ILLEGAL_GENERATION
    assert broker.group() is None
    assert code(broker.ask(commit(5))) == Code.NONE
    assert broker.group().protocol_type is None


def test_metadata_is_limited():
    broker = Broker()
    assert code(broker.ask(commit(5, metadata="x" * 4097))) == Code.OFFSET_METADATA_TOO_LARGE
    assert code(broker.ask(commit(5, metadata="ü" * 4096))) == Code.NONE
    assert code(broker.ask(commit(5, metadata="𝄞" * 2049))) == Code.OFFSET_METADATA_TOO_LARGE
    assert code(broker.ask(commit(5, metadata=None))) == Code.NONE


def test_what_was_committed_comes_back_whole():
    broker = Broker()
    broker.ask(commit(5, metadata="hi", topic_id=TOPIC_ID))
    broker.restart()
    answer = broker.ask(OffsetFetchRequest("g", (("t", (0, 1)), ("u", (3,)))))
    first, second = answer.topics[0].partitions
    assert (first.committed_offset, first.committed_leader_epoch, first.metadata) == (5, 5, "hi")
    assert (second.committed_offset, second.metadata, second.error_code) == (-1, "", Code.NONE)
    assert answer.topics[1].partitions[0].committed_offset == -1


def test_everything_of_a_group():
    broker = Broker()
    for topic, partition in (("u", 1), ("t", 1), ("t", 0)):
        broker.ask(commit(partition, topic=topic, partition=partition))
    answer = broker.ask(OffsetFetchRequest("g"))
    found = [(topic.name, one.partition_index) for topic in answer.topics for one in topic.partitions]
    assert found == [("t", 0), ("t", 1), ("u", 1)]
    assert broker.ask(OffsetFetchRequest("none")).topics == ()


def test_a_stable_fetch_waits_for_commits_on_their_way():
    broker = Broker()
    broker.hold = True
    broker.send(commit(5))
    token = broker.send(OffsetFetchRequest("g", require_stable=True))
    assert token not in broker.replies
    broker.release()
    assert broker.replies[token].topics[0].partitions[0].committed_offset == 5


def test_transactional_commits_are_refused():
    answer = Broker().ask(TxnOffsetCommitRequest("g", commit(5).topics))
    assert code(answer) == Code.UNSUPPORTED_VERSION


def test_transactional_commits_in_the_log_count_when_they_are_decided():
    broker = Broker()
    broker.ask(commit(1))
    broker.ask(commit(8))
    (key, one), (_, eight) = broker.log
    for decision, expected in ((True, 8), (False, 1), (None, 1)):
        coordinator = type(broker.coordinator)()
        coordinator.load(key, one, 0)
        coordinator.load(key, eight, 1, 77)
        if decision is not None:
            coordinator.load_marker(77, decision)
        broker.coordinator = coordinator
        broker.run(coordinator.loaded(broker.now_ms))
        assert committed(broker) == expected
        stable = broker.ask(OffsetFetchRequest("g", require_stable=True)).topics[0].partitions[0]
        assert stable.error_code == (Code.UNSTABLE_OFFSET_COMMIT if decision is None else Code.NONE)


def test_a_transaction_does_not_override_a_later_commit():
    broker = Broker()
    broker.ask(commit(1))
    broker.ask(commit(8))
    (key, one), (_, eight) = broker.log
    coordinator = type(broker.coordinator)()
    coordinator.load(key, one, 0, 77)
    coordinator.load(key, eight, 1)
    coordinator.load_marker(77, True)
    broker.coordinator = coordinator
    broker.run(coordinator.loaded(broker.now_ms))
    assert committed(broker) == 8


# -- deleting ----------------------------------------------------------------------------------------------------


def test_offsets_are_deleted_but_for_topics_in_use():
    broker = Broker()
    ids, generation = stable_group(broker)
    for topic in ("t", "u"):
        broker.ask(commit(5, topic=topic, member=ids[0], epoch=generation))
    answer = broker.ask(OffsetDeleteRequest("g", (("t", (0,)), ("u", (0, 9)))))
    assert [code_.error_code for topic in answer.topics for code_ in topic.partitions] == [
        Code.GROUP_SUBSCRIBED_TO_TOPIC,
        Code.NONE,
        Code.NONE,
    ]
    broker.restart()
    assert (committed(broker), committed(broker, topic="u")) == (5, -1)


def test_offset_delete_codes():
    broker = Broker()
    assert broker.ask(OffsetDeleteRequest("g", (("t", (0,)),))).error_code == Code.GROUP_ID_NOT_FOUND
    stable_group(broker, kind="connect")
    assert broker.ask(OffsetDeleteRequest("g", (("t", (0,)),))).error_code == Code.NON_EMPTY_GROUP


def test_groups_are_deleted_when_they_are_empty():
    broker = Broker()
    ids, generation = stable_group(broker)
    broker.ask(commit(5, member=ids[0], epoch=generation))
    broker.ask(commit(6, group="simple"))
    answer = broker.ask(DeleteGroupsRequest(("g", "simple", "none")))
    assert [result.error_code for result in answer.results] == [
        Code.NON_EMPTY_GROUP,
        Code.NONE,
        Code.GROUP_ID_NOT_FOUND,
    ]
    leave_all(broker, ids)
    assert broker.ask(DeleteGroupsRequest(("g",))).results[0].error_code == Code.NONE
    broker.restart()
    assert broker.coordinator.shard.groups == {}
    assert committed(broker) == -1


def test_a_deletion_waits_for_commits_on_their_way():
    broker = Broker()
    broker.hold = True
    broker.send(commit(5))
    token = broker.send(DeleteGroupsRequest(("g",)))
    broker.release()
    broker.release()
    assert broker.replies[token].results[0].error_code == Code.NONE
    assert committed(broker) == -1
    broker.hold = False
    broker.restart()
    assert committed(broker) == -1


def test_a_deletion_that_is_not_stored_deletes_nothing():
    broker = Broker()
    broker.ask(commit(5))
    broker.hold = True
    token = broker.send(DeleteGroupsRequest(("g",)))
    broker.fail(Code.NOT_ENOUGH_REPLICAS)
    assert broker.replies[token].results[0].error_code == Code.COORDINATOR_NOT_AVAILABLE
    assert committed(broker) == 5


def test_offsets_of_deleted_topics_go():
    broker = Broker()
    broker.ask(commit(5))
    broker.ask(commit(5, topic="u"))
    broker.event(TopicsDeleted(frozenset({"t"})))
    broker.restart()
    assert (committed(broker), committed(broker, topic="u")) == (-1, 5)


# -- retention ---------------------------------------------------------------------------------------------------


def test_offsets_of_an_empty_group_expire_with_the_group():
    broker = Broker(GroupSettings(offsets_retention_minutes=24 * 60))
    ids, generation = stable_group(broker)
    broker.ask(commit(5, member=ids[0], epoch=generation))
    for _ in range(4):
        broker.pass_time(9_000)
        for one in ids:
            broker.ask(commit(6, member=one, epoch=generation))
    leave_all(broker, ids)
    broker.pass_time(DAY_MS - 1_000_000)
    assert committed(broker) == 6
    broker.pass_time(2_000_000)
    assert committed(broker) == -1
    assert broker.group() is None
    broker.restart()
    assert broker.group() is None


def test_offsets_of_a_simple_group_expire_by_their_own_age():
    broker = Broker(GroupSettings(offsets_retention_minutes=24 * 60))
    broker.ask(commit(5))
    broker.pass_time(DAY_MS // 2)
    broker.ask(commit(6, partition=1))
    broker.pass_time(DAY_MS // 2 + 700_000)
    assert (committed(broker), committed(broker, partition=1)) == (-1, 6)


def test_a_commit_may_bring_its_own_retention():
    broker = Broker()
    broker.ask(commit(5, retention_time_ms=3_600_000), version=4)
    broker.restart()
    broker.pass_time(3_000_000)
    assert committed(broker) == 5
    broker.pass_time(1_300_000)
    assert committed(broker) == -1


def test_offsets_in_use_do_not_expire():
    broker = Broker(GroupSettings(offsets_retention_minutes=1, offsets_retention_check_interval_ms=5_000))
    ids, generation = stable_group(broker, 1)
    broker.ask(commit(5, member=ids[0], epoch=generation))
    broker.ask(commit(5, topic="u", member=ids[0], epoch=generation))
    for _ in range(20):
        broker.pass_time(5_000)
        broker.ask(commit(1, topic="v", member=ids[0], epoch=generation))
    assert (committed(broker), committed(broker, topic="u")) == (5, -1)


def test_offsets_of_members_with_an_unknown_protocol_never_expire():
    broker = Broker(GroupSettings(offsets_retention_minutes=1, offsets_retention_check_interval_ms=5_000))
    ids, generation = stable_group(broker, 1, kind="connect")
    broker.ask(commit(5, member=ids[0], epoch=generation))
    for _ in range(20):
        broker.pass_time(5_000)
        broker.ask(commit(1, topic="v", member=ids[0], epoch=generation))
    assert committed(broker) == 5
