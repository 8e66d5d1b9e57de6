"""Names: exactly Kafka's, and nothing else passes a parser."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore import limits
from kstore.errors import InvalidTopicName
from kstore.log import names

TOPICS = st.from_regex(r"[a-zA-Z0-9._-]{1,249}", fullmatch=True).filter(lambda topic: topic not in (".", ".."))


@pytest.mark.parametrize("topic", ["a", "orders", "a.b_c-d", "-", "...", "A" * 249, "__consumer_offsets", "0"])
def test_accepts_what_kafka_accepts(topic):
    names.validate_topic_name(topic)


@pytest.mark.parametrize(
    "topic",
    ["", ".", "..", "A" * 250, "a/b", "a\0b", "a b", "é", "a\n", "\n", "٣", "a:b", "a\\b", "../x"],
)
def test_refuses_what_kafka_refuses_and_says_what_is_allowed(topic):
    with pytest.raises(InvalidTopicName, match="1 to 249 ASCII letters, digits"):
        names.validate_topic_name(topic)
    assert not names.is_valid_topic_name(topic)


def test_message_of_a_huge_name_stays_short():
    with pytest.raises(InvalidTopicName) as caught:
        names.validate_topic_name("x" * 32768)
    assert len(str(caught.value)) < 250
    assert "32768" in str(caught.value)


def test_dots_and_underscores_collide():
    assert names.topics_collide("a.b", "a_b")
    assert names.topics_collide("a.b", "a.b")
    assert not names.topics_collide("a.b", "a-b")


def test_internal_topics():
    assert names.is_internal_topic("__consumer_offsets")
    assert not names.is_internal_topic("orders")
    assert not names.is_internal_topic("__cluster_metadata")


@given(TOPICS, st.integers(0, limits.INT32_MAX))
def test_live_directories_round_trip(topic, partition):
    name = names.partition_dir_name(topic, partition)
    assert names.parse_dir_name(name) == names.PartitionDir(topic, partition, "live", "")


def test_the_largest_partition():
    assert names.parse_dir_name("t-2147483647") == names.PartitionDir("t", limits.INT32_MAX, "live", "")


@given(TOPICS, st.integers(0, limits.INT32_MAX), st.sampled_from(["delete", "stray", "future"]))
def test_marked_directories_round_trip(topic, partition, kind):
    unique_id = "0123456789abcdef" * 2
    name = getattr(names, f"{kind}_dir_name")(topic, partition, unique_id)
    parsed = names.parse_dir_name(name)
    if parsed is None:  # a topic cut to '.' or '..' is none
        assert kind != "future"
        assert len(name) == 255
        return
    assert parsed[1:] == (partition, kind, unique_id)
    assert topic.startswith(parsed.topic)
    if kind == "future":
        assert parsed.topic == topic
    else:
        assert len(name) <= 255


def test_names_of_marked_directories_fit_a_file_name_but_those_that_move():
    topic = "t" * 249
    assert len(names.delete_dir_name(topic, 12, "0" * 32)) == 255
    assert len(names.stray_dir_name(topic, 12, "0" * 32)) == 255
    assert names.future_dir_name(topic, 12, "0" * 32) == topic + "-12." + "0" * 32 + "-future"


def test_a_topic_that_ends_like_a_marked_directory_is_still_a_topic():
    name = "a-0." + "0" * 32 + "-delete-3"
    assert names.parse_dir_name(name) == names.PartitionDir("a-0." + "0" * 32 + "-delete", 3, "live", "")
    assert names.parse_dir_name("x-future-0") == names.PartitionDir("x-future", 0, "live", "")


def test_unique_ids_differ():
    assert names.delete_dir_name("a", 0) != names.delete_dir_name("a", 0)
    parsed = names.parse_dir_name(names.stray_dir_name("a-b", 7))
    assert parsed is not None
    assert parsed[:3] == ("a-b", 7, "stray")


def test_kafkas_own_delete_directory():
    name = "doomed-0.93c8bdbbd0f04a9f8f59a9aa1ee3bb6f-delete"
    assert names.parse_dir_name(name) == names.PartitionDir("doomed", 0, "delete", "93c8bdbbd0f04a9f8f59a9aa1ee3bb6f")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "orders",
        "-0",
        "orders-",
        "orders-00",
        "orders-01",
        "orders-+1",
        "orders--1x",
        "orders-1_0",
        "orders-2147483648",
        "orders-99999999999",
        "orders-1\n",
        "orders-٣",
        "remote-log-index-cache",
        "lost+found",
        ".-0",
        "..-0",
        "a/b-0",
        "orders-0.xyz-delete",
        "orders-0-delete",
    ],
)
def test_foreign_directories_mean_nothing(name):
    assert names.parse_dir_name(name) is None


@given(
    st.integers(0, limits.INT64_MAX),
    st.sampled_from(["log", "index", "timeindex", "txnindex", "snapshot"]),
    st.sampled_from(["", ".deleted", ".cleaned", ".swap"]),
)
def test_files_round_trip(offset, kind, suffix):
    assert names.parse_file_name(names.file_name(offset, kind, suffix)) == names.LogFile(offset, kind, suffix)


def test_file_names_are_kafkas():
    assert names.log_name(0) == "00000000000000000000.log"
    assert names.index_name(103) == "00000000000000000103.index"
    assert names.timeindex_name(103) == "00000000000000000103.timeindex"
    assert names.txnindex_name(limits.INT64_MAX) == "09223372036854775807.txnindex"
    assert names.snapshot_name(150) == "00000000000000000150.snapshot"


@pytest.mark.parametrize(
    "name",
    [
        "0.log",
        "00000000000000000000.log.tmp",
        "00000000000000000000.log2",
        "00000000000000000000.logs",
        "09223372036854775808.log",
        "99999999999999999999.log",
        "0000000000000000000a.log",
        "-0000000000000000001.log",
        "00000000000000000000.log\n",
        "000000000000000000000.log",
        "00000000000000000027-0000000001.checkpoint",
        "leader-epoch-checkpoint",
        "kstore-seals",
    ],
)
def test_foreign_files_mean_nothing(name):
    assert names.parse_file_name(name) is None


def test_names_sort_as_offsets():
    offsets = [0, 9, 10, 99, 10**18, limits.INT64_MAX]
    assert sorted(map(names.log_name, reversed(offsets))) == [names.log_name(offset) for offset in offsets]


@given(st.binary(min_size=16, max_size=16))
def test_ids_round_trip(uuid):
    text = names.uuid_to_text(uuid)
    assert len(text) == 22
    assert text == base64.urlsafe_b64encode(uuid).decode().rstrip("=")
    assert names.uuid_from_text(text) == uuid


def test_reserved_ids_print_as_kafkas():
    assert names.uuid_to_text(names.METADATA_TOPIC_ID) == "AAAAAAAAAAAAAAAAAAAAAQ"
    assert names.uuid_to_text(names.ZERO_UUID) == "A" * 22


@pytest.mark.parametrize(
    "text",
    ["", "A" * 21, "A" * 23, "A" * 22 + "==", "A" * 21 + "B", "+" * 22, "/" + "A" * 21, "é" * 22, " " + "A" * 21],
)
def test_what_is_no_id(text):
    with pytest.raises(ValueError, match="22 characters of base64url"):
        names.uuid_from_text(text)


def test_short_ids_cannot_be_printed():
    with pytest.raises(ValueError, match="16 bytes, not 15"):
        names.uuid_to_text(bytes(15))


def test_random_ids_are_version_4_and_never_start_with_a_dash():
    draws = iter([b"\xf8" + bytes(15), b"\xfb" * 16, b"\x02" * 16])
    uuid = names.random_uuid(lambda count: next(draws))
    assert uuid == bytes.fromhex("02020202020242028202020202020202")
    assert uuid[6] >> 4 == 4
    assert uuid[8] >> 6 == 2
    assert names.random_uuid() != names.random_uuid()
