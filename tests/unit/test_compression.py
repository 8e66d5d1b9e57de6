"""The codecs: framings of both families of clients, and input that lies."""

from __future__ import annotations

import gzip
import random
import sys
import zlib

import cramjam
import pytest

from kstore import compression
from kstore.compression import CodecError, compress, decompress
from kstore.errors import MissingCodec, UsageError

CODECS = [compression.GZIP, compression.SNAPPY, compression.LZ4, compression.ZSTD]
LIMIT = 1 << 24


def samples() -> list[bytes]:
    source = random.Random(7)
    return [
        b"",
        b"a",
        bytes(1_000_000),
        source.randbytes(200_000),
        b"".join(b"line %d of a log\n" % source.randrange(1000) for _ in range(20_000)),
    ]


def test_names_and_ids() -> None:
    assert [compression.codec_id(name) for name in compression.NAMES] == [0, 1, 2, 3, 4]
    assert [compression.codec_name(codec) for codec in range(6)] == [*compression.NAMES, "codec 5"]
    assert compression.codec_id(None) == compression.codec_id("uncompressed") == 0
    with pytest.raises(UsageError, match="did you mean zstd"):
        compression.codec_id("zst")
    with pytest.raises(UsageError, match="none, gzip"):
        compression.codec_id("brotli")
    with pytest.raises(UsageError, match="codec 5 is unknown"):
        compress(5, b"")
    with pytest.raises(CodecError, match="codec 6 is unknown"):
        decompress(6, b"", LIMIT)


@pytest.mark.parametrize("codec", [0, *CODECS])
def test_what_is_packed_unpacks(codec: int) -> None:
    for data in samples():
        packed = bytes(compress(codec, data))
        assert bytes(decompress(codec, memoryview(packed), LIMIT)) == data
        assert bytes(decompress(codec, packed, len(data))) == data
        assert bytes(decompress(codec, bytearray(bytes(compress(codec, memoryview(data)))), LIMIT)) == data


@pytest.mark.parametrize("codec", [0, *CODECS])
def test_the_limit_is_a_limit(codec: int) -> None:
    for data in samples()[1:]:
        packed = compress(codec, data)
        for limit in (0, len(data) // 2, len(data) - 1):
            with pytest.raises(CodecError):
                decompress(codec, packed, limit)


@pytest.mark.parametrize("codec", CODECS)
def test_input_that_ends_early_is_refused(codec: int) -> None:
    data = samples()[4][:3000]
    packed = bytes(compress(codec, data))
    for size in range(1, len(packed)):
        try:
            unpacked = bytes(decompress(codec, packed[:size], LIMIT))
        except CodecError:
            continue
        if codec == compression.SNAPPY and size == 16:
            assert unpacked == b""  # a stream of no blocks
        else:
            assert unpacked == data  # all there but a trailing checksum
            assert size > len(packed) - 9


@pytest.mark.parametrize("codec", CODECS)
def test_any_bytes_unpack_or_are_refused(codec: int) -> None:
    source = random.Random(codec)
    packed = bytes(compress(codec, samples()[4][:2000]))
    for _ in range(3000):
        own = bytearray(packed)
        for _ in range(source.randrange(1, 4)):
            own[source.randrange(len(own))] = source.randrange(256)
        own = own[: source.randrange(len(own) + 1)] if source.random() < 0.3 else own
        try:
            assert len(bytes(decompress(codec, own, 100_000))) <= 100_000
        except CodecError:
            pass


def test_levels() -> None:
    text = samples()[4]
    for codec, low, high in (
        (compression.GZIP, 1, 9),
        (compression.ZSTD, 1, 19),
        (compression.LZ4, 9, 17),  # 9 is Kafka's fast default
    ):
        assert len(bytes(compress(codec, text, high))) < len(bytes(compress(codec, text, low)))
    assert bytes(compress(compression.LZ4, text, 9)) == bytes(compress(compression.LZ4, text))
    for level in (-131072, -1, 0, 22):
        assert bytes(decompress(compression.ZSTD, compress(compression.ZSTD, text[:1000], level), LIMIT)) == text[:1000]


# -- gzip --------------------------------------------------------------------------------------------------------


def test_gzip_members_are_joined_and_other_bytes_behind_them_ignored() -> None:
    joined = gzip.compress(b"one ") + gzip.compress(b"two")
    assert decompress(compression.GZIP, joined, LIMIT) == b"one two"
    assert decompress(compression.GZIP, joined + b"\0\0\0", LIMIT) == b"one two"
    with pytest.raises(CodecError):
        decompress(compression.GZIP, joined, 6)
    with pytest.raises(CodecError):
        decompress(compression.GZIP, zlib.compress(b"no gzip frame"), LIMIT)


# -- snappy ------------------------------------------------------------------------------------------------------


def test_snappy_raw_and_framed() -> None:
    for data in samples():
        assert bytes(decompress(compression.SNAPPY, compression.compress_snappy_raw(data), LIMIT)) == data
    packed = bytes(compress(compression.SNAPPY, bytes(100_000)))
    assert packed[:16] == b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
    little_endian = packed[:8] + b"\1\0\0\0\1\0\0\0" + packed[16:]  # some brokers write the versions so
    assert bytes(decompress(compression.SNAPPY, little_endian, LIMIT)) == bytes(100_000)
    assert bytes(decompress(compression.SNAPPY, packed + packed, LIMIT)) == bytes(200_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff\xff\xff",  # a length of more than 32 bits
        b"\xff\xff\xff\x7f" + b"\0" * 20,  # 256 MiB out of 24 bytes
        b"\x82SNAPPY\0\0\0\0\1\0\0",
        b"\x82SNAPPY\0\0\0\0\1\0\0\0\1\0\0\0\5ab",
        b"\x82SNAPPY\0\0\0\0\1\0\0\0\1\xff\xff\xff\xffab",
        b"\x82SNAPPY\0\0\0\0\1\0\0\0\1\0\0\0\0",
        b"\5\0ab",
    ],
)
def test_snappy_that_lies(data: bytes) -> None:
    with pytest.raises(CodecError):
        decompress(compression.SNAPPY, data, 1 << 30)


