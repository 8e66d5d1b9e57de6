"""What clients did and saw, and whether a log can explain it: I1, I8, I12, I17, I26.

Owns every batch that producers sent and everything that consumers were given. Verified while it runs: a consumer gets
offsets without gaps, the bytes that a producer sent and no others, and the same batch at the same offset as all others;
its question for the log end never gets a smaller answer than before (I8). Verified at the end: everything that was
acknowledged with acks=all is in the log; an idempotent producer's batches are there once and in order; nothing is there
that nobody sent; consumers saw all of it. Not verified: the order of a plain producer's batches, which a delayed copy
of a request may always break; what was acknowledged with acks 0 or 1 and then lost.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from kstore._native.batches import Batches
from kstore.replication.state import NO_EPOCH
from kstore.testing.simulation.checkers.base import Violation
from kstore.testing.simulation.clients import Sent

if TYPE_CHECKING:
    from kstore._native.batch import BatchHeader
    from kstore.testing.simulation.judge import Judge


class Seen(NamedTuple):
    """One batch as a consumer got it."""

    next_offset: int
    epoch: int
    crc: int


class History:
    """Of one run."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.sends: dict[str, dict[str, list[Sent]]] = {}
        """By topic and producer."""
        self.records_read = 0
        self._seen: dict[str, dict[int, Seen]] = {}
        self._positions: dict[tuple[str, str], int] = {}
        self._ends: dict[tuple[str, str], tuple[int, int]] = {}
        self._forgiven: dict[str, int] = {}

    def _broken(self, invariant: str, what: str) -> NoReturn:
        world = self._judge.world
        world.tell("judge", "BROKEN", f"{invariant}: {what}")
        raise Violation(invariant, what, world.now_us)

    # -- producers -------------------------------------------------------------------------------------------

    def sent(self, key: str, sent: Sent) -> None:
        """A producer begins to send a batch."""
        self.sends.setdefault(key, {}).setdefault(sent.producer, []).append(sent)

    def started_over(self, key: str, sent: Sent) -> None:
        """An idempotent producer was told of a gap again and again, and began another epoch: something is lost.

        Its earlier batches must be somewhere all the same, if they were acknowledged; the end of the run tells.
        """
        self._judge.world.tell(sent.producer, "starts over", f"{key} #{sent.number} epoch {sent.producer_epoch}")

    def forgive(self, key: str, epoch: int) -> None:
        """An unclean election gave records up: what leaders of earlier epochs acknowledge need not be there."""
        self._forgiven[key] = epoch

    @property
    def counts(self) -> dict[str, int]:
        """How much there was."""
        every = [sent for producers in self.sends.values() for batches in producers.values() for sent in batches]
        return {
            "batches_sent": len(every),
            "batches_acked": sum(sent.acked for sent in every),
            "records_sent": sum(sent.records for sent in every),
            "records_read": self.records_read,
        }

    # -- consumers -------------------------------------------------------------------------------------------

    def consumed(self, consumer: str, key: str, position: int, header: BatchHeader, piece: bytes) -> None:
        """A consumer at `position` got a batch."""
        seen = Seen(header.next_offset, header.leader_epoch, header.crc)
        if header.base_offset > position:
            self._broken("I17", f"{consumer} asked {key} for {position} and got {header.base_offset}: a gap")
        known = self._seen.setdefault(key, {}).setdefault(header.base_offset, seen)
        if known != seen and key not in self._forgiven:
            self._broken("I17", f"{consumer} got {seen} at {key} {header.base_offset}, before that was {known}")
        self._check_bytes(consumer, key, header, piece)
        self.records_read += header.records

    def _check_bytes(self, consumer: str, key: str, header: BatchHeader, piece: bytes) -> None:
        values = [value for _, _, _, value in Batches(piece).tuples()]
        names = [(value or b"").decode().split(":") for value in values]
        producers = self.sends.get(key, {})
        for number, name in enumerate(names):
            sent = producers.get(name[0], [])
            if len(name) != 3 or int(name[1]) >= len(sent) or int(name[2]) != number:
                self._broken("I26", f"{consumer} got {values[number]!r} from {key}, which nobody sent")

    def skipped(self, consumer: str, key: str, position: int, target: int) -> None:
        """A consumer's position was out of range, and moved."""
        self._judge.world.tell(consumer, "skips", f"{key} from {position} to {target}")

    def end_seen(self, consumer: str, key: str, end: int, epoch: int) -> None:
        """A consumer was told where the log ends."""
        known = self._ends.get((consumer, key))
        if known is not None and end < known[0] and epoch >= known[1] and key not in self._forgiven:
            self._broken("I8", f"{consumer} was told that {key} ends at {known[0]} (e{known[1]}), now {end} (e{epoch})")
        if known is None or epoch >= known[1]:
            self._ends[consumer, key] = end, epoch

    # -- the end -----------------------------------------------------------------------------------------------

    def judge_log(self, key: str, data: list[bytes], log_start_offset: int) -> None:
        """Hold the final log of a partition against all that was sent."""
        found: dict[str, list[int]] = {}
        for piece in data:
            for offset, _, _, value in Batches(piece).tuples():
                producer, number, index = (value or b"").decode().split(":")
                if offset >= log_start_offset and (producer in found or index == "0"):  # else its batch is cut in two
                    found.setdefault(producer, []).append(int(number))
        for producer, batches in self.sends.get(key, {}).items():
            numbers = found.get(producer, [])
            self._check_all_there(key, producer, batches, set(numbers), log_start_offset)
            if batches and batches[0].producer_epoch >= 0:
                self._check_once(key, producer, batches, numbers)

    def _check_all_there(self, key: str, producer: str, batches: list[Sent], found: set[int], start: int) -> None:
        forgiven = self._forgiven.get(key, NO_EPOCH)
        for sent in batches:
            if not sent.acked or sent.acks != -1 or sent.number in found or sent.leader_epoch < forgiven:
                continue
            # what lay below the log start was deleted by request; where that is not known, nothing before it is left
            known = sent.base_offset >= 0
            if sent.base_offset >= start if known else start == 0 or (found and sent.number > min(found)):
                self._broken("I1", f"{producer} #{sent.number} in {key} was acknowledged and is lost")

    def _check_once(self, key: str, producer: str, batches: list[Sent], numbers: list[int]) -> None:
        distinct = [number for i, number in enumerate(numbers) if i == 0 or numbers[i - 1] != number]
        over = {sent.number for sent in batches if sent.producer_epoch > 0}
        for earlier, later in itertools.pairwise(distinct):
            if later <= earlier and later not in over:
                self._broken("I12", f"{producer} #{later} in {key} comes after #{earlier}: twice, or out of order")
        counts: dict[int, int] = {}
        for number in numbers:
            counts[number] = counts.get(number, 0) + 1
        for sent in batches:
            if counts.get(sent.number, 0) not in (0, sent.records) and sent.number not in over:
                times = counts[sent.number] / sent.records
                self._broken("I12", f"{producer} #{sent.number} in {key} is there {times:g} times")

    def check_consumed(self, consumer: str, key: str, position: int, end: int) -> None:
        """At the end, with everything whole again, consumers have seen all of it."""
        if position < end:
            self._broken("I17", f"{consumer} has read {key} up to {position}, it ends at {end}: unseen")
