"""The transaction index: Kafka's bytes, its search, and a file that never holds half an entry."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore import limits
from kstore.log.digests import NO_FILE, digest_of
from kstore.log.producers import ABORT, COMMIT, ProducerBatch, ProducerStates
from kstore.log.transactions import (
    AbortedTransaction,
    TransactionIndex,
    aborted_between,
    format_aborted,
    parse_aborted,
)
from support.memory_disk import MemoryDisk

KAFKAS = bytes.fromhex(
    "0000 0000000000000004 000000000000003d 0000000000000052 0000000000000053"
    "0000 0000000000000003 0000000000000053 0000000000000060 000000000000005d"
)
"""Written by Kafka 4.3.1; the second abort came while a transaction from offset 93 was open."""
ENTRIES = (AbortedTransaction(4, 61, 82, 83), AbortedTransaction(3, 83, 96, 93))
PATH = "d/t-0/00000000000000000074.txnindex"


def test_kafkas_bytes():
    assert parse_aborted(KAFKAS, 74) == ENTRIES
    assert format_aborted(ENTRIES) == KAFKAS
    assert parse_aborted(b"", 74) == ()
    assert len(format_aborted(ENTRIES[:1])) == limits.TXN_INDEX_ENTRY_BYTES


@st.composite
def indexes(draw):
    lasts = sorted(draw(st.sets(st.integers(100, 2**62), max_size=6)))
    return tuple(
        AbortedTransaction(
            draw(st.integers(0, 2**63 - 1)),
            draw(st.integers(0, last - 1)),
            last,
            draw(st.integers(0, last + 1)),
        )
        for last in lasts
    )


@given(indexes())
def test_round_trip(entries):
    assert parse_aborted(format_aborted(entries), 100) == entries


@pytest.mark.parametrize(
    "entries",
    [
        [AbortedTransaction(4, 61, 73, 74)],  # marker below the segment
        [AbortedTransaction(-1, 61, 82, 83)],
        [AbortedTransaction(4, -1, 82, 83)],
        [AbortedTransaction(4, 82, 82, 83)],
        [AbortedTransaction(4, 61, 82, 84)],
        [AbortedTransaction(4, 61, 82, -1)],
        [ENTRIES[1], ENTRIES[0]],
        [ENTRIES[0], ENTRIES[0]],
    ],
)
def test_what_no_log_writes_is_damage(entries):
    assert parse_aborted(format_aborted(entries), 74) is None


def test_a_torn_or_newer_file_is_damage():
    for length in range(1, 34):
        assert parse_aborted(KAFKAS[:length], 74) is None
    assert parse_aborted(b"\0\1" + KAFKAS[2:], 74) is None
    assert parse_aborted(bytes(34), 0) is None


# -- search --


def test_search_finds_what_touches_the_range():
    def between(first, end):
        return aborted_between([ENTRIES], first, end)

    assert between(0, 61) == []
    assert between(0, 62) == [(4, 61, 82)]
    assert between(82, 83) == [(4, 61, 82)]
    assert between(82, 84) == [(4, 61, 82), (3, 83, 96)]
    assert between(83, 84) == [(3, 83, 96)]
    assert between(97, 200) == []


def test_search_reads_no_further_than_needed():
    def segments():
        yield (AbortedTransaction(1, 0, 10, 11),)
        yield ()
        yield (AbortedTransaction(2, 11, 30, 25),)
        raise AssertionError("read too far")

    assert aborted_between(segments(), 0, 25) == [(1, 0, 10), (2, 11, 30)]


def test_search_equals_a_scan_of_every_entry():
    """Entries as producers make them: what stops the search early must never hide a transaction."""
    for seed in range(80):
        rng = random.Random(seed)
        states, entries, every, offset = ProducerStates(), [[]], [], 0
        for _ in range(150):
            if rng.random() < 0.1:
                entries.append([])
            pid, ends = rng.randrange(6), rng.random() < 0.3
            kind = rng.choice([ABORT, ABORT, COMMIT]) if ends else None
            count = 1 if ends else rng.randrange(1, 4)
            done = states.apply(ProducerBatch(offset, offset + count - 1, pid, 0, -1, -1, True, kind, 0, 0))
            offset += count
            if done is not None and done.aborted:
                entries[-1].append(AbortedTransaction(*done[:4]))
                every.append(entries[-1][-1])
        stable = states.last_stable_offset(offset)
        for _ in range(40):
            first = rng.randrange(stable + 1)
            end = rng.randrange(first, stable + 1)
            expected = [entry[:3] for entry in every if entry.last_offset >= first and entry.first_offset < end]
            assert aborted_between(entries, first, end) == expected, (seed, first, end)


# -- the file --


def test_the_first_abort_makes_the_file():
    disk = MemoryDisk()
    index = TransactionIndex(disk, "d/t-0", 74)
    assert index.load()
    index.flush()
    index.truncate(0)
    assert disk.calls == []
    assert index.digest == NO_FILE
    for entry in ENTRIES:
        index.append(entry)
    index.flush()
    assert disk.open_files == 1
    index.close()
    index.close()
    assert disk.open_files == 0
    assert disk.files == {PATH: KAFKAS}
    assert disk.calls[-1] == f"sync {PATH}"
    assert index.size_bytes == 68
    assert index.digest == digest_of(KAFKAS)

    again = TransactionIndex(disk, "d/t-0", 74)
    assert again.load()
    assert again.entries == ENTRIES


def test_appends_rise():
    index = TransactionIndex(MemoryDisk(), "d", 74)
    with pytest.raises(ValueError, match="does not follow offset 73"):
        index.append(AbortedTransaction(4, 61, 73, 74))
    index.append(ENTRIES[0])
    with pytest.raises(ValueError, match="does not follow offset 82"):
        index.append(ENTRIES[0])


def test_a_failed_append_leaves_no_half_entry():
    disk = MemoryDisk()
    index = TransactionIndex(disk, "d/t-0", 74)
    index.append(ENTRIES[0])
    disk.fail()
    with pytest.raises(OSError, match="planted"):
        index.append(ENTRIES[1])
    assert index.entries == ENTRIES[:1]
    assert disk.files[PATH] == KAFKAS[:34]
    index.append(ENTRIES[1])
    assert disk.files[PATH] == KAFKAS


def test_load_refuses_damage_of_form_and_of_digest():
    disk = MemoryDisk({PATH: KAFKAS[:-1]})
    index = TransactionIndex(disk, "d/t-0", 74)
    assert not index.load()
    assert index.entries == ()
    disk.files[PATH] = KAFKAS
    assert index.load(digest_of(KAFKAS))
    assert not index.load(NO_FILE)
    assert index.entries == ()
    for bit in range(len(KAFKAS) * 8):
        flipped = bytearray(KAFKAS)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        disk.files[PATH] = bytes(flipped)
        assert not index.load(digest_of(KAFKAS)), bit
    del disk.files[PATH]
    assert not index.load(digest_of(KAFKAS))
    assert index.load(NO_FILE)


def test_load_against_what_a_tail_checkpoint_knows():
    disk = MemoryDisk({PATH: KAFKAS})
    index = TransactionIndex(disk, "d/t-0", 74)
    assert index.load(digest_of(KAFKAS[:34]), below=96)
    assert index.entries == ENTRIES
    assert index.load(NO_FILE, below=82)
    assert not index.load(digest_of(KAFKAS[:34]), below=97)
    assert not index.load(digest_of(KAFKAS[:34]), below=82)


def test_replace_and_unlink():
    disk = MemoryDisk({PATH: b"damaged"})
    index = TransactionIndex(disk, "d/t-0", 74)
    index.replace(ENTRIES)
    assert disk.files[PATH] == KAFKAS
    index.replace([])
    assert PATH not in disk.files
    assert index.entries == ()
    index.unlink()


def test_truncate():
    disk = MemoryDisk({PATH: KAFKAS})
    index = TransactionIndex(disk, "d/t-0", 74)
    assert index.load()
    index.truncate(97)
    assert index.entries == ENTRIES
    index.truncate(96)
    assert index.entries == ENTRIES[:1]
    assert disk.files[PATH] == KAFKAS[:34]
    index.truncate(0)
    assert disk.files[PATH] == b""
    index.append(ENTRIES[0])
    assert disk.files[PATH] == KAFKAS[:34]
