"""The envelope of kstore's sidecars: every bit counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.log.digests import NO_FILE, digest_of
from kstore.log.sidecars import OVERHEAD_BYTES, crc32c, read_optional, read_sealed, seal, unseal
from support.memory_disk import MemoryDisk


def test_the_layout():
    data = seal(b"test", 3, b"payload")
    assert data[:18] == b"kstore\r\ntest" + bytes([0, 3, 0, 0, 0, 7])
    assert data[18:22] == crc32c(data[:18] + b"payload").to_bytes(4, "big")
    assert data[22:] == b"payload"
    assert OVERHEAD_BYTES == 22


@given(st.binary(max_size=100), st.integers(0, 65535))
def test_round_trip(payload, version):
    assert unseal(b"test", version, seal(b"test", version, payload)) == payload


@given(st.binary(max_size=40), st.data())
def test_any_flipped_bit_and_any_cut_is_seen(payload, data):
    sealed = seal(b"test", 1, payload)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = bytearray(sealed)
    flipped[bit >> 3] ^= 1 << (bit & 7)
    assert unseal(b"test", 1, bytes(flipped)) is None
    assert unseal(b"test", 1, sealed[: data.draw(st.integers(0, len(sealed) - 1))]) is None
    assert unseal(b"test", 1, sealed + b"\0") is None


def test_other_kinds_and_versions_are_not_read():
    sealed = seal(b"test", 1, b"payload")
    assert unseal(b"rest", 1, sealed) is None
    assert unseal(b"test", 2, sealed) is None
    assert unseal(b"test", 1, bytes(len(sealed))) is None


def test_reading():
    disk = MemoryDisk({"d/a": seal(b"test", 1, b"x"), "d/b": b"torn"})
    assert read_sealed(disk, "d/a", b"test", 1) == b"x"
    assert read_sealed(disk, "d/b", b"test", 1) is None
    assert read_sealed(disk, "d/c", b"test", 1) is None
    assert read_optional(disk, "d/b") == b"torn"
    assert read_optional(disk, "d/c") is None

    def broken(path):
        raise OSError(5, "planted")

    disk.read_file = broken
    with pytest.raises(OSError, match="planted"):
        read_sealed(disk, "d/a", b"test", 1)


def test_digests():
    assert digest_of(b"") == NO_FILE
    assert digest_of(b"123456789") == (9, 0xE3069283)
