"""Requests and responses cut out of a stream of bytes: a size of four bytes, then as many bytes.

The reader is native (`kstore._native.stream`); here is where it is to be found. `get_buffer` and `buffer_updated` are
those of asyncio.BufferedProtocol; `receive` takes bytes from a socket directly.
"""

from __future__ import annotations

from kstore._native.stream import RECEIVE_BYTES, FrameReader

__all__ = ["RECEIVE_BYTES", "FrameReader"]
