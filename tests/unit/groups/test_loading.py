"""A coordinator that loads what another one, or a real Kafka, wrote stands where that one stood."""

import pytest

from kstore.errors import InvariantError, UsageError
from kstore.groups.codes import Code
from kstore.groups.compaction import LogRecord, survivors
from kstore.groups.coordinator import Coordinator
from kstore.groups.effects import Appended, Call, Reply, Unloaded
from kstore.groups.requests import (
    DescribeGroupsRequest,
    ListGroupsRequest,
    OffsetFetchRequest,
)
from support import corpus
from support.groups import (
    START_MS,
    Broker,
    beat,
    commit,
    committed,
    dynamic_id,
    join,
    replayed,
    stable_group,
    sync,
)


def load(rows) -> Coordinator:
    coordinator = Coordinator()
    for row in rows:
        key = bytes.fromhex(row["key"])
        if row["isControl"]:
            coordinator.load_marker(row["producerId"], key[3] == 1)
        else:
            value = None if row["value"] is None else bytes.fromhex(row["value"])
            coordinator.load(key, value, row["offset"], row["producerId"] if row["isTransactional"] else -1)
    return coordinator


def test_what_a_real_kafka_left_is_served():
    broker = Broker()
    rows = corpus.case("clean").records["__consumer_offsets-0"]
    broker.coordinator = load(rows)
    broker.run(broker.coordinator.loaded(broker.now_ms))
    listed = {group.group_id: group for group in broker.ask(ListGroupsRequest()).groups}
    found = {name: (group.group_type, group.group_state, group.protocol_type) for name, group in listed.items()}
    assert found == {
        "classic-group": ("classic", "Empty", "consumer"),
        "consumer-group": ("consumer", "Empty", "consumer"),
        "in-transaction": ("classic", "Empty", ""),
        "lone": ("classic", "Empty", ""),
    }
    offsets = {name: committed(broker, name, "codecs") for name in listed}
    assert offsets == {"classic-group": 40, "consumer-group": 40, "in-transaction": 7, "lone": 5}
    assert broker.group("classic-group").generation == 2
    assert broker.group("consumer-group").group_epoch == 3


def test_a_member_of_a_real_kafka_goes_on_after_a_crash_in_between():
    rows = corpus.case("clean").records["__consumer_offsets-0"]
    broker = Broker()
    broker.coordinator = load(rows[:10])
    broker.run(broker.coordinator.loaded(broker.now_ms))
    group = broker.group("consumer-group")
    assert (group.state_name, group.group_epoch, group.assignment_epoch) == ("Stable", 2, 2)
    (member,) = group.members.values()
    assert member.metadata.subscribed_topic_names == ("codecs",)
    assert list(group.owners.values()) == [member.member_id]


def state_of(coordinator: Coordinator):
    shard = coordinator.shard
    return (
        {name: vars_of(group) for name, group in shard.groups.items()},
        {name: shard.offsets.of_group(name) for name in shard.offsets.group_ids()},
    )


def vars_of(group):
    soft = {
        "previous_state", "pending_join", "pending_sync", "new_member_added", "topics_seen", "support", "leader_id",
        "state_timestamp_ms",
    }  # fmt: skip
    found = {name: getattr(group, name) for name in group.__dataclass_fields__ if name not in soft}
    if group.group_type == "classic":
        found["members"] = {
            name: (member.instance_id, member.assignment, member.session_timeout_ms, member.rebalance_timeout_ms)
            for name, member in group.members.items()
        }
    return found


def test_replay_gives_the_state_that_wrote_the_log():
    broker = Broker()
    ids, generation = stable_group(broker, 3)
    broker.ask(commit(5, member=ids[0], epoch=generation))
    broker.ask(commit(6, group="simple", retention_time_ms=1_000, topic_id=bytes(16)))
    assert state_of(replayed(broker.log)) == state_of(broker.coordinator)


