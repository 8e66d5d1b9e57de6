"""A broker in a few lines for tests of the group coordinator: a list for a log, a counter for a clock."""

from __future__ import annotations

import itertools
from dataclasses import replace

from kstore.groups.codes import Code
from kstore.groups.coordinator import Coordinator
from kstore.groups.effects import (
    Appended,
    AppendFailed,
    AppendRecords,
    Call,
    MetadataChanged,
    Reply,
    Schedule,
    TimePassed,
    Topic,
)
from kstore.groups.requests import (
    ConsumerGroupHeartbeatRequest,
    Context,
    HeartbeatRequest,
    JoinGroupRequest,
    OffsetCommitPartition,
    OffsetCommitRequest,
    OffsetCommitTopic,
    OffsetFetchRequest,
    Protocol,
    SyncGroupRequest,
    TopicPartitions,
)
from kstore.groups.settings import GroupSettings
from kstore.primitives import Writer

START_MS = 1_700_000_000_000
WAITING = None


class Broker:
    """Runs one coordinator. `hold` keeps appends back until `release` or `fail`."""

    def __init__(self, settings: GroupSettings | None = None, topics=None) -> None:
        self.settings = settings or GroupSettings()
        self.now_ms = START_MS
        self.log: list[tuple[bytes, bytes | None]] = []
        self.replies: dict[object, object] = {}
        self.hold = False
        self.held: list[AppendRecords] = []
        self.deadline_ms: int | None = None
        self.tokens = itertools.count()
        self.ids = itertools.count()
        self.topics = topics
        self.coordinator = Coordinator(self.settings)
        self.start()

    def start(self) -> None:
        self.run(self.coordinator.loaded(self.now_ms))
        if self.topics is not None:
            self.set_topics(self.topics)

    def set_topics(self, found) -> None:
        self.topics = found
        self.event(MetadataChanged(found))

    def run(self, effects) -> None:
        for effect in effects:
            match effect:
                case Reply(token, response):
                    assert token not in self.replies
                    self.replies[token] = response
                case Schedule(deadline_ms):
                    self.deadline_ms = deadline_ms
                case AppendRecords():
                    self.held.append(effect)
        while self.held and not self.hold:
            self.release()

    def event(self, event) -> None:
        self.run(self.coordinator.handle(event, self.now_ms))

    def release(self) -> None:
        """The oldest append is committed."""
        append = self.held.pop(0)
        base_offset = len(self.log)
        self.log.extend(append.records)
        self.event(Appended(append.append_id, base_offset))

    def fail(self, error_code: int) -> None:
        """The oldest append failed."""
        self.event(AppendFailed(self.held.pop(0).append_id, error_code))

    def send(self, request, *, version: int = 9, client: str = "c", fresh: str | None = None) -> object:
        token = next(self.tokens)
        fresh = f"id{next(self.ids)}" if fresh is None else fresh
        self.event(Call(token, request, Context(client, "/127.0.0.1", version, fresh)))
        return token

    def ask(self, request, **context):
        """The answer, or `WAITING`."""
        return self.replies.get(self.send(request, **context))

    def pass_time(self, duration_ms: int) -> None:
        end_ms = self.now_ms + duration_ms
        while self.deadline_ms is not None and self.deadline_ms <= end_ms:
            self.now_ms = max(self.now_ms, self.deadline_ms)
            self.event(TimePassed())
        self.now_ms = end_ms

    def restart(self) -> None:
        """The coordinator dies; another loads the log."""
        self.held.clear()
        self.coordinator = replayed(self.log, self.settings)
        self.deadline_ms = None
        self.start()

    def group(self, name: str = "g"):
        return self.coordinator.shard.groups.get(name)


def replayed(log, settings: GroupSettings | None = None) -> Coordinator:
    coordinator = Coordinator(settings)
    for offset, (key, value) in enumerate(log):
        coordinator.load(key, value, offset)
    return coordinator


def subscription(*topics: str, version: int = 0) -> bytes:
    """ConsumerProtocolSubscription with no user data."""
    writer = Writer().int16(version).int32(len(topics))
    for topic in topics:
        writer.string(topic)
    return bytes(writer.int32(-1))


def protocols(*names: str, topics=("t",)) -> tuple[Protocol, ...]:
    return tuple(Protocol(name, subscription(*topics)) for name in names or ("range",))


def join(member="", *, group="g", instance=None, session_ms=10_000, rebalance_ms=60_000, offers=None, kind="consumer"):
    return JoinGroupRequest(
        group, session_ms, rebalance_ms, member, instance, kind, protocols() if offers is None else offers
    )


