"""SyncGroup, Heartbeat, LeaveGroup, and the sessions behind them."""

import pytest

from kstore.groups.codes import Code
from kstore.groups.requests import LeaveGroupRequest, MemberIdentity
from support.groups import WAITING, Broker, beat, commit, dynamic_id, join, stable_group, sync


def completing(broker, count=2, **more):
    """A group whose members have joined and not synced: ids, the leader first."""
    tokens = [broker.send(join(dynamic_id(broker), **more)) for _ in range(count)]
    broker.pass_time(6_001)
    answers = [broker.replies[token] for token in tokens]
    return sorted((answer.member_id for answer in answers), key=lambda one: one != answers[0].leader)


def leave(*members, group="g"):
    return LeaveGroupRequest(group, tuple(MemberIdentity(*member) for member in members))


# -- SyncGroup ---------------------------------------------------------------------------------------------------


def test_followers_wait_for_the_leader_and_everyone_for_the_log():
    broker = Broker()
    leader, follower = completing(broker)
    waiting = broker.send(sync(follower, 1))
    assert waiting not in broker.replies
    broker.hold = True
    token = broker.send(sync(leader, 1, {leader: b"one", follower: b"two"}))
    assert token not in broker.replies
    assert broker.group().state_name == "CompletingRebalance"
    broker.release()
    assert broker.replies[waiting].assignment == b"two"
    assert broker.replies[token].assignment == b"one"
    assert (broker.replies[token].protocol_type, broker.replies[token].protocol_name) == ("consumer", "range")
    assert broker.group().state_name == "Stable"


def test_an_assignment_that_is_not_stored_is_not_handed_out():
    broker = Broker()
    leader, follower = completing(broker)
    waiting = broker.send(sync(follower, 1))
    broker.hold = True
    token = broker.send(sync(leader, 1, {follower: b"two"}))
    broker.fail(Code.REQUEST_TIMED_OUT)
    for one in (waiting, token):
        assert broker.replies[one].error_code == Code.COORDINATOR_NOT_AVAILABLE
        assert broker.replies[one].assignment == b""
    assert broker.group().state_name == "PreparingRebalance"


def test_members_that_the_leader_forgot_get_nothing():
    broker = Broker()
    leader, follower = completing(broker)
    broker.send(sync(leader, 1, {leader: b"all"}))
    answer = broker.ask(sync(follower, 1))
    assert (answer.error_code, answer.assignment) == (Code.NONE, b"")


@pytest.mark.parametrize(
    ("who", "generation", "more", "code"),
    [
        ("", 1, {"group": ""}, Code.INVALID_GROUP_ID),
        ("x", 1, {"group": "none"}, Code.UNKNOWN_MEMBER_ID),
        ("x", 1, {}, Code.UNKNOWN_MEMBER_ID),
        ("leader", 0, {}, Code.ILLEGAL_GENERATION),
        ("leader", 2, {}, Code.ILLEGAL_GENERATION),
        ("leader", 1, {"instance": "i"}, Code.UNKNOWN_MEMBER_ID),
        ("leader", 1, {"kind": "connect"}, Code.INCONSISTENT_GROUP_PROTOCOL),
        ("leader", 1, {"name": "sticky"}, Code.INCONSISTENT_GROUP_PROTOCOL),
        ("leader", 1, {"kind": "consumer", "name": "range"}, Code.NONE),
    ],
)
def test_sync_codes(who, generation, more, code):
    broker = Broker()
    leader, _ = completing(broker)
    assert broker.ask(sync(leader if who == "leader" else who, generation, **more)).error_code == code


def test_sync_in_a_group_without_members():
    broker = Broker()
    dynamic_id(broker)
    assert broker.ask(sync("x", 0)).error_code == Code.UNKNOWN_MEMBER_ID


def test_who_does_not_sync_in_time_is_out():
    broker = Broker()
    leader, follower = completing(broker, session_ms=30_000, rebalance_ms=20_000)
    broker.send(sync(leader, 1, {leader: b"one"}))
    assert broker.group().state_name == "Stable"
    broker.pass_time(20_000)
    assert list(broker.group().members) == [leader]
    assert broker.group().state_name == "PreparingRebalance"
    assert broker.ask(beat(follower, 1)).error_code == Code.UNKNOWN_MEMBER_ID


def test_a_rebalance_ends_parked_syncs():
    broker = Broker()
    leader, follower = completing(broker)
    waiting = broker.send(sync(follower, 1))
    broker.send(join(dynamic_id(broker)))
    assert broker.replies[waiting].error_code == Code.REBALANCE_IN_PROGRESS
    assert broker.ask(sync(leader, 1)).error_code == Code.REBALANCE_IN_PROGRESS


def test_a_second_sync_of_one_member_ends_the_first():
    broker = Broker()
    _, follower = completing(broker)
    one, two = broker.send(sync(follower, 1)), broker.send(sync(follower, 1))
    assert broker.replies[one].error_code == Code.REBALANCE_IN_PROGRESS
    assert two not in broker.replies


