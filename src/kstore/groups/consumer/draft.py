"""A consumer group as it will be when the records that are being prepared are committed.

Owns the records of one request and a copy of the group to which they are applied at once, so that the next step of
the request sees them; the group itself changes when the append has succeeded. Called by `consumer.heartbeat` and
`consumer.target`.

Invariants
1. The group in the shard is not touched by a draft.
2. A request that changes nothing copies nothing: most heartbeats.
"""

from __future__ import annotations

import zlib

from kstore.groups.consumer.group import ConsumerGroup
from kstore.groups.consumer.patterns import Pattern
from kstore.groups.effects import Record
from kstore.groups.records import (
    ConsumerGroupMetadata,
    ConsumerGroupRegex,
    ConsumerRecord,
    ResolvedRegex,
    encode,
)
from kstore.groups.shard import Shard
from kstore.primitives import Writer


class Draft:
    """Records in preparation and the group that they lead to."""

    __slots__ = ("_is_copy", "before", "group", "records")

    def __init__(self, group: ConsumerGroup, before: list[Record] | None = None) -> None:
        """`before` are records that come first: tombstones of a classic group in the same name."""
        self.group = group
        self.before = before or []
        self.records: list[ConsumerRecord] = []
        self._is_copy = False

    def add(self, record: ConsumerRecord) -> None:
        """Prepare a record."""
        if not self._is_copy:
            self.group, self._is_copy = self.group.copy(), True
        self.records.append(record)
        self.group.apply(record)

    def encoded(self) -> list[Record]:
        """What to append."""
        return [*self.before, *(encode(record) for record in self.records)]

    # -- steps that several requests share ------------------------------------------------------------------

    def refresh_regexes(self, shard: Shard) -> bool:
        """Resolve the expressions in use, drop those that are not; whether any member's topics changed.

        Kafka resolves them on another thread and every ten minutes; here it is a walk over topic names that cannot
        run away (`patterns`), done when an expression or the topics are new.
        """
        in_use = {member.metadata.subscribed_topic_regex for member in self.group.members.values()} - {None, ""}
        for regex in sorted(set(self.group.regexes) - in_use):
            self.add(ConsumerGroupRegex(self.group.group_id, regex, None))
        changed = False
        for regex in sorted(name for name in in_use if name):
            known = self.group.regexes.get(regex)
            if known is not None and self.group.topics_seen == shard.topics_version:
                continue
            pattern = Pattern(regex)
            topics = tuple(sorted(name for name in shard.topics if pattern.matches(name)))
            if known is None or known.topics != topics:
                resolved = ResolvedRegex(topics, shard.topics_version, shard.now_ms)
                self.add(ConsumerGroupRegex(self.group.group_id, regex, resolved))
                changed = True
        return changed

    def bump_epoch_if_changed(self, shard: Shard, is_changed: bool) -> None:
        """Count the group epoch up when a subscription changed, or what it is subscribed to did."""
        metadata_hash = hash_of_topics(shard, self.group)
        if is_changed or metadata_hash != self.group.metadata_hash:
            epoch = self.group.group_epoch + 1
            creation_ms = self.group.creation_time_ms
            self.add(ConsumerGroupMetadata(self.group.group_id, epoch, metadata_hash, creation_ms))


def hash_of_topics(shard: Shard, group: ConsumerGroup) -> int:
    """A number that changes when the topics that the group reads do: ids, partitions, racks; 0 for none.

    It stands where Kafka keeps an XXH3 of its own (MetadataHash, KIP-1101). A Kafka that takes the partition over
    finds another number, counts the epoch up once and assigns again, which moves nothing.
    """
    names: set[str] = set()
    for member in group.members.values():
        names |= group.topics_of(member.metadata)
    writer = Writer()
    for name in sorted(names & shard.topics.keys()):
        topic = shard.topics[name]
        writer.string(name).uuid(topic.topic_id).int32(topic.partition_count)
        for racks in topic.racks:
            writer.compact_array(sorted(racks), writer.string)
    data = bytes(writer)
    if not data:
        return 0
    # Two checksums of 32 bits, never 0: the second runs over the bytes backwards.
    value = zlib.crc32(data) << 32 | zlib.crc32(data[::-1])
    return (value - (1 << 64) if value >> 63 else value) or 1
