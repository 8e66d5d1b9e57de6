"""Bytes from a peer that means harm: refused with message, field and byte, before memory follows what they claim."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from kstore._native.wire_reader import read
from kstore.errors import MalformedMessage, UsageError
from kstore.wire.apis import APIS
from kstore.wire.codec import decode_request, decode_response, encode_request
from kstore.wire.layouts import layout, request_layout
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kstore.wire.schema import Array, Bytes, Float64, Int8, Int32, Records, String, Struct, UInt16, UInt32, field
from support.wire_messages import every_message, message_bytes, message_type, random_struct

HEADER_1 = b"\0\0\0\1\0\2me"  # correlation id and client id, behind API and version
HEADER_2 = HEADER_1 + b"\0"


class Inner(Struct):
    name: String
    count: Int32


class Outer(Struct):
    text: String
    maybe: String | None
    data: Bytes | None
    records: Records | None
    numbers: Array[Int32] | None
    names: Array[String]
    inner: Inner | None
    inners: Array[Inner]
    known: Int32 = field(tag=1, default=7)
    names_known: Array[String] = field(tag=5, default=())


GOOD = Outer(
    text="ab", maybe=None, data=None, records=None, numbers=None, names=[], inner=None, inners=[]
)
RIGID_FIELDS = [line for line in Outer.TABLE if line.tag is None]


def flexible(data: bytes) -> Outer:
    found: Outer = read(layout(Outer, 0, True), data)[0]
    return found


def refused(data: bytes) -> MalformedMessage:
    with pytest.raises(MalformedMessage) as caught:
        flexible(data)
    assert (caught.value.message, caught.value.version, caught.value.error_code) == ("Outer", 0, 42)
    assert 0 <= caught.value.position <= len(data)
    return caught.value


#        text      maybe data records numbers names inner     inners tags
WHOLE = b"\x03ab" + b"\0" + b"\0" + b"\0" + b"\0" + b"\1" + b"\xff" + b"\1" + b"\0"
OPENING = WHOLE[:-1]  # all but the tagged fields


def test_the_message_that_the_others_are_made_of():
    assert message_bytes(layout(Outer, 0, True), GOOD) == WHOLE
    assert flexible(WHOLE) == GOOD


@pytest.mark.parametrize(
    ("data", "path", "position", "reason"),
    [
        (b"\x04ab", "text", 0, "more than there are bytes"),
        (b"\x80\x80\x80\x80\x0fab", "text", 0, "more than there are bytes"),
        (b"\xff\xff\xff\xff\x0fab", "text", 0, "more than there are bytes"),
        (b"\x80\x80\x80\x80\x10ab", "text", 0, "more than 32 bits"),
        (b"\x80\x80\x80\x80\x80\x01ab", "text", 0, "more than 32 bits"),
        (b"\xff" * 40, "text", 0, "more than 32 bits"),
        (b"\0" + WHOLE[3:], "text", 0, "null"),
        (b"\x03\xc0\x80" + WHOLE[3:], "text", 1, "UTF-8"),
        (b"", "text", 0, "more than there are bytes"),
        (b"\x03ab\x05a", "maybe", 3, "more than there are bytes"),
        (b"\x03ab\0\x05a", "data", 4, "more than there are bytes"),
        (b"\x03ab\0\0\x05a", "records", 5, "more than there are bytes"),
        (b"\x03ab\0\0\0\x03\0\0\0\1\0\0\0", "numbers", 6, "more than there are bytes"),
        (b"\x03ab\0\0\0\0\0", "names", 7, "null"),
        (b"\x03ab\0\0\0\0\x04\2a\1\5abc", "names[2]", 11, "more than there are bytes"),
        (b"\x03ab\0\0\0\0\1", "inner", 8, "more than there are bytes"),
        (b"\x03ab\0\0\0\0\1\1\2x\0\0", "inner.count", 11, "more than there are bytes"),
        (b"\x03ab\0\0\0\0\1\xff\3\2a\0\0\0\1\0\0" + b"\0" * 5, "inners[1].name", 17, "null"),
        (OPENING, "", 10, "more than there are bytes"),
        (OPENING + b"\xff\xff\xff\xff\x0f", "", 10, "more than there are bytes"),
        (OPENING + b"\2\1\4\0\0\0\1", "", 17, "more than there are bytes"),
        (OPENING + b"\2\1\4\0\0\0\1\1\4\0\0\0\1", "", 17, "do not go up"),
        (OPENING + b"\2\3\0\2\0", "", 13, "do not go up"),
        (OPENING + b"\1\1\5\0\0\0\1\0", "known", 17, "does not fill its size"),
        (OPENING + b"\1\1\3\0\0\0", "known", 13, "more than there are bytes"),
        (OPENING + b"\1\1\x09\0\0\0", "", 11, "more than there are bytes"),
        (OPENING + b"\1\5\2\5a", "names_known", 13, "more than there are bytes"),
        (OPENING + b"\1\5\3\2\5a", "names_known[0]", 14, "more than there are bytes"),
        (OPENING + b"\1\x07\x81\x80\x08" + bytes(128 * 1024 + 1), "", 11, "128 KiB"),
    ],
)
def test_each_lie_is_named(data, path, position, reason):
    error = refused(data)
    assert (error.field, error.position) == (path, position)
    assert reason in error.reason
    assert f"byte {position}" in str(error)


@pytest.mark.parametrize(
    ("rigid", "path", "reason"),
    [
        (b"\xff\xff", "text", "null"),
        (b"\xff\xfe", "text", "below -1"),
        (b"\x7f\xffab", "text", "more than there are bytes"),
        (b"\0\0\xff\xff\x7f\xff\xff\xff", "data", "more than there are bytes"),
        (b"\0\0\xff\xff\xff\xff\xff\xfe", "data", "below -1"),
        (b"\0\0\xff\xff\xff\xff\xff\xff\x80\0\0\0", "records", "below -1"),
        (b"\0\0" + b"\xff" * 10 + b"\x7f\xff\xff\xff\0\0\0\1", "numbers", "more than there are bytes"),
        (b"\0\0" + b"\xff" * 10 + b"\xff\xff\xff\xfe", "numbers", "below -1"),
    ],
)
def test_lies_in_rigid_versions(rigid, path, reason):
    class_ = layout(Rigid, 0, False)
    with pytest.raises(MalformedMessage, match=reason) as caught:
        read(class_, rigid)
    assert caught.value.field == path


class Rigid(Struct):
    text: String
    maybe: String | None
    data: Bytes | None
    records: Records | None
    numbers: Array[Int32] | None


def test_unknown_tags_are_stepped_over_and_known_ones_found_between_them():
    tags = b"\4" + b"\0\3abc" + b"\1\4\0\0\0\x09" + b"\5\4\2\3hi" + b"\x80\x80\x80\x80\x0f\0"
    assert flexible(OPENING + tags) == GOOD.replace(known=9, names_known=["hi"])
    assert flexible(OPENING + b"\1\5\1\1") == GOOD.replace(names_known=[])


def test_padded_lengths_are_read_as_kafka_reads_them():
    assert flexible(b"\x83\x80\x00ab" + WHOLE[3:]) == GOOD


@pytest.mark.parametrize(
    "text",
    [b"\x80", b"\xc2", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5",
     b"\xff", b"a" * 20 + b"\xe2\x82", b"a" * 7 + b"\xe2\x28\xa1", b"\xf0\x9f\x98"],
)  # fmt: skip
def test_text_is_utf_8(text):
    assert "UTF-8" in refused(bytes([len(text) + 1]) + text + WHOLE[3:]).reason
    with pytest.raises(UnicodeDecodeError):
        text.decode()


def test_the_text_of_every_plane_is_read():
    text = "a\x7f\x80߿ࠀ퟿￿𐀀\U0010ffff"
    assert flexible(message_bytes(layout(Outer, 0, True), GOOD.replace(text=text))).text == text


def test_random_text_is_judged_as_python_judges_it(seed):
    rng = random.Random(seed)
    for _ in range(3000):
        valid = "".join(rng.choice("aé日🙂") for _ in range(rng.randrange(12))).encode()
        text = bytearray(valid)
        if text and rng.random() < 0.8:
            text[rng.randrange(len(text))] = rng.randrange(256)
        try:
            wanted = text.decode()
        except UnicodeDecodeError:
            wanted = None
        data = bytes([len(text) + 1]) + bytes(text) + WHOLE[3:]
        if wanted is None:
            refused(data)
        else:
            assert flexible(data).text == wanted


# -- budgets -------------------------------------------------------------------------------------------------------


def test_elements_of_all_arrays_together_are_counted():
    data = message_bytes(layout(Outer, 0, True), GOOD.replace(numbers=[1] * 50, names=["a"] * 50))
    rows = layout(Outer, 0, True)
    assert len(read(rows, data, elements_max=100)[0].names) == 50
    with pytest.raises(MalformedMessage, match="more elements") as caught:
        read(rows, data, elements_max=99)
    assert caught.value.field == "names"


def test_a_thousand_topics_of_ten_thousand_partitions_are_refused():
    """DescribeProducers: ten million partitions in 40 MB."""
    topic = b"\2t" + b"\x91\x4e" + bytes(4 * 10_000) + b"\0"
    data = b"\0\x3d\0\0" + HEADER_2 + b"\xe9\x07" + topic * 1000 + b"\0"
    with pytest.raises(MalformedMessage, match="more elements") as caught:
        decode_request(data)
    assert caught.value.field == "topics[99].partition_indexes"
    assert decode_request(data, elements_max=10_001_000).body.topics[999].partition_indexes[9_999] == 0


def claims() -> Iterator[tuple[str, bytes]]:
    """Requests that say much and bring little."""
    yield "an array of 2^31 - 1", b"\0\3\0\1" + HEADER_1 + b"\x7f\xff\xff\xff"
    yield "an array of 2^32 - 2", b"\0\3\0\x0c" + HEADER_2 + b"\xff\xff\xff\xff\x0f"
    yield "records of 2^31 - 1", (
        b"\0\0\0\3" + HEADER_1 + b"\xff\xff\xff\xff\0\0\0\0" + b"\0\0\0\1\0\1t\0\0\0\1\0\0\0\0\x7f\xff\xff\xff"
    )
    yield "2^32 - 1 tagged fields", b"\0\x12\0\3" + HEADER_1 + b"\xff\xff\xff\xff\x0f"
    yield "as many elements as bytes", b"\0\3\0\x0c" + HEADER_2 + b"\xa1\x8d\x06" + b"\1" * 100_000


@pytest.mark.parametrize(("what", "data"), list(claims()), ids=lambda part: part if isinstance(part, str) else "")
def test_claims_allocate_nothing(what, data):
    assert allocated(lambda: decode_request(data), MalformedMessage) <= 8 * len(data) + 64 * 1024


def honest(number: int) -> bytes:
    topics = [MetadataRequestTopic(name="") for _ in range(number)]
    return b"".join(map(bytes, encode_request(MetadataRequest(topics=topics), 9, 1)))[4:]


@pytest.mark.parametrize("number", [100, 10_000, 500_000])
def test_memory_follows_bytes_and_not_elements(number):
    """The smallest struct that there is: two bytes each, and 56 as an object."""
    data = honest(number)
    assert allocated(lambda: decode_request(data)) <= 8 * len(data) + 64 * 1024
    total = 0

    def iterate() -> None:
        nonlocal total
        total = sum(1 for _ in decode_request(data).body.topics)

    assert allocated(iterate) <= 8 * len(data) + 64 * 1024
    assert total == number


def allocated(work: Callable[[], object], error: type[Exception] | None = None) -> int:
    """The peak of memory while `work` runs, which must raise `error` if one is given."""
    for measured in (False, True):  # the first time makes layouts
        if measured:
            tracemalloc.start()
        try:
            if error:
                with pytest.raises(error):
                    work()
            else:
                work()
            peak = tracemalloc.get_traced_memory()[1] if measured else 0
        finally:
            if measured:
                tracemalloc.stop()
    return peak


# -- damage --------------------------------------------------------------------------------------------------------


def materialise(value: object) -> None:
    """Look at everything, which makes every object."""
    if isinstance(value, Struct):
        for line in value.TABLE:
            materialise(getattr(value, line.name))
    elif hasattr(value, "__iter__") and not isinstance(value, str | bytes | memoryview):
        for item in value:
            materialise(item)


def test_cut_messages_are_refused_wherever_they_are_cut(seed):
    rng = random.Random(seed)
    for api, direction in every_message():
        struct = message_type(api, direction)
        version = rng.randint(api.first, api.last)
        rows = layout(struct, version, api.is_flexible(version))
        data = message_bytes(rows, random_struct(rng, struct, version))
        for end in {rng.randrange(len(data)) for _ in range(20)} if data else ():
            with pytest.raises(MalformedMessage):
                read(rows, data[:end])


def test_damaged_messages_are_refused_or_read(seed):
    """Whatever passes the check can be looked at to its last element, and written again."""
    rng = random.Random(seed)
    passed = 0
    for api, direction in every_message():
        struct = message_type(api, direction)
        version = rng.randint(api.first, api.last)
        rows = layout(struct, version, api.is_flexible(version))
        for _ in range(30):
            data = bytearray(message_bytes(rows, random_struct(rng, struct, version)))
            for _ in range(rng.randint(1, 3)) if data else ():
                data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            try:
                message, end = read(rows, data, elements_max=100_000)
            except MalformedMessage:
                continue
            passed += 1
            materialise(message)
            again = message_bytes(rows, message)
            assert read(rows, again)[0] == message
            assert end <= len(data)
    assert passed > 100


def test_bytes_that_change_behind_our_back_do_no_harm(seed):
    """A caller who receives into a buffer that it handed out gets an exception or other values, never a fault."""
    rng = random.Random(seed)
    topics = [MetadataRequestTopic(name="topic") for _ in range(50)]
    data = bytearray(b"".join(map(bytes, encode_request(MetadataRequest(topics=topics), 12, 1)))[4:])
    for _ in range(200):
        copy = bytearray(data)
        array = decode_request(copy).body.topics
        for _ in range(20):
            copy[rng.randrange(len(copy))] = rng.randrange(256)
        try:
            list(array)
            array[-1]
        except (UsageError, UnicodeDecodeError):
            pass


def test_only_bytes_in_one_piece_are_read():
    rows = request_layout(3, 1)
    with pytest.raises(UsageError, match="in one piece"):
        read(rows, memoryview(bytes(16))[::2])
    with pytest.raises(UsageError, match="wanted, not str"):
        read(rows, "text")
    with pytest.raises(UsageError, match="outside"):
        read(rows, b"", 1)


class Unordered(Struct):
    late: Int32 = field(tag=9, default=0)
    early: String = field(tag=2, default="")


def test_tagged_fields_lie_in_the_order_of_their_tags():
    rows = layout(Unordered, 0, True)
    data = message_bytes(rows, Unordered(late=1, early="x"))
    assert data == b"\2\2\2\2x\x09\4\0\0\0\1"
    assert read(rows, data)[0] == Unordered(late=1, early="x")


class Numbers(Struct):
    real: Float64
    port: UInt16
    many: UInt32
    reals: Array[Float64]
    small: Array[Int8]


def test_numbers_that_no_message_of_today_has():
    rows = layout(Numbers, 0, True)
    one = Numbers(real=-1.5, port=65_535, many=2**32 - 1, reals=[0.5, 2.0**80], small=[-128, 127])
    assert read(rows, message_bytes(rows, one))[0] == one


def test_responses_are_checked_the_same_way():
    """A client trusts no broker either."""
    with pytest.raises(MalformedMessage) as caught:
        decode_response(3, 12, b"\0\0\0\1\0" + b"\0\0\0\0" + b"\xff\xff\xff\xff\x0f")
    assert (caught.value.message, caught.value.field) == ("MetadataResponse", "brokers")
    for key in APIS:
        with pytest.raises(MalformedMessage):
            decode_response(key, APIS[key].last, b"\0\0")
