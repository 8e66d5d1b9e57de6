"""JoinGroup: who comes in, under which id, and when the others hear of it."""

import pytest

from kstore.groups.codes import Code
from kstore.groups.requests import Protocol
from kstore.groups.settings import GroupSettings
from support.groups import WAITING, Broker, beat, dynamic_id, join, protocols, stable_group, sync


def test_a_dynamic_member_is_given_an_id_first():
    broker = Broker()
    answer = broker.ask(join(), client="app", fresh="1-2-3")
    assert (answer.error_code, answer.member_id) == (Code.MEMBER_ID_REQUIRED, "app-1-2-3")
    assert broker.ask(join("app-1-2-3")) is WAITING


def test_old_clients_join_without_an_id():
    broker = Broker()
    token = broker.send(join(), version=3)
    broker.pass_time(3_000)
    assert broker.replies[token].error_code == Code.NONE
    assert broker.replies[token].member_id.startswith("c-")


def test_the_first_rebalance_waits_for_company():
    broker = Broker()
    first, second = dynamic_id(broker), dynamic_id(broker)
    one = broker.send(join(first))
    broker.pass_time(2_999)
    two = broker.send(join(second))
    broker.pass_time(1)
    assert one not in broker.replies  # company came: another delay
    broker.pass_time(3_000)
    assert broker.replies[one].generation_id == broker.replies[two].generation_id == 1
    leader, follower = sorted((broker.replies[one], broker.replies[two]), key=lambda answer: not answer.members)
    assert {member.member_id for member in leader.members} == {first, second}
    assert leader.leader == follower.leader == leader.member_id
    assert follower.members == ()


def test_the_initial_delay_ends_with_the_rebalance_timeout():
    broker = Broker()
    tokens = []
    for _ in range(6):
        tokens.append(broker.send(join(dynamic_id(broker), rebalance_ms=7_000)))
        broker.pass_time(2_000)
    assert broker.replies[tokens[0]].error_code == Code.NONE  # someone came every 2 seconds, and yet


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (join(group=""), Code.INVALID_GROUP_ID),
        (join(session_ms=5_999), Code.INVALID_SESSION_TIMEOUT),
        (join(session_ms=1_800_001), Code.INVALID_SESSION_TIMEOUT),
        (join("nobody"), Code.UNKNOWN_MEMBER_ID),
        (join(offers=()), Code.INCONSISTENT_GROUP_PROTOCOL),
        (join(kind=""), Code.INCONSISTENT_GROUP_PROTOCOL),
    ],
)
def test_refused_by_an_empty_coordinator(request_, code):
    assert Broker().ask(request_).error_code == code


def test_refused_by_a_stable_group():
    broker = Broker()
    ids, _ = stable_group(broker)
    assert broker.ask(join("nobody")).error_code == Code.UNKNOWN_MEMBER_ID
    assert broker.ask(join(offers=protocols("sticky"))).error_code == Code.INCONSISTENT_GROUP_PROTOCOL
    assert broker.ask(join(kind="connect")).error_code == Code.INCONSISTENT_GROUP_PROTOCOL
    assert broker.ask(join(ids[0], instance="nobody's")).error_code == Code.UNKNOWN_MEMBER_ID
    assert broker.group().state_name == "Stable"


def test_a_pending_member_has_no_instance_id():
    broker = Broker()
    assert broker.ask(join(dynamic_id(broker), instance="i")).error_code == Code.UNKNOWN_SERVER_ERROR


def test_a_follower_that_joins_again_unchanged_learns_of_its_generation():
    broker = Broker()
    (leader, follower), generation = stable_group(broker)
    answer = broker.ask(join(follower))
    assert (answer.error_code, answer.generation_id, answer.leader) == (Code.NONE, generation, leader)
    assert broker.group().state_name == "Stable"


@pytest.mark.parametrize("who", ["leader", "changed follower"])
def test_news_rebalance_the_group(who):
    broker = Broker()
    (leader, follower), generation = stable_group(broker)
    offers = protocols(topics=("t", "u"))
    token = broker.send(join(leader) if who == "leader" else join(follower, offers=offers))
    assert broker.group().state_name == "PreparingRebalance"
    other = follower if who == "leader" else leader
    assert broker.ask(beat(other, generation)).error_code == Code.REBALANCE_IN_PROGRESS
    assert broker.ask(sync(other, generation)).error_code == Code.REBALANCE_IN_PROGRESS
    broker.send(join(other))
    assert broker.replies[token].generation_id == generation + 1


