"""Frames cut out of a stream, however it is split; sizes that no frame has; memory that follows the bytes."""

from __future__ import annotations

import errno
import random
import socket
import tracemalloc

import pytest

from kstore.errors import InvalidFrame, UsageError
from kstore.limits import FRAME_BYTES_MAX, FRAME_BYTES_MAX_BEFORE_LOGIN
from kstore.wire.frames import RECEIVE_BYTES, FrameReader


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def drain(reader: FrameReader) -> list[bytes]:
    found = []
    while (frame := reader.next_frame()) is not None:
        found.append(frame)
    return found


def receive(reader: FrameReader, data: bytes, most: int) -> list[bytes]:
    """As a BufferedProtocol does, never more than `most` bytes at once; every frame is looked at only at the end."""
    found, position = [], 0
    while position < len(data):
        room = reader.get_buffer(-1)
        count = min(len(room), most, len(data) - position)
        room[:count] = data[position : position + count]
        reader.buffer_updated(count)
        position += count
        found += drain(reader)
    return [bytes(frame) for frame in found]


def test_any_split_gives_the_same_frames(seed):
    rng = random.Random(seed)
    sizes = [1, 2, 3, 100, RECEIVE_BYTES - 5, RECEIVE_BYTES - 4, RECEIVE_BYTES - 3, RECEIVE_BYTES, 300_000]
    for _ in range(12):
        frames = [rng.randbytes(rng.choice(sizes)) for _ in range(rng.randint(1, 12))]
        stream = b"".join(map(framed, frames))
        reader = FrameReader(FRAME_BYTES_MAX)
        assert receive(reader, stream, rng.choice((7, 100, 5_000, 10**6))) == frames
        assert reader.is_between_frames
        assert [bytes(frame) for frame in FrameReader(FRAME_BYTES_MAX).feed(stream)] == frames


def test_frames_come_a_byte_at_a_time():
    stream = framed(b"one") + framed(b"two")
    assert receive(FrameReader(), stream, 1) == [b"one", b"two"]


def test_frames_stay_as_they_are():
    reader = FrameReader()
    first = next(reader.feed(framed(b"a" * 100)))
    large = next(reader.feed(framed(b"b" * 200_000)))
    list(reader.feed(framed(b"c" * 300_000)))
    assert first == b"a" * 100
    assert large == b"b" * 200_000
    assert first.readonly
    assert large.readonly


@pytest.mark.parametrize("size", [-1, -(2**31), 0, FRAME_BYTES_MAX_BEFORE_LOGIN + 1, 2**31 - 1])
def test_sizes_that_no_frame_has(size):
    reader = FrameReader()
    reader.buffer_updated(_put(reader, size.to_bytes(4, "big", signed=True)))
    for _ in range(2):
        with pytest.raises(InvalidFrame) as caught:
            reader.next_frame()
        assert (caught.value.size_bytes, caught.value.limit_bytes) == (size, FRAME_BYTES_MAX_BEFORE_LOGIN)
    with pytest.raises(InvalidFrame):
        reader.get_buffer()


@pytest.mark.parametrize("opening", [b"GET / HTTP/1.1\r\n", bytes.fromhex("16030102000100")])
def test_other_protocols_are_refused(opening):
    with pytest.raises(InvalidFrame, match="TLS or HTTP"):
        list(FrameReader(FRAME_BYTES_MAX).feed(opening))


def test_the_frames_before_a_bad_one_come_first():
    reader = FrameReader()
    reader.buffer_updated(_put(reader, framed(b"good") + b"\xff\xff\xff\xff"))
    assert reader.next_frame() == b"good"
    with pytest.raises(InvalidFrame):
        reader.next_frame()


def test_the_limit_may_rise_between_two_frames():
    reader = FrameReader(limit_bytes=10)
    reader.buffer_updated(_put(reader, framed(b"login") + framed(b"x" * 11)))
    assert reader.next_frame() == b"login"
    reader.limit_bytes = 11
    assert reader.next_frame() == b"x" * 11


def test_frames_that_nobody_takes_are_not_overrun():
    reader = FrameReader()
    stream = framed(b"x" * 1000) * 100
    reader.buffer_updated(_put(reader, stream[:RECEIVE_BYTES]))
    with pytest.raises(UsageError, match="frames wait"):
        reader.get_buffer()
    assert len(drain(reader)) == RECEIVE_BYTES // 1004


