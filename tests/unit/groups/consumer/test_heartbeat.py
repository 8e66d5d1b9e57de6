"""ConsumerGroupHeartbeat: joining, reconciling, leaving, being fenced."""

import pytest

from kstore.groups.codes import Code
from kstore.groups.requests import ConsumerGroupDescribeRequest, ListGroupsRequest, OffsetFetchRequest
from kstore.groups.settings import GroupSettings
from support.groups import (
    WAITING,
    Broker,
    Consumer,
    chb,
    commit,
    committed,
    dynamic_id,
    join,
    settle,
    stable_group,
    topic_id,
    topics,
)


def broker_with(settings=None, **counts) -> Broker:
    return Broker(settings, topics(**(counts or {"t": 6})))


def code(answer) -> Code:
    return answer.topics[0].partitions[0].error_code


def test_the_first_member_gets_everything_at_once():
    broker = broker_with(t=3)
    consumer = Consumer(broker, "a")
    answer = consumer.beat()
    assert (answer.error_code, answer.member_id, answer.member_epoch) == (Code.NONE, "a", 2)
    assert answer.heartbeat_interval_ms == 5_000
    assert consumer.owned == {"t": {0, 1, 2}}
    assert consumer.beat().assignment is None  # nothing new
    assert broker.group().state_name == "Stable"


def test_the_answer_waits_for_the_log():
    broker = broker_with()
    broker.hold = True
    token = broker.send(chb("a", 0))
    assert broker.replies.get(token) is WAITING
    assert broker.group() is None
    broker.release()
    assert broker.replies[token].error_code == Code.NONE


def test_a_heartbeat_that_is_not_stored_changes_nothing():
    broker = broker_with()
    consumer = Consumer(broker, "a")
    consumer.beat()
    before = broker.group().copy()
    broker.hold = True
    token = broker.send(chb("b", 0))
    broker.fail(Code.NOT_ENOUGH_REPLICAS)
    assert broker.replies[token].error_code == Code.COORDINATOR_NOT_AVAILABLE
    assert broker.group() == before


def test_a_member_gives_up_before_another_one_gets():
    broker = broker_with(t=4)
    one, two = Consumer(broker, "a"), Consumer(broker, "b")
    one.beat()
    two.beat()
    assert (two.count, two.epoch) == (0, 3)  # in the new epoch, with nothing yet
    assert broker.group().state_name == "Reconciling"
    answer = broker.ask(chb("a", 2, owns=one.owned))
    assert answer.member_epoch == 2  # asked to give up two, and in its epoch until it has
    one.take(answer)
    assert one.count == 2
    two.beat()
    assert two.count == 0  # it has not said so
    one.beat()
    assert one.epoch == 3
    two.beat()
    assert two.count == 2
    assert one.owned["t"] | two.owned["t"] == {0, 1, 2, 3}
    settle(one, two)
    assert broker.group().state_name == "Stable"


def test_without_its_partitions_named_a_member_does_not_move_on():
    broker = broker_with()
    one, two = Consumer(broker, "a"), Consumer(broker, "b")
    one.beat()
    two.beat()
    one.beat()
    assert broker.ask(chb("a", 2)).member_epoch == 2
    assert broker.ask(chb("a", 2, owns={"t": range(6)})).member_epoch == 2


def test_a_member_that_does_not_give_up_in_time_is_fenced():
    broker = broker_with()
    one, two = Consumer(broker, "a", rebalance_timeout_ms=10_000), Consumer(broker, "b")
    one.beat()
    two.beat()
    one.beat()
    for _ in range(3):
        broker.ask(chb("a", 2))
        two.beat()
        broker.pass_time(4_000)
    answer = broker.ask(chb("a", 2))
    assert answer.error_code == Code.UNKNOWN_MEMBER_ID
    settle(two)
    assert two.count == 6


