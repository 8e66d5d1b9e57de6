"""Subscriptions and assignments: the bytes of kio and of kafka-python's tables, versions to come, damage."""

from __future__ import annotations

import importlib
import io
import random

import pytest

from kstore.errors import MalformedMessage
from kstore.wire import consumer_protocol as protocol
from kstore.wire.consumer_protocol import Assignment, Subscription, TopicPartition
from kstore.wire.layouts import layout
from support.wire_messages import random_struct

VERSIONS = range(protocol.VERSION_MAX + 1)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [Subscription, Assignment])
def test_bytes_are_kios(kind, version, seed):
    serial = pytest.importorskip("kio.serial", reason="kio is in the group 'test'")
    name = f"consumer_protocol_{kind.__name__.lower()}"
    module = importlib.import_module(f"kio.schema.{name}.v{version}.data")
    kio_class = getattr(module, f"ConsumerProtocol{kind.__name__}")
    rng = random.Random(seed)
    decode = protocol.decode_subscription if kind is Subscription else protocol.decode_assignment
    for _ in range(30):
        ours = random_struct(rng, kind, version)
        data = protocol.encode(ours, version)
        assert data[:2] == version.to_bytes(2, "big")
        theirs, _ = serial.entity_reader(kio_class)(data, 2)
        written = io.BytesIO()
        serial.entity_writer(kio_class)(written, theirs)
        assert written.getvalue() == data[2:]
        if kind is Subscription:
            assert list(theirs.topics) == ours.topics
        assert theirs.user_data == ours.user_data
        assert decode(data) == ours


def test_a_subscription_by_hand():
    owned = [TopicPartition(topic="t", partitions=[0, 2])]
    one = Subscription(topics=["t"], owned_partitions=owned, generation_id=5, rack_id="r")
    assert protocol.encode(one, 0) == bytes.fromhex("0000 00000001 0001") + b"t" + b"\xff" * 4
    whole = bytes.fromhex("0003 00000001 0001") + b"t" + b"\xff" * 4
    whole += bytes.fromhex("00000001 0001") + b"t" + bytes.fromhex("00000002 00000000 00000002 00000005 0001") + b"r"
    assert protocol.encode(one) == whole
    assert protocol.decode_subscription(whole) == one


def test_versions_to_come_are_read_as_the_last():
    data = protocol.encode(Subscription(topics=["t"], rack_id="r"))
    later = b"\0\x09" + data[2:] + b"fields of version 9"
    assert protocol.decode_subscription(later) == Subscription(topics=["t"], rack_id="r", owned_partitions=[])


def test_a_peer_cannot_have_layouts_made():
    data = protocol.encode(Subscription(topics=["t"]))
    protocol.decode_subscription(data)
    before = layout.cache_info().currsize
    for version in range(4, 100):
        protocol.decode_subscription(version.to_bytes(2, "big") + data[2:])
    assert layout.cache_info().currsize == before


def test_no_bytes_are_an_empty_assignment():
    assert protocol.decode_assignment(b"") == Assignment(assigned_partitions=())


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\xff\xff\0\0\0\0", b"\0\0\x7f\xff\xff\xff", b"\0\1\0\0\0\0\xff\xff\xff\xff"],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(MalformedMessage):
        protocol.decode_subscription(data)