def test_an_unfinished_frame_is_noticed():
    reader = FrameReader()
    assert reader.is_between_frames
    reader.buffer_updated(_put(reader, b"\0\0"))
    assert not reader.is_between_frames


@pytest.mark.parametrize("received", [4, 5_000, 60_000, 1_000_000])
def test_memory_follows_the_bytes_that_came(received):
    """A peer that announces 100 MiB and sends little costs 8 times what it sent, and 64 KiB."""
    opening = FRAME_BYTES_MAX.to_bytes(4, "big") + bytes(received - 4)
    tracemalloc.start()
    try:
        reader = FrameReader(FRAME_BYTES_MAX)
        for start in range(0, received, 1400):
            reader.buffer_updated(_put(reader, opening[start : start + 1400]))
            assert reader.next_frame() is None
        reader.get_buffer()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 8 * received + 64 * 1024 + 4096  # the objects themselves


def _put(reader: FrameReader, data: bytes) -> int:
    count = 0
    room = reader.get_buffer()
    while data and room:
        count = min(len(room), len(data))
        room[:count] = data[:count]
        if count == len(data):
            break
        reader.buffer_updated(count)
        data = data[count:]
        room = reader.get_buffer()
    return count


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_receive_takes_what_a_socket_has(pair):
    ours, theirs = pair
    reader = FrameReader(FRAME_BYTES_MAX)
    assert reader.receive(ours.fileno()) == -1
    theirs.sendall(framed(b"one") + framed(b"two")[:5])
    assert reader.receive(ours.fileno()) == 12
    assert drain(reader) == [b"one"]
    assert not reader.is_between_frames
    theirs.sendall(framed(b"two")[5:])
    theirs.close()
    assert reader.receive(ours.fileno()) == 2
    assert drain(reader) == [b"two"]
    assert reader.receive(ours.fileno()) == 0
    assert reader.is_between_frames


def test_a_socket_that_fails_says_so(pair):
    ours, _ = pair
    reader = FrameReader()
    fd = ours.fileno()
    ours.close()
    with pytest.raises(OSError) as caught:
        reader.receive(fd)
    assert caught.value.errno == errno.EBADF


def test_frames_as_large_as_the_one_before_come_by_one_receive(pair):
    """What the frame before took is there at once: one call of the kernel, and nothing to move."""
    ours, theirs = pair
    for sock, option in ((ours, socket.SO_RCVBUF), (theirs, socket.SO_SNDBUF)):
        sock.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
    reader = FrameReader(FRAME_BYTES_MAX)
    frames = [bytes([number]) * (70_000 + number) for number in range(8)]
    receives, found = 0, []
    for frame in frames:
        theirs.sendall(framed(frame))
        while reader.receive(ours.fileno()) > 0:
            receives += 1
            found += [bytes(one) for one in drain(reader)]
    assert found == frames
    assert receives <= len(frames) + 2  # the first one has to prove that it is large


def test_what_came_behind_a_large_frame_is_not_lost(seed):
    rng = random.Random(seed)
    for _ in range(200):
        sizes = [rng.choice((1, 500, 48 * 1024, 49_149, 60_000, 66_000, 90_000, 400_000)) for _ in range(12)]
        frames = [rng.randbytes(size) for size in sizes]
        stream = b"".join(map(framed, frames))
        reader = FrameReader(FRAME_BYTES_MAX)
        kept = []
        position = 0
        while position < len(stream):
            room = reader.get_buffer()
            count = min(len(room), rng.choice((3, 1_000, 70_000, 10**6)), len(stream) - position)
            room[:count] = stream[position : position + count]
            reader.buffer_updated(count)
            position += count
            del room
            kept += drain(reader)
        assert kept == frames
        assert reader.is_between_frames


def test_a_buffer_that_somebody_holds_is_not_given_to_another_reader():
    first, second = FrameReader(), FrameReader()
    held = first.get_buffer()
    first.buffer_updated(0)
    assert first.next_frame() is None
    other = second.get_buffer()
    other[:3] = b"abc"
    held[:3] = b"xyz"
    assert other[:3] == b"abc"


def test_more_than_there_was_room_for_cannot_have_come():
    reader = FrameReader()
    room = reader.get_buffer()
    with pytest.raises(UsageError, match="fit"):
        reader.buffer_updated(len(room) + 1)
