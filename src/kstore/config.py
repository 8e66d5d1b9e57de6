"""Configuration: Kafka's keys, Kafka's defaults, Kafka's validation, as frozen dataclasses.

Owns the meaning of every key: its type, range and default. A field `segment_bytes` is the key `segment.bytes`. Knows
nothing of files or of where a configuration is kept. Called by `store` (topics, the directory) and by the command
line. Sources: LogConfig, ServerLogConfigs and TopicConfig of Apache Kafka 4.3.

Invariants: a `TopicConfig` that exists is valid; unknown keys never pass silently.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from kstore.errors import InvalidConfig
from kstore.limits import INT32_MAX, INT64_MAX

CODECS: Final = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")

Value = int | float | bool | str | list[str] | tuple[str, ...]
T = TypeVar("T", bound="_Config")


def _whole(low: int, high: int = INT64_MAX) -> Callable[[str, Any], int]:
    """A reader of whole numbers from `low` to `high`, both allowed."""

    def read(key: str, value: Any) -> int:
        try:
            if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
                raise ValueError
            number = int(value)
        except (TypeError, ValueError):
            raise InvalidConfig(f"{key}={value!r} is not a whole number") from None
        if not low <= number <= high:
            hint = (
                "; internal.segment.bytes makes smaller segments, for tests" if key == "segment.bytes" else ""
            )
            raise InvalidConfig(f"{key}={number} is outside {low} to {high}{hint}")
        return number

    return read


def _ratio(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidConfig(f"{key}={value!r} is not a number") from None
    if not 0 <= number <= 1:
        raise InvalidConfig(f"{key}={number} is outside 0 to 1")
    return number


def _flag(key: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise InvalidConfig(f"{key}={value!r} is neither true nor false")
    return text == "true"


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def read(key: str, value: Any) -> str:
        if value not in choices:
            raise InvalidConfig(
                f"{key}={value!r} is not one of {', '.join(choices)}{_nearest(str(value), choices)}"
            )
        return str(value)

    return read


def _policies(key: str, value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else list(value)
    policies = tuple(item.strip() for item in items if item.strip())
    for policy in policies:
        if policy not in ("delete", "compact"):
            raise InvalidConfig(
                f"{key} takes delete, compact or both, not {policy!r}{_nearest(policy, ('delete', 'compact'))}"
            )
    return policies


def _text(key: str, value: Any) -> str:
    return str(value)


def _level(low: int, high: int, extra: int | None = None) -> Callable[[str, Any], int]:
    whole = _whole(min(low, extra) if extra is not None else low, high)

    def read(key: str, value: Any) -> int:
        number = whole(key, value)
        if number < low and number != extra:
            raise InvalidConfig(f"{key}={number} is outside {low} to {high}")
        return number

    return read


def _key(default: Any, read: Callable[[str, Any], Any], doc: str) -> Any:
    return field(default=default, metadata={"read": read, "doc": doc})


def _nearest(word: str, choices: Any) -> str:
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


@dataclass(frozen=True)
class _Config:
    """Shared reading and writing of a group of keys."""

    @classmethod
    @functools.cache
    def keys(cls) -> dict[str, dataclasses.Field[Any]]:
        """Kafka's key of each field, in order."""
        return {f.name.replace("_", "."): f for f in dataclasses.fields(cls)}

    @classmethod
    def parse(cls: type[T], values: Mapping[str, Any] | None) -> T:
        """Read a mapping of Kafka's keys; strings as in a properties file and Python values are both fine.

        Raises `InvalidConfig` for an unknown key (naming the nearest right one) and for a value out of range.
        """
        known = cls.keys()
        fields: dict[str, Any] = {}
        for key, value in (values or {}).items():
            if key not in known:
                raise InvalidConfig(f"unknown {cls.subject()} config {key!r}{_nearest(key, known)}")
            fields[known[key].name] = known[key].metadata["read"](key, value)
        config = cls(**fields)
        config.check()
        return config

    @classmethod
    def subject(cls) -> str:
        """What the keys configure, for messages."""
        return cls.__name__.removesuffix("Config").lower()

    def check(self) -> None:
        """Raise `InvalidConfig` where keys contradict each other."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.changed().items())})"

    def changed(self) -> dict[str, str]:
        """The keys that differ from their defaults, as Kafka's strings."""
        return {
            key: render(getattr(self, f.name))
            for key, f in self.keys().items()
            if getattr(self, f.name) != f.default
        }


