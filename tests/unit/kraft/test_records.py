"""Metadata records: Kafka's bytes both ways, and any bytes without harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.kraft import records

TOPIC_ID, DIRECTORY_ID = bytes(range(16)), bytes(range(16, 32))

# A partition record on which a Kafka 4.3.1 controller boots: no leader, node 1 eligible to become it.
PARTITION = bytes.fromhex(
    "01030200000000" + TOPIC_ID.hex() + "0200000001010101ffffffff0000000000000000"
    "02" + DIRECTORY_ID.hex() + "02"
    "01050200000001"
    "02050200000001"
)


def test_encodes_the_partition_that_boots():
    assert records.encode(
        records.PARTITION, 2, partitionId=0, topicId=TOPIC_ID, replicas=[1], isr=[], removingReplicas=[],
        addingReplicas=[], leader=-1, leaderEpoch=0, partitionEpoch=0, directories=[DIRECTORY_ID],
        eligibleLeaderReplicas=[1], lastKnownElr=[1],
    ) == PARTITION  # fmt: skip


def test_decodes_it():
    record = records.decode(PARTITION)
    assert (record.name, record.version) == ("PARTITION_RECORD", 2)
    assert record.data["leader"] == -1
    assert record.data["isr"] == []
    assert record.data["eligibleLeaderReplicas"] == [1]
    assert record.data["leaderRecoveryState"] == 0


def test_dumps_as_kafka_does():
    shown = records.to_json(records.decode(PARTITION))
    assert shown["type"] == "PARTITION_RECORD"
    assert list(shown["data"]) == [
        "partitionId", "topicId", "replicas", "isr", "removingReplicas", "addingReplicas", "leader", "leaderEpoch",
        "partitionEpoch", "directories", "eligibleLeaderReplicas", "lastKnownElr",
    ]  # fmt: skip
    assert shown["data"]["topicId"] == "AAECAwQFBgcICQoLDA0ODw"


def test_null_arrays_differ_from_empty_ones():
    for isr in (None, [], [1, 2]):
        value = records.encode(records.PARTITION_CHANGE, 0, partitionId=3, topicId=TOPIC_ID, isr=isr)
        assert records.decode(value).data["isr"] == isr


def test_versions_hide_fields():
    with pytest.raises(ValueError, match="directories"):
        records.encode(records.PARTITION_CHANGE, 0, partitionId=3, topicId=TOPIC_ID, directories=[])
    with pytest.raises(ValueError, match="missing"):
        records.encode(records.TOPIC, 0, name="x")
    with pytest.raises(ValueError, match="versions 0 to 0"):
        records.encode(records.TOPIC, 1, name="x", topicId=TOPIC_ID)


@pytest.mark.parametrize("value", [b"\x01\x63\x00anything", b"\x01\x02\x09anything"])
def test_what_is_newer_is_known_by_number(value):
    record = records.decode(value)
    assert record.data is None
    assert records.to_json(record)["data"] is None


@pytest.mark.parametrize(
    "value", [b"", b"\x02\x02\x00", b"\x01", PARTITION[:-1], PARTITION + b"\0", b"\x01\x02\x00\x00"]
)
def test_other_bytes_are_refused(value):
    with pytest.raises(ValueError):
        records.decode(value)


@given(st.binary(max_size=200), st.sampled_from(sorted(records.TYPES)), st.integers(0, 4))
def test_no_bytes_do_harm(data, api_key, version):
    try:
        record = records.decode(bytes([1, api_key, version]) + data)
    except ValueError:
        return
    records.to_json(record)


_VALUES = {
    "int8": st.integers(-128, 127), "int16": st.integers(-(2**15), 2**15 - 1), "uint16": st.integers(0, 2**16 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1), "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(allow_nan=False), "bool": st.booleans(), "uuid": st.binary(min_size=16, max_size=16),
    "string": st.text(max_size=9), "bytes": st.binary(max_size=9),
}  # fmt: skip


def _struct(fields, version):
    values = {}
    for field in fields:
        if field.since <= version:
            if field.items:
                one = st.lists(_struct(field.items, version), max_size=3)
            elif field.type.startswith("[]"):
                one = st.lists(_VALUES[field.type[2:]], max_size=3)
            else:
                one = _VALUES[field.type]
            values[field.name] = st.none() | one if field.nullable else one
    return st.fixed_dictionaries(values)


@given(st.data())
def test_round_trip_of_every_type_and_version(data):
    row = data.draw(st.sampled_from(list(records.TYPES.values())), label="type")
    version = data.draw(st.integers(0, row.version), label="version")
    values = data.draw(_struct(row.fields, version), label="values")
    value = records.encode(row.api_key, version, **values)
    assert records.decode(value) == (row.api_key, version, values)