def test_a_second_revocation_has_its_own_deadline():
    broker = broker_with(t=6)
    one = Consumer(broker, "a", rebalance_timeout_ms=10_000)
    one.beat()
    Consumer(broker, "b").beat()
    one.beat()  # asked to give up three
    Consumer(broker, "c").beat()  # and one more, in the next epoch
    broker.pass_time(6_000)
    one.beat()
    assert (broker.group().members["a"].current.state, one.epoch, one.count) == (1, 3, 2)
    broker.pass_time(6_000)
    assert broker.ask(chb("a", 3)).error_code == Code.NONE  # more than ten seconds since the first, not the second
    broker.pass_time(6_000)
    assert "a" not in broker.group().members


def test_a_fencing_that_the_log_refuses_is_tried_again():
    broker = broker_with()
    one = Consumer(broker, "a")
    one.beat()
    broker.hold = True
    broker.pass_time(45_000)
    broker.fail(Code.NOT_ENOUGH_REPLICAS)
    assert "a" in broker.group().members
    broker.hold = False
    broker.pass_time(5_000)
    assert broker.group().members == {}


def test_heartbeats_do_not_save_a_member_whose_fencing_the_log_refused():
    broker = broker_with()
    one = Consumer(broker, "a", rebalance_timeout_ms=10_000)
    one.beat()
    Consumer(broker, "b").beat()
    one.beat()
    broker.hold = True
    broker.pass_time(10_000)
    broker.fail(Code.NOT_ENOUGH_REPLICAS)
    broker.hold = False
    broker.ask(chb("a", 2))
    broker.pass_time(5_000)
    assert "a" not in broker.group().members


def test_a_silent_member_is_fenced_and_the_others_take_over():
    broker = broker_with()
    one, two = Consumer(broker, "a"), Consumer(broker, "b")
    settle(one, two)
    for _ in range(10):
        broker.pass_time(5_000)
        two.beat()
    settle(two)
    assert two.count == 6
    assert one.beat().error_code == Code.UNKNOWN_MEMBER_ID
    settle(one, two)
    assert one.count == 3


def test_leaving_is_at_once():
    broker = broker_with()
    one, two = Consumer(broker, "a"), Consumer(broker, "b")
    settle(one, two)
    answer = broker.ask(chb("a", -1))
    assert (answer.error_code, answer.member_epoch) == (Code.NONE, -1)
    settle(two)
    assert two.count == 6
    broker.ask(chb("b", -1))
    assert broker.group().state_name == "Empty"


# -- codes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "expected", "version"),
    [
        (chb("a", 0, group=""), Code.INVALID_REQUEST, 1),
        (chb("", 0), Code.INVALID_REQUEST, 1),
        (chb("", 5), Code.INVALID_REQUEST, 0),
        (chb("a", 0, instance_id=""), Code.INVALID_REQUEST, 1),
        (chb("a", 0, rack_id=""), Code.INVALID_REQUEST, 1),
        (chb("a", 0, rebalance_timeout_ms=-1), Code.INVALID_REQUEST, 1),
        (chb("a", 0, owns={"t": [1]}), Code.INVALID_REQUEST, 1),
        (chb("a", 0, subscribed_topic_regex=None), Code.INVALID_REQUEST, 1),
        (chb("a", -2), Code.INVALID_REQUEST, 1),
        (chb("a", -3, instance_id="i"), Code.INVALID_REQUEST, 1),
        (chb("a", 0, server_assignor="sticky"), Code.UNSUPPORTED_ASSIGNOR, 1),
        (chb("a", 0, subscribed_topic_regex="("), Code.INVALID_REGULAR_EXPRESSION, 1),
        (chb("a", 3), Code.GROUP_ID_NOT_FOUND, 1),
        (chb("a", -1), Code.GROUP_ID_NOT_FOUND, 1),
        (chb("a", 0), Code.NONE, 1),
        (chb("", 0), Code.NONE, 0),
    ],
)
def test_codes_without_a_group(request_, expected, version):
    broker = broker_with()
    assert broker.ask(request_, version=version).error_code == expected
    assert (broker.group() is not None) == (expected is Code.NONE)