def render(value: Any) -> str:
    """A value as Kafka writes it in properties files and metadata records."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


@dataclass(frozen=True, repr=False)
class TopicConfig(_Config):
    """Topic configuration (org.apache.kafka.common.config.TopicConfig)."""

    segment_bytes: int = _key(1 << 30, _whole(1 << 20, INT32_MAX), "size at which a segment rolls")
    segment_ms: int = _key(604_800_000, _whole(1), "record time that one segment may span")
    segment_jitter_ms: int = _key(0, _whole(0), "random part taken off segment.ms")
    segment_index_bytes: int = _key(10 << 20, _whole(4, INT32_MAX), "size limit of each index file")
    internal_segment_bytes: int | None = _key(None, _whole(14, INT32_MAX), "segment.bytes without its floor")
    index_interval_bytes: int = _key(4096, _whole(0, INT32_MAX), "log bytes between index entries")
    cleanup_policy: tuple[str, ...] = _key(("delete",), _policies, "delete, compact, or both")
    compression_type: str = _key("producer", _one_of(*CODECS), "codec of stored batches")
    compression_gzip_level: int = _key(-1, _level(1, 9, -1), "gzip level")
    compression_lz4_level: int = _key(9, _level(1, 17), "lz4 level")
    compression_zstd_level: int = _key(3, _level(-131072, 22), "zstd level")
    max_message_bytes: int = _key(1_048_588, _whole(0, INT32_MAX), "largest batch, header included")
    message_timestamp_type: str = _key(
        "CreateTime", _one_of("CreateTime", "LogAppendTime"), "whose clock stamps records"
    )
    message_timestamp_before_max_ms: int = _key(INT64_MAX, _whole(0), "how old a record may claim to be")
    message_timestamp_after_max_ms: int = _key(3_600_000, _whole(0), "how far ahead a record may claim to be")
    flush_messages: int = _key(INT64_MAX, _whole(1), "records between fsyncs; 1 makes every append durable")
    flush_ms: int = _key(INT64_MAX, _whole(0), "time between fsyncs")
    retention_bytes: int = _key(-1, _whole(-1), "size that a partition keeps; -1: no limit")
    retention_ms: int = _key(604_800_000, _whole(-1), "age that a partition keeps; -1: no limit")
    delete_retention_ms: int = _key(86_400_000, _whole(0), "how long tombstones outlive compaction")
    file_delete_delay_ms: int = _key(60_000, _whole(0), "wait before a deleted file is removed")
    min_cleanable_dirty_ratio: float = _key(0.5, _ratio, "dirty share that starts compaction")
    min_compaction_lag_ms: int = _key(0, _whole(0), "age before a record may be compacted")
    max_compaction_lag_ms: int = _key(INT64_MAX, _whole(1), "age by which a record is compacted")
    min_insync_replicas: int = _key(1, _whole(1, INT32_MAX), "replicas that acks=all waits for")
    preallocate: bool = _key(False, _flag, "reserve the whole segment when it is made")
    unclean_leader_election_enable: bool = _key(False, _flag, "elect a replica that may lack records")
    leader_replication_throttled_replicas: str = _key("", _text, "replicas throttled on the leader")
    follower_replication_throttled_replicas: str = _key("", _text, "replicas throttled on followers")
    remote_storage_enable: bool = _key(False, _flag, "tiered storage")
    remote_log_copy_disable: bool = _key(False, _flag, "stop copying to the remote tier")
    remote_log_delete_on_disable: bool = _key(False, _flag, "drop remote data when tiering is disabled")
    local_retention_bytes: int = _key(-2, _whole(-2), "size kept locally; -2: as retention.bytes")
    local_retention_ms: int = _key(-2, _whole(-2), "age kept locally; -2: as retention.ms")

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
    def dense(self) -> bool:
        """Whether offsets follow one another without holes: true unless compaction may take records out."""
        return "compact" not in self.cleanup_policy


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
}
"""Broker keys that are the default of a topic key (ServerTopicConfigSynonyms)."""


@dataclass(frozen=True, repr=False)
class StoreConfig(_Config):
    """Configuration of a log directory: the broker keys that a storage engine has a use for.

    Broker keys which are the default of a topic key (`log.segment.bytes`, `message.max.bytes`, ...) are accepted
    too and end up in `topic_defaults`.
    """

    node_id: int = _key(1, _whole(0, INT32_MAX), "node id written to meta.properties of a new directory")
    num_partitions: int = _key(1, _whole(1, INT32_MAX), "partitions of a topic created without a number")
    log_flush_scheduler_interval_ms: int = _key(
        1000, _whole(0), "how long appended bytes may wait for the background flush; 0: no background flush"
    )
    log_flush_offset_checkpoint_interval_ms: int = _key(
        60_000, _whole(1), "time between writes of the recovery points"
    )
    producer_id_expiration_ms: int = _key(86_400_000, _whole(1), "idle time after which a producer is forgotten")
    topic_defaults: TopicConfig = field(default_factory=TopicConfig)

    @classmethod
    @functools.cache
    def keys(cls) -> dict[str, dataclasses.Field[Any]]:
        """Kafka's key of each field but `topic_defaults`, which the synonyms fill."""
        return {f.name.replace("_", "."): f for f in dataclasses.fields(cls) if f.name != "topic_defaults"}

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
                own[known[key].name] = known[key].metadata["read"](key, value)
            elif key in BROKER_SYNONYMS:
                topic[BROKER_SYNONYMS[key]] = value
            else:
                raise InvalidConfig(f"unknown config {key!r}{_nearest(key, [*known, *BROKER_SYNONYMS])}")
        return cls(topic_defaults=TopicConfig.parse(topic), **own)

    def topic(self, values: Mapping[str, Any] | None) -> TopicConfig:
        """A topic's configuration over this directory's defaults; raises `InvalidConfig`."""
        return TopicConfig.parse({**self.topic_defaults.changed(), **(values or {})})
