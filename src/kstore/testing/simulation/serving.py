"""How a simulated broker serves clients: produce, fetch, the end of a log, and who leads.

Owns the part of a broker's request handlers that the clients of the simulation need. It must not know how clients
behave. Made by `node.Node` for each life of a process.

Invariant: an append is answered at most once, and only by the process that took it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from kstore.errors import KStoreError, OffsetOutOfRange, RejectedError, StorageError
from kstore.replication.codes import Code
from kstore.replication.leading import check_epoch
from kstore.replication.state import NO_EPOCH, NO_LEADER

if TYPE_CHECKING:
    from kstore._native.batches import Batches
    from kstore.log.appended import Appended
    from kstore.replica import Produced as Taken
    from kstore.replica import Replica
    from kstore.testing.simulation.node import Node


class Produced(NamedTuple):
    """The answer to a produce request."""

    code: int
    base_offset: int = -1
    leader_epoch: int = -1


class Fetched(NamedTuple):
    """The answer to a consumer's fetch, and to its question for the end of the log."""

    code: int
    leader_epoch: int = -1
    data: bytes = b""
    high_watermark: int = -1
    log_start_offset: int = -1


class Waiting(NamedTuple):
    """Somebody who waits for an acknowledgement."""

    answer: Callable[[Produced], object]
    appended: Appended
    acks: int


class Serving:
    """The client side of one life of a broker."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: dict[tuple[str, int], Waiting] = {}
        self._early: dict[tuple[str, int], Code] = {}

    def on_find_leader(self, key: str, answer: Callable[[int, int], object]) -> None:
        """A client asks who leads, as this broker knows it."""
        node = self._node
        if node.index < 0:
            answer(NO_LEADER, NO_EPOCH)
            return
        assignment = node.cluster.control.images[node.index].partitions.get((key, 0))
        if assignment is None:
            answer(NO_LEADER, NO_EPOCH)
        else:
            answer(assignment.leader, assignment.leader_epoch)

    # -- producers -------------------------------------------------------------------------------------------

    def on_produce(
        self, key: str, batch: bytes, acks: int, timeout_ms: int, answer: Callable[[Produced], object]
    ) -> None:
        """A producer's batch arrives; `answer` takes what becomes of it (never with acks=0)."""
        node = self._node
        replica = node.replicas.get(key)
        if replica is None:
            answer(Produced(Code.UNKNOWN_TOPIC_OR_PARTITION))
            return
        try:
            token, appended = node.step(key, self._append, replica, batch, acks, timeout_ms)
        except (RejectedError, StorageError) as error:
            if acks != 0:
                answer(Produced(error.error_code))
            return
        if acks == 0:
            return
        waiting = Waiting(answer, appended, acks)
        early = self._early.pop((key, token), None)
        if early is None:
            self._waiting[key, token] = waiting
        else:
            self._acknowledged(key, replica, waiting, early)

    def _append(self, replica: Replica, batch: bytes, acks: int, timeout_ms: int) -> Taken:
        return replica.append_batches(batch, acks=acks, timeout_ms=timeout_ms, now_ms=self._node.now_ms)

    def acknowledge(self, key: str, replica: Replica, token: int, code: Code) -> None:
        """The replica has said what became of an append; it may say so before the append has returned its token."""
        waiting = self._waiting.pop((key, token), None)
        if waiting is None:
            self._early[key, token] = code
        else:
            self._acknowledged(key, replica, waiting, code)

    def _acknowledged(self, key: str, replica: Replica, waiting: Waiting, code: Code) -> None:
        epoch = replica.state.assignment.leader_epoch
        if code is Code.NONE:
            self._node.cluster.judge.acknowledged(self._node, key, replica, waiting.appended, waiting.acks)
        waiting.answer(Produced(code, waiting.appended.base_offset, epoch))

    # -- consumers -------------------------------------------------------------------------------------------

    def on_fetch(self, key: str, offset: int, leader_epoch: int, answer: Callable[[Fetched], object]) -> None:
        """A consumer fetches, from a leader or from a follower (KIP-392); `leader_epoch` is what it knows (KIP-320)."""
        node = self._node
        replica = node.replicas.get(key)
        if replica is None:
            answer(Fetched(Code.UNKNOWN_TOPIC_OR_PARTITION))
            return
        known = replica.state.assignment.leader_epoch
        code = check_epoch(leader_epoch, known)
        if code is not Code.NONE:
            answer(Fetched(code, known))
            return
        view = replica.partition.log.view
        marks = (view.high_watermark, view.log_start_offset)
        try:
            data = bytes(node.step(key, self._read, replica, offset).buffer)
        except OffsetOutOfRange:
            answer(Fetched(Code.OFFSET_OUT_OF_RANGE, known, b"", *marks))
            return
        except KStoreError as error:
            answer(Fetched(error.error_code, known))
            return
        answer(Fetched(Code.NONE, known, data, *marks))

    def _read(self, replica: Replica, offset: int) -> Batches:
        return replica.read(offset, now_ms=self._node.now_ms)

    def on_list_offsets(self, key: str, leader_epoch: int, answer: Callable[[Fetched], object]) -> None:
        """A consumer asks for the end of the log (ListOffsets with -1)."""
        replica = self._node.replicas.get(key)
        if replica is None:
            answer(Fetched(Code.UNKNOWN_TOPIC_OR_PARTITION))
            return
        known = replica.state.assignment.leader_epoch
        code, end = check_epoch(leader_epoch, known), -1
        if code is Code.NONE:
            code, end = replica.latest_offset()
        answer(Fetched(code, known, b"", end))
