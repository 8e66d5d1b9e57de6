"""Configurations as clients see them: each key with its value, where that comes from, and what else could set it.

Owns sources, synonyms, types and descriptions, and which keys kstore keeps without acting on them. Must not know
requests. Called by `configs` and `topics`. Sources and synonyms follow ConfigHelper and ServerTopicConfigSynonyms.

Invariants
1. A key that has no effect here says so in its description.
2. Only topics' keys can be changed; everything else is read-only.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kstore.config import BROKER_SYNONYMS, BrokerConfig, SecurityConfig, StoreConfig, TopicConfig, render
from kstore.config.keys import Setting
from kstore.errors import InvalidConfig
from kstore.limits import INT32_MAX

if TYPE_CHECKING:
    from kstore.broker.node import Broker
    from kstore.cluster.metadata import TopicInfo

TOPIC_SOURCE, STATIC_BROKER, DEFAULT_SOURCE = 1, 4, 5
BOOLEAN, STRING, INT, LONG, DOUBLE, LIST, PASSWORD = 1, 2, 3, 5, 6, 7, 9

INERT: Final = frozenset(
    """
    segment.jitter.ms flush.ms delete.retention.ms file.delete.delay.ms
    min.cleanable.dirty.ratio min.compaction.lag.ms max.compaction.lag.ms preallocate unclean.leader.election.enable
    leader.replication.throttled.replicas follower.replication.throttled.replicas remote.storage.enable
    remote.log.copy.disable remote.log.delete.on.disable local.retention.bytes local.retention.ms
    """.split()
)
"""Topic keys that are checked, kept and handed on by `graduate`, but change nothing that this broker does."""
INTERNAL: Final = frozenset({"internal.segment.bytes"})
"""Keys that Kafka does not show."""
INERT_NOTE = "kept, without effect here"

_BROKER_NAME: Final = {topic: broker for broker, topic in BROKER_SYNONYMS.items()}
_NO_DEFAULT: Final = frozenset({"log.flush.interval.ms", "log.roll.jitter.ms", "log.roll.ms"})
"""Broker keys that Kafka has no default for: they are derived from others, which it does not show with topics."""
_DEFAULT_AT: Final = {"log.retention.ms": ("log.retention.hours", "168")}
"""Where Kafka shows the default instead."""
GROUP_KEYS: Final = {
    "consumer.session.timeout.ms": "group.consumer.session.timeout.ms",
    "consumer.heartbeat.interval.ms": "group.consumer.heartbeat.interval.ms",
}
"""Keys of consumer groups, and the broker key that holds for all of them here."""


class Synonym(NamedTuple):
    """One place that could set a value, the strongest first."""

    name: str
    value: str | None
    source: int


class Entry(NamedTuple):
    """One key of a resource."""

    name: str
    value: str | None
    source: int
    read_only: bool
    type: int
    synonyms: tuple[Synonym, ...]
    documentation: str
    is_sensitive: bool = False
    """A password: its value is None, here and in its synonyms."""


def topic_entries(broker: Broker, topic: TopicInfo) -> list[Entry]:
    """Every key of a topic, sorted."""
    defaults = broker.store.config.topic_defaults
    kafkas = TopicConfig()
    entries = []
    for key, field in sorted(TopicConfig.keys().items()):
        if key in INTERNAL and key not in topic.overrides:
            continue
        value = render(getattr(topic.config, field.name))
        synonyms = [Synonym(key, value, TOPIC_SOURCE)] if key in topic.overrides else []
        if key in _BROKER_NAME:
            ours, theirs = getattr(defaults, field.name), getattr(kafkas, field.name)
            synonyms += _of_topic(broker.config, _BROKER_NAME[key], ours, theirs)
        doc = f"{field.doc} ({INERT_NOTE})" if key in INERT else field.doc
        source = synonyms[0].source if synonyms else DEFAULT_SOURCE
        entries.append(Entry(key, value, source, False, type_of(key, field), tuple(synonyms), doc))
    return entries


def broker_entries(config: BrokerConfig) -> list[Entry]:
    """Every key of the broker, topics' defaults and the directory's keys included, sorted."""
    rows: list[tuple[str, Setting, Any]] = [
        *((key, field, config) for key, field in BrokerConfig.keys().items()),
        *((key, field, config.security_for_all()) for key, field in SecurityConfig.keys().items()),
        *((key, field, config.store) for key, field in StoreConfig.keys().items()),
        *((name, TopicConfig.keys()[key], config.store.topic_defaults) for name, key in BROKER_SYNONYMS.items()),
    ]
    entries = []
    for key, field, holder in sorted(rows, key=lambda row: row[0]):
        synonyms = _of_broker(config, key, getattr(holder, field.name), field.default)
        if field.secret:
            synonyms = [one._replace(value=None) for one in synonyms]
        doc = field.doc
        if BROKER_SYNONYMS.get(key) in INERT:
            doc = f"{doc} ({INERT_NOTE})"
        entries.append(
            Entry(
                key,
                synonyms[0].value,
                synonyms[0].source,
                True,
                type_of(key, field),
                tuple(synonyms),
                doc,
                field.secret,
            )
        )
    return entries


def group_entries(config: BrokerConfig) -> list[Entry]:
    """What holds for every consumer group: the broker's values."""
    entries = []
    for key, broker_key in sorted(GROUP_KEYS.items()):
        field = BrokerConfig.keys()[broker_key]
        synonyms = _of_broker(config, broker_key, getattr(config, field.name), field.default)
        value, source = synonyms[0].value, synonyms[0].source
        entries.append(
            Entry(key, value, source, True, type_of(broker_key, field), tuple(synonyms), field.doc)
        )
    return entries


def _of_broker(config: BrokerConfig, name: str, value: Any, default: Any) -> list[Synonym]:
    is_set = name in config.given or value != default
    found = [Synonym(name, render(value), STATIC_BROKER)] if is_set else []
    return [*found, Synonym(name, render(default), DEFAULT_SOURCE)]


def _of_topic(config: BrokerConfig, name: str, value: Any, default: Any) -> list[Synonym]:
    """The broker keys behind a topic key; the default of some stands at another broker key, or is told nowhere."""
    *found, last = _of_broker(config, name, value, default)
    if name in _NO_DEFAULT:
        return found
    key, shown = _DEFAULT_AT.get(name, (name, last.value))
    return [*found, Synonym(key, shown, DEFAULT_SOURCE)]


@functools.cache
def type_of(key: str, field: Setting) -> int:
    """Kafka's type of a key, told by its default and by whether it takes more than 32 bits."""
    default: Any = field.default
    kind = type(default)
    if field.secret:
        return PASSWORD
    if kind is bool:
        return BOOLEAN
    if kind is float:
        return DOUBLE
    if kind is tuple:
        return LIST
    if kind is str:
        return STRING
    try:
        field.read(key, INT32_MAX + 1)
    except InvalidConfig:
        return INT
    return LONG


def inert_keys(overrides: Mapping[str, Any] | Iterable[str]) -> list[str]:
    """Which of these topic keys change nothing here."""
    return sorted(INERT.intersection(overrides))
