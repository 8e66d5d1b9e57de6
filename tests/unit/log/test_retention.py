"""Which segments retention lets go."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from kstore.config import TopicConfig
from kstore.log.retention import log_start_to_keep


class Piece(NamedTuple):
    base_offset: int
    size_bytes: int
    max_timestamp_ms: int


PIECES = (Piece(0, 100, 1000), Piece(10, 100, 3000), Piece(20, 100, 2000), Piece(30, 50, 4000))
END = 35


def keep(now_ms: int = 10_000, pieces: tuple[Piece, ...] = PIECES, high_watermark: int = END, **config: object) -> int:
    given = {"retention.ms": -1, "retention.bytes": -1, **config}
    return log_start_to_keep(pieces, TopicConfig.parse(given), now_ms, high_watermark, END)


@pytest.mark.parametrize(
    ("retention_ms", "now_ms", "start"),
    [
        (-1, 10**12, 0),
        (1000, 2000, 0),
        (1000, 2001, 10),
        (1000, 4000, 10),
        (1000, 4001, 30),
        (1000, 5000, 30),
        (1000, 5001, END),
        (0, 1001, 10),
    ],
)
def test_by_time(retention_ms: int, now_ms: int, start: int) -> None:
    assert keep(now_ms, **{"retention.ms": retention_ms}) == start


@pytest.mark.parametrize(("size", "start"), [(350, 0), (251, 0), (250, 10), (150, 20), (149, 20), (50, 30), (0, END)])
def test_by_size(size: int, start: int) -> None:
    assert keep(**{"retention.bytes": size}) == start


def test_nothing_above_the_high_watermark() -> None:
    assert keep(high_watermark=25, **{"retention.ms": 1}) == 20
    assert keep(high_watermark=20, **{"retention.ms": 1}) == 20
    assert keep(high_watermark=19, **{"retention.ms": 1}) == 10


def test_an_empty_active_segment_stays() -> None:
    pieces = (*PIECES[:3], Piece(END, 0, -1))
    assert keep(pieces=pieces, **{"retention.ms": 1}) == END


def test_without_timestamps_nothing_is_old() -> None:
    assert keep(pieces=(Piece(0, 100, -1), Piece(10, 10, 5)), **{"retention.ms": 1}) == 0


def test_compacted_topics_keep_everything() -> None:
    assert keep(**{"retention.ms": 1, "cleanup.policy": "compact"}) == 0
    assert keep(**{"retention.ms": 1, "cleanup.policy": "compact,delete"}) == END
