"""Producers and consumers of a simulated cluster, as Kafka's clients behave: retries, metadata, epochs.

Owns their requests and what they conclude; what they may conclude is judged by `history`. They know brokers only by
name and over the network. Driven by the schedule (`Producer.produce`) and by their own timers.

Invariants
1. One batch of a producer is under way at a time; it is sent again until it is answered for good or given up.
2. An idempotent producer never reuses a sequence for other bytes within one producer epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstore._native import batch as native
from kstore.errors import InvalidBatch
from kstore.records import encode_batches
from kstore.replication.codes import Code
from kstore.replication.state import NO_EPOCH, NO_LEADER
from kstore.testing.simulation.serving import Fetched, Produced

if TYPE_CHECKING:
    from kstore.testing.simulation.cluster import SimCluster
    from kstore.testing.simulation.node import Node

REQUEST_TIMEOUT_US = 2_500_000
PRODUCE_TIMEOUT_MS = 2_000
OUT_OF_ORDER, DUPLICATE, FENCED_PRODUCER = 45, 46, 47
"""Kafka's codes for an idempotent producer's batch: a gap, one that is long stored, an old producer epoch."""
LEADER_MOVED = frozenset(
    {Code.NOT_LEADER_OR_FOLLOWER, Code.UNKNOWN_TOPIC_OR_PARTITION, Code.KAFKA_STORAGE_ERROR, OUT_OF_ORDER}
)
"""Codes after which a producer asks who leads."""
OUT_OF_ORDER_LIMIT = 6
"""After so many gaps in a row the producer starts over with another epoch (KIP-360)."""


@dataclass(slots=True)
class Sent:
    """One batch of a producer, and what it believes of it."""

    producer: str
    number: int
    records: int
    acks: int
    producer_epoch: int
    """-1 for a producer that is not idempotent."""
    acked: bool = False
    base_offset: int = -1
    """Where the acknowledgement says that it lies; -1 where it does not say."""
    leader_epoch: int = NO_EPOCH
    """Of the leader that acknowledged it."""
    given_up: bool = False


class Client:
    """What both kinds share: finding the leader."""

    def __init__(self, cluster: SimCluster, name: str, key: str) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.name = name
        self.key = key
        self.dice = self.world.dice(f"client {name}")
        self.leader = NO_LEADER
        self.leader_epoch = NO_EPOCH
        self._attempt = 0

    def _node(self, number: int) -> Node:
        return self.cluster.nodes[number]

    def _find_leader(self, attempt: int) -> None:
        node = self._node(self.dice.randrange(1, len(self.cluster.nodes) + 1))

        def answered(leader: int, epoch: int) -> None:
            self.cluster.network.send(node.name, self.name, self._on_leader, attempt, leader, epoch)

        self.cluster.network.send(self.name, node.name, node.receive, node.serve, "on_find_leader", self.key, answered)

    def _on_leader(self, attempt: int, leader: int, epoch: int) -> None:
        if epoch >= self.leader_epoch:
            self.leader, self.leader_epoch = leader, epoch
            if attempt == self._attempt and leader != NO_LEADER:
                self._go_on(attempt)

    def _go_on(self, attempt: int) -> None:
        """The leader is known now."""


class Producer(Client):
    """Writes batches into one partition."""

    def __init__(self, cluster: SimCluster, name: str, key: str, *, acks: int, idempotent: bool, retries: int) -> None:
        """`retries` is how often a batch is sent again; None of them where an idempotent one must know."""
        super().__init__(cluster, name, key)
        self.acks = acks
        self.producer_id = 1000 + int(name[1:]) if idempotent else -1
        self.producer_epoch = 0 if idempotent else -1
        self.retries = retries
        self._queued = 0
        self._gap_us = 0
        self._number = 0
        self._sequence = 0
        self._current: Sent | None = None
        self._batch = b""
        self._left = 0
        self._gaps = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way or waiting."""
        return self._current is None and not self._queued

    def produce(self, count: int, gap_us: int) -> None:
        """Have so many more batches written, with a pause between them."""
        self._queued += count
        self._gap_us = gap_us
        if self._current is None:
            self._next()

    def _next(self) -> None:
        if not self._queued or self._current is not None:
            return
        self._queued -= 1
        records = 1 + self.dice.randrange(3)
        sent = Sent(self.name, self._number, records, self.acks, self.producer_epoch)
        self._number += 1
        self._current = sent
        self.cluster.judge.history.sent(self.key, sent)
        self._encode()
        self._left = self.retries
        self._try()

    def _encode(self) -> None:
        sent = self._current
        assert sent is not None
        values = [f"{self.name}:{sent.number}:{i}".encode() for i in range(sent.records)]
        self._batch = encode_batches(
            values,
            timestamp_ms=1_700_000_000_000 + sent.number,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            base_sequence=self._sequence if self.producer_id >= 0 else -1,
        )

    def _try(self) -> None:
        if self._current is None:
            return
        self._attempt += 1
        if self.acks != 0:
            self.world.after(REQUEST_TIMEOUT_US, self._overdue, self._attempt)
        if self.leader == NO_LEADER:
            if self.acks == 0:
                self.world.after(REQUEST_TIMEOUT_US, self._overdue, self._attempt)
            self._find_leader(self._attempt)
        else:
            self._go_on(self._attempt)

    def _go_on(self, attempt: int) -> None:
        node = self._node(self.leader)

        def answered(produced: Produced) -> None:
            self.cluster.network.send(node.name, self.name, self._on_answer, attempt, produced)

        request = (self.key, self._batch, self.acks, PRODUCE_TIMEOUT_MS, answered)
        self.cluster.network.send(self.name, node.name, node.receive, node.serve, "on_produce", *request)
        if self.acks == 0:
            if self.dice.random() < 0.2:  # nobody says that the leader has moved: Kafka refreshes by age
                self.leader = NO_LEADER
            self._done(acked=False)

    def _overdue(self, attempt: int) -> None:
        if attempt == self._attempt and self._current is not None:
            self.leader = NO_LEADER
            self._again(0)

    def _on_answer(self, attempt: int, produced: Produced) -> None:
        if attempt != self._attempt or self._current is None:
            return
        code = produced.code
        if code in (Code.NONE, DUPLICATE):
            self._gaps = 0
            self._current.base_offset, self._current.leader_epoch = produced.base_offset, produced.leader_epoch
            self._done(acked=True)
            return
        if code == OUT_OF_ORDER:
            self._gaps += 1
            if self._gaps >= OUT_OF_ORDER_LIMIT:
                self._start_over()
                return
        if code == FENCED_PRODUCER:
            self._start_over()
            return
        if code in LEADER_MOVED:
            self.leader = NO_LEADER
        self._again(self.dice.randrange(50_000, 400_000))

    def _again(self, pause_us: int) -> None:
        self._attempt += 1
        if self.producer_id < 0:
            self._left -= 1
            if self._left < 0:
                self._done(acked=False)
                return
        self.world.after(pause_us, self._retry, self._attempt)

    def _retry(self, attempt: int) -> None:
        if attempt == self._attempt:
            self._try()

    def _start_over(self) -> None:
        """The partition has forgotten what came before: a new epoch begins, with the same batch as its first."""
        assert self._current is not None
        self._gaps = 0
        self.producer_epoch += 1
        self._sequence = 0
        self._current.producer_epoch = self.producer_epoch
        self.cluster.judge.history.started_over(self.key, self._current)
        self._encode()
        self._again(100_000)

    def _done(self, *, acked: bool) -> None:
        sent = self._current
        assert sent is not None
        self._attempt += 1
        self._current = None
        sent.acked, sent.given_up = acked, not acked
        if self.producer_id >= 0:
            self._sequence += sent.records
        self.world.tell(self.name, "acked" if acked else "done", f"{self.key} #{sent.number}")
        if self._queued:
            self.world.after(self._gap_us, self._next)


