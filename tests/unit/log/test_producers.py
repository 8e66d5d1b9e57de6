"""Producer states: what Kafka accepts, refuses and answers with old offsets; when transactions are decided."""

from __future__ import annotations

import itertools
import random

import pytest

from kstore import errors
from kstore.limits import INT32_MAX
from kstore.log.producers import (
    ABORT,
    COMMIT,
    CompletedTransaction,
    Duplicate,
    Origin,
    ProducerBatch,
    ProducerEntry,
    ProducerStates,
    StoredBatch,
)

DAY_MS = 86_400_000


def data(offset, sequence, count=1, *, pid=7, epoch=0, txn=False, ts=1000):
    last = (sequence + count - 1) % (INT32_MAX + 1) if sequence >= 0 else -1
    return ProducerBatch(offset, offset + count - 1, pid, epoch, sequence, last, txn, None, -1, ts)


def marker(offset, kind=COMMIT, *, pid=7, epoch=0, coordinator=0, ts=2000):
    return ProducerBatch(offset, offset, pid, epoch, -1, -1, True, kind, coordinator, ts)


def states_with(*batches):
    states = ProducerStates()
    for batch in batches:
        states.apply(batch)
    return states


# -- sequences --


def test_a_producer_in_order():
    states = ProducerStates()
    for offset in range(0, 30, 3):
        batch = data(offset, offset, 3)
        assert states.check(batch) is None
        assert states.apply(batch) is None
    assert states.end_offset == 30
    assert states.entry(7).last_sequence == 29
    assert len(states.entry(7).batches) == 5
    assert states.entry(7).batches[0].first_offset == 15


@pytest.mark.parametrize("sequence", [0, 1, 4, 6, 100, INT32_MAX])
def test_a_gap_or_an_overlap_is_out_of_order(sequence):
    states = states_with(data(0, 0, 5))
    with pytest.raises(errors.OutOfOrderSequence, match=f"sequence {sequence} came, 5 is next"):
        states.check(data(5, sequence, 1))
    assert states.check(data(5, 5)) is None


def test_sequences_wrap_between_and_inside_batches():
    between = states_with(data(0, INT32_MAX - 1, 2))
    assert between.entry(7).last_sequence == INT32_MAX
    assert between.check(data(2, 0)) is None
    with pytest.raises(errors.OutOfOrderSequence):
        between.check(data(2, 1))

    inside = states_with(data(0, INT32_MAX - 1, 5))
    assert inside.entry(7).last_sequence == 2
    assert inside.entry(7).batches[0].first_sequence == INT32_MAX - 1
    assert inside.check(data(5, 3)) is None
    assert inside.check(data(5, INT32_MAX - 1, 5)) == Duplicate(0, 4, 1000)


def test_an_unknown_producer_may_begin_anywhere_unless_its_transactions_are_version_2():
    states = ProducerStates()
    assert states.check(data(0, 41)) is None
    assert states.check(data(0, 0), transaction_version=2) is None
    with pytest.raises(errors.OutOfOrderSequence, match="41 came, 0 is next"):
        states.check(data(0, 41), transaction_version=2)


def test_a_client_batch_needs_a_sequence():
    with pytest.raises(errors.InvalidBatch, match="without a sequence"):
        ProducerStates().check(data(0, -1))
    assert ProducerStates().check(data(0, -1), origin=Origin.COORDINATOR) is None


# -- duplicates --


def test_the_last_five_batches_are_answered_with_their_offsets():
    states = states_with(*(data(offset, offset, 2, ts=offset) for offset in range(0, 14, 2)))
    for offset in range(4, 14, 2):
        assert states.check(data(14, offset, 2)) == Duplicate(offset, offset + 1, offset)
    for offset in (0, 2):
        with pytest.raises(errors.OutOfOrderSequence):
            states.check(data(14, offset, 2))
    with pytest.raises(errors.OutOfOrderSequence):
        states.check(data(14, 12, 1))  # half of a stored batch is another batch


def test_only_clients_are_answered_with_duplicates():
    states = states_with(data(0, 0, 2))
    assert states.check(data(2, 0, 2), origin=Origin.REPLICATION) is None


def test_a_new_epoch_forgets_the_old_sequences():
    states = states_with(data(0, 0, 2), data(2, 0, 2, epoch=1))
    assert states.check(data(4, 0, 2, epoch=1)) == Duplicate(2, 3, 1000)
    with pytest.raises(errors.InvalidProducerEpoch, match="epoch 0: epoch 1 is the latest"):
        states.check(data(4, 0, 2, epoch=0))
    with pytest.raises(errors.OutOfOrderSequence, match="3 came, 0 is next"):
        states.check(data(4, 3, 2, epoch=2))
    assert states.check(data(4, 0, 2, epoch=2)) is None