@pytest.mark.parametrize(
    ("member", "epoch", "owns", "expected"),
    [
        ("a", 2, None, Code.NONE),
        ("a", 3, None, Code.FENCED_MEMBER_EPOCH),
        ("a", 1, {"t": [0]}, Code.FENCED_MEMBER_EPOCH),
        ("x", 2, None, Code.UNKNOWN_MEMBER_ID),
        ("x", -1, None, Code.UNKNOWN_MEMBER_ID),
        ("a", 0, {}, Code.NONE),  # it joins again: the answer to its first join was lost
    ],
)
def test_codes_in_a_group(member, epoch, owns, expected):
    broker = broker_with()
    Consumer(broker, "a").beat()
    assert broker.ask(chb(member, epoch, owns=owns)).error_code == expected


def test_an_answer_that_was_lost_is_given_again_but_not_to_a_zombie():
    broker = broker_with()
    one, two = Consumer(broker, "a"), Consumer(broker, "b")
    settle(one, two)
    epoch, owned = one.epoch, dict(one.owned)
    broker.ask(chb("b", -1))
    broker.ask(chb("a", epoch, owns=owned))  # moves to the next epoch, and the answer is lost
    assert broker.ask(chb("a", epoch, owns={"t": range(7)})).error_code == Code.FENCED_MEMBER_EPOCH
    assert broker.ask(chb("a", epoch, owns=owned)).member_epoch == epoch + 1
    assert broker.ask(chb("a", epoch - 1, owns=owned)).error_code == Code.FENCED_MEMBER_EPOCH


def test_a_full_group_takes_nobody_in():
    broker = broker_with(GroupSettings(group_consumer_max_size=1))
    Consumer(broker, "a").beat()
    assert broker.ask(chb("b", 0)).error_code == Code.GROUP_MAX_SIZE_REACHED
    assert broker.ask(chb("a", 2)).error_code == Code.NONE


# -- static members ----------------------------------------------------------------------------------------------


def test_a_static_member_that_leaves_for_a_while_keeps_its_partitions():
    broker = broker_with()
    one, two = Consumer(broker, "a", instance_id="i"), Consumer(broker, "b")
    settle(one, two)
    owned, epoch = dict(one.owned), broker.group().group_epoch
    answer = broker.ask(chb("a", -2, instance_id="i"))
    assert (answer.error_code, answer.member_epoch) == (Code.NONE, -2)
    settle(two)
    assert two.count == 3
    again = Consumer(broker, "a2", instance_id="i")
    again.beat()
    assert again.owned == owned
    assert broker.group().group_epoch == epoch  # no rebalance
    assert broker.ask(chb("a", 3, instance_id="i")).error_code == Code.FENCED_INSTANCE_ID
    assert broker.ask(chb("a", -1, instance_id="i")).error_code == Code.FENCED_INSTANCE_ID


def test_an_instance_id_that_is_in_use_is_not_given_away():
    broker = broker_with()
    Consumer(broker, "a", instance_id="i").beat()
    assert broker.ask(chb("b", 0, instance_id="i")).error_code == Code.UNRELEASED_INSTANCE_ID
    assert broker.ask(chb("b", 3, instance_id="nobody's")).error_code == Code.UNKNOWN_MEMBER_ID


def test_a_static_member_that_does_not_come_back_is_fenced():
    broker = broker_with()
    one, two = Consumer(broker, "a", instance_id="i"), Consumer(broker, "b")
    settle(one, two)
    broker.ask(chb("a", -2, instance_id="i"))
    for _ in range(10):
        broker.pass_time(5_000)
        two.beat()
    settle(two)
    assert two.count == 6
    assert broker.group().static_members == {}


# -- topics ------------------------------------------------------------------------------------------------------


def test_new_partitions_are_assigned_at_the_next_heartbeat():
    broker = broker_with(t=2)
    one, two = Consumer(broker, "a"), Consumer(broker, "b")
    settle(one, two)
    epoch = broker.group().group_epoch
    broker.set_topics(topics(t=4))
    settle(one, two)
    assert (one.count, two.count) == (2, 2)
    assert broker.group().group_epoch == epoch + 1
    broker.set_topics(topics(t=4, other=9))
    settle(one, two)
    assert broker.group().group_epoch == epoch + 1  # nobody reads that


