"""The codecs of a batch's records section: names, ids, packing, and unpacking that no input can make explode.

Owns Kafka's framing of each codec (docs/FORMAT.md, "Compression"). Knows nothing of batches. Called by the native
encoder and decoder. gzip is in the standard library; snappy, lz4 and zstd need the package cramjam, which is imported
when one of them is first used.

Invariants
1. Memory is asked for only after the compressed bytes have shown that they could fill it, and never above `limit`:
   what a frame claims is held against what its blocks can hold, and the codec writes into that room or fails.
2. Bad input is a `CodecError`, whatever the codec would raise.
3. What is written here, Kafka's Java client and librdkafka read: lz4 in independent blocks, snappy in xerial's frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from kstore.errors import MissingCodec, UsageError
from kstore.nearest import nearest

if TYPE_CHECKING:
    from typing_extensions import Buffer

NAMES: Final = ("none", "gzip", "snappy", "lz4", "zstd")
"""By id, as bits 0-2 of a batch's attributes hold it."""
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)

_GZIP_WINDOW_BITS = 31  # 15 bits of window, and 16 for the frame of RFC 1952
_GZIP_MAGIC = b"\x1f\x8b"

_XERIAL_MAGIC = b"\x82SNAPPY\0"
_XERIAL_HEADER = _XERIAL_MAGIC + b"\0\0\0\1\0\0\0\1"  # version and oldest compatible version, as Java writes them
_XERIAL_BLOCK_BYTES = 32 * 1024
_SNAPPY_RATIO_MAX = 22  # the densest element copies 64 bytes and takes 3

_LZ4_MAGIC = b"\x04\x22\x4d\x18"
_LZ4_RATIO_MAX = 255  # a length grows by at most 255 for each byte
_LZ4_FAST_LEVEL = 9  # Lz4Compression: its default level is the fast compressor, every other one the thorough
_LZ4_LEVELS = (3, 12)  # of the thorough compressor

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK_BYTES = 128 * 1024
_ZSTD_LEVEL = 3
_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # of lz4 and zstd frames; a byte 0x50 to 0x5f stands in front


class CodecError(ValueError):
    """Compressed bytes that do not unpack, or unpack to more than was allowed."""


def codec_id(name: str | None) -> int:
    """The id of a codec by its name; None and `uncompressed` are 0. Raises `UsageError` for other names."""
    if name is None or name == "uncompressed":
        return NONE
    try:
        return NAMES.index(name)
    except ValueError:
        hint = nearest(str(name), NAMES, 0.4)
        raise UsageError(f"compression {name!r} is not one of {', '.join(NAMES)}{hint}") from None


def codec_name(codec: int) -> str:
    """The name of a codec by its id; `codec N` where there is none."""
    return NAMES[codec] if 0 <= codec < len(NAMES) else f"codec {codec}"


def compress(codec: int, data: Buffer, level: int | None = None) -> Buffer:
    """`data` packed by `codec`, framed as Kafka's Java client frames it.

    `level` is that of Kafka's `compression.*.level`: gzip -1 to 9, lz4 1 to 17 (9 is its fast default), zstd -131072
    to 22; snappy has none. Raises `MissingCodec` without cramjam, `UsageError` for an unknown codec.
    """
    if codec == GZIP:
        import zlib

        packer = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED, _GZIP_WINDOW_BITS)
        return packer.compress(data) + packer.flush()
    if codec == SNAPPY:
        return _compress_xerial(data)
    if codec == LZ4:
        low, high = _LZ4_LEVELS
        fast = level is None or level == _LZ4_FAST_LEVEL
        # cramjam's one-shot call links blocks, which Java refuses (Lz4BlockOutputStream.FLG).
        compressor = _cramjam("lz4").Compressor(
            level=1 if fast else min(max(level or 0, low), high), block_linked=False, content_checksum=False
        )
        compressor.compress(bytes(data))  # this one takes nothing but bytes
        frame: Buffer = compressor.finish()
        return frame
    if codec == ZSTD:
        packed: Buffer = _cramjam("zstd").compress(data, level=_ZSTD_LEVEL if level is None else level)
        return packed
    if codec == NONE:
        return data
    raise UsageError(f"{codec_name(codec)} is unknown: {', '.join(NAMES)} have the ids 0 to {len(NAMES) - 1}")


