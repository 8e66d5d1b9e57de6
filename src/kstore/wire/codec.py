"""Requests and responses to bytes and back, headers included: what a broker and a client call.

Owns the order of header and body, and what surrounds a message. Must not know a single field beyond the header's.
Called by the broker and by clients, with frames that `frames` cut out of a stream.

Invariants
1. What is encoded comes as a list of buffers behind its size, to be written one after the other; record batches among
   them are the objects that came in.
2. What is decoded was checked to its last byte before; errors name message, version, field and byte.
3. Bytes behind a message are let pass, as Kafka does: some clients pad.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, NamedTuple, cast

from kstore._native.wire_reader import read, read_pair
from kstore._native.wire_writer import Writer
from kstore.errors import MalformedMessage
from kstore.limits import REQUEST_ELEMENTS_MAX, RESPONSE_ELEMENTS_MAX
from kstore.wire.apis import API_VERSIONS, APIS, api
from kstore.wire.layouts import layout as layout_of
from kstore.wire.layouts import request_layout, response_layout
from kstore.wire.schema import Int16, Int32, Request, Response, String, Struct

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore._native.wire_layout import Layout

_UNSUPPORTED_VERSION = struct.pack(">h", 35)
_ERROR_CODE = slice(4, 6)  # of ApiVersions: behind the correlation id, first in every version
_KEY_AND_VERSION = struct.Struct(">hh")


class RequestHeader(Struct):
    """What opens a request: which API and version the body is in, and a number that the response repeats."""

    api_key: Int16
    api_version: Int16
    correlation_id: Int32
    client_id: String | None


class ResponseHeader(Struct):
    """What opens a response."""

    correlation_id: Int32


class Decoded(NamedTuple):
    """A request: its header and its body, a struct of `kstore.wire.messages`."""

    header: RequestHeader
    body: Request


def decode_header(frame: Buffer) -> tuple[RequestHeader, int]:
    """The header of a request, and the position of its body in the frame.

    Reads the header of any API and version, known or not, so that the caller can answer. `MalformedMessage` for bytes
    that are none.
    """
    row = APIS.get(_api_and_version(frame)[0])
    header = 1 if row is None else row.request_header(_api_and_version(frame)[1])
    return cast(tuple[RequestHeader, int], read(_header_layout(header), frame))


def decode_request(frame: Buffer, *, elements_max: int = REQUEST_ELEMENTS_MAX) -> Decoded:
    """A request out of a frame, which must not change while the request lives.

    `MalformedMessage` for bytes that are none, `UnsupportedVersion` where there is no table; `decode_header` reads
    the header of such a request, and `negotiation.refuse` answers it.
    """
    header, body = _request_layouts(*_api_and_version(frame))
    return Decoded(*read_pair(header, body, frame, elements_max))


def encode_request(body: Request, version: int, correlation_id: int, client_id: str | None = None) -> list[Buffer]:
    """A request with its size and header before it; `UnencodableMessage` for values that the version cannot carry."""
    head, layout = _request_layouts(body.API_KEY, version)
    header = RequestHeader(
        api_key=body.API_KEY, api_version=version, correlation_id=correlation_id, client_id=client_id
    )
    writer = Writer()
    writer.struct(head, header)
    writer.struct(layout, body)
    return writer.frame()


def encode_response(body: Response, version: int, correlation_id: int) -> list[Buffer]:
    """A response with its size and header before it; `UnencodableMessage` for values that the version cannot carry."""
    has_tags, layout = _response_layouts(body.API_KEY, version)
    writer = Writer()
    writer.int32(correlation_id)
    if has_tags:
        writer.uvarint(0)
    writer.struct(layout, body)
    return writer.frame()


def decode_response(
    key: int, version: int, frame: Buffer, *, elements_max: int = RESPONSE_ELEMENTS_MAX
) -> tuple[int, Response]:
    """The correlation id and body of the response to a request that went out as `version` of the API `key`.

    A broker that does not know a version of ApiVersions answers in version 0, whatever was asked: that is read, and
    its `error_code` is 35 (KIP-511). `MalformedMessage` for bytes that are no such response.
    """
    if key == API_VERSIONS and bytes(memoryview(frame)[_ERROR_CODE]) == _UNSUPPORTED_VERSION:
        version = 0
    has_tags, layout = _response_layouts(key, version)
    header, body = read_pair(_RESPONSE_HEADERS[has_tags], layout, frame, elements_max)
    return header.correlation_id, body


def _api_and_version(frame: Buffer) -> tuple[int, int]:
    try:
        return cast(tuple[int, int], _KEY_AND_VERSION.unpack_from(frame))
    except struct.error:
        reason = "the frame ends before API and version"
        raise MalformedMessage("RequestHeader", 1, "api_key", 0, reason) from None


@functools.cache
def _header_layout(version: int) -> Layout:
    """The client id keeps its length of two bytes in every version: a broker must read it to answer (KIP-482)."""
    return layout_of(RequestHeader, version, version == 2, compact=False)


@functools.cache
def _request_layouts(key: int, version: int) -> tuple[Layout, Layout]:
    return _header_layout(api(key, version).request_header(version)), request_layout(key, version)


@functools.cache
def _response_layouts(key: int, version: int) -> tuple[bool, Layout]:
    """Whether tagged fields end the header, and the layout of the body."""
    return api(key, version).response_header(version) == 1, response_layout(key, version)


_RESPONSE_HEADERS = (layout_of(ResponseHeader, 0, False), layout_of(ResponseHeader, 1, True))