def test_check_changes_nothing():
    states = states_with(data(0, 0, 2, txn=True), data(2, 0, pid=8))
    before = states.copy()
    states.check(data(3, 2, txn=True))
    states.check(data(3, 0, epoch=9, txn=True))
    states.check(data(3, 0, pid=99))
    states.check(marker(3), origin=Origin.COORDINATOR)
    assert list(states.entries()) == list(before.entries())
    assert states.open_transactions == before.open_transactions
    assert states.end_offset == before.end_offset == 3


# -- several batches in one append --


def test_batches_of_one_append_follow_each_other():
    states = states_with(data(0, 0))
    assert states.check_all([data(1, 1), data(2, 2), data(3, 0, pid=8), data(4, 1, pid=8)]) is None
    with pytest.raises(errors.OutOfOrderSequence):
        states.check_all([data(1, 1), data(2, 3)])
    with pytest.raises(errors.OutOfOrderSequence):
        states.check_all([data(1, 5, pid=9), data(2, 7, pid=9)])
    assert len(states) == 1
    assert states.check_all([]) is None
    assert states.check_all([data(1, 1)]) is None


def test_a_repeated_append_of_several_batches():
    states = states_with(data(0, 0, 2, ts=5), data(2, 2, 2, ts=4))
    assert states.check_all([data(4, 0, 2), data(6, 2, 2)]) == Duplicate(0, 3, 5)
    with pytest.raises(errors.DuplicateSequence, match="1 of the 2 batches"):
        states.check_all([data(4, 2, 2), data(6, 4, 2)])
    with pytest.raises(errors.DuplicateSequence):
        states.check_all([data(4, 4, 2), data(6, 4, 2)])


# -- transactions --


def test_a_committed_transaction():
    states = states_with(data(0, 0, pid=1), data(1, 0, 3, txn=True), data(4, 3, txn=True))
    assert states.open_transactions == ((1, 7),)
    assert states.first_undecided_offset == 1
    assert states.last_stable_offset(5) == 1
    assert states.check(marker(5), origin=Origin.COORDINATOR) is None
    assert states.apply(marker(5)) == CompletedTransaction(7, 1, 5, 6, False)
    assert states.first_undecided_offset is None
    assert states.last_stable_offset(6) == 6


def test_the_stable_offset_waits_for_the_marker_to_pass_the_high_watermark():
    states = states_with(data(0, 0, txn=True), data(1, 0, pid=8), marker(2), data(3, 1, pid=8))
    assert states.last_stable_offset(1) == 0
    assert states.last_stable_offset(2) == 0  # the marker itself is at 2
    assert states.last_stable_offset(3) == 3
    assert states.last_stable_offset(4) == 4


def test_interleaved_transactions_and_the_column_of_the_index():
    states = states_with(data(0, 0, txn=True, pid=1), data(1, 0, txn=True, pid=2), data(2, 0, txn=True, pid=3))
    assert states.apply(marker(3, ABORT, pid=2)) == CompletedTransaction(2, 1, 3, 0, True)
    assert states.apply(marker(4, ABORT, pid=1)) == CompletedTransaction(1, 0, 4, 2, True)
    assert states.last_stable_offset(5) == 2
    assert states.apply(marker(5, ABORT, pid=3)) == CompletedTransaction(3, 2, 5, 6, True)


def test_the_stable_offset_is_the_oldest_of_undecided_and_unreplicated():
    states = states_with(data(0, 0, txn=True, pid=1), data(1, 0, txn=True, pid=2), marker(2, pid=2))
    assert states.last_stable_offset(2) == 0
    states.apply(marker(3, pid=1))
    assert states.last_stable_offset(2) == 0
    assert states.last_stable_offset(3) == 0
    assert states.last_stable_offset(4) == 4


def test_the_stable_offset_stays_inside_the_log():
    states = states_with(data(5, 0, txn=True))
    assert states.last_stable_offset(3) == 3
    assert states.last_stable_offset(20, log_start_offset=9) == 9


def test_a_marker_without_data_here_completes_nothing_but_is_remembered():
    states = ProducerStates()
    assert states.check(marker(0), origin=Origin.COORDINATOR) is None
    assert states.apply(marker(0, epoch=4, coordinator=3)) is None
    entry = states.entry(7)
    assert (entry.epoch, entry.coordinator_epoch, entry.batches, entry.last_timestamp_ms) == (4, 3, [], 2000)
    assert states.check(data(1, 0, epoch=4)) is None
    with pytest.raises(errors.OutOfOrderSequence):
        states.check(data(1, 1, epoch=4))


def test_a_marker_of_the_same_epoch_keeps_the_sequences():
    states = states_with(data(0, 0, 2, txn=True), marker(2, ABORT))
    assert states.check(data(3, 2, txn=True)) is None
    with pytest.raises(errors.OutOfOrderSequence):
        states.check(data(3, 0, txn=True))
    assert states.check(data(3, 0, 2, txn=True)) == Duplicate(0, 1, 1000)


