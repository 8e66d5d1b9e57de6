"""The queue of a connection's answers: every byte once, in order, whatever the kernel takes at a time."""

from __future__ import annotations

import array
import random

from kstore.broker.unsent import PIECES_MAX, Unsent


def test_every_byte_goes_once_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        unsent, expected, gone = Unsent(), b"", b""
        for _ in range(rng.randrange(1, 40)):
            if rng.random() < 0.5:
                data = [rng.randbytes(rng.choice((0, 1, 5, 100))) for _ in range(rng.randrange(4))]
                unsent.add([rng.choice((bytes, bytearray, memoryview))(one) for one in data])
                expected += b"".join(data)
            elif unsent.size_bytes:
                pieces = b"".join(unsent.pieces())
                count = rng.choice((len(pieces), rng.randrange(len(pieces) + 1)))
                unsent.sent(count)
                gone += pieces[:count]
            assert unsent.size_bytes == len(expected) - len(gone)
        assert gone + b"".join(unsent.pieces()) == expected


def test_a_call_takes_so_many_buffers() -> None:
    unsent = Unsent()
    unsent.add([b"x"] * (PIECES_MAX + 7))
    assert len(unsent.pieces()) == PIECES_MAX
    unsent.sent(PIECES_MAX)
    assert len(unsent.pieces()) == 7


def test_sizes_are_bytes_whatever_the_items_are() -> None:
    unsent = Unsent()
    numbers = array.array("i", [1, 2, 3])
    unsent.add([numbers])
    assert unsent.size_bytes == 12
    unsent.sent(6)
    assert b"".join(unsent.pieces()) == numbers.tobytes()[6:]


def test_nothing_is_left_of_what_was_dropped() -> None:
    unsent = Unsent()
    unsent.add([b"abc", b""])
    unsent.clear()
    assert (unsent.size_bytes, unsent.pieces()) == (0, [])
