"""Seals and the quarantine: read back as written, or not at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kstore.log import names
from kstore.log.damage import DamagedRange, read_damage, write_damage
from kstore.log.digests import NO_FILE, FileDigest
from kstore.log.seals import SegmentSeal, format_seals, parse_seals, read_seals, write_seals
from support.memory_disk import MemoryDisk

INT64 = st.integers(0, 2**63 - 1)
CRC = st.integers(0, 2**32 - 1)
DIGEST = st.builds(FileDigest, INT64, CRC)
SEAL = st.builds(SegmentSeal, INT64, INT64, INT64, CRC, st.integers(-1, 2**63 - 1), DIGEST, DIGEST, DIGEST)
ONE = SegmentSeal(74, 125, 16384, 0xDEADBEEF, 1795473164623, FileDigest(24, 1), FileDigest(36, 2), NO_FILE)


@given(st.dictionaries(INT64, SEAL, max_size=5))
def test_seals_round_trip(seals):
    seals = {base: seal._replace(base_offset=base) for base, seal in seals.items()}
    disk = MemoryDisk()
    write_seals(disk, "d", seals)
    assert read_seals(disk, "d") == seals
    assert disk.calls == [f"write_file d/{names.SEALS_FILE}.tmp", "rename"]


def test_a_wrong_bit_or_a_cut_leaves_no_seals():
    data = format_seals([ONE])
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        assert read_seals(MemoryDisk({f"d/{names.SEALS_FILE}": bytes(flipped)}), "d") == {}, bit
    for length in range(len(data)):
        assert read_seals(MemoryDisk({f"d/{names.SEALS_FILE}": data[:length]}), "d") == {}, length
    assert read_seals(MemoryDisk(), "d") == {}


def test_a_payload_of_another_length_holds_no_seals():
    assert parse_seals(bytes(77)) == {}
    assert parse_seals(b"") == {}


def test_damage_round_trips_and_goes_with_its_last_range():
    disk = MemoryDisk()
    ranges = (
        DamagedRange(0, 100, 200, 5, 9, "CRC is 0x1, not 0x2"),
        DamagedRange(74, 0, 61, 74, 75, "Länge"),
    )
    write_damage(disk, "d", reversed(ranges))
    assert read_damage(disk, "d") == ranges
    path = f"d/{names.QUARANTINE_FILE}"
    whole = disk.files[path]
    disk.files[path] = whole[:-1]
    assert read_damage(disk, "d") == ()
    disk.files[path] = whole
    write_damage(disk, "d", [])
    assert disk.files == {}
    write_damage(disk, "d", [])
    assert read_damage(disk, "d") == ()
