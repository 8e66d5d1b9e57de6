"""Records of groups, byte for byte what Kafka 4.3.1 wrote, and every kind both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.groups import offsets, records
from kstore.groups.records import (
    ConsumerGroupCurrent,
    ConsumerGroupMember,
    ConsumerGroupMetadata,
    ConsumerGroupPartitionMetadata,
    ConsumerGroupRegex,
    ConsumerGroupTarget,
    ConsumerGroupTargetEpoch,
    CurrentAssignment,
    MemberMetadata,
    ResolvedRegex,
)
from support import corpus

TOPIC = bytes.fromhex("375e3db243df451cb6aa1081d8ea4ef0")
GROUP, MEMBER = "consumer-group", "ryI5Q1ZoSkKLvS7DTHG7gg"

# Written by a Kafka 4.3.1 broker: type, value, what it says.
FROM_KAFKA = [
    (
        5,
        "000000000872646b61666b610b2f3132372e302e302e3102076f726465727301000493e00001000100",
        ConsumerGroupMember(
            GROUP, MEMBER,
            MemberMetadata(None, None, "rdkafka", "/127.0.0.1", ("orders",), "", 300_000, None),
        ),
    ),
    (3, "000000000002010008e7a90e86744195fd", ConsumerGroupMetadata(GROUP, 2, -1753854609245235715)),
    (7, "000002375e3db243df451cb6aa1081d8ea4ef0040000000000000001000000020000",
     ConsumerGroupTarget(GROUP, MEMBER, {TOPIC: (0, 1, 2)})),
    (6, "000000000002010008000001a20ac1d0e6", ConsumerGroupTargetEpoch(GROUP, 2, 1795476803814)),
    (
        8,
        "000000000002000000000002375e3db243df451cb6aa1081d8ea4ef00400000000000000010000000201000d04"
        "0000000200000002000000020100",
        ConsumerGroupCurrent(GROUP, MEMBER, CurrentAssignment(2, 0, 0, {TOPIC: {0: 2, 1: 2, 2: 2}}, {})),
    ),
    (3, "00000000000300", ConsumerGroupMetadata(GROUP, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("record_type", "value", "expected"), FROM_KAFKA)
def test_reads_and_writes_what_kafka_wrote(record_type, value, expected):
    key = record_type.to_bytes(2, "big") + b"\0\x0e" + GROUP.encode()
    if record_type in (5, 7, 8):
        key += b"\0\x16" + MEMBER.encode()
    found = records.decode(key, bytes.fromhex(value))
    assert found == expected
    assert records.encode(found) == (key, bytes.fromhex(value))


def test_every_group_record_of_the_fixtures_is_written_as_kafka_wrote_it():
    count = 0
    for name in corpus.case_names():
        for directory, rows in corpus.case(name).records.items():
            if "__consumer_offsets" in directory:
                count += sum(_same_bytes(row) for row in rows if not row["isControl"])
    assert count > 10


def _same_bytes(row) -> bool:
    key = bytes.fromhex(row["key"])
    value = None if row["value"] is None else bytes.fromhex(row["value"])
    found = records.decode(key, value)
    if isinstance(found, offsets.GroupMetadata):
        assert records.group_metadata_record(found.group, found.value) == (key, value)
    elif isinstance(found, offsets.OffsetCommit):
        assert offsets.encode_key(*found.key) == key
        assert value is None or offsets.encode_value(found.value) == value
    elif not isinstance(found, offsets.OtherRecord):
        assert records.encode(found) == (key, value)
    return True


names = st.text(max_size=20)
epochs = st.integers(-2, 2**31 - 1)
numbers = st.dictionaries(st.integers(0, 2**31 - 1), epochs, max_size=4)
owned = st.dictionaries(st.binary(min_size=16, max_size=16), numbers, max_size=3)
metadata = st.builds(
    MemberMetadata, st.none() | names, st.none() | names, names, names, st.lists(names, max_size=3).map(tuple),
    st.none() | names, epochs, st.none() | names, st.none() | st.binary(min_size=2, max_size=9),
)  # fmt: skip
currents = st.builds(CurrentAssignment, epochs, epochs, st.integers(0, 127), owned, owned)
targets = st.dictionaries(st.binary(min_size=16, max_size=16), st.sets(st.integers(0, 99)).map(sorted).map(tuple))
int64 = st.integers(-(2**63), 2**63 - 1)
regexes = st.builds(ResolvedRegex, st.sets(names, max_size=3).map(sorted).map(tuple), int64, int64)


@given(
    st.builds(ConsumerGroupMetadata, names, epochs, int64, int64)
    | names.map(lambda name: ConsumerGroupMetadata(name, None))
    | names.map(lambda name: ConsumerGroupTargetEpoch(name, None))
    | st.builds(
        ConsumerGroupPartitionMetadata, names, st.none() | st.binary(max_size=9).map(lambda rest: b"\0\0" + rest)
    )
    | st.builds(ConsumerGroupMember, names, names, st.none() | metadata)
    | st.builds(ConsumerGroupTargetEpoch, names, epochs, int64)
    | st.builds(ConsumerGroupTarget, names, names, st.none() | targets)
    | st.builds(ConsumerGroupCurrent, names, names, st.none() | currents)
    | st.builds(ConsumerGroupRegex, names, names, st.none() | regexes)
)
def test_round_trip(record):
    assert records.decode(*records.encode(record)) == record


def test_assignments_of_before_kip_1251_have_the_epoch_of_their_member():
    value = bytes.fromhex("0000000000070000000600" + "02" + TOPIC.hex() + "02" + "00000001" + "00" + "01" + "00")
    found = records.decode(records.encode(ConsumerGroupCurrent("g", "m", None))[0], value)
    assert found.value == CurrentAssignment(7, 6, 0, {TOPIC: {1: 7}}, {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"\0\x03\0\x01g\0", None),
        (b"\0\x05\0\x01g", None),
        (b"\0\x03\0\x01g", b"\0\x01\0\0\0\x02\0"),
        (b"\0\x03\0\x01g", b"\0\0\0\0\0\x02\0\0"),
        (b"\0\x03\0\x01g", b"\0\0\0"),
        (b"\0\x08\0\x01g\0\x01m", b"\0\0\0\0\0\x07\0\0\0\x06\0\x02" + TOPIC + b"\x02\0\0\0\1\x01\0\x05\x03" + bytes(8)),
    ],
)
def test_bytes_that_are_no_group_record(key, value):
    with pytest.raises(ValueError):
        records.decode(key, value)
