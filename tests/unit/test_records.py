"""`kstore.encode_batches` and `kstore.decode_batches`, as users meet them."""

from __future__ import annotations

import pytest

import kstore
from kstore._native import batch


def test_the_public_names() -> None:
    data = kstore.encode_batches([b"a", (b"k", b"v"), kstore.Record(b"w", b"k", [("h", b"1")], 7)], timestamp_ms=5)
    batches = kstore.decode_batches(data)
    assert isinstance(batches, kstore.Batches)
    assert [(r.offset, r.timestamp_ms, r.key, r.value) for r in batches] == [
        (0, 5, None, b"a"),
        (1, 5, b"k", b"v"),
        (2, 7, b"k", b"w"),
    ]
    assert (batches.next_offset, len(batches)) == (3, 3)


def test_without_a_time_there_is_none() -> None:
    assert {r.timestamp_ms for r in kstore.decode_batches(kstore.encode_batches([b"a", (b"k", b"v")]))} == {-1}


def test_header_fields_reach_every_batch() -> None:
    data = kstore.encode_batches(
        [b"x" * 100] * 4,
        base_offset=9,
        leader_epoch=3,
        producer_id=5,
        producer_epoch=2,
        base_sequence=0,
        transactional=True,
        batch_bytes_max=300,
    )
    assert [
        (h.base_offset, h.leader_epoch, h.producer_id, h.producer_epoch, h.base_sequence, h.is_transactional)
        for h in batch.headers(data)
    ] == [(9, 3, 5, 2, 0, True), (11, 3, 5, 2, 2, True)]


def test_batches_stay_below_kafkas_default_limit() -> None:
    data = kstore.encode_batches([b"x" * 1000] * 3000)
    sizes = [h.size_bytes for h in batch.headers(data)]
    assert len(sizes) == 3
    assert max(sizes) <= 1_048_588


@pytest.mark.parametrize("size", [55, 56, 57, 63, 64, 65, *range(8180, 8200), 16_380, 16_390])
def test_many_values_of_one_size_come_back(size: int) -> None:
    values = [bytes([i]) * size for i in range(130)]
    data = kstore.encode_batches(values, timestamp_ms=5, batch_bytes_max=1 << 30)
    batch.check(data)
    assert [r.value for r in kstore.decode_batches(data)] == values


@pytest.mark.parametrize("compression", ["lz5", "GZIP", "", 3])
def test_an_unknown_codec_is_refused(compression: object) -> None:
    with pytest.raises(kstore.UsageError, match="is not one of none, gzip, snappy, lz4, zstd"):
        kstore.encode_batches([b"a"], compression=compression)  # type: ignore[arg-type]


def test_what_was_decoded_can_be_encoded_again() -> None:
    data = kstore.encode_batches([(b"k", b"v", [("h", None)]), (None, b"w")], timestamp_ms=5)
    assert kstore.encode_batches(kstore.decode_batches(data)) == data