def test_a_marker_that_bumps_the_epoch_starts_sequences_anew():
    states = states_with(data(0, 0, 2, txn=True), marker(2, ABORT, epoch=1))
    assert states.check(data(3, 0, 2, epoch=1, txn=True)) is None  # never answered with the aborted offsets
    with pytest.raises(errors.InvalidProducerEpoch):
        states.check(data(3, 2, txn=True))


def test_a_plain_batch_inside_a_transaction_is_refused():
    states = states_with(data(0, 0, txn=True))
    with pytest.raises(errors.InvalidTxnState, match="open since offset 0"):
        states.check(data(1, 1))
    assert states.check(data(1, 1), origin=Origin.REPLICATION) is None
    assert states.apply(data(1, 1)) is None
    assert states.first_undecided_offset == 0


def test_marker_epochs_before_version_2():
    states = states_with(data(0, 0, txn=True, epoch=3))
    check = lambda batch: states.check(batch, origin=Origin.COORDINATOR)  # noqa: E731
    assert check(marker(1, epoch=3)) is None
    assert check(marker(1, epoch=4)) is None
    with pytest.raises(errors.InvalidProducerEpoch, match="marker of producer 7 with epoch 2"):
        check(marker(1, epoch=2))


def test_marker_epochs_from_version_2_on_must_rise_but_may_be_repeated():
    states = states_with(data(0, 0, txn=True, epoch=3))

    def check(batch):
        return states.check(batch, origin=Origin.COORDINATOR, transaction_version=2)

    with pytest.raises(errors.InvalidProducerEpoch):
        check(marker(1, epoch=3))
    assert check(marker(1, epoch=4)) is None
    states.apply(marker(1, epoch=4))
    assert check(marker(2, epoch=4)) is None  # the coordinator tries again
    with pytest.raises(errors.InvalidProducerEpoch):
        check(marker(2, epoch=3))
    states.apply(data(2, 0, txn=True, epoch=4))
    with pytest.raises(errors.InvalidProducerEpoch):
        check(marker(3, epoch=4))  # late: it would end the next transaction


def test_an_older_coordinator_is_fenced():
    states = states_with(data(0, 0, txn=True), marker(1, coordinator=5), data(2, 1, txn=True))
    with pytest.raises(errors.TransactionCoordinatorFenced, match="coordinator epoch 4; epoch 5"):
        states.check(marker(3, coordinator=4), origin=Origin.COORDINATOR)
    assert states.check(marker(3, coordinator=5), origin=Origin.COORDINATOR) is None
    assert states.check(marker(3, coordinator=4), origin=Origin.REPLICATION) is None


def test_coordinator_commits_carry_no_sequences():
    states = ProducerStates()
    commit = ProducerBatch(0, 1, 7, 2, -1, -1, True, None, -1, 50)
    assert states.check(commit, origin=Origin.COORDINATOR) is None
    states.apply(commit)
    assert states.entry(7).batches == [StoredBatch(-1, 1, 1, 50)]
    assert states.entry(7).batches[0].first_sequence == -1
    with pytest.raises(errors.InvalidProducerEpoch):
        states.check(commit._replace(producer_epoch=1), origin=Origin.COORDINATOR)


# -- life of an entry --


def test_idle_producers_expire_but_not_with_an_open_transaction():
    idle = [data(0, 0, pid=1, ts=0), data(1, 0, pid=2, ts=0, txn=True), data(2, 0, pid=3, ts=1)]
    states = states_with(*idle, data(3, 0, pid=4, ts=2 * DAY_MS))
    assert states.expire(DAY_MS, DAY_MS) == 1
    assert [entry.producer_id for entry in states.entries()] == [2, 3, 4]
    assert states.expire(DAY_MS, DAY_MS) == 0
    states.apply(marker(4, pid=2, ts=5))
    assert states.expire(DAY_MS + 5, DAY_MS) == 2


def test_a_clock_that_jumps_ahead_expires_nobody():
    """Nor does a producer from the future: it takes both."""
    states = states_with(data(0, 0, pid=1, ts=0), data(1, 0, pid=2, ts=DAY_MS - 1))
    assert states.expire(4_000 * DAY_MS, DAY_MS) == 0
    states.apply(data(2, 0, pid=3, ts=4_000 * DAY_MS))
    assert states.expire(DAY_MS - 1, DAY_MS) == 0
    assert states.expire(2 * DAY_MS, DAY_MS) == 2


