"""Configuration of a broker: Kafka's keys and defaults, what differs from them, and which keys have no meaning here.

Owns the keys that only a broker has a use for; those of topics and directories stand in `directory`. Knows no socket
and no file. Called by `broker`, the command line and `kstore.testing`. Sources: SocketServerConfigs,
ServerLogConfigs, GroupCoordinatorConfig and KafkaConfig of Apache Kafka 4.3.

Invariants
1. A `BrokerConfig` that exists is valid.
2. A key is read, or named in `ignored` because Kafka has it and kstore does not, or refused as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from kstore.config.directory import BROKER_SYNONYMS, StoreConfig
from kstore.config.keys import Config, flag, one_of, part, setting, text, whole
from kstore.config.listeners import DEFAULT_MAP, PREFIX, ListenerConfig, host_and_port, listener_configs, part_of
from kstore.config.security import REFUSED, SecurityConfig
from kstore.errors import InvalidConfig
from kstore.limits import GROUP_METADATA_BYTES_MAX, INT32_MAX
from kstore.nearest import nearest

FSYNC: Final = "fsync"
PAGE_CACHE: Final = "page-cache"

_MINUTE_MS = 60_000
_UNITS: Final = {"log.retention.hours": 60 * _MINUTE_MS, "log.retention.minutes": _MINUTE_MS,
                 "log.roll.hours": 60 * _MINUTE_MS}  # fmt: skip
_IN_MS: Final = {"log.retention.hours": "log.retention.ms", "log.retention.minutes": "log.retention.ms",
                 "log.roll.hours": "log.roll.ms"}  # fmt: skip

IGNORED: Final = frozenset(
    """
    background.threads broker.heartbeat.interval.ms broker.id broker.session.timeout.ms client.quota.callback.class
    controlled.shutdown.enable controller.listener.names
    controller.quorum.bootstrap.servers controller.quorum.voters default.replication.factor
    early.start.listeners fetch.purgatory.purge.interval.requests group.coordinator.rebalance.protocols
    group.coordinator.threads initial.broker.registration.timeout.ms inter.broker.listener.name
    inter.broker.protocol.version leader.imbalance.check.interval.seconds leader.imbalance.per.broker.percentage
    auto.leader.rebalance.enable log.cleaner.backoff.ms log.cleaner.dedupe.buffer.size log.cleaner.enable
    log.cleaner.io.buffer.load.factor log.cleaner.io.buffer.size log.cleaner.io.max.bytes.per.second
    log.cleaner.threads log.dir log.dirs log.flush.start.offset.checkpoint.interval.ms log.message.format.version
    log.roll.jitter.hours metadata.log.dir metric.reporters metrics.num.samples metrics.recording.level
    metrics.sample.window.ms num.io.threads num.recovery.threads.per.data.dir
    num.replica.alter.log.dirs.threads num.replica.fetchers offsets.commit.timeout.ms offsets.load.buffer.size
    offsets.topic.compression.codec offsets.topic.replication.factor process.roles
    producer.purgatory.purge.interval.requests queued.max.requests quota.window.num quota.window.size.seconds
    remote.log.storage.system.enable replica.fetch.backoff.ms replica.fetch.max.bytes replica.fetch.min.bytes
    replica.fetch.response.max.bytes replica.fetch.wait.max.ms
    replica.lag.time.max.ms replica.selector.class replica.socket.receive.buffer.bytes replica.socket.timeout.ms
    request.timeout.ms sasl.mechanism.inter.broker.protocol security.inter.broker.protocol
    share.coordinator.state.topic.min.isr share.coordinator.state.topic.replication.factor
    ssl.allow.dn.changes ssl.allow.san.changes ssl.endpoint.identification.algorithm ssl.keymanager.algorithm
    ssl.protocol ssl.provider ssl.secure.random.implementation ssl.trustmanager.algorithm
    transaction.abort.timed.out.transaction.cleanup.interval.ms
    transaction.max.timeout.ms transaction.remove.expired.transaction.cleanup.interval.ms
    transaction.state.log.load.buffer.size transaction.state.log.min.isr transaction.state.log.num.partitions
    transaction.state.log.replication.factor transaction.state.log.segment.bytes transactional.id.expiration.ms
    """.split()
)
"""Keys of Kafka's brokers that change nothing here: a properties file that was written for Kafka may have them."""
IGNORED_OF_LISTENERS: Final = frozenset(
    {"scram-sha-256.sasl.jaas.config", "scram-sha-512.sasl.jaas.config", *(k for k in IGNORED if k.startswith("ssl."))}
)
"""The same behind `listener.name.NAME.`: for SCRAM Kafka's has the credentials of the broker itself as a client."""