def test_the_shortest_log_says_the_same():
    broker = Broker()
    ids, generation = stable_group(broker, 3)
    for offset in range(5):
        broker.ask(commit(offset, member=ids[0], epoch=generation))
    whole = [LogRecord(offset, key, value) for offset, (key, value) in enumerate(broker.log)]
    kept = list(survivors(whole))
    assert len(kept) == 2 < len(whole)
    coordinator = Coordinator()
    for record in kept:
        coordinator.load(record.key, record.value, record.offset)
    assert state_of(coordinator) == state_of(broker.coordinator)


def test_members_survive_a_crash_of_their_coordinator():
    broker = Broker()
    (leader, follower), generation = stable_group(broker)
    broker.restart()
    assert broker.ask(beat(leader, generation)).error_code == Code.NONE
    assert broker.ask(sync(follower, generation)).assignment == follower.encode()
    broker.pass_time(20_000)
    assert broker.group().state_name == "Empty"


def test_a_crash_before_the_assignment_is_stored_starts_over():
    broker = Broker()
    token = broker.send(join(dynamic_id(broker)))
    broker.pass_time(3_000)
    member = broker.replies[token].member_id
    broker.hold = True
    broker.send(sync(member, 1, {member: b"x"}))
    broker.hold = False
    broker.restart()
    assert broker.ask(sync(member, 1)).error_code == Code.UNKNOWN_MEMBER_ID


def test_while_it_loads_everyone_is_asked_to_wait():
    coordinator = Coordinator()

    def ask(request):
        (effect,) = coordinator.handle(Call(request, request), START_MS)
        assert isinstance(effect, Reply)
        return effect.response

    assert ask(join("m")).error_code == Code.COORDINATOR_LOAD_IN_PROGRESS
    assert ask(sync("m", 1)).error_code == Code.COORDINATOR_LOAD_IN_PROGRESS
    assert ask(beat("m", 1)).error_code == Code.NONE  # it may well be fine
    assert ask(commit(1)).topics[0].partitions[0].error_code == Code.COORDINATOR_LOAD_IN_PROGRESS
    assert ask(OffsetFetchRequest("g")).error_code == Code.COORDINATOR_LOAD_IN_PROGRESS
    assert ask(ListGroupsRequest()).error_code == Code.COORDINATOR_LOAD_IN_PROGRESS
    assert ask(DescribeGroupsRequest(("g",))).groups[0].error_code == Code.COORDINATOR_LOAD_IN_PROGRESS


def test_after_it_moved_away_everyone_is_sent_on():
    broker = Broker()
    parked = broker.send(join(dynamic_id(broker)))
    broker.hold = True
    behind = broker.send(commit(1, group="x"))
    queued = broker.send(OffsetFetchRequest("x", require_stable=True))
    broker.event(Unloaded())
    assert broker.replies[parked].error_code == Code.NOT_COORDINATOR
    assert broker.replies[behind].topics[0].partitions[0].error_code == Code.NOT_COORDINATOR
    assert broker.replies[queued].error_code == Code.NOT_COORDINATOR
    assert broker.ask(beat("m", 1)).error_code == Code.NOT_COORDINATOR
    assert broker.ask(ListGroupsRequest()).groups == ()
    assert broker.deadline_ms is None
    broker.event(Appended(broker.held[0].append_id, 9))  # a late report hurts nobody


def test_misuse_is_told():
    broker = Broker()
    with pytest.raises(UsageError):
        broker.coordinator.load(b"", None, 0)
    with pytest.raises(UsageError):
        broker.event(Appended(99, 0))
    token = broker.send(join(dynamic_id(broker)))
    with pytest.raises(UsageError):
        broker.event(Call(token, beat("m", 1)))
    with pytest.raises(InvariantError):
        broker.coordinator.shard.reply("nobody's", None)


def test_bytes_that_are_no_record_are_the_callers_to_report():
    coordinator = Coordinator()
    with pytest.raises(ValueError):
        coordinator.load(b"\0\x02\0\x05g", None, 0)
    coordinator.load(b"\0\x63anything", b"newer than us", 1)
    assert coordinator.shard.groups == {}
