"""What a group coordinator may be told: timeouts, limits and assignors, with Kafka's names and defaults.

Owns the values and their defaults (org.apache.kafka.coordinator.group.GroupCoordinatorConfig of 4.x). Decides
nothing. Made by the broker from its configuration, read by every module of `groups`.

Invariants
1. A field's name is Kafka's key with underscores; what deviates says so.
2. Times are milliseconds but where Kafka's key itself says minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

from kstore.limits import GROUP_METADATA_BYTES_MAX, INT32_MAX

UNIFORM = "uniform"
RANGE = "range"


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """The configuration of a coordinator; every coordinator of a broker shares one."""

    group_min_session_timeout_ms: int = 6_000
    """A classic member that asks for less is refused with INVALID_SESSION_TIMEOUT."""
    group_max_session_timeout_ms: int = 1_800_000
    group_initial_rebalance_delay_ms: int = 3_000
    """How long the first member of an empty classic group waits for company."""
    group_max_size: int = INT32_MAX
    """Members of one classic group."""
    group_new_member_join_timeout_ms: int = 300_000
    """How long a JoinGroup of a new classic member may be parked (no key in Kafka: a constant of five minutes)."""

    group_consumer_session_timeout_ms: int = 45_000
    group_consumer_heartbeat_interval_ms: int = 5_000
    """What members of a consumer group are told to keep."""
    group_consumer_max_size: int = INT32_MAX
    group_consumer_assignors: tuple[str, ...] = (UNIFORM, RANGE)
    """Assignors on offer; the first is the default."""
    group_consumer_regex_refresh_interval_ms: int = 600_000
    """How long a regular expression's topics are trusted while no metadata change was reported."""

    offset_metadata_max_bytes: int = GROUP_METADATA_BYTES_MAX
    """`offset.metadata.max.bytes`, counted in UTF-16 units as Kafka's String.length() does."""
    offsets_retention_minutes: int = 7 * 24 * 60
    offsets_retention_check_interval_ms: int = 600_000

    @property
    def offsets_retention_ms(self) -> int:
        """`offsets.retention.minutes` in milliseconds."""
        return self.offsets_retention_minutes * 60_000