def test_in_completing_rebalance_a_lost_answer_is_given_again():
    broker = Broker()
    token = broker.send(join(dynamic_id(broker)))
    broker.pass_time(3_000)
    first = broker.replies[token]
    assert broker.group().state_name == "CompletingRebalance"
    assert broker.ask(join(first.member_id)) == first


def test_who_does_not_join_again_is_out():
    broker = Broker()
    (leader, follower), generation = stable_group(broker, rebalance_ms=5_000)
    token = broker.send(join(leader, rebalance_ms=5_000))
    broker.pass_time(5_000)
    assert [member.member_id for member in broker.replies[token].members] == [leader]
    assert broker.ask(beat(follower, generation)).error_code == Code.UNKNOWN_MEMBER_ID


def test_another_leader_is_elected_among_those_who_joined():
    broker = Broker()
    (leader, follower), _ = stable_group(broker, rebalance_ms=5_000)
    token = broker.send(join(follower, offers=protocols(topics=("x",)), rebalance_ms=5_000))
    broker.pass_time(5_000)
    assert broker.replies[token].leader == follower != leader


def test_the_protocol_with_most_votes_is_chosen():
    broker = Broker()
    offers = [("a", "b"), ("b", "a"), ("b", "c", "a")]
    ids = [dynamic_id(broker) for _ in offers]
    tokens = [
        broker.send(join(one, offers=tuple(Protocol(name, one.encode()) for name in names)))
        for one, names in zip(ids, offers, strict=True)
    ]
    broker.pass_time(10_000)
    assert {broker.replies[token].protocol_name for token in tokens} == {"b"}
    leader = next(answer for answer in map(broker.replies.get, tokens) if answer.members)
    assert {member.metadata for member in leader.members} == {one.encode() for one in ids}


def test_a_new_member_that_is_parked_too_long_is_sent_away():
    broker = Broker(GroupSettings(group_new_member_join_timeout_ms=8_000))
    ids, _generation = stable_group(broker, 1, session_ms=20_000, rebalance_ms=300_000)
    token = broker.send(join(dynamic_id(broker)))
    broker.pass_time(8_000)
    assert broker.replies[token].error_code == Code.UNKNOWN_MEMBER_ID
    assert list(broker.group().members) == ids


def test_an_id_that_was_given_out_expires():
    broker = Broker()
    member = dynamic_id(broker)
    broker.pass_time(10_000)
    assert broker.ask(join(member)).error_code == Code.UNKNOWN_MEMBER_ID


def test_a_pending_member_holds_up_the_rebalance_until_it_expires():
    broker = Broker()
    ids, _ = stable_group(broker, 1)
    dynamic_id(broker)
    token = broker.send(join(ids[0]))
    assert token not in broker.replies
    broker.pass_time(10_000)
    assert broker.replies[token].error_code == Code.NONE


# -- size --------------------------------------------------------------------------------------------------------


def test_a_full_group_takes_nobody_in():
    broker = Broker(GroupSettings(group_max_size=2))
    ids, _ = stable_group(broker)
    assert broker.ask(join()).error_code == Code.GROUP_MAX_SIZE_REACHED
    assert broker.ask(join(ids[1])).error_code == Code.NONE


def test_a_group_above_a_lowered_limit_shrinks_when_it_is_loaded():
    broker = Broker()
    ids, _ = stable_group(broker, 3, session_ms=20_000)
    broker.settings = GroupSettings(group_max_size=2)
    broker.restart()
    assert broker.group().state_name == "PreparingRebalance"
    tokens = [broker.send(join(one, session_ms=20_000)) for one in ids]
    assert broker.replies[tokens[2]].error_code == Code.GROUP_MAX_SIZE_REACHED
    broker.pass_time(60_000)
    assert broker.replies[tokens[0]].error_code == Code.NONE


# -- static members ----------------------------------------------------------------------------------------------


def static_group(broker, *, version=9, **more):
    """One static and one dynamic member, the static one leading."""
    token = broker.send(join(instance="i", **more), version=version)
    other = broker.send(join(dynamic_id(broker, **more), **more))
    broker.pass_time(6_001)
    answer = broker.replies[token]
    assert answer.leader == answer.member_id
    dynamic = broker.replies[other].member_id
    broker.send(sync(dynamic, 1))
    broker.send(sync(answer.member_id, 1, {answer.member_id: b"s", dynamic: b"d"}, instance="i"))
    return answer.member_id, dynamic


