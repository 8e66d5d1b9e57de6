"""A broker as the commands reach it: confluent-kafka, imported when a broker is named and not before.

Owns how clients are set up and how their failures are told. Must not know commands. Called by those verbs of the
command line that take `--bootstrap-server`, and by the file applications.

Invariants
1. Nothing of confluent-kafka is imported without a broker's address; where it is missing `MissingClient` names the
   extra.
2. A failure is a `BrokerFailed` or an error of kstore's own, never a `KafkaException`.
3. librdkafka writes nothing to stderr: what matters comes back as a failure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kstore.errors import (
    BrokerFailed,
    InvalidConfig,
    InvalidTopicName,
    KStoreError,
    MissingClient,
    TopicExists,
    UnknownTopicOrPartition,
    UsageError,
)

TIMEOUT_S = 10.0
"""How long one request may take, the search for a broker included."""
RECORD_BYTES_MAX = 1_000_000_000
"""librdkafka's own limit of a record; the topic's max.message.bytes decides."""

_TYPED: dict[int, Callable[[str], KStoreError]] = {
    3: UnknownTopicOrPartition,
    17: InvalidTopicName,
    36: TopicExists,
    37: UsageError,
    38: UsageError,
    40: InvalidConfig,
}
"""Codes that say that the command was wrong, not that the broker failed."""
_SILENT = frozenset({"_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN", "_RESOLVE"})

_log = logging.getLogger("kstore.librdkafka")
_log.addHandler(logging.NullHandler())
_log.propagate = False


class Client:
    """One broker, or one cluster, by its address. Clients of librdkafka are made when they are needed."""

    def __init__(self, bootstrap: str) -> None:
        """Nothing is connected yet; raises `MissingClient`."""
        try:
            import confluent_kafka
            import confluent_kafka.admin
        except ImportError:
            raise MissingClient from None
        self.bootstrap = bootstrap
        self.kafka: Any = confluent_kafka
        self._admin: Any = None

    # -- librdkafka's clients -------------------------------------------------------------------------------

    def settings(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What every client is told."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": "kstore",
            "error_cb": lambda error: None,
            "reconnect.backoff.max.ms": 1000,
            **(more or {}),
        }

    def producer(self, **settings: Any) -> Any:
        """An idempotent producer that leaves no gap: it stops at the first record that cannot be stored."""
        known = {
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            "linger.ms": 5,
            "message.max.bytes": RECORD_BYTES_MAX,
            **{key.replace("_", "."): value for key, value in settings.items()},
        }
        with self.failures():
            return self.kafka.Producer(self.settings(known), logger=_log)

    def consumer(self, group: str, **settings: Any) -> Any:
        """A consumer that commits when it is told to, and says where partitions end."""
        known = {
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            # librdkafka's default lets a full queue stall a reader that empties it for a whole second.
            "fetch.queue.backoff.ms": 5,
            **{key.replace("_", "."): value for key, value in settings.items()},
        }
        with self.failures():
            return self.kafka.Consumer(self.settings(known), logger=_log)

    @property
    def admin(self) -> Any:
        """The admin client, one for the life of this object."""
        if self._admin is None:
            with self.failures():
                self._admin = self.kafka.admin.AdminClient(self.settings(), logger=_log)
        return self._admin

    # -- failures -------------------------------------------------------------------------------------------

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Turn what librdkafka raises inside into errors of kstore's."""
        try:
            yield
        except self.kafka.KafkaException as error:
            raise self.failure(error.args[0]) from None

    def failure(self, error: Any) -> KStoreError:
        """The error to raise for a KafkaError."""
        code, name, reason = error.code(), error.name(), error.str()
        if code in _TYPED:
            return _TYPED[code](reason)
        if name in _SILENT:
            return BrokerFailed(self.bootstrap, code, "no answer; is a broker running there? `kstore serve` starts one")
        return BrokerFailed(self.bootstrap, code, f"{reason} ({name})")

    def result(self, future: Any) -> Any:
        """What a future of the admin client brings."""
        with self.failures():
            return future.result(TIMEOUT_S)

    def one(self, futures: Mapping[Any, Any]) -> Any:
        """The result of the only future."""
        (future,) = futures.values()
        return self.result(future)

    # -- what several commands ask --------------------------------------------------------------------------

    def topic_names(self) -> list[str]:
        """Every topic, sorted; asking makes none."""
        with self.failures():
            return sorted(self.admin.list_topics(timeout=TIMEOUT_S).topics)

    def partitions_of(self) -> dict[str, tuple[int, ...]]:
        """Partition numbers by topic, for all topics: naming one would have it made."""
        with self.failures():
            found = self.admin.list_topics(timeout=TIMEOUT_S).topics
        return {name: tuple(sorted(topic.partitions)) for name, topic in sorted(found.items())}

    def topic_id(self, name: str) -> str | None:
        """A topic's id; None where the broker tells none."""
        found = self.one(self.admin.describe_topics(self.kafka.TopicCollection([name]), request_timeout=TIMEOUT_S))
        return None if found.topic_id is None else str(found.topic_id)

    def config(self, name: str) -> dict[str, Any]:
        """A topic's configuration by key: entries with `value` and `source`."""
        resource = self.kafka.admin.ConfigResource("topic", name)
        found: dict[str, Any] = self.one(self.admin.describe_configs([resource], request_timeout=TIMEOUT_S))
        return found

    def alter_topic(self, name: str, config: Mapping[str, Any]) -> None:
        """Set config keys of a topic. Raises `InvalidConfig`, `UnknownTopicOrPartition`."""
        admin = self.kafka.admin
        entries = [
            admin.ConfigEntry(key, str(value), incremental_operation=admin.AlterConfigOpType.SET)
            for key, value in config.items()
        ]
        resource = admin.ConfigResource("topic", name, incremental_configs=entries)
        self.one(self.admin.incremental_alter_configs([resource], request_timeout=TIMEOUT_S))

    def create_topic(self, name: str, partitions: int | None, config: Mapping[str, str]) -> None:
        """Make a topic, with the broker's default number of partitions for None."""
        new = self.kafka.admin.NewTopic(name, -1 if partitions is None else partitions, -1, config=dict(config))
        self.one(self.admin.create_topics([new], operation_timeout=TIMEOUT_S, request_timeout=TIMEOUT_S))

    def delete_topic(self, name: str) -> None:
        """Delete a topic. Raises `UnknownTopicOrPartition`."""
        self.one(self.admin.delete_topics([name], operation_timeout=TIMEOUT_S, request_timeout=TIMEOUT_S))

    def offsets(self, topic: str, partitions: tuple[int, ...]) -> dict[int, tuple[int, int]]:
        """Log start and high watermark of partitions."""
        spec = self.kafka.admin.OffsetSpec
        found: list[dict[int, int]] = []
        for which in (spec.earliest(), spec.latest()):
            asked = {self.kafka.TopicPartition(topic, index): which for index in partitions}
            futures = self.admin.list_offsets(asked, request_timeout=TIMEOUT_S) if asked else {}
            found.append({place.partition: self.result(future).offset for place, future in futures.items()})
        starts, ends = found
        return {index: (starts[index], ends[index]) for index in partitions}

    def groups(self) -> list[str]:
        """Every consumer group that the cluster knows, sorted."""
        found = self.result(self.admin.list_consumer_groups(request_timeout=TIMEOUT_S))
        for error in found.errors:
            raise self.failure(error.args[0])
        return sorted(one.group_id for one in found.valid)

    def group_states(self) -> list[tuple[str, str, int]]:
        """Name, state (`Stable`, `Empty`, ...) and number of members of every group, sorted."""
        names = self.groups()
        futures = self.admin.describe_consumer_groups(names, request_timeout=TIMEOUT_S) if names else {}
        found = [(name, self.result(future)) for name, future in futures.items()]
        return sorted((name, _in_words(one.state.name), len(one.members)) for name, one in found)

    def brokers(self) -> int:
        """How many brokers the cluster has."""
        with self.failures():
            return len(self.admin.list_topics(timeout=TIMEOUT_S).brokers)

    def committed(self, group: str) -> dict[tuple[str, int], tuple[int, str]]:
        """What a group has committed: offset and metadata by topic and partition."""
        asked = [self.kafka.ConsumerGroupTopicPartitions(group)]
        found = self.one(self.admin.list_consumer_group_offsets(asked, request_timeout=TIMEOUT_S))
        return {
            (one.topic, one.partition): (one.offset, one.metadata or "")
            for one in found.topic_partitions
            if one.offset >= 0 and one.error is None
        }


def _in_words(state: str) -> str:
    """`PREPARING_REBALANCING` as Kafka's tools write it."""
    return "".join(word.capitalize() for word in state.split("_"))
