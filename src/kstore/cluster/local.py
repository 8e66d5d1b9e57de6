"""Brokers of one process, each with a directory of its own: replicas that run, fetch, sync and fail over for real.

Owns the threads: one for each broker, which takes what comes (requests, answers, metadata, time), and one that fsyncs.
It must not know how anything is decided (`replication`) or stored (`store`). Called by programs that embed a replicated
log, by tests and benchmarks; a broker with sockets takes the same steps with other threads.

Invariants
1. Messages between two brokers arrive in their order, or not at all when one of them is dead or cut off.
2. A producer's append returns once it is acknowledged as it asked, or raises what became of it.
3. Nothing of a broker that was killed does anything any more: its files are as they were at that moment.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kstore.cluster.controlling import LocalController, monotonic_ms
from kstore.config import StoreConfig
from kstore.errors import (
    KStoreError,
    NotEnoughReplicas,
    NotEnoughReplicasAfterAppend,
    NotLeader,
    RejectedError,
    RequestTimedOut,
    UnknownTopicOrPartition,
    UsageError,
)
from kstore.log.disk import OsDisk
from kstore.log.names import random_uuid, uuid_to_text
from kstore.replica import Replica
from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.controller.cluster import (
    Changes,
    Cluster,
    PartitionChanged,
    TopicChanged,
    TopicPartition,
    TopicRules,
    Unclean,
)
from kstore.replication.leading import Leader
from kstore.replication.state import NO_LEADER, Rules
from kstore.store import Store
from kstore.store.store import wall_clock_ms

if TYPE_CHECKING:
    from kstore.log.appended import Appended
    from kstore.partition import Partition
    from kstore.replica import Produced
    from kstore.replication import effects
    from kstore.replication import events as ev

HEARTBEATS_A_SESSION = 5
"""Heartbeats within a session timeout: some may be late on a busy machine."""
CALLS_A_ROUND = 64
"""How much a broker does before it looks at the time again: heartbeats go on under any load."""
DEFAULT_RULES = Rules(fetch_timeout_ms=2_000, fetch_backoff_ms=100)
"""Kafka's, but for the network: in one process a message that is two seconds late is lost."""
FAILURES = {
    Code.NOT_LEADER_OR_FOLLOWER: NotLeader,
    Code.NOT_ENOUGH_REPLICAS: NotEnoughReplicas,
    Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND: NotEnoughReplicasAfterAppend,
    Code.REQUEST_TIMED_OUT: RequestTimedOut,
}


def failure_of(code: Code, what: str) -> RejectedError:
    """The exception that a refusal is raised as."""
    failure = FAILURES.get(code, RejectedError)(f"{what}: {code.name}")
    failure.error_code = int(code)
    return failure


