"""Leader epochs: Kafka's LeaderEpochFileCache, its file, and what is rebuilt from a log."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore import limits
from kstore.log.epochs import (
    EpochEntry,
    EpochRun,
    LeaderEpochs,
    format_epochs,
    parse_epochs,
    rebuild,
)

UNKNOWN = (-1, -1)


@st.composite
def lineages(draw, longest=12):
    count = draw(st.integers(0, longest))
    epochs = sorted(draw(st.sets(st.integers(0, 10**6), min_size=count, max_size=count)))
    starts = sorted(draw(st.sets(st.integers(0, 10**12), min_size=count, max_size=count)))
    return tuple(map(EpochEntry, epochs, starts))


def epochs_of(*pairs):
    epochs = LeaderEpochs(pairs)
    assert epochs.entries == pairs
    return epochs


# -- assign --


def test_assign_says_whether_the_file_must_be_written():
    epochs = LeaderEpochs()
    assert not epochs
    assert epochs.latest is epochs.earliest is None
    assert epochs.latest_epoch == -1
    assert epochs.assign(2, 6)
    assert not epochs.assign(2, 6)
    assert not epochs.assign(2, 9)  # the first offset of an epoch stands
    assert epochs.entries == ((2, 6),)
    assert epochs.assign(3, 8)
    assert epochs.latest == (3, 8)
    assert epochs.earliest == (2, 6)
    assert epochs.latest_epoch == 3


def test_an_epoch_without_data_is_displaced():
    epochs = epochs_of((1, 0), (2, 6))
    assert epochs.assign(3, 6)
    assert epochs.entries == ((1, 0), (3, 6))


def test_assign_takes_a_smaller_start_of_the_newest_epoch():
    epochs = epochs_of((1, 0), (2, 6))
    assert epochs.assign(2, 5)
    assert epochs.entries == ((1, 0), (2, 5))


def test_assign_removes_every_contradiction():
    epochs = epochs_of((1, 0), (2, 6), (3, 9), (4, 12))
    assert epochs.assign(3, 7)
    assert epochs.entries == ((1, 0), (2, 6), (3, 7))
    assert epochs.assign(9, 0)
    assert epochs.entries == ((9, 0),)


@pytest.mark.parametrize("pair", [(-1, 0), (0, -1)])
def test_assign_refuses_negatives(pair):
    with pytest.raises(ValueError, match="cannot start"):
        LeaderEpochs().assign(*pair)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 50))))
def test_entries_always_rise(pairs):
    epochs = LeaderEpochs()
    for pair in pairs:
        before = epochs.entries
        assert epochs.assign(*pair) == (epochs.entries != before)
        for older, newer in zip(epochs.entries, epochs.entries[1:], strict=False):
            assert older.epoch < newer.epoch
            assert older.start_offset < newer.start_offset
        if epochs.entries != before:
            assert epochs.latest == pair


# -- questions --


def test_end_offsets_as_kafka_answers_them():
    epochs = epochs_of((2, 10), (4, 20), (7, 30))
    assert epochs.end_offset_for(7, 44) == (7, 44)
    assert epochs.end_offset_for(4, 44) == (4, 30)
    assert epochs.end_offset_for(5, 44) == (4, 30)
    assert epochs.end_offset_for(6, 44) == (4, 30)
    assert epochs.end_offset_for(2, 44) == (2, 20)
    assert epochs.end_offset_for(3, 44) == (2, 20)
    assert epochs.end_offset_for(0, 44) == (0, 10)
    assert epochs.end_offset_for(8, 44) == UNKNOWN
    assert epochs.end_offset_for(-1, 44) == UNKNOWN
    assert LeaderEpochs().end_offset_for(0, 44) == UNKNOWN


def test_epoch_for_offset():
    epochs = epochs_of((2, 10), (4, 20))
    assert [epochs.epoch_for_offset(offset) for offset in (9, 10, 19, 20, 10**9)] == [-1, 2, 2, 4, 4]
    assert LeaderEpochs().epoch_for_offset(0) == -1


def test_neighbours():
    epochs = epochs_of((2, 10), (4, 20))
    assert [epochs.previous_epoch(epoch) for epoch in (1, 2, 3, 4, 9)] == [-1, -1, 2, 2, 4]
    assert [epochs.next_epoch(epoch) for epoch in (1, 2, 3, 4, 9)] == [2, 4, 4, -1, -1]


def test_a_batch_must_fit_the_lineage():
    epochs = epochs_of((2, 10), (4, 20))
    assert epochs.fits(10, 2)
    assert epochs.fits(19, 2)
    assert epochs.fits(20, 4)
    assert not epochs.fits(19, 4)
    assert not epochs.fits(20, 2)
    assert not epochs.fits(20, 4 ^ 0x1000)
    assert not epochs.fits(20, -1)
    assert epochs.fits(9, 2)  # below the log start, in its segment
    assert epochs.fits(9, 0)
    assert not epochs.fits(9, 3)
    assert not epochs.fits(9, -1)
    assert LeaderEpochs().fits(20, -1)
    assert LeaderEpochs().fits(20, -(2**31))
    assert not LeaderEpochs().fits(20, 0)


# -- truncation --


def test_truncate_from_end():
    epochs = epochs_of((2, 6), (3, 8), (4, 11))
    assert not epochs.truncate_from_end(12)
    assert epochs.truncate_from_end(11)
    assert epochs.entries == ((2, 6), (3, 8))
    assert not epochs.truncate_from_end(9)
    assert epochs.truncate_from_end(6)
    assert not epochs
    assert not epochs.truncate_from_end(0)


def test_truncate_from_start_moves_the_oldest_up():
    epochs = epochs_of((2, 6), (3, 8), (4, 11))
    assert not epochs.truncate_from_start(5)
    assert not epochs.truncate_from_start(6)
    assert epochs.truncate_from_start(7)
    assert epochs.entries == ((2, 7), (3, 8), (4, 11))
    assert epochs.truncate_from_start(8)
    assert epochs.entries == ((3, 8), (4, 11))
    assert epochs.truncate_from_start(100)
    assert epochs.entries == ((4, 100),)
    assert not LeaderEpochs().truncate_from_start(3)


def test_clear():
    epochs = epochs_of((2, 6))
    assert epochs.clear()
    assert not epochs.clear()
    assert epochs.entries == ()


@given(lineages(), st.integers(0, 10**12), st.integers(0, 10**12))
def test_truncations_keep_what_lies_between(entries, start, end):
    start, end = sorted((start, end))
    whole, cut = LeaderEpochs(entries), LeaderEpochs(entries)
    cut.truncate_from_end(end)
    cut.truncate_from_start(start)
    assert all(start <= entry.start_offset for entry in cut.entries[1:])
    assert all(entry.start_offset < end for entry in cut.entries) or start == end
    for offset in {start, end - 1, *(entry.start_offset for entry in entries)}:
        if start <= offset < end:
            assert cut.epoch_for_offset(offset) == whole.epoch_for_offset(offset)


def test_copies_are_independent_and_compare():
    epochs = epochs_of((2, 6))
    twin = epochs.copy()
    assert twin == epochs
    twin.assign(3, 9)
    assert twin != epochs
    assert epochs.entries == ((2, 6),)
    assert epochs != ((2, 6),)
    assert epochs != epochs_of((2, 7))
    assert epochs != epochs_of((3, 6))
    assert repr(twin) == "LeaderEpochs(2@6, 3@9)"
    with pytest.raises(TypeError):
        hash(epochs)


# -- rebuild --


def runs(*triples):
    return [EpochRun(*triple) for triple in triples]


def test_rebuild_of_an_intact_log():
    lineage = rebuild(runs((0, 0, 5), (3, 9, 1), (4, 20, 2)))
    assert lineage.epochs.entries == ((0, 0), (3, 9), (4, 20))
    assert lineage.misfits == ()
    assert rebuild([]).epochs.entries == ()


def test_a_flip_upwards_or_downwards_is_outvoted():
    high = rebuild(runs((3, 0, 5), (7, 9, 1), (3, 20, 2)))
    assert high.epochs.entries == ((3, 0),)
    assert high.misfits == ((7, 9, 1),)
    low = rebuild(runs((3, 0, 5), (1, 9, 1), (3, 20, 2)))
    assert low.epochs.entries == ((3, 0),)
    assert low.misfits == ((1, 9, 1),)


def test_batches_without_an_epoch_say_nothing():
    lineage = rebuild(runs((-1, 0, 5), (2, 9, 1), (-1, 12, 1), (3, 20, 2)))
    assert lineage.epochs.entries == ((2, 9), (3, 20))
    assert lineage.misfits == ()


def test_the_chain_is_the_heaviest_of_all():
    for seed in range(300):
        rng = random.Random(seed)
        made = [EpochRun(rng.randrange(5), index * 10, rng.randrange(1, 4)) for index in range(rng.randrange(9))]
        best = 0
        for chosen in range(1 << len(made)):
            chain = [run for index, run in enumerate(made) if chosen >> index & 1]
            if all(older.epoch <= newer.epoch for older, newer in itertools.pairwise(chain)):
                best = max(best, sum(run.batches for run in chain))
        lineage = rebuild(made)
        kept = [run for run in made if run not in lineage.misfits]
        assert sum(run.batches for run in kept) == best, seed
        assert all(lineage.epochs.fits(run.start_offset, run.epoch) for run in kept), seed


# -- the file --


def test_kafkas_bytes():
    assert format_epochs([(0, 0)]) == b"0\n1\n0 0\n"
    assert format_epochs([]) == b"0\n0\n"
    assert format_epochs([(1, 0), (5, 60), (6, 72)]) == b"0\n3\n1 0\n5 60\n6 72\n"


@given(lineages())
def test_files_round_trip(entries):
    assert parse_epochs(format_epochs(entries)) == entries


def test_an_empty_file_has_no_entries():
    assert parse_epochs(b"") == ()
    assert parse_epochs(b"0\n0\n") == ()


@pytest.mark.parametrize(
    "data",
    [
        b"0",
        b"0\n",
        b"0\n0",
        b"1\n0\n",
        b"0\n1\n",
        b"0\n2\n0 0\n",
        b"0\n1\n0 0",
        b"0\n1\n0 0\n\n",
        b"0\n1\n0 00\n",
        b"0\n1\n0  0\n",
        b"0\n1\n0 0\r\n",
        b"0\n1\n+0 0\n",
        b"0\n1\n0\n",
        b"0\n1\n0 0 0\n",
        b"0\n1\n-1 0\n",
        b"0\n1\n0 -1\n",
        b"0\n2\n0 0\n0 5\n",
        b"0\n2\n0 5\n1 5\n",
        b"0\n2\n1 0\n0 5\n",
        b"0\n1\n2147483648 0\n",
        b"0\n1\n0 9223372036854775808\n",
        b"0\n1\n\xd9\xa1 0\n",
        b"\x00" * 8,
    ],
)
def test_what_kafka_never_writes_is_damaged(data):
    assert parse_epochs(data) is None


def test_every_truncation_is_damaged_or_empty():
    data = format_epochs([(1, 0), (5, 60), (16, 172)])
    for length in range(1, len(data)):
        assert parse_epochs(data[:length]) is None


def test_extremes_pass():
    entries = ((0, 0), (limits.INT32_MAX, limits.INT64_MAX))
    assert parse_epochs(format_epochs(entries)) == entries
