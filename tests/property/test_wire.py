"""The wire protocol under hypothesis: bytes of any kind are refused or understood, and streams of any kind are cut."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from kstore._native.wire_reader import read
from kstore.errors import InvalidFrame, MalformedMessage, UnsupportedVersion
from kstore.wire.apis import APIS
from kstore.wire.codec import decode_request, decode_response
from kstore.wire.frames import FrameReader
from kstore.wire.layouts import layout, request_type, response_type
from support.wire_messages import message_bytes, random_struct

VERSIONS = [(row, version) for row in APIS.values() for version in range(row.first, row.last + 1)]


@given(st.sampled_from(VERSIONS), st.booleans(), st.integers(0, 2**64))
def test_what_was_written_is_read(api_and_version, is_request, number):
    api, version = api_and_version
    struct = request_type(api.key) if is_request else response_type(api.key)
    rows = layout(struct, version, api.is_flexible(version))
    message = random_struct(random.Random(number), struct, version)
    data = message_bytes(rows, message)
    assert read(rows, data) == (message, len(data))


@given(st.sampled_from(VERSIONS), st.integers(-(2**31), 2**31 - 1), st.none() | st.text(max_size=9), st.binary())
def test_any_body_behind_a_header_is_refused_or_understood(api_and_version, correlation_id, client_id, body):
    api, version = api_and_version
    client = b"\xff\xff" if client_id is None else len(client_id.encode()).to_bytes(2, "big") + client_id.encode()
    head = api.key.to_bytes(2, "big") + version.to_bytes(2, "big") + correlation_id.to_bytes(4, "big", signed=True)
    tags = b"\0" if api.is_flexible(version) else b""
    try:
        header, message = decode_request(head + client + tags + body)
    except MalformedMessage as error:
        assert error.message == f"{api.name}Request"
        assert error.version == version
        assert 0 <= error.position <= len(head + client + tags + body)
    else:
        assert (header.correlation_id, header.client_id) == (correlation_id, client_id)
        repr(message)  # makes every element


@given(st.binary(max_size=200))
def test_any_frame_is_refused_or_understood(frame):
    try:
        repr(decode_request(frame))
    except (MalformedMessage, UnsupportedVersion) as error:
        assert str(error)


@given(st.sampled_from(VERSIONS), st.binary(max_size=200))
def test_any_response_is_refused_or_understood(api_and_version, frame):
    api, version = api_and_version
    try:
        repr(decode_response(api.key, version, frame))
    except MalformedMessage as error:
        assert str(error)


@given(st.lists(st.binary(min_size=1, max_size=300)), st.data())
def test_a_stream_is_cut_where_it_was_joined(frames, data):
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    reader = FrameReader()
    found, position = [], 0
    while position < len(stream):
        count = data.draw(st.integers(1, len(stream) - position))
        found += [bytes(frame) for frame in reader.feed(stream[position : position + count])]
        position += count
    assert found == frames


@given(st.binary(max_size=300))
def test_any_stream_is_cut_or_refused(stream):
    try:
        found = list(FrameReader(limit_bytes=100).feed(stream))
    except InvalidFrame as error:
        assert not 1 <= error.size_bytes <= 100
    else:
        assert all(1 <= len(frame) <= 100 for frame in found)