def test_a_topic_that_is_gone_or_made_anew_is_given_up():
    broker = broker_with(t=2, u=2)
    one = Consumer(broker, "a", reads=("t", "u"))
    settle(one)
    broker.set_topics(topics(t=2))
    settle(one)
    assert one.owned == {"t": {0, 1}}
    broker.set_topics({})
    settle(one)
    assert one.owned == {}


def test_a_new_subscription_rebalances():
    broker = broker_with(t=2, u=2)
    one, two = Consumer(broker, "a", reads=("t",)), Consumer(broker, "b", reads=("t", "u"))
    settle(one, two)
    assert (one.count, two.count) == (2, 2)
    assert two.owned == {"u": {0, 1}}
    two.beat(reads=("t",))
    settle(one, two)
    assert (one.count, two.count) == (1, 1)


def test_a_regular_expression_follows_the_topics():
    broker = broker_with(orders=1, orderz=1, other=1)
    one = Consumer(broker, "a", subscribed_topic_regex="order.")
    settle(one)
    assert set(one.owned) == {"orders", "orderz"}
    broker.set_topics(topics(orders=1, orderz=1, order1=1))
    settle(one)
    assert set(one.owned) == {"orders", "orderz", "order1"}
    assert broker.group().is_subscribed_to("order1")
    assert set(broker.group().regexes) == {"order."}
    one.beat(subscribed_topic_regex="orders", reads=())
    settle(one)
    assert set(one.owned) == {"orders"}
    assert set(broker.group().regexes) == {"orders"}
    before = broker.ask(ConsumerGroupDescribeRequest(("g",)))
    broker.restart()
    assert broker.ask(ConsumerGroupDescribeRequest(("g",))) == before
    one.beat()
    assert one.error == Code.NONE
    assert one.beat(subscribed_topic_regex="[").error_code == Code.INVALID_REGULAR_EXPRESSION


def test_members_choose_the_assignor():
    broker = broker_with(t=3, u=3)
    consumers = [Consumer(broker, name, reads=("t", "u"), server_assignor="range") for name in "ab"]
    settle(*consumers)
    assert consumers[0].owned == {"t": {0, 1}, "u": {0, 1}}
    described = broker.ask(ConsumerGroupDescribeRequest(("g",))).groups[0]
    assert described.assignor_name == "range"


# -- offsets -----------------------------------------------------------------------------------------------------


def test_commits_carry_the_member_epoch():
    broker = broker_with()
    one = Consumer(broker, "a")
    one.beat()
    assert code(broker.ask(commit(5, member="a", epoch=2))) == Code.NONE
    assert code(broker.ask(commit(6, member="a", epoch=3))) == Code.STALE_MEMBER_EPOCH
    assert code(broker.ask(commit(6, member="a", epoch=-1))) == Code.STALE_MEMBER_EPOCH
    assert code(broker.ask(commit(6, member="x", epoch=2))) == Code.UNKNOWN_MEMBER_ID
    assert code(broker.ask(commit(6, member="", epoch=-1))) == Code.UNKNOWN_MEMBER_ID
    assert code(broker.ask(commit(6, member="a", epoch=2), version=8)) == Code.UNSUPPORTED_VERSION
    assert committed(broker) == 5


def test_a_commit_on_its_way_counts_for_what_the_member_kept():
    broker = broker_with(t=4)
    one, two = Consumer(broker, "a"), Consumer(broker, "b")
    one.beat()
    two.beat()
    settle(one, two)
    assert one.epoch == 3
    kept, lost = min(one.owned["t"]), min(two.owned["t"])
    assert code(broker.ask(commit(7, member="a", epoch=2, partition=kept))) == Code.NONE
    assert code(broker.ask(commit(7, member="a", epoch=2, partition=lost))) == Code.STALE_MEMBER_EPOCH
    assert code(broker.ask(commit(7, member="a", epoch=2, topic="u"))) == Code.STALE_MEMBER_EPOCH
    assert code(broker.ask(commit(7, member="b", epoch=2, partition=lost))) == Code.STALE_MEMBER_EPOCH
    by_id = commit(8, member="a", epoch=2, partition=kept, topic_id=topic_id("t"))
    assert code(broker.ask(by_id)) == Code.NONE


