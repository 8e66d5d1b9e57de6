"""The worked examples of docs/FORMAT.md: the bytes that it shows mean what it says they mean."""

from __future__ import annotations

import re
import struct

import pytest

from docs.pages import ROOT, named_bytes
from kstore import decode_batches
from kstore._native import batch
from kstore._native.crc32c import crc32c
from kstore.log import seals, snapshots, tails, transactions

PAGE = ROOT / "docs" / "FORMAT.md"
BYTES = named_bytes(PAGE)
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_batch() -> None:
    (header,) = batch.headers(BYTES["batch"])
    assert (header.base_offset, header.size_bytes, header.leader_epoch) == (11, 112, 0)
    assert header.crc == 2193546586 == crc32c(BYTES["batch"][21:])
    assert (header.last_offset, header.max_timestamp_ms) == (11, 1795473177379)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (0, 0, 11)
    (record,) = decode_batches(BYTES["batch"])
    assert (record.offset, record.timestamp_ms) == (11, 1795473177379)
    assert (record.key, record.value) == (b"key-9", "größe leader offset follower le".encode())
    assert [tuple(header) for header in record.headers] == [("h2", b"in")]


@pytest.mark.parametrize("row", re.findall(r"^\| \d+ \| `.*", TEXT, re.MULTILINE))
def test_every_row_shows_the_bytes_at_its_position(row: str) -> None:
    position, shown, *_ = [cell.strip() for cell in row.strip("| ").split("|")]
    wanted = bytes.fromhex(shown.replace("`", "").replace("…", ""))
    at = int(position)
    assert BYTES["batch"][at : at + len(wanted)] == wanted


def test_the_empty_batch() -> None:
    (header,) = batch.headers(BYTES["empty-batch"])
    assert (header.base_offset, header.last_offset, header.records) == (216, 218, 0)
    assert (header.producer_id, header.size_bytes) == (7, 61)
    assert list(decode_batches(BYTES["empty-batch"])) == []


def test_null_and_empty() -> None:
    head = BYTES["batch"][:61]
    for body, wanted in (("0c000000010100", None), ("0c000000000000", b"")):
        assert body in TEXT.replace(" ", "")
        records = bytes.fromhex(body)
        unsigned = struct.pack(">qi", 11, 49 + len(records)) + head[12:17]
        covered = head[21:] + records
        (record,) = decode_batches(unsigned + struct.pack(">I", crc32c(covered)) + covered)
        assert (record.key, record.value) == (wanted, wanted)


def test_the_marker() -> None:
    (header,) = batch.headers(BYTES["marker"])
    assert (header.base_offset, header.producer_id, header.producer_epoch, header.base_sequence) == (32, 3, 1, -1)
    assert header.is_control
    assert header.is_transactional
    assert list(decode_batches(BYTES["marker"])) == []
    (record,) = decode_batches(BYTES["marker"]).records(control=True)
    assert (record.key, record.value) == (bytes.fromhex("00000001"), bytes(6))
    assert BYTES["marker"][66:70] == record.key
    assert BYTES["marker"][71:77] == record.value


def test_the_offset_index() -> None:
    entries = list(struct.iter_unpack(">ii", BYTES["offset-index"]))
    assert entries == [(34, 5305), (63, 10268), (102, 15789), (135, 20060), (154, 24205), (193, 29394)]
    assert all(f"{offset}" in TEXT and f"{position}" in TEXT for offset, position in entries)


def test_the_time_index() -> None:
    entries = list(struct.iter_unpack(">qi", BYTES["time-index"]))
    assert len(entries) == 7
    assert (entries[0], entries[-1]) == ((1795473197381, 34), (1795473200779, 199))
    offsets = [offset for offset, _ in struct.iter_unpack(">ii", BYTES["offset-index"])]
    assert [offset for _, offset in entries[:-1]] == offsets


def test_the_transaction_index() -> None:
    found = transactions.parse_aborted(BYTES["transaction-index"], 74)
    assert found is not None
    assert [tuple(entry) for entry in found] == [(4, 61, 82, 83), (3, 83, 96, 93)]


def test_the_snapshot() -> None:
    found = snapshots.parse_snapshot(BYTES["snapshot"])
    assert found is not None
    (entry,) = found
    assert (entry.producer_id, entry.epoch, entry.coordinator_epoch, entry.txn_first_offset) == (8, 0, -1, -1)
    (stored,) = entry.batches
    assert tuple(stored) == (218, 218, 2, 1795473233623)


def test_the_sizes_of_our_own_structures() -> None:
    assert "72 bytes for each segment" in TEXT
    empty = seals.FileDigest(0, 0)
    one = seals.format_seals([seals.SegmentSeal(0, 1, 2, 3, 4, empty, empty, empty)])
    assert len(one) == 22 + 72
    tail = tails.TailCheckpoint(0, 0, 0, 0, -1, -1, None, ())
    assert len(tails.format_tail(tail)) == 22 + 96 + 4
    assert one.startswith(b"kstore\r\nseal")
