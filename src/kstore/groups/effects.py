"""What a coordinator tells its broker to do, and what the broker tells it has happened.

Owns the two small vocabularies: events come in, effects go out. Knows no group. Made and read by `coordinator` and
by whoever runs it; docs/GROUPS.md draws how.

Invariants
1. Effects are to be carried out in order; every `token` gets exactly one `Reply`.
2. Every `AppendRecords` is answered by exactly one `Appended` or `AppendFailed` with its `append_id`, and those that
   succeeded are reported in the order of their offsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kstore.groups.requests import Context, Request
from kstore.groups.responses import Response

Record = tuple[bytes, bytes | None]
"""Key and value of a record of `__consumer_offsets`; a value of None deletes what the key names."""

# -- effects -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the request that came with `token`."""

    token: object
    response: Response


@dataclass(frozen=True, slots=True)
class AppendRecords:
    """Append `records` as one batch to the coordinator's partition, wait for acks=all, then report."""

    append_id: int
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Send `TimePassed` at `deadline_ms`, in place of whatever was scheduled before; None: nothing to wait for."""

    deadline_ms: int | None


Effect = Reply | AppendRecords | Schedule

# -- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """A request came in. `token` is the broker's name for it: hashable, not used by another open request."""

    token: object
    request: Request
    context: Context = field(default_factory=Context)


@dataclass(frozen=True, slots=True)
class Appended:
    """An append is committed: `base_offset` is the offset of its first record."""

    append_id: int
    base_offset: int


@dataclass(frozen=True, slots=True)
class AppendFailed:
    """An append failed; `error_code` is the log's (`codes.Code`)."""

    append_id: int
    error_code: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The scheduled deadline has come; harmless at any other time."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a coordinator must know of a topic to assign its partitions.

    `racks` are those of each partition's replicas, by partition; empty where brokers have no rack.
    """

    topic_id: bytes
    partition_count: int
    racks: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True, slots=True)
class MetadataChanged:
    """Topics came, went or grew: `topics` is all of them, by name."""

    topics: Mapping[str, Topic]


@dataclass(frozen=True, slots=True)
class TopicsDeleted:
    """Topics are gone for good: what groups committed for them is deleted too."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Unloaded:
    """This broker is no longer the coordinator: everyone who waits is sent away with NOT_COORDINATOR."""


Event = Call | Appended | AppendFailed | TimePassed | MetadataChanged | TopicsDeleted | Unloaded