# -- lz4 and zstd ------------------------------------------------------------------------------------------------


def test_lz4_frames_have_independent_blocks_of_64_kib() -> None:
    frame = bytes(compress(compression.LZ4, samples()[4]))
    assert frame[:4] == b"\x04\x22\x4d\x18"
    assert frame[4] & 0x20  # Java refuses linked blocks
    assert frame[4] >> 6 == 1
    assert frame[5] == 0x40


def test_frames_of_other_writers() -> None:
    text = samples()[4]
    linked = cramjam.lz4.compress(text)
    assert bytes(decompress(compression.LZ4, linked, LIMIT)) == text
    stream = cramjam.zstd.Compressor(3)  # as Java does: no content size in the frame
    stream.compress(text[:70_000])
    packed = bytes(stream.flush())
    stream.compress(text[70_000:])
    assert bytes(decompress(compression.ZSTD, packed + bytes(stream.finish()), LIMIT)) == text


@pytest.mark.parametrize("codec", [compression.LZ4, compression.ZSTD])
def test_joined_and_skippable_frames(codec: int) -> None:
    frame = bytes(compress(codec, b"some text " * 100))
    skippable = b"\x53\x2a\x4d\x18\3\0\0\0abc"
    assert bytes(decompress(codec, frame + frame, LIMIT)) == b"some text " * 200
    assert bytes(decompress(codec, frame + skippable, LIMIT)) == b"some text " * 100


@pytest.mark.parametrize("codec", CODECS)
def test_a_small_input_takes_little_memory(codec: int) -> None:
    import tracemalloc

    packed = bytearray(compress(codec, b"some text " * 10))
    tracemalloc.start()
    try:
        for position in range(len(packed)):
            for value in (0xFF, 0x7F, packed[position] ^ 0x40):
                own = bytearray(packed)
                own[position] = value
                try:
                    decompress(codec, own, 1 << 30)
                except CodecError:
                    pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000, "what a frame claims was believed"


# -- without cramjam ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", [compression.SNAPPY, compression.LZ4, compression.ZSTD])
def test_a_missing_package_is_named(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = bytes(compress(codec, b"text"))
    monkeypatch.setitem(sys.modules, "cramjam", None)
    for call in (lambda: compress(codec, b"text"), lambda: decompress(codec, packed, LIMIT)):
        with pytest.raises(MissingCodec, match=r"kstore\[compression\]") as raised:
            call()
        assert raised.value.codec == compression.codec_name(codec)
    assert bytes(decompress(1, compress(1, b"text"), LIMIT)) == b"text"
