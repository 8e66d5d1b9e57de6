"""Groups under everything that happens to them: pauses, slow and failing logs, crashes of their coordinator.

Clients keep to their protocol; what goes on around them is drawn. Watched all the time (I16, G1 to G3):

- a partition has at most one owner in a generation or member epoch;
- generations and epochs that were told do not go back;
- what a group has committed is what the last acknowledged commit said;
- no request is answered twice, and when the weather clears the group is whole again within two session timeouts.
"""

from __future__ import annotations

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from kstore.groups.codes import Code
from kstore.groups.requests import LeaveGroupRequest, MemberIdentity, OffsetDeleteRequest
from kstore.groups.settings import GroupSettings
from support.group_clients import PARTITIONS, ClassicClient, ConsumerClient
from support.groups import Broker, chb, committed, topic_id, topics

SESSION_MS = 10_000
SETTINGS = GroupSettings(group_initial_rebalance_delay_ms=1_000, group_consumer_session_timeout_ms=SESSION_MS)
STEPS_MS = 5_000
"""The initial delay and ten steps of half a second for joining, syncing and beating."""
CLIENTS_MAX = 6


class Weather(RuleBasedStateMachine):
    """What both protocols share: time, the log, crashes, commits, and what must hold."""

    clients = Bundle("clients")
    make = ClassicClient

    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker(SETTINGS, topics(t=PARTITIONS))
        self.alive: list = []
        self.names = 0
        self.owner: dict[tuple[int, int], str] = {}
        """Who was given a partition in a generation or epoch."""
        self.last_told = -1
        self.acknowledged: dict[int, int] = {}
        self.commits: dict[object, tuple[int, int]] = {}

    @initialize(target=clients)
    def first(self):
        return self.arrive(None)

    def arrive(self, instance):
        self.names += 1
        client = self.make(self.broker, f"m{self.names}", instance)
        self.alive.append(client)
        return client

    @rule(target=clients, instance=st.sampled_from([None, None, "i", "j"]))
    def come(self, instance):
        if len(self.alive) >= CLIENTS_MAX:
            return self.alive[0]
        return self.arrive(instance)

    def step(self, client) -> None:
        told = client.step()
        self.read_commits()
        if told is None:
            return
        generation, partitions = told
        for partition in partitions:
            owner = self.owner.setdefault((generation, partition), client.who)
            assert owner == client.who, f"{partition} belongs to {owner} and {client.who} in {generation}"
        self.told(client, generation)

    def told(self, client, generation: int) -> None:
        assert generation >= self.last_told, "a generation came back"
        self.last_told = generation

    @rule(client=clients, count=st.integers(1, 4))
    def go_on(self, client, count):
        for _ in range(count):
            if client in self.alive:
                self.step(client)

    @rule()
    def all_go_on(self):
        for client in list(self.alive):
            self.step(client)

    @rule()
    def calm(self):
        """Some seconds in which everyone who lives goes on: enough for a rebalance."""
        for _ in range(10):
            self.broker.pass_time(500)
            self.all_go_on()
            self.all_go_on()

    @rule(duration_ms=st.sampled_from([1, 900, 3_000, SESSION_MS, 3 * SESSION_MS, 70_000]))
    def time_passes(self, duration_ms):
        self.broker.pass_time(duration_ms)
        self.read_commits()

    # -- commits --------------------------------------------------------------------------------------------

    @rule(client=clients, partition=st.integers(0, 1), offsets=st.lists(st.integers(0, 99), min_size=1, max_size=3))
    def commit(self, client, partition, offsets):
        if client in self.alive and client.member:
            for offset in offsets:
                self.commits[client.commit(partition, offset)] = (partition, offset)
                self.read_commits()

    @rule(partition=st.integers(0, 1))
    def ask_to_forget(self, partition):
        if self.broker.hold or self.broker.held:
            return
        answer = self.broker.ask(OffsetDeleteRequest("g", (("t", (partition,)),)))
        if answer and answer.error_code is Code.NONE and answer.topics[0].partitions[0].error_code is Code.NONE:
            self.acknowledged.pop(partition, None)

    def read_commits(self) -> None:
        """Answers come in the order of the log."""
        for token in [token for token in self.commits if token in self.broker.replies]:
            partition, offset = self.commits.pop(token)
            if self.broker.replies[token].topics[0].partitions[0].error_code is Code.NONE:
                self.acknowledged[partition] = offset

    @invariant()
    def commits_are_what_was_acknowledged(self):
        if not self.broker.coordinator._lanes:  # a fetch would wait behind what is on its way
            for partition in range(PARTITIONS):
                assert committed(self.broker, partition=partition) == self.acknowledged.get(partition, -1)

    # -- the log and the coordinator ------------------------------------------------------------------------

    @rule()
    def log_slows_down(self):
        self.broker.hold = True

    @rule(count=st.integers(1, 3))
    def log_takes_some(self, count):
        for _ in range(min(count, len(self.broker.held))):
            self.broker.release()
        self.read_commits()

    @rule(error=st.sampled_from([Code.NOT_ENOUGH_REPLICAS, Code.REQUEST_TIMED_OUT]))
    def log_refuses_one(self, error):
        if self.broker.held:
            self.broker.fail(error)
            self.read_commits()

    @rule()
    def log_is_fast_again(self):
        self.broker.hold = False
        while self.broker.held:
            self.broker.release()
        self.read_commits()

    @rule()
    def coordinator_crashes(self):
        self.read_commits()
        self.commits.clear()
        self.broker.restart()
        for client in self.alive:
            client.lose_connection()

    # -- the end --------------------------------------------------------------------------------------------

    def teardown(self):
        """The weather clears: within two session timeouts and the steps of two rebalances, everyone works.

        Two, because a member that died in the group and one that died while its first join was parked are found out
        one after the other: the parked join counts as joined, and its session begins when it is answered.
        """
        self.log_is_fast_again()
        self.alive = [client for client in self.alive if not client.is_fenced]
        for _ in range((2 * SESSION_MS + STEPS_MS) // 500):
            self.broker.pass_time(500)
            self.all_go_on()
            self.all_go_on()
        working = [client for client in self.alive if not client.is_fenced]
        if not working:
            return
        group = self.broker.group()
        assert group.state_name == "Stable", f"stuck in {group.state_name}"
        owned = sorted(partition for client in working for partition in client.owned or ())
        assert owned == list(range(PARTITIONS)), "not every partition has one reader"


class ClassicWeather(Weather):
    """The classic protocol."""

    clients = Weather.clients

    @rule(client=clients)
    def leave(self, client):
        if client in self.alive and client.member and client.token is None and not client.is_fenced:
            identity = MemberIdentity(client.member, client.instance)
            self.broker.send(LeaveGroupRequest("g", (identity,)))
            self.alive.remove(client)

    @rule(client=clients)
    def die(self, client):
        if client in self.alive and len(self.alive) > 1:
            self.alive.remove(client)


class ConsumerWeather(Weather):
    """KIP-848."""

    clients = Weather.clients
    make = ConsumerClient

    def __init__(self) -> None:
        super().__init__()
        self.epochs: dict[int, int] = {}
        self.group_epoch = 0

    def told(self, client, generation: int) -> None:
        # Each member goes at its own pace; its epochs, and the group's, never go back.
        assert generation >= self.epochs.get(id(client), 0), "a member epoch came back"
        self.epochs[id(client)] = generation

    @rule(client=clients, epoch=st.sampled_from([-1, -2]))
    def leave(self, client, epoch):
        if client in self.alive and client.epoch > 0 and client.token is None and not client.is_fenced:
            if epoch == -2 and client.instance is None:
                epoch = -1
            self.broker.send(chb(client.member, epoch, instance_id=client.instance))
            self.alive.remove(client)

    @rule(client=clients)
    def die(self, client):
        if client in self.alive and len(self.alive) > 1:
            self.alive.remove(client)

    @rule(count=st.sampled_from([PARTITIONS, PARTITIONS + 2]))
    def topics_change(self, count):
        self.broker.set_topics(topics(t=count))

    @invariant()
    def owners_are_apart_and_epochs_grow(self):
        group = self.broker.group()
        if group is None:
            return
        assert group.group_epoch >= self.group_epoch, "the group epoch went back"
        self.group_epoch = group.group_epoch
        assert group.assignment_epoch <= group.group_epoch
        for client in self.alive:
            if not client.is_fenced and client.member in group.members:
                current = group.members[client.member].current
                held = {one for numbers in (current.assigned, current.pending_revocation) for one in
                        numbers.get(topic_id("t"), ())}  # fmt: skip
                assert client.owned <= held, "a partition was taken from a member that still reads it"
        held = [
            (topic, number)
            for member in group.members.values()
            for partitions in (member.current.assigned, member.current.pending_revocation)
            for topic, numbers in partitions.items()
            for number in numbers
        ]
        assert len(held) == len(set(held)), "a partition has two owners"

    def teardown(self):
        self.broker.set_topics(topics(t=PARTITIONS))
        super().teardown()


STEPS = hypothesis_settings(stateful_step_count=40, deadline=None)
TestClassic = ClassicWeather.TestCase
TestClassic.settings = STEPS
TestConsumer = ConsumerWeather.TestCase
TestConsumer.settings = STEPS
