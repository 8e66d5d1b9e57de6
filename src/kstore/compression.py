"""Codecs of record batches: gzip by zlib, snappy, lz4 and zstd by cramjam where it is installed.

Owns names, numbers and framings of the codecs as Kafka's clients write them, and the cap on what is unpacked. It must
not know batches. Called by the record codec (`_native.records`, `_native.batches`).

Invariants: nothing is unpacked beyond the caller's limit, and no more than one step beyond what has come out is ever
allocated, whatever the bytes claim; what a Java client would refuse is not written.
"""

from __future__ import annotations

import struct
import zlib
from types import ModuleType
from typing import Final

from kstore.errors import MissingCodec, UsageError
from kstore.limits import DECOMPRESSED_BYTES_MAX, DECOMPRESSED_STEP_BYTES

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
NAMES: Final = ("none", "gzip", "snappy", "lz4", "zstd")
"""Codec names by number, as in bits 0 to 2 of a batch's attributes."""

XERIAL_MAGIC = b"\x82SNAPPY\0"
XERIAL_HEADER = XERIAL_MAGIC + struct.pack(">ii", 1, 1)
"""Java's SnappyOutputStream: magic, version, lowest compatible version, then blocks with an int32 length each."""
XERIAL_BLOCK_BYTES = 32 * 1024
_INT = struct.Struct(">i")


class CodecError(ValueError):
    """Compressed bytes that do not unpack, or unpack to more than the limit."""


def codec_id(name: str) -> int:
    """The number of a codec; `uncompressed` is another name of `none`. Raises `UsageError`."""
    if name == "uncompressed":
        return NONE
    try:
        return NAMES.index(name)
    except ValueError:
        raise UsageError(f"no codec {name!r}; there are {', '.join(NAMES)}") from None


def codec_name(codec: int) -> str:
    """The name of a codec number."""
    return NAMES[codec] if codec < len(NAMES) else f"codec {codec}"


def _cramjam(codec: int) -> ModuleType:
    try:
        import cramjam
    except ImportError:
        raise MissingCodec(codec_name(codec)) from None
    module: ModuleType = cramjam
    return module


def compress(codec: int, data: bytes | bytearray | memoryview, level: int | None = None) -> bytes:
    """Pack `data`; `level` None is Kafka's default for the codec. Raises `MissingCodec`."""
    if codec == GZIP:
        packer = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED, 31)
        return packer.compress(data) + packer.flush()
    if codec == SNAPPY:
        raw = _cramjam(codec).snappy
        view = memoryview(data)
        blocks = [XERIAL_HEADER]
        for at in range(0, len(view), XERIAL_BLOCK_BYTES):
            block = bytes(raw.compress_raw(view[at : at + XERIAL_BLOCK_BYTES]))
            blocks += (_INT.pack(len(block)), block)
        return b"".join(blocks)
    if codec == LZ4:
        # Linked blocks, cramjam's default, are what Java's Lz4BlockInputStream refuses.
        packer = _cramjam(codec).lz4.Compressor(
            level=9 if level is None else level, block_linked=False, content_checksum=False
        )
        packer.compress(bytes(data))
        return bytes(packer.finish())
    if codec == ZSTD:
        return bytes(_cramjam(codec).zstd.compress(bytes(data), level=3 if level is None else level))
    raise UsageError(f"codec {codec} cannot be written; there are {', '.join(NAMES[1:])}")


def decompress(
    codec: int, data: bytes | bytearray | memoryview, limit: int = DECOMPRESSED_BYTES_MAX
) -> bytes | memoryview:
    """Unpack `data` to at most `limit` bytes. Raises `CodecError` and `MissingCodec`."""
    if codec == GZIP:
        return _gunzip(data, limit)
    if codec == SNAPPY:
        return _unsnap(data, limit)
    if codec in (LZ4, ZSTD):
        return _unpack_growing(codec, bytes(data), limit)
    raise CodecError(f"no codec has the number {codec}")


def _gunzip(data: bytes | bytearray | memoryview, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    rest = bytes(data)
    while rest:
        unpacker = zlib.decompressobj(31)
        while not unpacker.eof:
            try:
                part = unpacker.decompress(rest, min(DECOMPRESSED_STEP_BYTES, limit - size + 1))
            except zlib.error as error:
                raise CodecError(f"gzip: {error}") from None
            size += len(part)
            if size > limit:
                raise CodecError(f"gzip: more than {limit} bytes")
            parts.append(part)
            rest = unpacker.unconsumed_tail
            if not part and not rest and not unpacker.eof:
                raise CodecError("gzip: the stream ends early")
        rest = unpacker.unused_data
    return b"".join(parts)


def _unsnap(data: bytes | bytearray | memoryview, limit: int) -> bytes:
    view = memoryview(data)
    if bytes(view[: len(XERIAL_MAGIC)]) != XERIAL_MAGIC:
        return _unsnap_block(view, limit)
    parts: list[bytes] = []
    size = 0
    at = len(XERIAL_HEADER)
    while at < len(view):
        if len(view) - at < 4:
            raise CodecError("snappy: the stream ends inside a block's length")
        (length,) = _INT.unpack_from(view, at)
        at += 4
        if not 0 <= length <= len(view) - at:
            raise CodecError(f"snappy: a block of {length} bytes where {len(view) - at} are left")
        parts.append(_unsnap_block(view[at : at + length], limit - size))
        size += len(parts[-1])
        at += length
    return b"".join(parts)


def _unsnap_block(block: memoryview, limit: int) -> bytes:
    raw = _cramjam(SNAPPY).snappy
    length = _snappy_length(block)
    # Snappy's densest element makes 64 bytes of 3: a block that claims more than that is lying.
    if length > min(limit, 24 * len(block)):
        raise CodecError(f"snappy: {length} bytes out of {len(block)}, limit {limit}")
    out = bytearray(length)
    try:
        written = raw.decompress_raw_into(block, out)
    except Exception as error:
        raise CodecError(f"snappy: {error}") from None
    if written != length:
        raise CodecError(f"snappy: {written} bytes where {length} were announced")
    return bytes(out)


def _snappy_length(block: memoryview) -> int:
    length = 0
    for i, byte in enumerate(block[:5]):
        length |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return length
    raise CodecError("snappy: no length")


def _unpack_growing(codec: int, data: bytes, limit: int) -> memoryview:
    """lz4 and zstd do not say how much comes out: unpack into a buffer, a larger one each time it does not fit."""
    into = getattr(_cramjam(codec), codec_name(codec)).decompress_into
    room = min(limit, max(4 * len(data), 4096))
    while True:
        out = bytearray(room)
        try:
            written = into(data, out)
        except Exception as error:
            if room >= limit or not _was_too_small(error):
                raise CodecError(f"{codec_name(codec)}: {error}" if room < limit else _over(codec, limit)) from None
            room = min(limit, room * 4)
            continue
        return memoryview(out)[:written].toreadonly()


def _was_too_small(error: Exception) -> bool:
    text = str(error).lower()
    return "write" in text or "buffer" in text or "space" in text or "whole" in text


def _over(codec: int, limit: int) -> str:
    return f"{codec_name(codec)}: not unpacked within {limit} bytes"
