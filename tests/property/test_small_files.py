"""No bytes whatever make a parser of a log's small files raise, and what a parser accepts it writes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.log.checkpoints import (
    format_clean_shutdown,
    format_offsets,
    format_partition_metadata,
    parse_clean_shutdown,
    parse_offsets,
    parse_partition_metadata,
)
from kstore.log.epochs import format_epochs, parse_epochs
from kstore.log.names import parse_dir_name, parse_file_name
from kstore.log.properties import parse_meta_properties, parse_properties
from kstore.log.seals import parse_seals
from kstore.log.sidecars import crc32c, unseal
from kstore.log.snapshots import format_snapshot, parse_snapshot
from kstore.log.tails import parse_tail
from kstore.log.transactions import format_aborted, parse_aborted

SHAPED = st.lists(
    st.sampled_from([b"0", b"\n", b"1", b" ", b"a", b"-1", b"topic 0 7\n", b"0\n1\n", b"\xff", b"\\", b"="])
).map(b"".join)
BYTES = st.binary(max_size=300) | SHAPED


@given(BYTES)
def test_text_files(data):
    offsets = parse_offsets(data)
    if offsets:
        assert sorted(format_offsets(offsets).splitlines()) == sorted(data.splitlines())
    entries = parse_epochs(data)
    assert not entries or format_epochs(entries) == data
    topic_id = parse_partition_metadata(data)
    assert topic_id is None or format_partition_metadata(topic_id) == data
    epoch = parse_clean_shutdown(data)
    assert epoch is None or format_clean_shutdown(epoch) == data
    parse_properties(data)
    parse_meta_properties(data)


@given(BYTES, st.integers(0, 2**63 - 1))
def test_binary_files(data, base_offset):
    entries = parse_aborted(data, base_offset)
    assert entries is None or format_aborted(entries) == data
    parse_seals(data)
    parse_tail(data)
    assert unseal(b"test", 1, data) is None


@given(BYTES)
def test_snapshots_with_a_right_checksum(body):
    data = b"\0\1" + crc32c(body).to_bytes(4, "big") + body
    entries = parse_snapshot(data)
    if entries is not None:
        again = parse_snapshot(format_snapshot(entries))
        assert again == entries


@pytest.mark.parametrize("parse", [parse_dir_name, parse_file_name])
@given(name=st.text(max_size=300))
def test_names(parse, name):
    parse(name)