def compress_snappy_raw(data: Buffer) -> Buffer:
    """One raw snappy block, as librdkafka writes it; `decompress` reads it like xerial's frame."""
    block: Buffer = _cramjam("snappy").compress_raw(data)
    return block


def decompress(codec: int, data: Buffer, limit: int) -> Buffer:
    """`data` unpacked, at most `limit` bytes of it.

    Takes memory for what the compressed bytes can hold at most (gzip: for what came out, in steps), never for what
    they claim. Raises `CodecError` for bad data and for more than `limit` bytes, `MissingCodec` without cramjam.
    """
    source = memoryview(data).cast("B")
    if codec == NONE:
        if len(source) > limit:
            raise CodecError(_too_large(codec, limit))
        return source
    unpack = _UNPACKERS.get(codec)
    if unpack is None:
        raise CodecError(f"{codec_name(codec)} is unknown")
    try:
        return unpack(source, limit)
    except (IndexError, OverflowError, EOFError):
        raise CodecError(f"the {codec_name(codec)} data ends too early") from None


# -- gzip --------------------------------------------------------------------------------------------------------


def _decompress_gzip(source: memoryview, limit: int) -> Buffer:
    import zlib

    parts: list[bytes] = []
    rest: Buffer = source
    room = limit
    while True:
        unpacker = zlib.decompressobj(_GZIP_WINDOW_BITS)
        try:
            part = unpacker.decompress(rest, room + 1)  # a byte more tells a full room from one too small
        except zlib.error as error:
            raise CodecError(f"bad gzip data: {error}") from None
        if len(part) > room:
            raise CodecError(_too_large(GZIP, limit))
        if not unpacker.eof:
            raise CodecError("the gzip data ends too early")
        parts.append(part)
        room -= len(part)
        rest = unpacker.unused_data
        if rest[:2] != _GZIP_MAGIC:  # Java reads on through joined members and ignores other bytes behind them
            return parts[0] if len(parts) == 1 else b"".join(parts)


# -- snappy ------------------------------------------------------------------------------------------------------


def _compress_xerial(data: Buffer) -> Buffer:
    snappy = _cramjam("snappy")
    source = memoryview(data).cast("B")
    parts = [_XERIAL_HEADER]
    for start in range(0, len(source), _XERIAL_BLOCK_BYTES):
        block = bytes(snappy.compress_raw(source[start : start + _XERIAL_BLOCK_BYTES]))
        parts += (len(block).to_bytes(4, "big"), block)
    return b"".join(parts)


def _decompress_snappy(source: memoryview, limit: int) -> Buffer:
    blocks = _xerial_blocks(source) if source[:8] == _XERIAL_MAGIC else [source]
    sizes = [_snappy_size(block) for block in blocks]
    total = sum(sizes)
    if total > limit:
        raise CodecError(_too_large(SNAPPY, limit))
    unpacked = bytearray(total)
    room = memoryview(unpacked)
    start = 0
    for block, size in zip(blocks, sizes, strict=True):
        if size:
            _into(_cramjam("snappy").decompress_raw_into, "snappy", block, room[start : start + size], exact=True)
        start += size
    return unpacked


def _xerial_blocks(source: memoryview) -> list[memoryview]:
    """The blocks of a xerial stream; streams may be joined, so a header may stand where a block would start.

    Versions are ignored: some brokers write them little-endian.
    """
    blocks = []
    position = 0
    while position < len(source):
        if source[position : position + 8] == _XERIAL_MAGIC:
            position += len(_XERIAL_HEADER)
            if position > len(source):
                raise EOFError
            continue
        size = int.from_bytes(source[position : position + 4], "big")
        position += 4 + size
        if position > len(source):
            raise EOFError
        blocks.append(source[position - size : position])
    return blocks


def _snappy_size(block: memoryview) -> int:
    """The size that a raw block states, once it is one that its bytes can reach."""
    size = 0
    for index in range(5):
        size |= (block[index] & 0x7F) << (7 * index)
        if block[index] < 0x80:
            break
    else:
        raise CodecError("bad snappy data: its length has more than 32 bits")
    if size > _SNAPPY_RATIO_MAX * len(block):
        raise CodecError(f"bad snappy data: {len(block)} bytes cannot hold {size}")
    return size


# -- lz4 ---------------------------------------------------------------------------------------------------------


