"""One simulated broker: a process with a disk, its registration, and the replicas that it runs.

Owns what a broker does around `Replica`: open the store, register, beat, follow the metadata, carry requests, call
fsync, keep time. It is the `Surroundings` of its replicas. Replication itself is the shipped code's; clients are
served by `serving`. Called by the network, the controllers and the faults.

Invariants
1. Nothing that was meant for an earlier life of the process reaches a later one, but for requests of others: those a
   broker may always get late.
2. While a process is paused nothing happens in it; afterwards everything that came meanwhile does, in order.
3. A disk that failed for good ends the process, after a while that it lives on as a zombie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kstore._native import batch as native
from kstore.errors import KStoreError, StorageError
from kstore.replica import Replica
from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.controller import messages
from kstore.replication.controller.cluster import (
    BrokerChanged,
    BrokerRegistered,
    BrokerUnregistered,
    Changes,
    Cluster,
    PartitionChanged,
)
from kstore.replication.state import NO_EPOCH, Assignment, Sync
from kstore.store.store import Store
from kstore.testing.simdisk import SimDisk
from kstore.testing.simulation.serving import Serving
from kstore.testing.simulation.story import assignment_text, reply_text, request_text
from kstore.testing.simulation.world import Call, LocalClock

if TYPE_CHECKING:
    from kstore.testing.simulation.cluster import SimCluster

DATA = "/data"
EPOCH_AT, EPOCH_BYTES = 12, 4
"""Where a batch has its leader epoch (docs/FORMAT.md)."""
EPOCH_FILE = "/broker-epoch"
"""The last broker epoch, for as long as it says that nothing of that life is missing; outside of the log directory."""


class Node:
    """A broker, running or not."""

    def __init__(self, cluster: SimCluster, broker_id: int) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.id = broker_id
        self.name = f"b{broker_id}"
        self.options = cluster.options
        self.dice = self.world.dice(f"broker {broker_id}")
        drift = self.dice.randint(-self.options.drift_ppm, self.options.drift_ppm)
        self.clock = LocalClock(self.world, drift, self.dice.randrange(10**6))
        self.disk = SimDisk(medium=True)
        self.life = 0
        self.running = False
        self.paused = False
        self.stopping = False
        self.restart_us: int | None = None
        """When somebody will start it again, while it is down."""
        self.epoch = NO_EPOCH
        self.index = -1
        """How much of the metadata log it has seen."""
        self.sync_latency_us = self.options.sync_latency_us
        self.store: Store | None = None
        self.replicas: dict[str, Replica] = {}
        self._inbox: list[tuple[Call, tuple[Any, ...]]] = []
        self._armed: dict[str, int] = {}
        self._checkpoint_due = False
        self.checkpointed: dict[str, int] = {}
        """The recovery points that the disk knows of."""
        self._previous_epoch = NO_EPOCH
        self._zombie = False
        self.serving = Serving(self)
        self._askers: dict[tuple[str, int, int], tuple[Node, Replica]] = {}

    # -- what happens to a process -----------------------------------------------------------------------------

    def receive(self, call: Call, *args: Any) -> None:
        """A message arrives, or a timer: nothing for a dead process, later for a paused one."""
        if not self.running:
            return
        if self.paused:
            self._inbox.append((call, args))
            return
        try:
            call(*args)
        except StorageError as error:
            self.die(f"the disk fails: {error.action}, errno {error.errno}")
            return
        if self.store is not None and self.store.health.failure is not None and not self._zombie:
            self._zombie = True
            self.world.tell(self.name, "disk failed", str(self.store.health.failure.action))
            self.later(self.dice.randrange(3_000_000), self.die, "its log directory failed")

    def serve(self, what: str, *args: Any) -> None:
        """A client's request, served by whichever life it reaches."""
        getattr(self.serving, what)(*args)

    def later(self, delay_us: int, call: Call, *args: Any) -> None:
        """A timer of this life."""
        self.world.after(delay_us, self._wake, self.life, call, args)

    def _wake(self, life: int, call: Call, args: tuple[Any, ...]) -> None:
        if life == self.life:
            self.receive(call, *args)

    @property
    def incarnation(self) -> str:
        """Of this life, as the controller is told."""
        return f"{self.name}/{self.life}"

    @property
    def now_ms(self) -> int:
        """The process's own time."""
        return self.clock.elapsed_ms()

    def start(self) -> None:
        """The process starts: recovery first, then registration."""
        if self.running:
            return
        self.life += 1
        self.restart_us = None
        self.running, self.paused, self.stopping, self._zombie = True, False, False, False
        self.epoch, self.index = NO_EPOCH, -1
        self._armed, self._inbox, self._checkpoint_due = {}, [], False
        self.serving = Serving(self)
        self._askers = {}
        self.world.tell(self.name, "starts", f"life {self.life}")
        try:
            self.store = Store(DATA, self.options.store, self.disk, self.clock.wall_ms, background=False)
            self._previous_epoch = self._read_epoch()
        except StorageError as error:
            self.die(f"the disk fails at start: {error.action}, errno {error.errno}")
            return
        except OSError as error:
            self.die(f"the disk fails at start: errno {error.errno}")
            return
        self.cluster.judge.started(self)
        self._register()

    def die(self, why: str) -> None:
        """The process ends at once; what it wrote is in the page cache."""
        if self.running:
            self._end(f"dies: {why}")
            self.disk.kill()
            self.cluster.judge.gone(self)
            self.restart_after(self.options.restart_us)

    def lose_power(self) -> None:
        """The machine loses power: of what was not synced, chance decides what is there."""
        was_running = self.running
        if was_running:
            self._end("loses power")
        else:
            self.world.tell(self.name, "loses power", "while it is down")
        assert self.disk.medium is not None
        capacity = self.disk.capacity_bytes
        self.disk = SimDisk(self.disk.medium.crash(self.dice), medium=True, capacity_bytes=capacity)
        self.cluster.judge.lost_power(self)
        self.restart_after(self.options.restart_us)

    def _end(self, how: str) -> None:
        self.running = False
        self.life += 1
        self.world.tell(self.name, how)
        self.replicas, self.store = {}, None

    def restart_after(self, delay_us: int) -> None:
        """Somebody will start the process; a time that is settled already stays."""
        if self.restart_us is None:
            self.restart_us = self.world.now_us + delay_us
            self.world.at(self.restart_us, self._restart, self.restart_us)

    def restart_only_at(self, time_us: int) -> None:
        """As `restart_after`, but for whatever was settled before."""
        self.restart_us = time_us
        self.world.at(time_us, self._restart, time_us)

    def _restart(self, due_us: int) -> None:
        if self.restart_us == due_us and not self.running:
            self.start()

    def pause(self) -> None:
        """SIGSTOP, or a machine that hangs."""
        if self.running and not self.paused:
            self.paused = True
            self.world.tell(self.name, "is paused")

    def resume(self) -> None:
        """It goes on where it was, and gets what came meanwhile."""
        if self.paused:
            self.paused = False
            self.world.tell(self.name, "goes on")
            inbox, self._inbox = self._inbox, []
            life = self.life
            for call, args in inbox:
                if self.life == life:
                    self.receive(call, *args)

    # -- registration and heartbeats ---------------------------------------------------------------------------

    def _read_epoch(self) -> int:
        """The epoch of the last life, where that is sure to miss nothing: see `RegisterBroker.previous_epoch`."""
        return int(self.disk.read_file(EPOCH_FILE)) if self.disk.exists(EPOCH_FILE) else NO_EPOCH

    def ask(self, command: cmd.Command, answer: Call) -> None:
        """Send a command to the controller; with a guess, since it may have moved."""
        control = self.cluster.control
        place = control.place or control.places[0]
        life = self.life

        def answered(reply: cmd.Reply, index: int) -> None:
            if life == self.life:
                self.receive(answer, reply, index)

        self.cluster.network.send(self.name, place, control.on_command, place, self.name, command, answered)

    def _register(self) -> None:
        if self.epoch != NO_EPOCH:
            return
        self.ask(cmd.RegisterBroker(self.id, self.incarnation, None, self._previous_epoch), self._on_registered)
        self.later(1_000_000, self._register)

    def _on_registered(self, reply: cmd.RegistrationAnswer, index: int) -> None:
        if reply.code is not Code.NONE or self.epoch != NO_EPOCH:
            return
        try:
            if self.options.rules.sync is Sync.ALL:
                self.disk.write_file_atomic(EPOCH_FILE, str(reply.broker_epoch).encode())
            elif self.disk.exists(EPOCH_FILE):  # from here on the log may hold what a power loss takes away
                self.disk.unlink(EPOCH_FILE)
                self.disk.sync_dir("/")
        except OSError as error:
            self.die(f"the disk fails: errno {error.errno}")
            return
        self.epoch = reply.broker_epoch
        self.world.tell(self.name, "is registered", f"epoch {self.epoch}")
        self.on_metadata(index)
        self._beat()

    def _beat(self) -> None:
        command = cmd.Heartbeat(self.id, self.epoch, caught_up=self.index >= 0, want_shut_down=self.stopping)
        self.ask(command, self._on_beat)
        self.later(self.options.heartbeat_us, self._beat)

    def _on_beat(self, reply: cmd.HeartbeatAnswer, index: int) -> None:
        if reply.code is Code.STALE_BROKER_EPOCH:
            self.die("the controller knows another life of it")
        elif reply.should_shut_down and self.stopping:
            self._stop_cleanly()
        elif index > self.index:
            self.cluster.control.push(self.name)

    def stop(self) -> None:
        """Controlled shutdown: leadership is handed on first."""
        if self.running and not self.stopping:
            self.stopping = True
            self.world.tell(self.name, "is asked to stop")

    def _stop_cleanly(self) -> None:
        assert self.store is not None
        try:
            self.store.close()
            if self.options.rules.sync is not Sync.ALL:
                self.disk.write_file_atomic(EPOCH_FILE, str(self.epoch).encode())
        except (KStoreError, OSError) as error:
            self.die(f"could not stop cleanly: {type(error).__name__}")
            return
        self._end("stops")
        self.disk.kill()
        self.cluster.judge.gone(self)
        self.restart_after(self.options.restart_us)

    # -- metadata ----------------------------------------------------------------------------------------------

    def on_metadata(self, index: int) -> None:
        """The metadata log is known up to `index` here; older news change nothing."""
        if self.epoch == NO_EPOCH or index <= self.index:
            return
        control = self.cluster.control
        if self.index < 0:
            image = control.images[index]
            self.index = index
            for (topic, _), assignment in image.partitions.items():
                self._assign(topic, assignment, image)
            return
        first, self.index = self.index, index
        for number in range(first, index):
            self._apply(control.changes[number], control.images[number + 1])

    def _apply(self, changes: Changes, image: Cluster) -> None:
        if any(isinstance(change, BrokerChanged | BrokerRegistered | BrokerUnregistered) for change in changes):
            eligible = image.eligible()
            for key, replica in list(self.replicas.items()):
                self.step(key, replica.brokers_changed, eligible, self.now_ms)
        for change in changes:
            if isinstance(change, PartitionChanged):
                self._assign(change.topic, change.assignment, image)

    def _assign(self, key: str, assignment: Assignment, image: Cluster) -> None:
        replica = self.replicas.get(key)
        if self.id not in assignment.replicas:
            if replica is not None:
                self._drop(key)
            return
        if replica is None:
            replica = self._host(key)
            self.step(key, replica.brokers_changed, image.eligible(), self.now_ms)
        self.world.tell(self.name, "hears", f"{key} {assignment_text(assignment)}")
        self.step(key, replica.assign, assignment, self.now_ms)

    def _host(self, key: str) -> Replica:
        store = self.store
        assert store is not None
        if key not in store.topics():
            store.create_topic(key, 1, self.options.topic_config, self.cluster.topic_ids[key])
        partition = store.partition(key, 0)
        replica = Replica(
            partition,
            self,
            broker_id=self.id,
            broker_epoch=self.epoch,
            rules=self.options.rules,
            high_watermark=store.high_watermark(key, 0),
            fetch_wait_ms=self.options.fetch_wait_ms,
        )
        self.replicas[key] = replica
        self.cluster.judge.hosts(self, key, replica)
        return replica

    def _drop(self, key: str) -> None:
        """This broker is no replica any more: the log goes, as Kafka's StopReplica with deletion."""
        assert self.store is not None
        self.world.tell(self.name, "drops", key)
        del self.replicas[key]
        self._armed.pop(key, None)
        self.cluster.judge.dropped(self, key)
        self.store.delete_topic(key)

    # -- the replicas' steps -----------------------------------------------------------------------------------

    def step(self, key: str, call: Call, *args: Any) -> Any:
        """One event of a replica, judged when it is over; what the call returns."""
        replica = self.replicas.get(key)
        if replica is None:
            return None
        try:
            result = call(*args)
        finally:
            if self.running:
                self._after_step(key, replica)
        return result

    def _after_step(self, key: str, replica: Replica) -> None:
        self.cluster.judge.stepped(self, key, replica)
        self._arm(key, replica)
        if not self._checkpoint_due:
            self._checkpoint_due = True
            self.later(self.options.checkpoint_us, self._checkpoint)

    def _arm(self, key: str, replica: Replica) -> None:
        due_ms = replica.next_deadline_ms
        if due_ms is None:
            return
        due_us = max(self.clock.world_us(due_ms), self.world.now_us + 1)
        armed = self._armed.get(key)
        if armed is None or due_us < armed:
            self._armed[key] = due_us
            self.world.at(due_us, self._wake, self.life, self._tick, (key, due_us))

    def _tick(self, key: str, due_us: int) -> None:
        replica = self.replicas.get(key)
        if replica is None or self._armed.get(key) != due_us:
            return
        del self._armed[key]
        due_ms = replica.next_deadline_ms
        if due_ms is not None and due_ms <= self.now_ms:
            self.step(key, replica.tick, self.now_ms)
            self.cluster.judge.ticked(self, key, replica)
        else:
            self._arm(key, replica)

    def _checkpoint(self) -> None:
        self._checkpoint_due = False
        if self.store is not None and self.store.health.failure is None:
            self.store.flush()
            for key, replica in self.replicas.items():
                self.checkpointed[key] = replica.partition.recovery_point

    # -- Surroundings: what replicas reach ---------------------------------------------------------------------

    def _key(self, replica: Replica) -> str:
        return replica.partition.topic

    def send_request(self, replica: Replica, to: int, request: ev.Request) -> None:
        """See `Surroundings`. The answer comes back to this replica object or to nobody, as on a connection."""
        key = self._key(replica)
        peer = self.cluster.nodes.get(to)
        self.world.tell(self.name, "asks", f"b{to} {key} {request_text(request)}")
        if peer is not None:
            self.cluster.network.send(self.name, peer.name, peer.receive, peer.on_request, key, request, self, replica)

    def on_request(self, key: str, request: ev.Request, sender: Node, asker: Replica) -> None:
        """A follower's request arrives."""
        replica = self.replicas.get(key)
        if replica is not None:
            self._askers[key, request.follower, request.number] = (sender, asker)
            self.step(key, replica.on_request, request, self.now_ms)

    def send_reply(self, replica: Replica, to: int, reply: ev.Reply, data: memoryview) -> None:
        """See `Surroundings`. The bytes are copied now: a reply is what the log held when it was sent."""
        key = self._key(replica)
        found = self._askers.pop((key, to, reply.number), None)
        if found is None:
            return
        sender, asker = found
        self.world.tell(self.name, "answers", f"{sender.name} {key} {reply_text(reply, len(data))}")
        network = self.cluster.network
        copied = bytes(data)
        if network.weather.corrupt or network.harm is not None:
            copied = network.damaged(self.name, sender.name, copied, leader_epochs_in(copied))
        network.send(self.name, sender.name, sender.receive, sender.on_reply, key, asker, reply, copied)

    def on_reply(self, key: str, asker: Replica, reply: ev.Reply, data: bytes) -> None:
        """An answer arrives on the connection of the replica that asked."""
        if self.replicas.get(key) is asker:
            self.step(key, asker.on_reply, reply, data, self.now_ms)

    def propose(self, replica: Replica, proposal: do.ProposeIsr) -> None:
        """See `Surroundings`."""
        key = self._key(replica)
        members = ",".join(str(member) for member, _ in proposal.isr)
        self.world.tell(self.name, "proposes", f"{key} isr {members} on v{proposal.partition_epoch}")
        command = messages.alter_partition((self.id, self.epoch), (key, 0), proposal)

        def answered(reply: cmd.PartitionAnswer, _: int) -> None:
            if self.replicas.get(key) is replica:
                self.step(key, replica.on_proposal_answered, messages.answered(reply), self.now_ms)

        self.ask(command, answered)

    def resign(self, replica: Replica, resignation: do.Resign) -> None:
        """See `Surroundings`."""
        key = self._key(replica)
        reason = resignation.reason.splitlines()[0]
        self.world.tell(self.name, "resigns", f"{key} e{resignation.leader_epoch}: {reason}")
        command = messages.resign_leader((self.id, self.epoch), (key, 0), resignation)
        self.ask(command, lambda reply, index: None)

    def request_sync(self, replica: Replica) -> None:
        """See `Surroundings`: the fsync ends a latency from now."""
        latency_us = self.dice.randrange(self.sync_latency_us // 2, self.sync_latency_us + 1)
        self.later(latency_us, self._sync, self._key(replica), replica)

    def _sync(self, key: str, replica: Replica) -> None:
        if self.replicas.get(key) is replica:
            self.step(key, replica.sync, self.now_ms)

    def acknowledge(self, replica: Replica, token: int, code: Code) -> None:
        """See `Surroundings`."""
        self.serving.acknowledge(self._key(replica), replica, token, code)


def leader_epochs_in(data: bytes) -> frozenset[int]:
    """The positions of every batch's leader epoch: no checksum covers it, and another one may fit as well."""
    return frozenset(
        header.position + i for header in native.headers(data) for i in range(EPOCH_AT, EPOCH_AT + EPOCH_BYTES)
    )