# -- Heartbeat and sessions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "generation", "more", "code"),
    [
        ("leader", 1, {}, Code.NONE),
        ("leader", 0, {}, Code.ILLEGAL_GENERATION),
        ("x", 1, {}, Code.UNKNOWN_MEMBER_ID),
        ("leader", 1, {"instance": "i"}, Code.UNKNOWN_MEMBER_ID),
        ("leader", 1, {"group": "none"}, Code.UNKNOWN_MEMBER_ID),
        ("leader", 1, {"group": ""}, Code.INVALID_GROUP_ID),
    ],
)
@pytest.mark.parametrize("make", [completing, lambda broker: stable_group(broker)[0]])
def test_heartbeat_codes(make, who, generation, more, code):
    broker = Broker()
    leader, _ = make(broker)
    assert broker.ask(beat(leader if who == "leader" else who, generation, **more)).error_code == code


def test_a_silent_member_is_out_and_the_others_rebalance():
    broker = Broker()
    (leader, follower), generation = stable_group(broker)
    for _ in range(3):
        broker.pass_time(4_000)
        broker.ask(beat(leader, generation))
    assert follower not in broker.group().members
    assert broker.ask(beat(leader, generation)).error_code == Code.REBALANCE_IN_PROGRESS


def test_commits_are_signs_of_life():
    broker = Broker()
    (leader,), generation = stable_group(broker, 1)
    for offset in range(4):
        broker.pass_time(9_000)
        broker.ask(commit(offset, member=leader, epoch=generation))
    assert broker.group().state_name == "Stable"


def test_parked_requests_stand_for_heartbeats():
    broker = Broker()
    leader, follower = completing(broker, session_ms=8_000, rebalance_ms=60_000)
    waiting = broker.send(sync(follower, 1))
    for _ in range(5):
        broker.pass_time(7_000)
        broker.ask(beat(leader, 1))
    broker.ask(sync(leader, 1, {follower: b"x"}))
    assert broker.replies[waiting].error_code == Code.NONE
    broker.pass_time(7_999)
    assert follower in broker.group().members
    broker.pass_time(1)
    assert follower not in broker.group().members


def test_a_group_whose_members_all_vanish_is_empty_in_the_log_too():
    broker = Broker()
    stable_group(broker, 3)
    broker.pass_time(20_000)
    assert broker.group().state_name == "Empty"
    broker.restart()
    assert (broker.group().state_name, broker.group().generation) == ("Empty", 2)


# -- LeaveGroup --------------------------------------------------------------------------------------------------


def test_leaving_is_told_for_each_member():
    broker = Broker()
    (leader, follower), generation = stable_group(broker)
    answer = broker.ask(leave((leader,), ("x",), ("", None), ("", "nobody"), (follower, "i")))
    assert answer.error_code == Code.NONE
    assert [member.error_code for member in answer.members] == [
        Code.NONE,
        Code.UNKNOWN_MEMBER_ID,
        Code.UNKNOWN_MEMBER_ID,
        Code.UNKNOWN_MEMBER_ID,
        Code.UNKNOWN_MEMBER_ID,
    ]
    assert broker.ask(beat(follower, generation)).error_code == Code.REBALANCE_IN_PROGRESS


def test_the_last_one_to_leave_empties_the_group():
    broker = Broker()
    ids, _ = stable_group(broker)
    broker.ask(leave(*((one,) for one in ids)))
    assert broker.group().state_name == "Empty"


def test_an_admin_removes_a_static_member_by_its_instance_id():
    broker = Broker()
    broker.send(join(instance="i"))
    broker.pass_time(3_000)
    answer = broker.ask(leave(("", "i")))
    assert [member.error_code for member in answer.members] == [Code.NONE]
    assert broker.group().members == {}


def test_leaving_ends_what_is_parked():
    broker = Broker()
    leader, follower = completing(broker)
    waiting = broker.send(sync(follower, 1))
    broker.ask(leave((follower,)))
    assert broker.replies[waiting].error_code == Code.UNKNOWN_MEMBER_ID
    rejoin = broker.send(join(leader))
    assert broker.replies[rejoin].generation_id == 2


def test_a_fenced_static_member_cannot_leave_for_its_successor():
    broker = Broker()
    token = broker.send(join(instance="i"))
    broker.pass_time(3_000)
    old = broker.replies[token].member_id
    broker.send(join(instance="i"))
    answer = broker.ask(leave((old, "i")))
    assert answer.members[0].error_code == Code.FENCED_INSTANCE_ID


def test_a_pending_member_may_leave():
    broker = Broker()
    ids, _ = stable_group(broker, 1)
    pending = dynamic_id(broker)
    token = broker.send(join(ids[0]))
    assert token not in broker.replies
    assert broker.ask(leave((pending,))).members[0].error_code == Code.NONE
    assert broker.replies[token].error_code == Code.NONE


def test_leaving_a_group_that_is_not_there():
    broker = Broker()
    assert broker.ask(leave(("x",))).members[0].error_code == Code.UNKNOWN_MEMBER_ID
    assert broker.ask(leave(("x",), group="")).error_code == Code.INVALID_GROUP_ID


def test_requests_wait_while_the_group_is_written():
    broker = Broker()
    leader, _ = completing(broker)
    broker.hold = True
    broker.send(sync(leader, 1))
    token = broker.send(beat(leader, 1))
    assert broker.replies.get(token) is WAITING
    broker.release()
    assert broker.replies[token].error_code == Code.NONE


def test_a_heartbeat_that_waited_for_the_log_saves_its_member():
    broker = Broker()
    leader, follower = completing(broker)
    broker.hold = True
    broker.send(sync(leader, 1))
    broker.pass_time(9_000)
    broker.send(beat(follower, 1))
    broker.pass_time(2_000)  # the session is over by the clock, and the log still silent
    broker.release()
    assert follower in broker.group().members