class LocalBroker:
    """One broker of a cluster in this process. It is the `Surroundings` of its replicas."""

    def __init__(self, broker_id: int, path: str, cluster: LocalCluster, rules: Rules, config: StoreConfig) -> None:
        self.id = broker_id
        self.path = path
        self.rules = rules
        self.alive = True
        self._cluster = cluster
        self._controller = cluster.controller
        self._comes: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._syncs: queue.SimpleQueue[Replica | None] = queue.SimpleQueue()
        self._answers: dict[tuple[Replica, int], Code] = {}
        self._answered = threading.Condition()
        self.store = Store(path, config, OsDisk(), wall_clock_ms)
        self.replicas: dict[TopicPartition, Replica] = {}
        self._keys: dict[Replica, TopicPartition] = {}
        self._heartbeat_ms = cluster.controller.session_timeout_ms // HEARTBEATS_A_SESSION
        self.epoch = self._controller.register(broker_id, self._hear, previous_epoch=cluster.previous_epoch(self))
        self._threads = [
            threading.Thread(target=self._run, name=f"kstore broker {broker_id}", daemon=True),
            threading.Thread(target=self._sync, name=f"kstore broker {broker_id} fsync", daemon=True),
        ]
        cluster.brokers[broker_id] = self  # before anyone can answer it
        for thread in self._threads:
            thread.start()

    # -- the threads -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        next_heartbeat_ms = 0
        while self.alive:
            now_ms = monotonic_ms()
            if now_ms >= next_heartbeat_ms:
                self._controller.heartbeat(self.id, self.epoch)
                next_heartbeat_ms = now_ms + self._heartbeat_ms
            dues = [d for r in list(self.replicas.values()) if (d := r.next_deadline_ms) is not None]
            wait_ms = max(0, min([next_heartbeat_ms, *dues]) - now_ms)
            with contextlib.suppress(queue.Empty):
                self._comes.get(timeout=wait_ms / 1000)()
                for _ in range(CALLS_A_ROUND):
                    self._comes.get_nowait()()
            now_ms = monotonic_ms()
            for replica in list(self.replicas.values()):
                due = replica.next_deadline_ms
                if due is not None and due <= now_ms:
                    replica.tick(now_ms)

    def _sync(self) -> None:
        while (replica := self._syncs.get()) is not None:
            if self.alive:
                replica.sync(monotonic_ms())

    def do(self, call: Callable[[], None]) -> None:
        """Have the broker's thread call something."""
        if self.alive:
            self._comes.put(call)

    # -- metadata --------------------------------------------------------------------------------------------

    def _hear(self, cluster: Cluster, changes: Changes) -> None:
        self._comes.put(lambda: self._take_in(cluster, changes))

    def _take_in(self, cluster: Cluster, changes: Changes) -> None:
        now_ms = monotonic_ms()
        eligible = cluster.eligible()
        for replica in self.replicas.values():
            replica.brokers_changed(eligible, now_ms)
        for change in changes:
            if isinstance(change, TopicChanged):
                for key, replica in self.replicas.items():
                    if key[0] == change.topic:
                        replica.set_rules(self._rules_of(cluster, change.topic))
            elif isinstance(change, PartitionChanged):
                self._assign(cluster, change, now_ms)
        with self._cluster.roles:
            self._cluster.roles.notify_all()

    def _rules_of(self, cluster: Cluster, topic: str) -> Rules:
        known = cluster.topics.get(topic)
        least = self.rules.min_insync_replicas if known is None else known.min_insync_replicas
        return replace(self.rules, min_insync_replicas=least)

    def _assign(self, cluster: Cluster, change: PartitionChanged, now_ms: int) -> None:
        key = (change.topic, change.index)
        replica = self.replicas.get(key)
        if replica is None:
            if self.id not in change.assignment.replicas:
                return
            replica = Replica(
                self._partition(cluster, key),
                self,
                broker_id=self.id,
                broker_epoch=self.epoch,
                rules=self._rules_of(cluster, change.topic),
                high_watermark=self.store.high_watermark(*key),
            )
            self._keys[replica] = key
            self.replicas[key] = replica
            replica.brokers_changed(cluster.eligible(), now_ms)
        replica.assign(change.assignment, now_ms)

    def _partition(self, cluster: Cluster, key: TopicPartition) -> Partition:
        topic, index = key
        if topic not in self.store.topics():
            count = 1 + max(cluster.indexes_of(topic), default=index)
            made = self._cluster.made.get(topic)
            topic_id, config = made if made is not None else (None, {})
            self.store.create_topic(topic, count, config=config, topic_id=topic_id)
        return self.store.partition(topic, index)

    # -- Surroundings ----------------------------------------------------------------------------------------

    def send_request(self, replica: Replica, to: int, request: ev.Request) -> None:
        """See `Surroundings.send_request`."""
        key = self._keys[replica]
        self._cluster.carry(self.id, to, key, lambda target: target.on_request(request, monotonic_ms()))

    def send_reply(self, replica: Replica, to: int, reply: ev.Reply, data: memoryview) -> None:
        """See `Surroundings.send_reply`. The bytes stay where they are: the mapping outlives the call."""
        key = self._keys[replica]
        self._cluster.carry(self.id, to, key, lambda target: target.on_reply(reply, data, monotonic_ms()))

    def propose(self, replica: Replica, proposal: effects.ProposeIsr) -> None:
        """See `Surroundings.propose`."""

        def ask() -> None:
            answer = self._controller.propose((self.id, self.epoch), self._keys[replica], proposal)
            replica.on_proposal_answered(answer, monotonic_ms())

        self.do(ask)

    def resign(self, replica: Replica, resignation: effects.Resign) -> None:
        """See `Surroundings.resign`."""
        self.do(lambda: self._controller.resign((self.id, self.epoch), self._keys[replica], resignation))

    def request_sync(self, replica: Replica) -> None:
        """See `Surroundings.request_sync`."""
        self._syncs.put(replica)

    def acknowledge(self, replica: Replica, token: int, code: Code) -> None:
        """See `Surroundings.acknowledge`."""
        with self._answered:
            self._answers[replica, token] = code
            self._answered.notify_all()

    # -- producers -------------------------------------------------------------------------------------------

    def append(self, key: TopicPartition, append: Callable[[Replica], Produced], acks: int) -> Appended:
        """Append through this broker's replica and wait for the acknowledgement that `acks` asks for."""
        replica = self.replicas.get(key)
        if replica is None:
            raise NotLeader(f"broker {self.id} holds no replica of {key[0]}-{key[1]}")
        token, appended = append(replica)
        if acks == 0:
            return appended
        with self._answered:
            self._answered.wait_for(lambda: (replica, token) in self._answers or not self.alive)
            code = self._answers.pop((replica, token), Code.NOT_LEADER_OR_FOLLOWER)
        if code is not Code.NONE:
            raise failure_of(code, f"{key[0]}-{key[1]} offset {appended.base_offset} at broker {self.id}")
        return appended

    # -- the end ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop cleanly: others lead on, everything is synced, the directory is marked clean."""
        self._stop()
        self.store.close()

    def kill(self) -> None:
        """Die as a process does: no goodbye to the controller, no clean marker, nothing synced."""
        self._stop()
        self.store.abandon()

    def _stop(self) -> None:
        self.alive = False
        self._controller.forget(self.id)
        self._comes.put(lambda: None)
        self._syncs.put(None)
        with self._answered:
            self._answered.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()


