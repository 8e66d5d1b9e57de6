"""DescribeGroups: what an admin sees of a classic group."""

from kstore.groups.codes import Code
from kstore.groups.requests import DescribeGroupsRequest
from support.groups import Broker, Consumer, join, stable_group, subscription, topics


def test_a_stable_group_shows_everything_others_less():
    broker = Broker()
    (leader, follower), _ = stable_group(broker)
    (group,) = broker.ask(DescribeGroupsRequest(("g",))).groups
    assert (group.group_state, group.protocol_type, group.protocol_data) == ("Stable", "consumer", "range")
    assert {member.member_id for member in group.members} == {leader, follower}
    assert group.members[0].member_metadata == subscription("t")
    assert group.members[0].member_assignment == group.members[0].member_id.encode()
    assert (group.members[0].client_id, group.members[0].client_host) == ("c", "/127.0.0.1")
    broker.send(join(leader))
    (group,) = broker.ask(DescribeGroupsRequest(("g",))).groups
    assert (group.group_state, group.protocol_data) == ("PreparingRebalance", "")
    assert group.members[0].member_assignment == group.members[0].member_metadata == b""


def test_a_group_that_is_not_there_is_dead():
    broker = Broker(topics=topics(t=1))
    Consumer(broker, "a", group="k").beat()
    for version, code in ((5, Code.NONE), (6, Code.GROUP_ID_NOT_FOUND)):
        for group in broker.ask(DescribeGroupsRequest(("none", "k")), version=version).groups:
            assert (group.group_state, group.error_code) == ("Dead", code)
