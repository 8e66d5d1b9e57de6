"""S31: a bit that flips before bytes reach the log: in the client's memory, on the wire, in the leader's answer.

Every bit of what is appended is flipped, one at a time. The first 21 bytes of a batch lie outside its checksum; what
they hold a leader writes itself (base offset, epoch) or checks by other rules (length, magic, the checksum).
"""

from __future__ import annotations

import pytest

import kstore
from kstore.errors import InvalidBatch, InvariantError
from kstore.testing.simdisk import SimDisk
from support.stores import NOW_MS, new_partition, values

FIRST = kstore.encode_batches([(b"k", b"one"), b"two"], timestamp_ms=NOW_MS, leader_epoch=0)
SECOND = kstore.encode_batches([b"three"], timestamp_ms=NOW_MS, base_offset=2, leader_epoch=0)
BASE_OFFSET_BYTES = range(8)
LEADER_EPOCH_BYTES = range(12, 16)
STAMPED = (*BASE_OFFSET_BYTES, *LEADER_EPOCH_BYTES)
"""Of a batch's header (docs/FORMAT.md): what a leader sets, whatever a producer has sent."""


def flipped(data: bytes):
    """Every way to flip one bit: the byte, and the bytes with it."""
    for position in range(len(data)):
        for bit in range(8):
            harmed = bytearray(data)
            harmed[position] ^= 1 << bit
            yield position, bytes(harmed)


def is_stamped(position: int) -> bool:
    within = position if position < len(FIRST) else position - len(FIRST)
    return within in STAMPED


@pytest.mark.parametrize("sent", [FIRST, FIRST + SECOND], ids=["one batch", "two batches"])
def test_a_leader_stores_nothing_of_what_a_bit_flipped_in(sent):
    disk = SimDisk()
    store, partition = new_partition(disk)
    with store:
        partition.append_batches(sent)
        good = bytes(partition.read(0).buffer)
        files = disk.files()
        stamped = 0
        for position, harmed in flipped(sent):
            if is_stamped(position):
                stamped += 1
                continue
            with pytest.raises(InvalidBatch):
                partition.append_batches(harmed)
            assert disk.files() == files, f"byte {position} changed what is stored"
        assert stamped == 8 * len(STAMPED) * (2 if sent is not FIRST else 1)
        assert bytes(partition.read(0).buffer) == good


def test_a_leader_sets_what_no_checksum_covers():
    refused = []
    for position, harmed in flipped(FIRST):
        if not is_stamped(position):
            continue
        store, partition = new_partition()
        with store:
            try:
                partition.append_batches(harmed)
            except InvalidBatch:
                refused.append(position)
                assert partition.log_end_offset == 0
            else:
                assert bytes(partition.read(0).buffer) == FIRST
    assert refused == [0], "a negative base offset makes no sense, anything else is overwritten"


def test_a_follower_stores_nothing_of_what_a_bit_flipped_in():
    """Base offsets and epochs are the replica's to doubt: see `kstore.fetched` and the rules of a follower."""
    disk = SimDisk()
    store, partition = new_partition(disk)
    with store:
        partition.follow(0)
        partition.append_as_follower(FIRST)
        files = disk.files()
        for position, harmed in flipped(SECOND):
            if position in STAMPED:
                continue
            with pytest.raises(InvalidBatch):
                partition.append_as_follower(harmed)
            assert disk.files() == files, f"byte {position} changed what is stored"
        partition.append_as_follower(SECOND)
        partition.advance_high_watermark(3)
        assert values(partition) == [b"one", b"two", b"three"]


def test_a_follower_never_stores_a_batch_below_its_end():
    for position, harmed in flipped(SECOND):
        if position not in BASE_OFFSET_BYTES or int.from_bytes(harmed[:8], "big", signed=True) >= 2:
            continue
        store, partition = new_partition()
        with store:
            partition.follow(0)
            partition.append_as_follower(FIRST)
            with pytest.raises((InvalidBatch, InvariantError)):
                partition.append_as_follower(harmed)
            assert partition.log_end_offset == 2
