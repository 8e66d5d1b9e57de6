"""One replica at work: the state machine of `replication` run against a partition's log.

Owns the order of things: step the machine, do to the log what it says, and only then tell others. It must not know
sockets, threads, clocks or where a controller lives: those are `Surroundings`, given by whoever runs replicas
(`kstore.cluster`, a broker, the simulator). One `Replica` a partition and broker.

Invariants
1. Events are taken one at a time under the replica's lock; what goes to others is sent after it is given back, so that
   no lock is held across a network or an fsync, but for a truncation, which waits for an fsync of the bytes it takes.
2. The machine's `Local` and the log agree after every event. Where the log refuses, the replica goes offline: it
   answers with a storage error, acknowledges nothing any more, and asks the controller for another leader.
3. Who asks for another leader does so again until the controller's metadata shows that it has heard.
4. A broken invariant stops this partition and nothing else; `halted` says which, with the last events.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kstore.errors import (
    CorruptionError,
    InvariantError,
    KStoreError,
    NotEnoughReplicas,
    NotLeader,
    StorageError,
)
from kstore.fetched import Doubts, first_damaged, parse
from kstore.parking import Parking
from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication import leading, machine
from kstore.replication.codes import Code
from kstore.replication.follower import Phase, without_role
from kstore.replication.leading import Leader
from kstore.replication.state import NO_OFFSET, BatchInfo, Local, Rules
from kstore.replication.values import replace
from kstore.resigning import Resigning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Buffer

    from kstore._native.batches import Batches
    from kstore.log.appended import Appended
    from kstore.partition import Partition
    from kstore.replication.state import Assignment

REMEMBERED_EVENTS = 16
"""How many events a halted replica can tell of: what led there rarely lies further back."""
FETCH_BYTES = 1 << 20
"""`replica.fetch.max.bytes`."""
NOTHING = memoryview(b"")


class Surroundings(Protocol):
    """What a replica reaches. Calls come without any lock of the replica's held, and must not block for long."""

    def send_request(self, replica: Replica, to: int, request: ev.Request) -> None:
        """Carry a request to broker `to`, which gives it to its replica's `on_request`. May be lost."""

    def send_reply(self, replica: Replica, to: int, reply: ev.Reply, data: memoryview) -> None:
        """Carry an answer to follower `to`, for its `on_reply`; `data` are the batches of a fetch. May be lost."""

    def propose(self, replica: Replica, proposal: do.ProposeIsr) -> None:
        """Ask the controller for another ISR; its answer comes by `on_proposal_answered`, or never."""

    def resign(self, replica: Replica, resignation: do.Resign) -> None:
        """Ask the controller for another leader."""

    def request_sync(self, replica: Replica) -> None:
        """Call `replica.sync` soon, from where an fsync may block; one call is under way at most."""

    def acknowledge(self, replica: Replica, token: int, code: Code) -> None:
        """The append that returned `token` is stored as its acks asked (NONE), or what became of it is `code`."""


class Produced(NamedTuple):
    """An append that a leader has taken."""

    token: int
    """Names it in `Surroundings.acknowledge`."""
    appended: Appended
    """Where the records lie in the leader's log; whether they stay there is what the acknowledgement says."""


