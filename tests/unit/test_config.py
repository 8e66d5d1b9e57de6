"""Configuration: Kafka's keys and defaults, every value checked, nothing unknown passes."""

from __future__ import annotations

import pytest

from kstore.config import BROKER_SYNONYMS, BrokerConfig, StoreConfig, TopicConfig
from kstore.errors import InvalidConfig

KAFKA_DEFAULTS = {
    "segment.bytes": 1073741824,
    "segment.ms": 604800000,
    "segment.jitter.ms": 0,
    "segment.index.bytes": 10485760,
    "index.interval.bytes": 4096,
    "cleanup.policy": ("delete",),
    "compression.type": "producer",
    "compression.gzip.level": -1,
    "compression.lz4.level": 9,
    "compression.zstd.level": 3,
    "max.message.bytes": 1048588,
    "message.timestamp.type": "CreateTime",
    "flush.messages": 2**63 - 1,
    "flush.ms": 2**63 - 1,
    "retention.bytes": -1,
    "retention.ms": 604800000,
    "delete.retention.ms": 86400000,
    "file.delete.delay.ms": 60000,
    "min.cleanable.dirty.ratio": 0.5,
    "min.compaction.lag.ms": 0,
    "max.compaction.lag.ms": 2**63 - 1,
    "min.insync.replicas": 1,
    "preallocate": False,
    "unclean.leader.election.enable": False,
}


@pytest.mark.parametrize(("key", "value"), KAFKA_DEFAULTS.items())
def test_defaults_are_kafkas(key, value):
    assert getattr(TopicConfig(), key.replace(".", "_")) == value


def test_strings_of_a_properties_file_and_python_values_mean_the_same():
    text = {"segment.bytes": "1048576", "preallocate": "TRUE", "cleanup.policy": "compact, delete"}
    written = TopicConfig.parse(text)
    typed = TopicConfig.parse({"segment.bytes": 1 << 20, "preallocate": True, "cleanup.policy": ["compact", "delete"]})
    assert written == typed
    assert written.cleanup_policy == ("compact", "delete")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segment.bytes", (1 << 20) - 1),
        ("segment.bytes", 2**31),
        ("segment.bytes", "many"),
        ("segment.bytes", 1.5),
        ("segment.bytes", True),
        ("segment.bytes", None),
        ("internal.segment.bytes", 13),
        ("segment.ms", 0),
        ("segment.index.bytes", 3),
        ("index.interval.bytes", -1),
        ("max.message.bytes", -1),
        ("retention.bytes", -2),
        ("retention.ms", -2),
        ("flush.messages", 0),
        ("min.cleanable.dirty.ratio", 1.01),
        ("min.cleanable.dirty.ratio", "half"),
        ("preallocate", "yes"),
        ("cleanup.policy", "squash"),
        ("compression.type", "brotli"),
        ("compression.gzip.level", 0),
        ("compression.gzip.level", 10),
        ("compression.lz4.level", 18),
        ("compression.zstd.level", 23),
        ("message.timestamp.type", "createtime"),
        ("min.insync.replicas", 0),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_key(key, value):
    with pytest.raises(InvalidConfig, match=key.replace(".", r"\.")):
        TopicConfig.parse({key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segment.bytes", 1 << 20),
        ("segment.bytes", 2**31 - 1),
        ("compression.gzip.level", -1),
        ("compression.gzip.level", 9),
        ("compression.zstd.level", -131072),
        ("min.cleanable.dirty.ratio", 0),
        ("min.cleanable.dirty.ratio", 1),
        ("retention.ms", -1),
        ("local.retention.ms", -2),
    ],
)
def test_the_ends_of_a_range_belong_to_it(key, value):
    assert getattr(TopicConfig.parse({key: value}), key.replace(".", "_")) == value


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("segment.byte", "segment.bytes"), ("retention", "retention"), ("cleanup.polic", "cleanup.policy")],
)
def test_an_unknown_key_names_the_nearest_one(key, nearest):
    with pytest.raises(InvalidConfig, match=f"unknown topic config '{key}'.*did you mean {nearest}"):
        TopicConfig.parse({key: 1})


def test_small_segments_are_refused_with_the_key_that_tests_use_instead():
    with pytest.raises(InvalidConfig, match=r"internal\.segment\.bytes"):
        TopicConfig.parse({"segment.bytes": 1000})
    assert TopicConfig.parse({"internal.segment.bytes": 1000}).roll_bytes == 1000
    assert TopicConfig().roll_bytes == 1 << 30


def test_the_smallest_compaction_lag_is_not_above_the_largest():
    with pytest.raises(InvalidConfig, match=r"min\.compaction\.lag\.ms=5 is above max\.compaction\.lag\.ms=4"):
        TopicConfig.parse({"min.compaction.lag.ms": 5, "max.compaction.lag.ms": 4})


def test_a_config_does_not_change():
    config = TopicConfig()
    with pytest.raises(AttributeError, match="segment_bytes"):
        config.segment_bytes = 1
    with pytest.raises(AttributeError, match="segment_bytes"):
        del config.segment_bytes
    assert config.segment_bytes == 1 << 30
    assert config == TopicConfig() != TopicConfig(segment_bytes=1)
    with pytest.raises(TypeError, match="segment_size"):
        TopicConfig(segment_size=1)


@pytest.mark.parametrize(("policy", "compacts"), [("delete", False), ("compact", True), ("compact,delete", True)])
def test_a_policy_says_whether_compaction_may_leave_holes(policy, compacts):
    assert TopicConfig.parse({"cleanup.policy": policy}).compacts is compacts


def test_broker_keys_become_the_defaults_of_topics():
    store = StoreConfig.parse({"log.segment.bytes": 2 << 20, "message.max.bytes": "77", "node.id": 4})
    assert store.node_id == 4
    assert store.topic(None).segment_bytes == 2 << 20
    assert store.topic({"segment.bytes": 3 << 20}).segment_bytes == 3 << 20
    assert store.topic({"segment.bytes": 3 << 20}).max_message_bytes == 77


def test_a_brokers_default_that_only_a_topic_acts_on_is_a_default_too():
    store = BrokerConfig.parse({"log.cleaner.delete.retention.ms": "7", "compression.zstd.level": "9"}).store
    assert (store.topic(None).delete_retention_ms, store.topic(None).compression_zstd_level) == (7, 9)


def test_every_broker_synonym_is_the_name_of_a_topic_key():
    assert set(BROKER_SYNONYMS.values()) <= set(TopicConfig.keys())


@pytest.mark.parametrize("key", ["log.segment.byte", "segment.bytes", "topic.defaults"])
def test_a_directory_takes_no_topic_key_and_no_unknown_one(key):
    with pytest.raises(InvalidConfig, match=f"unknown config '{key}'"):
        StoreConfig.parse({key: 1})