def test_offset_and_id_0_are_like_any_other():
    states = states_with(data(0, 0, txn=True, pid=0))
    assert states.expire(10**18, 1) == 0
    again = ProducerStates.from_entries(states.entries(), 1)
    assert again.open_transactions == ((0, 0),)
    assert again.apply(marker(1, pid=0)) == CompletedTransaction(0, 0, 1, 2, False)


def test_states_of_a_snapshot():
    entries = [
        ProducerEntry(1, 0, last_timestamp_ms=0, batches=[StoredBatch(4, 90, 4, 0)]),
        ProducerEntry(2, 0, last_timestamp_ms=0, txn_first_offset=80),
        ProducerEntry(3, 0, last_timestamp_ms=9, txn_first_offset=70),
    ]
    states = ProducerStates.from_entries(entries, 100)
    assert len(states) == 3
    assert states.end_offset == 100
    assert states.open_transactions == ((70, 3), (80, 2))
    assert states.apply(marker(100, pid=3)) == CompletedTransaction(3, 70, 100, 80, False)
    assert entries[2].txn_first_offset == 70


def test_advance_and_clear():
    states = states_with(data(0, 0, txn=True), marker(1), data(2, 1, txn=True))
    states.advance(9)
    states.advance(4)
    assert states.end_offset == 9
    assert states.last_stable_offset(1) == 0
    states.clear(50)
    assert states.last_stable_offset(1) == 1
    assert (len(states), states.end_offset, states.last_stable_offset(50)) == (0, 50, 50)
    assert states.open_transactions == ()


def test_a_risen_log_start_frees_what_was_decided_below_it():
    states = states_with(data(0, 0, txn=True), marker(1), data(2, 1, pid=8))
    states.on_log_start(1)
    assert states.last_stable_offset(1) == 0
    states.on_log_start(2)
    assert states.last_stable_offset(1) == 1
    states.on_log_start(40)
    assert states.end_offset == 40


def test_entries_compare_and_print():
    entry = ProducerEntry(7, 1, batches=[StoredBatch(4, 90, 4, 0)])
    assert entry == entry.copy()
    assert entry != ProducerEntry(7, 1)
    assert entry != 7
    assert "producer_id=7" in repr(entry)


# -- against a plain model: the whole history is remembered --


def test_random_histories_agree_with_a_model():
    for seed in range(60):
        rng = random.Random(seed)
        states, model, offset = ProducerStates(), Model(), 0
        for _ in range(120):
            pid, epoch = rng.randrange(3), rng.randrange(3)
            count, sequence = rng.randrange(1, 4), rng.choice([0, 0, *range(12)])
            batch = data(offset, sequence, count, pid=pid, epoch=epoch, txn=rng.random() < 0.5)
            origin = Origin.CLIENT
            if rng.random() < 0.2:
                batch = marker(offset, rng.choice([COMMIT, ABORT]), pid=pid, epoch=epoch)
                origin = Origin.COORDINATOR
            try:
                answer = states.check(batch, origin=origin)
            except errors.RejectedError as error:
                answer = type(error)
            assert answer == model.check(batch), seed
            if answer is None:
                completed = states.apply(batch)
                model.append(batch)
                offset = batch.last_offset + 1
                assert (completed is not None) == model.completed(), seed
            assert states.first_undecided_offset == model.first_undecided(), seed
            assert states.end_offset == offset


class Model:
    """Decides by looking through every batch ever appended."""

    def __init__(self):
        self.log = []

    def of(self, pid):
        return [batch for batch in self.log if batch.producer_id == pid]

    def open(self, log):
        since = list(itertools.takewhile(lambda batch: batch.control_type is None, reversed(log)))
        return [batch.base_offset for batch in reversed(since) if batch.transactional]

    def check(self, batch):
        log = self.of(batch.producer_id)
        epoch = log[-1].producer_epoch if log else -1
        same = list(itertools.takewhile(lambda b: b.producer_epoch == batch.producer_epoch, reversed(log)))
        stored = [old for old in same if old.control_type is None]
        if batch.control_type is None:
            for old in stored[:5]:
                if old[4:6] == batch[4:6]:
                    return Duplicate(old.base_offset, old.last_offset, old.timestamp_ms)
        if batch.producer_epoch < epoch:
            return errors.InvalidProducerEpoch
        if batch.control_type is not None:
            return None
        expected = stored[0].last_sequence + 1 if stored else 0 if log else batch.base_sequence
        if batch.base_sequence != expected:
            return errors.OutOfOrderSequence
        if self.open(log) and not batch.transactional:
            return errors.InvalidTxnState
        return None

    def append(self, batch):
        self.log.append(batch)

    def completed(self):
        batch = self.log[-1]
        return batch.control_type is not None and bool(self.open(self.of(batch.producer_id)[:-1]))

    def first_undecided(self):
        starts = [self.open(self.of(pid))[:1] for pid in range(3)]
        return min((start[0] for start in starts if start), default=None)