def test_fetches_may_carry_it():
    broker = broker_with()
    Consumer(broker, "a").beat()

    def fetch(member, epoch):
        return broker.ask(OffsetFetchRequest("g", member_id=member, member_epoch=epoch)).error_code

    assert fetch(None, -1) == Code.NONE
    assert fetch("a", 2) == Code.NONE
    assert fetch("a", 1) == Code.STALE_MEMBER_EPOCH
    assert fetch("x", 2) == Code.UNKNOWN_MEMBER_ID


# -- the two protocols -------------------------------------------------------------------------------------------


def test_an_empty_group_changes_its_protocol_and_keeps_its_offsets():
    broker = broker_with()
    broker.ask(commit(5))
    Consumer(broker, "a").beat()
    assert broker.group().group_type == "consumer"
    broker.restart()
    assert (broker.group().group_type, committed(broker)) == ("consumer", 5)
    broker.ask(chb("a", -1))
    dynamic_id(broker)
    assert broker.group().group_type == "classic"
    broker.restart()
    assert (broker.group().group_type, committed(broker)) == ("classic", 5)


def test_members_of_both_protocols_are_not_mixed():
    broker = broker_with()
    stable_group(broker)
    assert broker.ask(chb("a", 0)).error_code == Code.GROUP_ID_NOT_FOUND
    Consumer(broker, "a", group="h").beat()
    assert broker.ask(join(group="h")).error_code == Code.INCONSISTENT_GROUP_PROTOCOL
    assert broker.ask(join("m", group="h")).error_code == Code.INCONSISTENT_GROUP_PROTOCOL


def test_listing_and_describing():
    broker = broker_with(t=2)
    stable_group(broker, group="c")
    one = Consumer(broker, "a")
    one.beat()
    rows = {group.group_id: group for group in broker.ask(ListGroupsRequest()).groups}
    assert (rows["c"].group_type, rows["c"].group_state) == ("classic", "Stable")
    assert (rows["g"].group_type, rows["g"].group_state, rows["g"].protocol_type) == ("consumer", "Stable", "consumer")
    assert [group.group_id for group in broker.ask(ListGroupsRequest(types_filter=("Consumer",))).groups] == ["g"]
    assert [group.group_id for group in broker.ask(ListGroupsRequest((" stable ",), ("classic",))).groups] == ["c"]
    assert broker.ask(ListGroupsRequest(("Empty",))).groups == ()
    assert broker.ask(ListGroupsRequest(types_filter=("share",))).groups == ()
    found, other, empty = broker.ask(ConsumerGroupDescribeRequest(("g", "c", ""))).groups
    assert (found.group_state, found.group_epoch, found.assignment_epoch) == ("Stable", 2, 2)
    assert found.members[0].assignment[0].partitions == (0, 1) == found.members[0].target_assignment[0].partitions
    assert (found.members[0].assignment[0].topic_name, found.assignor_name) == ("t", "uniform")
    assert (other.error_code, empty.error_code) == (Code.GROUP_ID_NOT_FOUND, Code.INVALID_GROUP_ID)


def test_a_crash_in_between_goes_on_where_it_was():
    broker = broker_with(t=4)
    one, two = Consumer(broker, "a"), Consumer(broker, "b")
    one.beat()
    two.beat()
    one.beat()
    before = broker.group().copy()
    broker.restart()
    broker.group().topics_seen = before.topics_seen
    assert broker.group() == before
    settle(one, two)
    assert (one.count, two.count) == (2, 2)
    assert broker.group().group_epoch == before.group_epoch