def test_a_static_member_joins_without_a_handshake():
    broker = Broker()
    static, _ = static_group(broker)
    assert static.startswith("i-")


def test_a_static_member_comes_back_without_a_rebalance():
    broker = Broker()
    static, dynamic = static_group(broker)
    answer = broker.ask(join(instance="i"))
    assert (answer.error_code, answer.generation_id, answer.skip_assignment) == (Code.NONE, 1, True)
    assert answer.member_id not in (static, dynamic)
    assert answer.leader == answer.member_id
    assert broker.ask(sync(answer.member_id, 1, instance="i")).assignment == b"s"
    assert broker.ask(beat(static, 1, instance="i")).error_code == Code.FENCED_INSTANCE_ID
    assert broker.ask(sync(static, 1, instance="i")).error_code == Code.FENCED_INSTANCE_ID
    assert broker.ask(join(static, instance="i")).error_code == Code.FENCED_INSTANCE_ID
    assert broker.ask(beat(dynamic, 1)).error_code == Code.NONE


def test_an_old_client_that_led_takes_itself_for_a_follower():
    broker = Broker()
    static, _ = static_group(broker)
    answer = broker.ask(join(instance="i"), version=5)
    assert (answer.leader, answer.members, answer.skip_assignment) == (static, (), False)


def test_a_static_member_that_comes_back_changed_rebalances():
    broker = Broker()
    static_group(broker, offers=protocols("a", "b"))
    broker.send(join(instance="i", offers=protocols("b")))
    assert broker.group().state_name == "PreparingRebalance"


def test_the_new_id_of_a_static_member_waits_for_its_record():
    broker = Broker()
    static, _ = static_group(broker)
    broker.hold = True
    token = broker.send(join(instance="i"))
    assert token not in broker.replies
    broker.fail(Code.NOT_ENOUGH_REPLICAS)
    assert broker.replies[token].error_code == Code.COORDINATOR_NOT_AVAILABLE
    assert broker.ask(beat(static, 1, instance="i")).error_code == Code.NONE
    broker.hold = False
    again = broker.ask(join(instance="i"))
    broker.restart()
    assert again.member_id in broker.group().members


def test_a_duplicate_static_member_is_fenced_while_it_waits():
    broker = Broker()
    one = broker.send(join(instance="i"))
    two = broker.send(join(instance="i"))
    assert broker.replies[one].error_code == Code.FENCED_INSTANCE_ID
    broker.pass_time(6_000)
    assert broker.replies[two].error_code == Code.NONE


def test_a_static_member_in_completing_rebalance_starts_over():
    broker = Broker()
    one = broker.send(join(instance="i"))
    broker.pass_time(3_000)
    parked = broker.send(sync("nobody", 1))
    assert broker.replies[parked].error_code == Code.UNKNOWN_MEMBER_ID
    again = broker.ask(join(instance="i"))
    assert again.generation_id == broker.replies[one].generation_id + 1


def test_static_members_outlive_a_rebalance_that_they_miss():
    broker = Broker()
    static, dynamic = static_group(broker, session_ms=30_000, rebalance_ms=5_000)
    token = broker.send(join(dynamic, offers=protocols(topics=("x",)), rebalance_ms=5_000))
    broker.pass_time(5_000)
    assert {member.member_id for member in broker.replies[token].members} == {static, dynamic}


def test_static_members_alone_wait_until_one_is_back_or_gone():
    broker = Broker()
    token = broker.send(join(instance="i", session_ms=100_000, rebalance_ms=5_000))
    broker.pass_time(6_000)
    static = broker.replies[token].member_id
    broker.pass_time(5_000)  # its SyncGroup never comes, and it is out
    assert static not in broker.group().members


# -- the log -----------------------------------------------------------------------------------------------------


def test_a_group_that_cannot_be_stored_is_not_made():
    broker = Broker()
    broker.hold = True
    token = broker.send(join(), version=0)
    broker.fail(Code.NOT_LEADER_OR_FOLLOWER)
    assert broker.replies[token].error_code == Code.NOT_COORDINATOR
    assert broker.group() is None


def test_a_second_join_of_one_member_ends_the_first():
    broker = Broker()
    member = dynamic_id(broker)
    one = broker.send(join(member))
    two = broker.send(join(member))
    assert broker.replies[one].error_code == Code.REBALANCE_IN_PROGRESS
    broker.pass_time(3_000)
    assert broker.replies[two].error_code == Code.NONE
