"""Configuration of topics and of a log directory: Kafka's keys, defaults and validation, as classes.

Owns the meaning of every key: its type, range and default. Knows nothing of files or of where a configuration is
kept. Called by `store` (topics, the directory) and by the command line. Sources: LogConfig, ServerLogConfigs and
TopicConfig of Apache Kafka 4.3.

Invariants: a `TopicConfig` that exists is valid; unknown keys never pass silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kstore.config.keys import Config, flag, level, one_of, part, policies, ratio, setting, text, whole
from kstore.errors import InvalidConfig
from kstore.limits import INT32_MAX, INT64_MAX
from kstore.nearest import nearest

CODECS: Final = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")


class TopicConfig(Config):
    """Topic configuration (org.apache.kafka.common.config.TopicConfig)."""

    segment_bytes: int = setting(1 << 30, whole(1 << 20, INT32_MAX), "size at which a segment rolls")
    segment_ms: int = setting(604_800_000, whole(1), "record time that one segment may span")
    segment_jitter_ms: int = setting(0, whole(0), "random part taken off segment.ms")
    segment_index_bytes: int = setting(10 << 20, whole(4, INT32_MAX), "size limit of each index file")
    internal_segment_bytes: int | None = setting(None, whole(14, INT32_MAX), "segment.bytes without its floor")
    index_interval_bytes: int = setting(4096, whole(0, INT32_MAX), "log bytes between index entries")
    cleanup_policy: tuple[str, ...] = setting(("delete",), policies, "delete, compact, or both")
    compression_type: str = setting("producer", one_of(*CODECS), "codec of stored batches")
    compression_gzip_level: int = setting(-1, level(1, 9, -1), "gzip level")
    compression_lz4_level: int = setting(9, level(1, 17), "lz4 level")
    compression_zstd_level: int = setting(3, level(-131072, 22), "zstd level")
    max_message_bytes: int = setting(1_048_588, whole(0, INT32_MAX), "largest batch, header included")
    message_timestamp_type: str = setting(
        "CreateTime", one_of("CreateTime", "LogAppendTime"), "whose clock stamps records"
    )
    message_timestamp_before_max_ms: int = setting(INT64_MAX, whole(0), "how old a record may claim to be")
    message_timestamp_after_max_ms: int = setting(3_600_000, whole(0), "how far ahead a record may claim to be")
    flush_messages: int = setting(INT64_MAX, whole(1), "records between fsyncs; 1 makes every append durable")
    flush_ms: int = setting(INT64_MAX, whole(0), "time between fsyncs")
    retention_bytes: int = setting(-1, whole(-1), "size that a partition keeps; -1: no limit")
    retention_ms: int = setting(604_800_000, whole(-1), "age that a partition keeps; -1: no limit")
    delete_retention_ms: int = setting(86_400_000, whole(0), "how long tombstones outlive compaction")
    file_delete_delay_ms: int = setting(60_000, whole(0), "wait before a deleted file is removed")
    min_cleanable_dirty_ratio: float = setting(0.5, ratio, "dirty share that starts compaction")
    min_compaction_lag_ms: int = setting(0, whole(0), "age before a record may be compacted")
    max_compaction_lag_ms: int = setting(INT64_MAX, whole(1), "age by which a record is compacted")
    min_insync_replicas: int = setting(1, whole(1, INT32_MAX), "replicas that acks=all waits for")
    preallocate: bool = setting(False, flag, "reserve the whole segment when it is made")
    unclean_leader_election_enable: bool = setting(False, flag, "elect a replica that may lack records")
    leader_replication_throttled_replicas: str = setting("", text, "replicas throttled on the leader")
    follower_replication_throttled_replicas: str = setting("", text, "replicas throttled on followers")
    remote_storage_enable: bool = setting(False, flag, "tiered storage")
    remote_log_copy_disable: bool = setting(False, flag, "stop copying to the remote tier")
    remote_log_delete_on_disable: bool = setting(False, flag, "drop remote data when tiering is disabled")
    local_retention_bytes: int = setting(-2, whole(-2), "size kept locally; -2: as retention.bytes")
    local_retention_ms: int = setting(-2, whole(-2), "age kept locally; -2: as retention.ms")

    def check(self) -> None:
        """Refuse a minimal compaction lag above the maximal one, as LogConfig.validateValues does."""
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms:
            raise InvalidConfig(
                f"min.compaction.lag.ms={self.min_compaction_lag_ms} is above "
                f"max.compaction.lag.ms={self.max_compaction_lag_ms}"
            )

    @property
    def roll_bytes(self) -> int:
        """The size at which segments roll: `internal.segment.bytes` where set, else `segment.bytes`."""
        return self.segment_bytes if self.internal_segment_bytes is None else self.internal_segment_bytes

    @property
    def compacts(self) -> bool:
        """Whether compaction may take records out of the middle of the log, and leave holes between offsets.

        What it took out before the policy was changed stays out: False does not say that there are no holes.
        """
        return "compact" in self.cleanup_policy


BROKER_SYNONYMS: Final = {
    "log.segment.bytes": "segment.bytes",
    "log.roll.ms": "segment.ms",
    "log.index.interval.bytes": "index.interval.bytes",
    "log.index.size.max.bytes": "segment.index.bytes",
    "log.cleanup.policy": "cleanup.policy",
    "compression.type": "compression.type",
    "message.max.bytes": "max.message.bytes",
    "log.message.timestamp.type": "message.timestamp.type",
    "log.flush.interval.messages": "flush.messages",
    "log.flush.interval.ms": "flush.ms",
    "log.retention.bytes": "retention.bytes",
    "log.retention.ms": "retention.ms",
    "log.preallocate": "preallocate",
    "min.insync.replicas": "min.insync.replicas",
    "unclean.leader.election.enable": "unclean.leader.election.enable",
    "compression.gzip.level": "compression.gzip.level",
    "compression.lz4.level": "compression.lz4.level",
    "compression.zstd.level": "compression.zstd.level",
    "log.cleaner.delete.retention.ms": "delete.retention.ms",
    "log.cleaner.max.compaction.lag.ms": "max.compaction.lag.ms",
    "log.cleaner.min.cleanable.ratio": "min.cleanable.dirty.ratio",
    "log.cleaner.min.compaction.lag.ms": "min.compaction.lag.ms",
    "log.local.retention.bytes": "local.retention.bytes",
    "log.local.retention.ms": "local.retention.ms",
    "log.message.timestamp.after.max.ms": "message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms": "message.timestamp.before.max.ms",
    "log.roll.jitter.ms": "segment.jitter.ms",
    "log.segment.delete.delay.ms": "file.delete.delay.ms",
}
"""Broker keys that are the default of a topic key (ServerTopicConfigSynonyms)."""


class StoreConfig(Config):
    """Configuration of a log directory: the broker keys that a storage engine has a use for.

    Broker keys which are the default of a topic key (`log.segment.bytes`, `message.max.bytes`, ...) are accepted
    too and end up in `topic_defaults`.
    """

    node_id: int = setting(1, whole(0, INT32_MAX), "node id written to meta.properties of a new directory")
    num_partitions: int = setting(1, whole(1, INT32_MAX), "partitions of a topic created without a number")
    log_flush_scheduler_interval_ms: int = setting(
        1000, whole(0), "how long appended bytes may wait for the background flush; 0: no background flush"
    )
    log_flush_offset_checkpoint_interval_ms: int = setting(
        60_000, whole(1), "the longest time between writes of the recovery points; they go with the high watermarks too"
    )
    replica_high_watermark_checkpoint_interval_ms: int = setting(
        5_000, whole(1), "time between writes of the high watermarks, and of the recovery points with them"
    )
    producer_id_expiration_ms: int = setting(86_400_000, whole(1), "idle time after which a producer is forgotten")
    topic_defaults: TopicConfig = part(TopicConfig())

    @property
    def checkpoint_interval_ms(self) -> int:
        """How often all checkpoints of the root are written: they go together, so the shorter of both times."""
        return min(self.log_flush_offset_checkpoint_interval_ms, self.replica_high_watermark_checkpoint_interval_ms)

    @classmethod
    def parse(cls, values: Mapping[str, Any] | None) -> StoreConfig:
        """Read broker keys; a topic key's broker name becomes a default for topics.

        Raises `InvalidConfig` for an unknown key or a bad value.
        """
        own: dict[str, Any] = {}
        topic: dict[str, Any] = {}
        known = cls.keys()
        for key, value in (values or {}).items():
            if key in known:
                own[known[key].name] = known[key].read(key, value)
            elif key in BROKER_SYNONYMS:
                topic[BROKER_SYNONYMS[key]] = value
            else:
                raise InvalidConfig(f"unknown config {key!r}{nearest(key, [*known, *BROKER_SYNONYMS])}")
        return cls(topic_defaults=TopicConfig.parse(topic), **own)

    def topic(self, values: Mapping[str, Any] | None) -> TopicConfig:
        """A topic's configuration over this directory's defaults; raises `InvalidConfig`."""
        return TopicConfig.parse({**self.topic_defaults.changed(), **(values or {})})