class LocalCluster:
    """A cluster of brokers in this process, broker 1 on the first directory and so on. A context manager."""

    def __init__(
        self,
        paths: Sequence[str],
        *,
        rules: Rules | None = None,
        config: Mapping[str, Any] | None = None,
        session_timeout_ms: int = 1_000,
    ) -> None:
        """`rules` and `config` (Kafka's broker keys) hold for every broker."""
        if not paths:
            raise UsageError("a cluster needs at least one directory")
        self.controller = LocalController(session_timeout_ms=session_timeout_ms)
        self.brokers: dict[int, LocalBroker] = {}
        self.made: dict[str, tuple[str | None, Mapping[str, Any]]] = {}
        """Topic id and configuration of topics that brokers have still to make directories for."""
        self._paths = dict(enumerate(paths, 1))
        self._rules = rules if rules is not None else DEFAULT_RULES
        self._config = StoreConfig.parse(config)
        self._epochs: dict[int, int] = {}
        self._cut: set[frozenset[int]] = set()
        self.roles = threading.Condition()
        """Notified when a broker has taken in what the controller decided."""
        for broker_id in self._paths:
            self.start(broker_id)
        ids = set(self._paths)
        self.controller.wait_for(lambda cluster: ids <= {broker for broker, _ in cluster.eligible()})

    # -- brokers ---------------------------------------------------------------------------------------------

    def start(self, broker_id: int) -> LocalBroker:
        """Start a broker that was stopped or killed; recovery runs, and it catches up."""
        broker = LocalBroker(broker_id, self._paths[broker_id], self, self._rules, self._config)
        self._epochs[broker_id] = broker.epoch
        return broker

    def stop(self, broker_id: int) -> None:
        """Stop a broker cleanly."""
        self.brokers.pop(broker_id).close()

    def kill(self, broker_id: int) -> None:
        """Kill a broker: it vanishes, and the controller learns of it when its session expires."""
        self.brokers.pop(broker_id).kill()

    def previous_epoch(self, broker: LocalBroker) -> int:
        """The epoch of a broker's last life, where it has lost nothing that it counted as replicated: a death of the
        process loses no page, and unless `Sync.NONE` only what is on the medium is counted."""
        return self._epochs.get(broker.id, -1)

    def cut(self, one: int, other: int) -> None:
        """Lose every message between two brokers until `heal`."""
        self._cut.add(frozenset((one, other)))

    def heal(self) -> None:
        """Let all brokers reach each other again."""
        self._cut.clear()

    def carry(self, sender: int, to: int, key: TopicPartition, call: Callable[[Replica], None]) -> None:
        """Bring a message to the replica of another broker; it is lost where that one is dead or cut off."""
        target = self.brokers.get(to)
        if target is None or frozenset((sender, to)) in self._cut:
            return

        def arrive() -> None:
            replica = target.replicas.get(key)
            if replica is not None:
                call(replica)

        target.do(arrive)

    # -- topics and records ----------------------------------------------------------------------------------

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication_factor: int | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a topic and return once every partition has a leader. `config` takes Kafka's topic keys."""
        topic = self._config.topic(config)
        unclean = Unclean.ANY if topic.unclean_leader_election_enable else Unclean.NEVER
        self.made[name] = (uuid_to_text(random_uuid()), dict(config or {}))
        reply = self.controller.do(
            cmd.CreateTopic(
                name,
                partitions,
                len(self._paths) if replication_factor is None else replication_factor,
                TopicRules(topic.min_insync_replicas, unclean),
                seed=len(self.made),
            )
        )
        if reply.code is not Code.NONE:
            del self.made[name]
            raise failure_of(reply.code, f"topic {name}: {getattr(reply, 'message', '')}")
        for index in range(partitions):
            self.wait_for_leader(name, index)

    def leader(self, topic: str, index: int) -> int:
        """The broker that leads a partition now, -1 where nobody does."""
        try:
            return self.controller.cluster.partitions[topic, index].leader
        except KeyError:
            raise UnknownTopicOrPartition(f"topic {topic} has no partition {index} in this cluster") from None

    def wait_for_leader(self, topic: str, index: int, *, but: int = NO_LEADER, timeout_s: float = 30.0) -> LocalBroker:
        """Return the broker that leads a partition once it is alive, in its role, and another than `but`."""

        def leading() -> LocalBroker | None:
            broker = self.brokers.get(self.leader(topic, index))
            replica = None if broker is None or broker.id == but else broker.replicas.get((topic, index))
            return broker if replica is not None and isinstance(replica.state, Leader) else None

        with self.roles:
            broker = self.roles.wait_for(leading, timeout_s)
        if broker is None:
            known = self.controller.cluster.partitions[topic, index]
            raise NotLeader(f"{topic}-{index} has no leader after {timeout_s} s: {known}")
        return broker

    def append(
        self, topic: str, index: int, records: Iterable[Any], *, acks: int = -1, timeout_ms: int = 30_000
    ) -> Appended:
        """Append at the leader and wait as `acks` says; see `Replica.append` for what it raises."""
        broker = self.wait_for_leader(topic, index)
        return broker.append(
            (topic, index), lambda r: r.append(records, acks=acks, timeout_ms=timeout_ms, now_ms=monotonic_ms()), acks
        )

    # -- life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop every broker cleanly."""
        failure: KStoreError | None = None
        for broker_id in list(self.brokers):
            try:
                self.stop(broker_id)
            except KStoreError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