def _decompress_lz4(source: memoryview, limit: int) -> Buffer:
    return _unpack_frames("lz4", source, _lz4_bound(source), limit)


def _lz4_bound(source: memoryview) -> int:
    """The most that lz4 frames can hold, from their block sizes."""
    bound = 0
    position = 0
    while position < len(source):
        if _is_skippable(source, position):
            position += 8 + int.from_bytes(source[position + 4 : position + 8], "little")
            continue
        if source[position : position + 4] != _LZ4_MAGIC:
            raise CodecError("bad lz4 data: not a frame")
        flags, block_bytes_max = source[position + 4], 256 << (2 * (source[position + 5] >> 4 & 7))
        block_checksum = 4 if flags & 0x10 else 0
        position += 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)  # content size, dictionary id
        while size := int.from_bytes(source[position : position + 4], "little"):
            packed = size & 0x7FFFFFFF  # the top bit says that the block is stored as it is
            bound += min(block_bytes_max, packed if size >> 31 else _LZ4_RATIO_MAX * packed)
            position += 4 + packed + block_checksum
        position += 4 + (4 if flags & 0x04 else 0)  # end mark, content checksum
    return bound


# -- zstd --------------------------------------------------------------------------------------------------------


def _decompress_zstd(source: memoryview, limit: int) -> Buffer:
    return _unpack_frames("zstd", source, _zstd_bound(source, limit), limit)


def _zstd_bound(source: memoryview, limit: int) -> int:
    """The most that zstd frames can hold, from their block headers; stops counting above `limit`."""
    bound = 0
    position = 0
    while position < len(source) and bound <= limit:
        if _is_skippable(source, position):
            position += 8 + int.from_bytes(source[position + 4 : position + 8], "little")
            continue
        if source[position : position + 4] != _ZSTD_MAGIC:
            raise CodecError("bad zstd data: not a frame")
        flags = source[position + 4]
        single_segment = flags >> 5 & 1
        content_size_bytes = (single_segment, 2, 4, 8)[flags >> 6]
        position += 5 + (1 - single_segment) + (0, 1, 2, 4)[flags & 3] + content_size_bytes
        last = False
        while not last and bound <= limit:
            header = source[position] | source[position + 1] << 8 | source[position + 2] << 16
            last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            bound += _ZSTD_BLOCK_BYTES if kind == 2 else min(size, _ZSTD_BLOCK_BYTES)
            position += 3 + (1 if kind == 1 else size)  # 1: one byte, repeated
        position += 4 if flags & 4 else 0  # content checksum
    return bound


# -- shared ------------------------------------------------------------------------------------------------------


def _is_skippable(source: memoryview, position: int) -> bool:
    return source[position] & 0xF0 == 0x50 and source[position + 1 : position + 4] == _SKIPPABLE_MAGIC


def _unpack_frames(name: str, source: memoryview, bound: int, limit: int) -> Buffer:
    unpacked = bytearray(min(bound, limit))
    size = _into(_cramjam(name).decompress_into, name, source, unpacked) if source else 0
    del unpacked[size:]
    return unpacked


def _into(
    unpack: Callable[[Any, Any], int],
    name: str,
    source: memoryview,
    room: bytearray | memoryview,
    exact: bool = False,
) -> int:
    """Unpack into `room` and return the bytes written; a codec that needs more fails."""
    cramjam = _cramjam(name, whole=True)
    try:
        size = unpack(source, room)
    except cramjam.DecompressionError as error:
        raise CodecError(f"bad {name} data, or more than {len(room)} bytes of it: {error}") from None
    if exact and size != len(room):
        raise CodecError(f"bad {name} data: {size} bytes where {len(room)} were announced")
    return size


def _too_large(codec: int, limit: int) -> str:
    return f"the {codec_name(codec)} data unpacks to more than {limit} bytes"


def _cramjam(codec: str, whole: bool = False) -> Any:
    try:
        import cramjam
    except ImportError:
        raise MissingCodec(codec) from None
    return cramjam if whole else getattr(cramjam, codec)


_UNPACKERS: Final[dict[int, Callable[[memoryview, int], Buffer]]] = {
    GZIP: _decompress_gzip,
    SNAPPY: _decompress_snappy,
    LZ4: _decompress_lz4,
    ZSTD: _decompress_zstd,
}
