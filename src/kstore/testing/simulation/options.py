"""What a run is made of: how many brokers, topics and clients, and their configuration.

Owns the ranges that a seed draws from. What goes wrong while it runs is drawn by `schedule`. Called by `run` and by
scenarios, which set what they need.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from kstore.config import StoreConfig
from kstore.replication.controller.cluster import TopicRules, Unclean
from kstore.replication.state import Rules, Sync


@dataclass(frozen=True)
class Options:
    """A cluster's shape. Times as their names say; the defaults are what most scenarios want."""

    brokers: int = 3
    controllers: int = 3
    topics: int = 1
    replication_factor: int = 3
    rules: Rules = field(
        default_factory=lambda: Rules(
            min_insync_replicas=2,
            lag_time_max_ms=4_000,
            fetch_timeout_ms=3_000,
            fetch_backoff_ms=300,
            proposal_timeout_ms=1_000,
        )
    )
    unclean: Unclean = Unclean.NEVER
    fetch_wait_ms: int = 2_000
    heartbeat_us: int = 1_500_000
    session_timeout_ms: int = 5_000
    checkpoint_us: int = 10_000_000
    sync_latency_us: int = 4_000
    restart_us: int = 3_000_000
    """How long a process that died stays down, unless the schedule says otherwise."""
    drift_ppm: int = 0
    segment_bytes: int = 1 << 20
    producers: int = 1
    consumers: int = 1
    consumer_poll_us: int = 2_000_000

    @property
    def store(self) -> StoreConfig:
        """Of every broker's log directory."""
        return _STORE

    @property
    def topic_config(self) -> dict[str, int]:
        """Of every topic's log."""
        return {"internal.segment.bytes": self.segment_bytes, "index.interval.bytes": 512}

    @property
    def topic_rules(self) -> TopicRules:
        """What the controller knows of every topic."""
        return TopicRules(self.rules.min_insync_replicas, self.unclean)

    @property
    def keys(self) -> tuple[str, ...]:
        """The topics, each of one partition."""
        return tuple(f"t{number}" for number in range(1, self.topics + 1))


_STORE = StoreConfig.parse({"log.flush.scheduler.interval.ms": 0})


def draw(dice: random.Random) -> Options:
    """The shape of a random run."""
    brokers = dice.choice((3, 3, 3, 4, 4, 5))
    factor = dice.choice((2, 3, 3, 3, 3, min(4, brokers)))
    sync = dice.choices((Sync.ALL, Sync.ACKS, Sync.NONE), (16, 2, 2))[0]
    fetch_wait_ms = dice.choice((2_000, 4_000, 4_000, 4_000))
    rules = Rules(
        min_insync_replicas=dice.choice((1, 2, 2, 2)) if factor > 2 else dice.choice((1, 1, 2)),
        lag_time_max_ms=dice.choice((5_000, 6_000, 8_000)),
        fetch_timeout_ms=fetch_wait_ms + dice.choice((400, 1_200)),
        fetch_backoff_ms=dice.choice((100, 300, 800)),
        proposal_timeout_ms=dice.choice((300, 1_000, 2_000)),
        sync=sync,
        truncate_on_fetch=dice.random() < 0.6,
    )
    return Options(
        brokers=brokers,
        topics=dice.choice((1, 2, 2, 3)),
        replication_factor=factor,
        rules=rules,
        unclean=dice.choices((Unclean.NEVER, Unclean.LAST_LEADER, Unclean.ANY), (8, 1, 1))[0],
        fetch_wait_ms=fetch_wait_ms,
        heartbeat_us=dice.choice((1_500_000, 2_000_000)),
        session_timeout_ms=dice.choice((4_000, 5_500)),
        checkpoint_us=dice.choice((5_000_000, 15_000_000, 60_000_000)),
        sync_latency_us=dice.choice((500, 5_000, 20_000)),
        restart_us=dice.choice((300_000, 2_000_000, 6_000_000)),
        drift_ppm=dice.choice((0, 200, 20_000)),
        segment_bytes=dice.choice((1_500, 4_000, 1 << 16)),
        producers=dice.choice((2, 3, 4)),
        consumers=dice.choice((1, 2)),
        consumer_poll_us=dice.choice((1_500_000, 4_000_000, 8_000_000)),
    )
