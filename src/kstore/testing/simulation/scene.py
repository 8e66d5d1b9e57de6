"""A scene: one simulated cluster under a script, for what a test wants to happen in just that order.

Owns a vocabulary: start, stop, kill, lose power, pause, cut, heal, corrupt, fill a disk, fail an fsync, produce, elect,
reassign, run until. It must not judge beyond what every run is judged by: each step of a scene is, and `finish` heals
everything and holds the whole run against its promises. Called by the directed scenarios, and by whoever wants to show
what happens when.

    with Scene() as scene:                                # brokers 1, 2, 3; broker 1 leads
        kept = scene.produce()
        scene.until(lambda: kept.code is Code.NONE, "an acknowledgement")
        scene.kill(1)
        scene.until(lambda: scene.leader == 2, "another leader")
        scene.finish()

Invariant: a scene is a function of its script and its seed, as every run is.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from kstore.records import encode_batches
from kstore.replica import Replica
from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.state import NO_LEADER, Assignment
from kstore.testing.simulation import timeline
from kstore.testing.simulation.checkers import liveness
from kstore.testing.simulation.clients import Consumer, Producer, Sent
from kstore.testing.simulation.cluster import SimCluster, settled_ids
from kstore.testing.simulation.copies import Copy
from kstore.testing.simulation.faults import DISK_CALLS, Faults
from kstore.testing.simulation.network import Weather
from kstore.testing.simulation.node import Node
from kstore.testing.simulation.options import Options
from kstore.testing.simulation.schedule import Entry
from kstore.testing.simulation.serving import Fetched, Produced
from kstore.testing.simulation.world import Told, World

SECOND_US = 1_000_000
NEVER_US = 10**15
"""When a process starts again that somebody stopped on purpose: not before the script says so."""
STORY_LINES = 80
"""How much of the story a scene that fails tells."""

Place = int | str
"""A broker by number, or a controller or client by name."""


@dataclass
class Try:
    """One batch that the script sent to one broker, once."""

    sent: Sent
    code: int | None = None
    """The answer; None while there is none."""
    offset: int = -1
    """Where the broker says that it lies."""
    leader_epoch: int = -1


class Scene:
    """A cluster of one topic of one partition; the script is the code that uses it."""

    KEY = "t1"

    def __init__(
        self,
        replicas: tuple[int, ...] = (1, 2, 3),
        *,
        seed: int = 1,
        options: Options | None = None,
        **rules: Any,
    ) -> None:
        """`replicas` are the topic's, the first one leads; `rules` replace fields of `Options.rules`."""
        options = Options() if options is None else options
        options = replace(
            options,
            topics=1,
            brokers=max(options.brokers, *replicas),
            replication_factor=len(replicas),
            rules=replace(options.rules, **rules),
        )
        self.options = options
        self.world = World(seed, record=True)
        self._stack = ExitStack()
        self._stack.enter_context(settled_ids(self.world.dice("ids")))
        self.cluster = SimCluster(self.world, options)
        self.faults = Faults(self.cluster)
        self._number = 0
        self._slept: set[int] = set()
        self.cluster.boot({self.KEY: replicas})
        liveness.check_boot(self.cluster)

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()
        if error is not None:
            print(timeline.draw(self.world.story, last=STORY_LINES, whole=True))

    # -- time ------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run_until(self.world.now_us + int(seconds * SECOND_US))

    def until(self, condition: Callable[[], bool], what: str, within_s: float = 12.0) -> None:
        """Let time pass until a condition holds; AssertionError where it does not in time."""
        if condition():
            return
        if not self.world.run_until(self.world.now_us + int(within_s * SECOND_US), condition):
            raise AssertionError(f"waited {within_s:g} s for {what}: {liveness.describe(self.cluster, self.KEY)}")

    def lines(self, what: str, where: Place = "", containing: str = "") -> list[Told]:
        """What the story tells of one kind, by one place or by all."""
        place = self._place(where)
        return [
            told
            for told in self.world.story
            if told.what == what and place in ("", told.where) and containing in told.detail
        ]

    # -- looking ---------------------------------------------------------------------------------------------

    def node(self, broker: int) -> Node:
        """A broker."""
        return self.cluster.nodes[broker]

    def replica(self, broker: int) -> Replica:
        """A running broker's replica."""
        return self.node(broker).replicas[self.KEY]

    def copy(self, broker: int) -> Copy:
        """A broker's log as the judge last saw it, also of one that is down."""
        return self.cluster.judge.copy(broker, self.KEY)

    def log(self, broker: int) -> list[tuple[int, int, int]]:
        """Its batches, as (base offset, next offset, leader epoch)."""
        return [(held.base_offset, held.next_offset, held.epoch) for held in self.copy(broker).batches]

    def end(self, broker: int) -> int:
        """Its log end offset."""
        return self.copy(broker).log_end_offset

    def mark(self, broker: int) -> int:
        """Its high watermark."""
        return self.replica(broker).partition.high_watermark

    @property
    def assignment(self) -> Assignment:
        """What the controllers' log says."""
        found = self.cluster.assignment(self.KEY)
        assert found is not None
        return found

    @property
    def leader(self) -> int:
        """Who leads, `NO_LEADER` for nobody."""
        return self.assignment.leader

    @property
    def isr(self) -> tuple[int, ...]:
        """Who is in sync."""
        return self.assignment.isr

    def leads(self, broker: int) -> bool:
        """Whether a broker leads, and knows it."""
        node = self.cluster.nodes.get(broker)
        replica = None if node is None else node.replicas.get(self.KEY)
        return self.leader == broker and replica is not None and (
            replica.state.assignment.leader_epoch == self.assignment.leader_epoch
        )

    # -- processes -------------------------------------------------------------------------------------------

    def start(self, *brokers: int) -> None:
        """Start processes that are down."""
        for broker in brokers:
            self.node(broker).start()

    def kill(self, *brokers: int) -> None:
        """kill -9; they stay down until `start`."""
        for broker in brokers:
            self.node(broker).die("kill -9")
            self.node(broker).restart_only_at(NEVER_US)

    def lose_power(self, *brokers: int) -> None:
        """The machines lose power; they stay down until `start`."""
        for broker in brokers:
            self.node(broker).lose_power()
            self.node(broker).restart_only_at(NEVER_US)

    def stop(self, broker: int) -> None:
        """A controlled shutdown, to its end; it stays down until `start`."""
        node = self.node(broker)
        node.restart_only_at(NEVER_US)
        node.stop()
        self.until(lambda: not node.running, f"broker {broker} to stop")

    def pause(self, broker: int) -> None:
        """SIGSTOP."""
        self.node(broker).pause()

    def resume(self, broker: int) -> None:
        """SIGCONT: everything that came meanwhile happens now."""
        self.node(broker).resume()

    def wipe(self, broker: int) -> None:
        """The machine is replaced by one with an empty disk, which is down until `start`."""
        self.faults.do(Entry(0, "wipe", (self.KEY, str(broker), NEVER_US // 1000)))

    def delete_records(self, before_offset: int) -> None:
        """Raise the log start at the leader, as an operator asks for it."""
        node = self.node(self.leader)
        node.step(self.KEY, self.replica(self.leader).delete_records, before_offset, node.now_ms)

    # -- the network -----------------------------------------------------------------------------------------

    def _place(self, place: Place) -> str:
        return f"b{place}" if isinstance(place, int) else place

    def cut(self, one: Place, *others: Place, ways: str = "both") -> int:
        """Part a place from others; `ways` is both, `out` (what it says is lost) or `in`. A number for `heal`."""
        name, pairs = self._place(one), set()
        for other in map(self._place, others):
            if ways != "in":
                pairs.add((name, other))
            if ways != "out":
                pairs.add((other, name))
        self.world.tell("!", "cut", f"{name} {ways} {' '.join(map(self._place, others))}")
        return self.cluster.network.cut(frozenset(pairs))

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers' places, for `cut`."""
        return self.cluster.control.places

    def others(self, broker: int) -> tuple[Place, ...]:
        """All brokers but one, and the controllers."""
        return (*(number for number in self.cluster.nodes if number != broker), *self.controllers)

    def heal(self, number: int | None = None) -> None:
        """End one cut, or all, and the storm."""
        if number is not None:
            self.cluster.network.heal(number)
        else:
            self.cluster.network.heal_all()
        self.world.tell("!", "heal", "" if number is None else f"cut {number}")

    def clog(self, source: Place, target: Place, seconds: float) -> None:
        """Hold back what one place says to another."""
        self.cluster.network.clog(self._place(source), self._place(target), int(seconds * SECOND_US))

    def storm(self, **weather: Any) -> None:
        """Let every message fare as `network.Weather` says, until `heal`."""
        self.cluster.network.weather = Weather(**weather)

    def mangle(self, harm: Callable[[bytes], bytes]) -> None:
        """Let the bytes of every answer to a fetch arrive as `harm` makes them, until `heal`."""
        self.cluster.network.harm = harm
        self.world.tell("!", "mangle", getattr(harm, "__name__", ""))

    # -- disks -----------------------------------------------------------------------------------------------

    def corrupt(self, broker: int, offset: int, byte: int = 65) -> None:
        """Flip a bit in a byte of the batch that holds `offset` (by default in its records), on the medium and in the
        cache."""
        segment = self.replica(broker).partition.log.view.segment_at(offset)
        self.copy(broker).is_damaged = True
        self.node(broker).disk.flip_bit(segment.path, (segment.locate(offset) + byte) * 8)
        self.world.tell(self._place(broker), "rots", f"{self.KEY} at {offset}")

    def fill_disk(self, broker: int, room_bytes: int = 0) -> None:
        """No more than `room_bytes` go on this disk, until `mend`."""
        disk = self.node(broker).disk
        disk.capacity_bytes = disk.used_bytes + room_bytes
        self.world.tell("!", "disk full", self._place(broker))

    def fail_disk(self, broker: int, calls: str = "sync", times: int | None = 1) -> None:
        """The next `times` calls fail with EIO, all of them for None; `calls` is sync, write or read."""
        self.node(broker).disk.faults.plant(errno.EIO, kinds=DISK_CALLS[calls], times=times)
        self.world.tell("!", "disk error", f"{self._place(broker)} {calls}")

    def slow_disk(self, broker: int, seconds: float) -> None:
        """Every fsync that begins from now on takes so long, until `mend`."""
        self.node(broker).sync_latency_us = int(seconds * SECOND_US)
        self.world.tell("!", "disk slow", self._place(broker))

    def mend(self, broker: int) -> None:
        """The disk works again, has room, and is quick."""
        node = self.node(broker)
        node.disk.faults.clear()
        node.disk.capacity_bytes = 0
        node.sync_latency_us = self.options.sync_latency_us
        self.world.tell("!", "mend", self._place(broker))

    # -- operators -------------------------------------------------------------------------------------------

    def elect(self, how: str = "preferred") -> Code:
        """Elect a leader, `preferred` or `unclean`; what the controller answers."""
        return self._order(cmd.ElectLeader(self.KEY, 0, cmd.Election(how)))

    def reassign(self, *replicas: int) -> Code:
        """Move the partition, or call a move off where nothing is named."""
        return self._order(cmd.Reassign(self.KEY, 0, replicas or None))

    def lead_by(self, broker: int) -> None:
        """Let another in-sync replica lead, by making it the preferred one: nobody leaves the ISR for it."""
        order = (broker, *(replica for replica in self.assignment.replicas if replica != broker))
        assert self.reassign(*order) is Code.NONE
        assert self.elect() is Code.NONE
        self.until(lambda: self.leads(broker), f"broker {broker} to lead")

    def fail_over(self) -> None:
        """The active controller dies; another takes over."""
        self.cluster.control.fail_over(SECOND_US)

    def _order(self, command: cmd.Command) -> Code:
        reply = self.cluster.control.order(command)
        assert isinstance(reply, cmd.Answer)
        self.world.tell("!", type(command).__name__, reply.code.name)
        return reply.code

    # -- clients ---------------------------------------------------------------------------------------------

    def produce(self, to: int | None = None, *, acks: int = -1, records: int = 1, timeout_ms: int = 2_000) -> Try:
        """Send a batch to a broker, by default the leader, once; its answer comes in time, or never."""
        node = self.node(self.leader if to is None else to)
        sent = Sent("s1", self._number, records, acks, -1)
        self._number += 1
        self.cluster.judge.history.sent(self.KEY, sent)
        attempt = Try(sent)
        values = [f"{sent.producer}:{sent.number}:{i}".encode() for i in range(records)]
        batch = encode_batches(values, timestamp_ms=1_700_000_000_000 + sent.number)
        network = self.cluster.network

        def answered(produced: Produced) -> None:
            network.send(node.name, sent.producer, self._on_answer, attempt, produced)

        request = (self.KEY, batch, acks, timeout_ms, answered)
        network.send(sent.producer, node.name, node.receive, node.serve, "on_produce", *request)
        return attempt

    def _on_answer(self, attempt: Try, produced: Produced) -> None:
        if attempt.code is not None:
            return
        attempt.code, attempt.offset, attempt.leader_epoch = produced
        attempt.sent.acked, attempt.sent.leader_epoch = produced.code == Code.NONE, produced.leader_epoch
        self.world.tell("s1", "answered", f"#{attempt.sent.number} {produced.code}")

    def write(self, count: int = 1, **more: Any) -> list[Try]:
        """Send batches one after the other, each once the one before was stored as its acks ask."""
        if "to" not in more:
            self.until(lambda: self.leads(self.leader), "a leader that knows it")
        done = []
        for _ in range(count):
            attempt = self.produce(**more)
            self.until(lambda attempt=attempt: attempt.code is not None, "an answer")  # type: ignore[misc]
            assert attempt.code == Code.NONE, attempt
            done.append(attempt)
        return done

    def fetch(self, broker: int, offset: int, leader_epoch: int = -1) -> Fetched:
        """What a broker answers a consumer that knows `leader_epoch`, at once; -1 for its own epoch."""
        return self._ask(broker, "on_fetch", offset, self._epoch(broker, leader_epoch))

    def ask_end(self, broker: int, leader_epoch: int = -1) -> Fetched:
        """What a broker answers to the question where the log ends (ListOffsets); the end is its high watermark."""
        return self._ask(broker, "on_list_offsets", self._epoch(broker, leader_epoch))

    def _epoch(self, broker: int, leader_epoch: int) -> int:
        return self.replica(broker).state.assignment.leader_epoch if leader_epoch < 0 else leader_epoch

    def _ask(self, broker: int, what: str, *args: Any) -> Fetched:
        answers: list[Fetched] = []
        getattr(self.node(broker).serving, what)(self.KEY, *args, answers.append)
        return answers[0]

    def producer(self, *, idempotent: bool = True, acks: int = -1, retries: int = 20) -> Producer:
        """A client of the simulation that retries and looks for the leader; `produce` has it write."""
        name = f"p{len(self.cluster.producers) + 1}"
        made = Producer(self.cluster, name, self.KEY, acks=acks, idempotent=idempotent, retries=retries)
        self.cluster.producers[name] = made
        return made

    def consumer(self, *, follower_reads: bool = False, poll_us: int = 300_000) -> Consumer:
        """A client that follows the log from its start."""
        name = f"r{len(self.cluster.consumers) + 1}"
        made = Consumer(self.cluster, name, self.KEY, follower_reads=follower_reads, poll_us=poll_us)
        self.cluster.consumers[name] = made
        return made

    # -- the end ---------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Heal everything, start everybody, and judge the whole: progress, equal logs, nothing lost."""
        self.faults.heal()
        liveness.check(self.cluster)


__all__ = ["NO_LEADER", "Code", "Scene", "Try"]