class Replica:
    """One partition on one broker, in the role that the controller gives it. Threads may share it."""

    def __init__(
        self,
        partition: Partition,
        surroundings: Surroundings,
        *,
        broker_id: int,
        broker_epoch: int,
        rules: Rules,
        high_watermark: int,
        fetch_wait_ms: int = 500,
    ) -> None:
        """Take over a partition that recovery has opened.

        `high_watermark` is the checkpointed one (`Store.high_watermark`), so at most what was committed;
        `fetch_wait_ms` is how long a follower's fetch that finds nothing new is held back
        (`replica.fetch.wait.max.ms`).
        """
        self.partition = partition
        self.halted: str | None = None
        """Which invariant stopped this replica, and what came before; None while it works."""
        self.offline: StorageError | None = None
        """The disk failure that ended its work; None while the disk does."""
        self._out = surroundings
        self._mutex = threading.RLock()
        self._tokens = 0
        self._syncing = False
        self._parking = Parking(fetch_wait_ms)
        self._doubts = Doubts()
        self._resigning = Resigning()
        self._events: deque[tuple[int, object]] = deque(maxlen=REMEMBERED_EVENTS)
        self._later: list[Callable[[], None]] = []
        mark = max(min(high_watermark, partition.log_end_offset), partition.log_start_offset)
        partition.follow(mark)
        self.state: machine.State = machine.start(broker_id, broker_epoch, rules, self._local())
        """The machine's state, immutable; replaced at every event."""

    def _local(self) -> Local:
        log = self.partition.log
        view = log.view
        damage = [d.first_offset for d in log.derived.damage]
        return Local(
            view.log_start_offset,
            view.log_end_offset,
            min(self.partition.durable_offset, view.log_end_offset),
            view.high_watermark,
            log.derived.epochs.entries,
            min(damage, default=-1),
        )

    # -- what a broker says ----------------------------------------------------------------------------------

    def assign(self, assignment: Assignment, now_ms: int) -> None:
        """Take the role that newer metadata gives; older metadata changes nothing."""
        with self._mutex:
            self._look_at_term(assignment, now_ms)
        self._take(ev.Assigned(assignment), now_ms)

    def _look_at_term(self, assignment: Assignment, now_ms: int) -> None:
        """A replica that is broken serves no term: it gives up each one that it is given."""
        epoch = assignment.leader_epoch
        if not self._resigning.is_heard(epoch) or assignment.leader != self.state.id:
            return
        if epoch < self.state.assignment.leader_epoch:
            return
        if self.halted is not None:
            self._resign(do.Resign(epoch, self.halted.splitlines()[0]), now_ms)
        elif self.offline is not None:
            self._resign(do.Resign(epoch, str(self.offline), lost=False), now_ms)

    def brokers_changed(self, eligible: tuple[tuple[int, int], ...], now_ms: int) -> None:
        """Which brokers may be in an ISR, as (id, broker epoch), by id."""
        self._take(ev.BrokersChanged(eligible), now_ms)

    def set_rules(self, rules: Rules) -> None:
        """Take newer configuration, such as another `min.insync.replicas`; it holds from the next event on."""
        with self._mutex:
            self.state = replace(self.state, rules=rules)

    def tick(self, now_ms: int) -> None:
        """Look at the deadlines; call it at `next_deadline_ms` or every now and then."""
        with self._mutex:
            unheard = self._resigning.unheard(now_ms, self.state.rules.proposal_timeout_ms)
            if unheard is not None:
                self._resign(unheard, now_ms)
        self._take(ev.Ticked(), now_ms)

    def on_request(self, request: ev.Request, now_ms: int) -> None:
        """A follower's request arrived; the answer goes through `Surroundings.send_reply`, maybe later."""
        self._take(ev.Requested(request), now_ms)

    def on_reply(self, reply: ev.Reply, data: Buffer, now_ms: int) -> None:
        """The leader's answer arrived, with the batches of a fetch. Bytes that fail their check are not appended."""
        if isinstance(reply, ev.FetchReply):
            batches, corrupt = parse(data)
            if self._is_doubtful(batches):
                batches, corrupt = (), True
            self._take(ev.Fetched(reply, batches, corrupt), now_ms, memoryview(data))
        elif isinstance(reply, ev.EpochEndReply):
            self._take(ev.EpochEndAnswered(reply), now_ms)
        else:
            self._take(ev.OffsetsAnswered(reply), now_ms)

    def _is_doubtful(self, batches: tuple[BatchInfo, ...]) -> bool:
        partition = self.partition
        with self._mutex:
            return partition.log.loader.dense and self._doubts.about(batches, partition.log_end_offset)

    def on_proposal_answered(self, answer: ev.ProposalAnswered, now_ms: int) -> None:
        """The controller answered a proposal."""
        self._take(answer, now_ms)

    def sync(self, now_ms: int) -> None:
        """fsync what was appended and count it; called from `Surroundings.request_sync`, without any lock held."""
        self._syncing = False
        if self.offline is not None:
            return
        try:
            durable = self.partition.sync()
        except StorageError as error:
            self._go_offline(error, now_ms)
            return
        except KStoreError:
            return  # closed meanwhile: nobody counts on it
        self._take(ev.Synced(durable), now_ms)

    @property
    def next_deadline_ms(self) -> int | None:
        """When `tick` has something to do, at the latest; None while nothing waits for time."""
        state = self.state
        again = self._resigning.next_deadline_ms(state.rules.proposal_timeout_ms)
        if self.offline is not None or self.halted is not None:
            return again  # the machine stands still, and nobody waits for it
        due = state.next_deadline_ms()
        for other in (again, self._parking.next_deadline_ms()):
            if other is not None and (due is None or other < due):
                due = other
        return due

    # -- producers -------------------------------------------------------------------------------------------

    def append(self, records: Iterable[Any], *, acks: int = -1, timeout_ms: int = 30_000, now_ms: int) -> Produced:
        """Append records as leader; see `Partition.append`. What became of them comes by `acknowledge` of the token.

        With acks=0 nothing comes. Raises `NotLeader`, `NotEnoughReplicas` before anything is stored, and what an
        append raises.
        """
        return self._append(
            lambda: self.partition.append(records, timestamp_ms=now_ms, durable=False), acks, timeout_ms, now_ms
        )

    def append_batches(self, buffer: Buffer, *, acks: int = -1, timeout_ms: int = 30_000, now_ms: int) -> Produced:
        """The same for a producer's encoded batches; see `Partition.append_batches`."""
        return self._append(lambda: self.partition.append_batches(buffer, durable=False), acks, timeout_ms, now_ms)

    def _append(self, append: Callable[[], Appended], acks: int, timeout_ms: int, now_ms: int) -> Produced:
        with self._mutex:
            leader = self._require_leader()
            if leading.refusal(leader, acks) is not Code.NONE:
                raise NotEnoughReplicas(
                    f"{len(leader.assignment.isr)} in-sync replicas are fewer than min.insync.replicas="
                    f"{leader.min_isr}; produce again when replicas have caught up, or with acks=1"
                )
            try:
                appended = append()
            except StorageError as error:
                if error.final:
                    self._go_offline(error, now_ms)
                raise
            self._tokens += 1
            token = self._tokens
            deadline = now_ms + timeout_ms
            event = ev.Appended(token, appended.base_offset, appended.next_offset, acks, deadline)
            self._step(event, now_ms, NOTHING)
        self._tell()
        return Produced(token, appended)

    def _require_leader(self) -> Leader:
        if self.offline is not None:
            raise self.offline
        state = self.state
        if self.halted is not None or not isinstance(state, Leader):
            leader = state.assignment.leader
            raise NotLeader(f"broker {state.id} does not lead {self.partition!r}; broker {leader} may")
        return state

    # -- consumers -------------------------------------------------------------------------------------------

    def read(
        self, offset: int, *, max_bytes: int = FETCH_BYTES, isolation: str = "read_uncommitted", now_ms: int
    ) -> Batches:
        """What consumers may see from `offset` on, from a leader or a follower (KIP-392); see `Partition.read`.

        Damage that it meets costs a leader its lead.
        """
        try:
            return self.partition.read(offset, max_bytes=max_bytes, isolation=isolation)
        except CorruptionError:
            self.note_damage(first_damaged(self.partition, offset), now_ms)
            raise

    def latest_offset(self) -> tuple[Code, int]:
        """What ListOffsets says of the end, as leader; OFFSET_NOT_AVAILABLE right after an election (KIP-207)."""
        state = self.state
        return leading.latest_offset(state) if isinstance(state, Leader) else (Code.NOT_LEADER_OR_FOLLOWER, -1)

    def delete_records(self, before_offset: int, now_ms: int) -> int:
        """Raise the log start as leader, see `Partition.delete_records`; followers take it over with a fetch."""
        try:
            with self._mutex:
                self._require_leader()
                try:
                    return self.partition.delete_records(before_offset)
                finally:  # what failed may have come after it was raised
                    self._step(ev.LogStartRaised(self.partition.log_start_offset), now_ms, NOTHING)
        except StorageError as error:
            if error.final:
                self._go_offline(error, now_ms)
            raise
        finally:
            self._tell()

    def note_damage(self, offset: int, now_ms: int) -> None:
        """Say that stored bytes at `offset` fail their check: a leader resigns, for it cannot serve what it must."""
        self._take(ev.Damaged(offset), now_ms)

    # -- the machine at work ---------------------------------------------------------------------------------

    def _take(self, event: ev.Event, now_ms: int, data: memoryview = NOTHING) -> None:
        with self._mutex:
            if self.offline is None and self.halted is None:
                self._step(event, now_ms, data)
            elif isinstance(event, ev.Requested):
                self._refuse(event.request)
        self._tell()

    def _step(self, event: ev.Event, now_ms: int, data: memoryview) -> None:
        """One event, under the lock: the next state, and the log brought to it."""
        self._events.append((now_ms, event))
        try:
            after, effects = machine.step(self.state, event, now_ms)
            was, self.state = self.state, after
            for effect in effects:
                self._perform(effect, now_ms, data)
        except StorageError as error:
            if error.final:
                self._go_offline(error, now_ms)
            else:
                self._step_back(error, now_ms)
            return
        except KStoreError as error:  # our own code is wrong, or the replicas' configurations contradict each other
            self._halt(str(error), now_ms)
            return
        if isinstance(was, Leader) and not isinstance(after, Leader):
            self.partition.resign()
            for parked in self._parking.let_go():
                reply = ev.FetchReply(after.id, parked.reply.number, Code.NOT_LEADER_OR_FOLLOWER)
                self._send(parked.to, reply, NOTHING)
        local = after.local
        for to, reply, offset, _ in self._parking.ready(local, now_ms):
            newer = replace(reply, high_watermark=local.high_watermark, log_start_offset=local.log_start_offset)
            self._send_batches(to, newer, offset, now_ms)

    def _perform(self, effect: do.Effect, now_ms: int, data: memoryview) -> None:
        partition, out = self.partition, self._out
        match effect:
            case do.AdvanceHighWatermark(offset):
                partition.advance_high_watermark(offset)
            case do.AppendBatches():
                partition.append_as_follower(data)
            case do.RequestSync():
                if not self._syncing:
                    self._syncing = True
                    self._later.append(lambda: out.request_sync(self))
            case do.Acknowledge(token, code):
                self._later.append(lambda: out.acknowledge(self, token, code))
            case do.SendRequest(to, request):
                self._later.append(lambda: out.send_request(self, to, request))
            case do.SendReply(to, reply, read_offset):
                self._reply(to, reply, read_offset, now_ms)
            case do.ProposeIsr():
                self._later.append(lambda: out.propose(self, effect))
            case do.AssignEpoch(epoch, start_offset):
                partition.lead(epoch, start_offset)
            case do.Truncate(offset, unclean):
                partition.truncate_to(offset, unclean=unclean)
            case do.StartOver(offset, base_offset):
                partition.start_over(offset, base_offset if base_offset >= 0 else offset)
            case do.RaiseLogStart(offset):
                partition.delete_records(offset)
            case do.Resign():
                self._later.append(lambda: out.resign(self, effect))
            case do.Halt(invariant, reason):
                raise InvariantError(f"{invariant}: {reason}")

    def _tell(self) -> None:
        """Tell the others, in order, with the lock given back."""
        while self._later:
            with self._mutex:
                later, self._later = self._later, []
            for call in later:
                call()

    # -- answers to followers --------------------------------------------------------------------------------

    def _reply(self, to: int, reply: ev.Reply, read_offset: int, now_ms: int) -> None:
        if not isinstance(reply, ev.FetchReply) or read_offset < 0:
            self._send(to, reply, NOTHING)
            return
        if self._parking.has_news(to, read_offset, self.state.local):
            self._send_batches(to, reply, read_offset, now_ms)
        else:
            self._parking.park(to, reply, read_offset, now_ms)

    def _send_batches(self, to: int, reply: ev.FetchReply, offset: int, now_ms: int) -> None:
        damaged = NO_OFFSET
        try:
            data = memoryview(self.partition.read_replica(offset, max_bytes=FETCH_BYTES).buffer)
            # who asks for the same bytes again may have found them corrupt: were they so before they left?
            if data and self._parking.was_given(to, offset) and parse(data)[1]:
                damaged = self.partition.find_damage(offset)
        except CorruptionError:
            damaged = first_damaged(self.partition, offset)
        except StorageError:
            self._send(to, replace(reply, code=Code.KAFKA_STORAGE_ERROR), NOTHING)
            return
        if damaged != NO_OFFSET:
            self._send(to, replace(reply, code=Code.KAFKA_STORAGE_ERROR), NOTHING)
            self._later.append(lambda: self.note_damage(damaged, now_ms))
            return
        self._parking.tell(to, reply, offset, has_data=bool(data))
        self._send(to, reply, data)

    def _send(self, to: int, reply: ev.Reply, data: memoryview) -> None:
        out = self._out
        self._later.append(lambda: out.send_reply(self, to, reply, data))

    def _refuse(self, request: ev.Request) -> None:
        code = Code.KAFKA_STORAGE_ERROR if self.offline is not None else Code.NOT_LEADER_OR_FOLLOWER
        self._send(request.follower, ev.refused(self.state.id, request, code), NOTHING)

    # -- the end ---------------------------------------------------------------------------------------------

    def _halt(self, what: str, now_ms: int) -> None:
        self.halted = "\n  ".join([what, "the last events:", *(f"{ms} ms: {event}" for ms, event in self._events)])
        self._stop(Code.NOT_LEADER_OR_FOLLOWER, what, now_ms, lost=True)

    def _step_back(self, error: StorageError, now_ms: int) -> None:
        """The log refused an effect and is as it was, as on a full disk: a follower asks again, a leader gives up."""
        state = self.state
        self._events.append((now_ms, str(error)))
        if isinstance(state, Leader):
            self._stop(Code.KAFKA_STORAGE_ERROR, str(error), now_ms, lost=False)
            own = (state.id, state.broker_epoch)
            idle = without_role(own, state.rules, self._local())
            self.state = replace(idle, assignment=state.assignment, eligible=state.eligible, number=state.number)
            return
        due = now_ms + state.rules.fetch_backoff_ms
        # What was refused may have been the truncation: where the logs part has to be asked again.
        self.state = replace(state, local=self._local(), phase=Phase.PAUSED, due_ms=due, parted=False)

    def _go_offline(self, error: StorageError, now_ms: int) -> None:
        with self._mutex:
            self._events.append((now_ms, str(error)))
            if self.offline is None:
                self.offline = error
                self._stop(Code.KAFKA_STORAGE_ERROR, str(error), now_ms, lost=False)
        self._tell()

    def _stop(self, code: Code, reason: str, now_ms: int, *, lost: bool) -> None:
        """Take part no more: what waits is answered, another leader is asked for.

        A disk that refuses has `lost` nothing that was committed; of a broken invariant nobody knows.
        """
        state, out = self.state, self._out
        self._parking.let_go()
        self.partition.resign()
        if isinstance(state, Leader):
            for waiting in state.waiting:
                token = waiting.token
                self._later.append(lambda token=token: out.acknowledge(self, token, code))  # type: ignore[misc]
            self.state = replace(state, waiting=())
            self._resign(do.Resign(state.assignment.leader_epoch, reason, lost), now_ms)

    def _resign(self, resignation: do.Resign, now_ms: int) -> None:
        out = self._out
        self._resigning.ask(resignation, now_ms)
        self._later.append(lambda: out.resign(self, resignation))

    def __repr__(self) -> str:
        role = "leader" if isinstance(self.state, Leader) else "follower"
        return f"<Replica {self.state.id} of {self.partition!r}, {role} in epoch {self.state.assignment.leader_epoch}>"