class BrokerConfig(Config):
    """What a broker is told. Where a default is not Kafka's, the line says so."""

    listeners: str = setting("PLAINTEXT://127.0.0.1:9092", text, "where to listen: NAME://HOST:PORT,...")
    advertised_listeners: str = setting("", text, "what clients are told to connect to; the listener by default")
    listener_security_protocol_map: str = setting(
        DEFAULT_MAP, text, "which of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL a name is: NAME:PROTOCOL,..."
    )
    connection_failed_authentication_delay_ms: int = setting(
        100, whole(0, INT32_MAX), "how long a client waits to hear that its login failed"
    )
    broker_rack: str = setting("", text, "rack of this broker")

    socket_request_max_bytes: int = setting(100 << 20, whole(1, INT32_MAX), "largest request")
    socket_listen_backlog_size: int = setting(1024, whole(1, INT32_MAX), "connections that wait for accept; Kafka: 50")
    socket_send_buffer_bytes: int = setting(-1, whole(-1, INT32_MAX), "SO_SNDBUF; -1: the system's; Kafka: 102400")
    socket_receive_buffer_bytes: int = setting(-1, whole(-1, INT32_MAX), "SO_RCVBUF; -1: the system's; Kafka: 102400")
    max_connections: int = setting(8192, whole(0, INT32_MAX), "connections in all; Kafka: no limit")
    max_connections_per_ip: int = setting(4096, whole(0, INT32_MAX), "connections of one address; Kafka: no limit")
    max_connection_creation_rate: int = setting(2000, whole(1, INT32_MAX), "new ones in a second; Kafka: no limit")
    connections_max_idle_ms: int = setting(600_000, whole(-1), "silence after which a connection is closed; -1: never")
    queued_max_request_bytes: int = setting(
        512 << 20, whole(-1), "bytes of unanswered requests at which reading stops; -1: no limit, as in Kafka"
    )

    fetch_max_bytes: int = setting(57_671_680, whole(1024, INT32_MAX), "most record bytes of one Fetch answer")
    max_incremental_fetch_session_cache_slots: int = setting(1000, whole(0, INT32_MAX), "fetch sessions (KIP-227)")

    delete_topic_enable: bool = setting(True, flag, "let clients delete topics")
    auto_create_topics_enable: bool = setting(True, flag, "make topics that Metadata asks for")
    log_retention_check_interval_ms: int = setting(300_000, whole(1), "time between looks for old segments")
    kstore_acks_all: str = setting(
        FSYNC, one_of(FSYNC, PAGE_CACHE), "what acks=all waits for; page-cache, Kafka's way, can lose on power loss"
    )
    kstore_metrics_listener: str = setting(
        "", text, "HOST:PORT where Prometheus scrapes /metrics (the extra `metrics`); empty: nowhere"
    )
    num_network_threads: int = setting(
        3, whole(1), "threads for connections that move much, at most one for each processor"
    )
    kstore_sync_threads: int = setting(2, whole(1, 64), "threads that fsync, one partition each at a time")
    kstore_shutdown_timeout_ms: int = setting(5_000, whole(0), "how long a clean stop waits for clients to read")

    group_min_session_timeout_ms: int = setting(6_000, whole(1, INT32_MAX), "least session.timeout.ms of a member")
    group_max_session_timeout_ms: int = setting(1_800_000, whole(1, INT32_MAX), "greatest session.timeout.ms")
    group_initial_rebalance_delay_ms: int = setting(3_000, whole(0, INT32_MAX), "wait for company of a first member")
    group_max_size: int = setting(INT32_MAX, whole(1, INT32_MAX), "members of a classic group")
    group_consumer_session_timeout_ms: int = setting(45_000, whole(1, INT32_MAX), "session of consumer groups")
    group_consumer_heartbeat_interval_ms: int = setting(5_000, whole(1, INT32_MAX), "heartbeats of consumer groups")
    group_consumer_max_size: int = setting(INT32_MAX, whole(1, INT32_MAX), "members of a consumer group")
    offset_metadata_max_bytes: int = setting(GROUP_METADATA_BYTES_MAX, whole(0, INT32_MAX), "metadata of a commit")
    offsets_retention_minutes: int = setting(10_080, whole(1, INT32_MAX), "how long offsets outlive their group")
    offsets_retention_check_interval_ms: int = setting(600_000, whole(1), "time between looks for old offsets")
    offsets_topic_num_partitions: int = setting(
        1, whole(1, INT32_MAX), "partitions of a new __consumer_offsets; Kafka's 50 spread groups over brokers"
    )
    offsets_topic_segment_bytes: int = setting(104_857_600, whole(1 << 20, INT32_MAX), "its segment.bytes")

    store: StoreConfig = part(StoreConfig())
    """The keys of the directory and the defaults of topics."""
    security: Mapping[str, Any] = part(MappingProxyType({}))
    """The keys of `SecurityConfig` as they were given, with `listener.name.NAME.` or without."""
    ignored: tuple[str, ...] = part(())
    """Keys that were given, that Kafka has, and that change nothing here."""
    given: frozenset[str] = part(frozenset())
    """Keys that were given, also those with the value that they have by default."""

    @classmethod
    def parse(cls, values: Mapping[str, Any] | None) -> BrokerConfig:
        """Read broker keys, those of the directory and of topics' defaults among them.

        Raises `InvalidConfig` for an unknown key (naming the nearest right one) and for a value out of range.
        """
        own: dict[str, Any] = {}
        security: dict[str, Any] = {}
        below: dict[str, Any] = {}
        ignored: list[str] = []
        known, of_security, directorys = cls.keys(), SecurityConfig.keys(), StoreConfig.keys()
        for key, value in (values or {}).items():
            bare = part_of(key)[1] if key.startswith(PREFIX) else key
            if bare in REFUSED:
                raise InvalidConfig(f"{key} cannot be honoured: {REFUSED[bare]}")
            if bare in of_security:
                of_security[bare].read(key, value)
                security[key] = value
            elif key.startswith(PREFIX) and bare in IGNORED_OF_LISTENERS:
                ignored.append(key)
            elif key.startswith(PREFIX):
                names = [*of_security, *IGNORED_OF_LISTENERS]
                raise InvalidConfig(f"{key}: {bare!r} is no key of a listener{nearest(bare, names)}")
            elif key in known:
                own[known[key].name] = known[key].read(key, value)
            elif key in _UNITS:
                below.setdefault(_IN_MS[key], _milliseconds(key, value))
            elif key in directorys or key in BROKER_SYNONYMS:
                below[key] = value
            elif key in IGNORED:
                ignored.append(key)
            else:
                names = [*known, *of_security, *directorys, *BROKER_SYNONYMS, *_UNITS, *IGNORED]
                raise InvalidConfig(f"unknown broker config {key!r}{nearest(key, names)}")
        given = frozenset(_IN_MS.get(key, key) for key in values or {})
        config = cls(store=StoreConfig.parse(below), security=security, ignored=tuple(ignored), given=given, **own)
        config.check()
        return config

    def check(self) -> None:
        """Refuse listeners that are none, and sessions that no member could ask for."""
        self.metrics_address()
        self.listener_configs()
        if self.group_min_session_timeout_ms > self.group_max_session_timeout_ms:
            raise InvalidConfig("group.min.session.timeout.ms is above group.max.session.timeout.ms")

    def listener_configs(self) -> tuple[ListenerConfig, ...]:
        """Every listener with what it asks of its clients, in order."""
        return listener_configs(
            self.listeners, self.advertised_listeners, self.listener_security_protocol_map, self.security
        )

    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port for Prometheus; None: no metrics."""
        named = self.kstore_metrics_listener
        return host_and_port("kstore.metrics.listener", named) if named else None

    def security_for_all(self) -> SecurityConfig:
        """The keys of security that hold for listeners without their own."""
        return SecurityConfig.parse({key: one for key, one in self.security.items() if not key.startswith(PREFIX)})


def _milliseconds(key: str, value: Any) -> int:
    number = whole(-1)(key, value)
    return number if number < 0 else number * _UNITS[key]
