"""Group records: byte for byte what Kafka 4.3.1 wrote, and every version both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.groups import offsets
from kstore.groups.offsets import OffsetCommit, OffsetKey, OffsetValue

TOPIC_ID = bytes.fromhex("375e3db243df451cb6aa1081d8ea4ef0")

# Written by a Kafka 4.3.1 broker.
KEY = bytes.fromhex("0001000e696e2d7472616e73616374696f6e00066f726465727300000001")
VALUE = bytes.fromhex("00040000000000000049ffffffff11696e2061207472616e73616374696f6e000001a20ac1cb1200")
GROUP_KEY = bytes.fromhex("0002000d636c61737369632d67726f7570")
GROUP_VALUE = bytes.fromhex("0003000000000000ffffffff000001a20ac1cde300000000")


def test_reads_what_kafka_wrote():
    commit = offsets.decode(KEY, VALUE)
    assert commit == OffsetCommit(
        OffsetKey("in-transaction", "orders", 1),
        OffsetValue(73, -1, "in a transaction", 1795476802322),
    )


def test_writes_what_kafka_wrote():
    assert offsets.encode_commit(
        "in-transaction", "orders", 1, 73, metadata="in a transaction", commit_timestamp_ms=1795476802322
    ) == (KEY, VALUE)


def test_topic_id_stands_in_the_tagged_fields():
    _, value = offsets.encode_commit("g", "orders", 0, 5, commit_timestamp_ms=9, topic_id=TOPIC_ID)
    assert value.endswith(b"\x01\x00\x10" + TOPIC_ID)
    assert offsets.decode_value(value).topic_id == TOPIC_ID


def test_a_record_without_value_deletes():
    assert offsets.decode(KEY, None) == OffsetCommit(OffsetKey("in-transaction", "orders", 1), None)
    assert offsets.decode(GROUP_KEY, None) == offsets.GroupMetadata("classic-group", None)


def test_classic_group_metadata():
    state = offsets.GroupState("", 0, None, None, 1795476803043, ())
    assert offsets.decode(GROUP_KEY, GROUP_VALUE) == offsets.GroupMetadata("classic-group", state)


def test_classic_group_members():
    member = b"\0\x01m\xff\xff\0\x01c\0\x02/h" + (300000).to_bytes(4, "big") + (45000).to_bytes(4, "big")
    value = b"\0\x03\0\x08consumer\0\0\0\x01\0\x05range\0\x01m" + (7).to_bytes(8, "big") + b"\0\0\0\x01" + member
    value += b"\0\0\0\x02su\0\0\0\x01a"
    group = offsets.decode(GROUP_KEY, value)
    assert group.value.members == (offsets.GroupMember("m", None, "c", "/h", 300000, 45000, b"su", b"a"),)
    assert (group.value.protocol, group.value.leader, group.value.generation) == ("range", "m", 1)


@pytest.mark.parametrize("record_type", [3, 8, 16, 23, 99])
def test_other_groups_are_known_by_type(record_type):
    assert offsets.decode(record_type.to_bytes(2, "big") + b"anything", b"") == offsets.OtherRecord(record_type)


@given(
    st.text(max_size=30), st.text(max_size=30), st.integers(0, 2**31 - 1), st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=50), st.integers(0, 4), st.none() | st.binary(min_size=16, max_size=16),
)  # fmt: skip
def test_round_trip_of_every_version(group, topic, partition, offset, metadata, version, topic_id):
    value = OffsetValue(offset, 3 if version >= 3 else -1, metadata, 1, 2 if version == 1 else -1,
                        topic_id if version == 4 else None)  # fmt: skip
    key = offsets.encode_key(group, topic, partition)
    assert offsets.decode(key, offsets.encode_value(value, version=version)) == ((group, topic, partition), value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", None),
        (b"\xff\xff", None),
        (KEY[:-1], None),
        (KEY + b"\0", None),
        (KEY, b""),
        (KEY, VALUE[:-1]),
        (KEY, VALUE + b"\0"),
        (KEY, b"\x00\x05" + VALUE[2:]),
        (KEY, VALUE[:-1] + b"\x01\x00\x02ab"),
        (GROUP_KEY, GROUP_VALUE[:-4] + b"\x7f\xff\xff\xff"),
    ],
)
def test_other_bytes_are_refused(key, value):
    with pytest.raises(ValueError):
        offsets.decode(key, value)


def test_versions_that_do_not_exist_are_not_written():
    with pytest.raises(ValueError, match="versions 0 to 4"):
        offsets.encode_value(OffsetValue(1), version=5)


def test_java_hash():
    assert offsets.java_string_hash("") == 0
    assert offsets.java_string_hash("hello") == 99162322
    assert offsets.java_string_hash("polygenelubricants") == -(2**31)
    assert offsets.java_string_hash("🙂") == 31 * 0xD83D + 0xDE42


@pytest.mark.parametrize(
    ("group", "partition"),
    [("in-transaction", 0), ("classic-group", 0), ("consumer-group", 0), ("lone", 0), ("deleted-group", 1)],
)
def test_partition_of_a_group(group, partition):
    assert offsets.partition_for(group, 2) == partition  # where a broker with two partitions put them


def test_the_hash_whose_absolute_value_overflows_goes_to_partition_0():
    assert offsets.partition_for("polygenelubricants", 50) == 0