def sync(member, generation, assignments=(), *, group="g", instance=None, kind=None, name=None):
    return SyncGroupRequest(group, generation, member, instance, kind, name, tuple(dict(assignments).items()))


def beat(member, generation, *, group="g", instance=None):
    return HeartbeatRequest(group, generation, member, instance)


def commit(offset, *, member="", epoch=-1, group="g", topic="t", partition=0, instance=None, metadata="", **more):
    one = OffsetCommitPartition(partition, offset, 5, metadata)
    topics = (OffsetCommitTopic(topic, (one,), more.pop("topic_id", None)),)
    return OffsetCommitRequest(group, topics, epoch, member, instance, **more)


def committed(broker: Broker, group="g", topic="t", partition=0) -> int:
    answer = broker.ask(OffsetFetchRequest(group, ((topic, (partition,)),)))
    return answer.topics[0].partitions[0].committed_offset


def dynamic_id(broker: Broker, **more) -> str:
    """A member id by the handshake of version 4 and later."""
    return broker.ask(join(**more)).member_id


def stable_group(broker: Broker, count: int = 2, **more) -> tuple[list[str], int]:
    """A stable classic group of `count` dynamic members, the leader first; assignments are the ids themselves."""
    ids = [dynamic_id(broker, **more) for _ in range(count)]
    tokens = {one: broker.send(join(one, **more)) for one in ids}
    broker.pass_time(broker.settings.group_initial_rebalance_delay_ms * 2 + 1)
    answers = {one: broker.replies[token] for one, token in tokens.items()}
    leader = answers[ids[0]].leader
    generation = answers[ids[0]].generation_id
    ids.sort(key=lambda one: one != leader)
    group = more.get("group", "g")
    for one in reversed(ids):
        given = {each: each.encode() for each in ids} if one == leader else {}
        broker.send(sync(one, generation, given, group=group))
    assert broker.group(group).state_name == "Stable"
    return ids, generation


# -- consumer groups (KIP-848) -----------------------------------------------------------------------------------


def topic_id(name: str) -> bytes:
    return name.encode().ljust(16, b".")


def topics(**counts: int) -> dict[str, Topic]:
    return {name: Topic(topic_id(name), count) for name, count in counts.items()}


def chb(member: str, epoch: int, *, group: str = "g", **more) -> ConsumerGroupHeartbeatRequest:
    """A heartbeat; `reads` and `owns` are short for names and partitions."""
    reads, owns = more.pop("reads", None), more.pop("owns", None)
    if epoch == 0:
        more.setdefault("rebalance_timeout_ms", 60_000)
        owns = {} if owns is None else owns
        if "subscribed_topic_regex" not in more:
            reads = ("t",) if reads is None else reads
    partitions = None if owns is None else tuple(TopicPartitions(topic_id(name), tuple(sorted(numbers)))
                                                 for name, numbers in owns.items())  # fmt: skip
    return ConsumerGroupHeartbeatRequest(
        group, member, epoch, subscribed_topic_names=reads, topic_partitions=partitions, **more
    )


class Consumer:
    """A member that does what KIP-848 asks of it: gives up first, then takes, then says so."""

    def __init__(self, broker: Broker, name: str, **more) -> None:
        self.broker, self.name, self.more = broker, name, more
        self.epoch = 0
        self.owned: dict[str, set[int]] = {}
        self.error = Code.NONE

    def beat(self, **more):
        join = {**self.more, **more} if self.epoch == 0 else more
        request = chb(self.name, self.epoch, owns=self.owned, **join)
        if self.epoch > 0 and "instance_id" in self.more:
            request = replace(request, instance_id=self.more["instance_id"])
        answer = self.broker.ask(request)
        if answer is not WAITING:
            self.take(answer)
        return answer

    def take(self, answer) -> None:
        self.error = answer.error_code
        if answer.error_code is not Code.NONE:
            self.epoch, self.owned = 0, {}
            return
        self.epoch = answer.member_epoch
        if answer.assignment is not None:
            self.owned = {one.topic_id.rstrip(b".").decode(): set(one.partitions) for one in answer.assignment}

    @property
    def count(self) -> int:
        return sum(map(len, self.owned.values()))


def settle(*consumers: Consumer, rounds: int = 12) -> None:
    """Heartbeats until nothing moves any more."""
    for _ in range(rounds):
        before = [(one.epoch, {name: set(numbers) for name, numbers in one.owned.items()}) for one in consumers]
        for one in consumers:
            one.beat()
        if before == [(one.epoch, one.owned) for one in consumers]:
            return
    raise AssertionError("the group does not settle")