class Consumer(Client):
    """Follows one partition, from its start, in the leader's log or in a follower's (KIP-392)."""

    def __init__(self, cluster: SimCluster, name: str, key: str, *, follower_reads: bool, poll_us: int) -> None:
        super().__init__(cluster, name, key)
        self.follower_reads = follower_reads
        self.poll_us = poll_us
        self.position = 0
        self._asks_end = False
        self._answered = 0
        """The attempt whose answer has come: the network doubles requests too, and each of the two is answered."""
        self.world.after(self.dice.randrange(poll_us), self._poll)

    def _poll(self) -> None:
        self._attempt += 1
        self._asks_end = self.dice.random() < 0.25
        pause = self.dice.randrange(self.poll_us // 2, self.poll_us)
        self.world.after(pause, self._poll)
        if self.leader == NO_LEADER:
            self._find_leader(self._attempt)
        else:
            self._go_on(self._attempt)

    def _go_on(self, attempt: int) -> None:
        node = self._node(self.leader)
        if self._asks_end:
            self._send(node, attempt, self.leader_epoch)
            return
        if self.follower_reads:
            assignment = self.cluster.assignment(self.key)
            if assignment is not None and assignment.replicas:
                node = self._node(self.dice.choice(assignment.replicas))
        self._send(node, attempt, self.leader_epoch)

    def _send(self, node: Node, attempt: int, epoch: int) -> None:
        asks_end, offset = self._asks_end, self.position

        def answered(fetched: Fetched) -> None:
            call = self._on_end if asks_end else self._on_fetched
            self.cluster.network.send(node.name, self.name, call, attempt, offset, fetched)

        network = self.cluster.network
        if asks_end:
            network.send(self.name, node.name, node.receive, node.serve, "on_list_offsets", self.key, epoch, answered)
        else:
            request = (self.key, offset, epoch, answered)
            network.send(self.name, node.name, node.receive, node.serve, "on_fetch", *request)

    def _on_end(self, attempt: int, _: int, fetched: Fetched) -> None:
        if attempt != self._attempt or attempt == self._answered:
            return
        self._answered = attempt
        if fetched.code == Code.NONE:
            self.cluster.judge.history.end_seen(self.name, self.key, fetched.high_watermark, fetched.leader_epoch)
        else:
            self._mind(fetched)

    def _on_fetched(self, attempt: int, offset: int, fetched: Fetched) -> None:
        if attempt != self._attempt or offset != self.position:
            return
        if fetched.code == Code.OFFSET_OUT_OF_RANGE:
            if offset < fetched.log_start_offset:
                self.position = fetched.log_start_offset
                self.cluster.judge.history.skipped(self.name, self.key, offset, self.position)
            elif self.cluster.judge.was_unclean(self.key):
                self.position = fetched.high_watermark
                self.cluster.judge.history.skipped(self.name, self.key, offset, self.position)
            return
        if fetched.code != Code.NONE:
            self._mind(fetched)
            return
        for header in native.headers(fetched.data):
            piece = fetched.data[header.position : header.position + header.size_bytes]
            if not is_whole(piece):
                self._mind(fetched)
                return
            if header.next_offset > self.position:
                self.cluster.judge.history.consumed(self.name, self.key, self.position, header, piece)
                self.position = header.next_offset

    def _mind(self, fetched: Fetched) -> None:
        """Somebody else leads, or this one knows less than we do, or its bytes have rotted (check.crcs)."""
        self.leader = NO_LEADER


def is_whole(batch: bytes) -> bool:
    """Whether a batch passes its check, as a consumer does it."""
    try:
        native.check(batch, client=False)
    except InvalidBatch:
        return False
    return True
