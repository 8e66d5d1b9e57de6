"""One partition of `__consumer_offsets` and its group coordinator.

Owns loading it, its appends, its deadline and its compaction. Must not know a group's rules (`groups`) nor the wire.
Made and called by `coordination`, on the event loop.

Invariants
1. A coordinator sees an event at a time, on the loop; successful appends are reported in the order of their offsets.
2. A reply goes out when the records that it stands on are on the medium, or in the page cache with
   `kstore.acks.all=page-cache`.
3. Until the partition is loaded its groups are told COORDINATOR_LOAD_IN_PROGRESS, never "not there" (G2).
4. Compaction appends what survives behind everything else, then drops what lies before: a crash in between leaves both,
   which load to the same state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from kstore.broker.group_settings import settings_of
from kstore.config.broker import FSYNC
from kstore.errors import KStoreError
from kstore.groups import offsets
from kstore.groups.codes import Code
from kstore.groups.coordinator import Coordinator
from kstore.groups.effects import (
    Appended,
    AppendFailed,
    AppendRecords,
    Call,
    Effect,
    Event,
    MetadataChanged,
    Reply,
    Schedule,
    TimePassed,
    Topic,
    TopicsDeleted,
    Unloaded,
)
from kstore.groups.refusals import refusal
from kstore.groups.requests import Context, Request
from kstore.groups.responses import Response
from kstore.wire.error_codes import code_of

if TYPE_CHECKING:
    from kstore.broker.loop import Timer
    from kstore.broker.node import Broker
    from kstore.cluster.metadata import Change, Metadata
    from kstore.partition import Partition

COMPACT_BYTES_MIN = 8 << 20
"""Below that a log is not worth shortening: it loads in a fraction of a second."""
COMPACT_GROWTH = 4
"""A log is shortened when it is that many times what was left of it last time."""

Then = Callable[[Response], None]
_log = logging.getLogger(__name__)


class GroupPartition:
    """One partition of `__consumer_offsets` and its coordinator."""

    def __init__(self, broker: Broker, partition: Partition) -> None:
        self._broker = broker
        self._partition = partition
        self._coordinator: Coordinator | None = None
        self._open: dict[int, Then] = {}
        self._tokens = 0
        self._timer: Timer | None = None
        self._size_after_compaction = 0
        self._is_compacting = False
        self._is_over = False

    # -- loading --------------------------------------------------------------------------------------------

    def load(self, done: Callable[[], None]) -> None:
        """Read the partition on a thread, then serve; `done` is called when that is so, or has failed."""
        coordinator = Coordinator(settings_of(self._broker.config))

        def then(_: None, error: KStoreError | None) -> None:
            if error is not None:
                _log.error("groups of %s-%d cannot be loaded: %s", offsets.TOPIC, self._partition.index, error)
            elif not self._is_over:
                self._coordinator = coordinator
                self._carry_out(coordinator.loaded(self._broker.now_ms()))
                self.happened(MetadataChanged(topics_of(self._broker.cluster.metadata)))
            done()

        self._broker.off_loop(partial(self._read_all, coordinator), then)

    def _read_all(self, coordinator: Coordinator) -> None:
        for offset, key, value in records_of(self._partition, self._partition.last_stable_offset):
            try:
                coordinator.load(key, value, offset)
            except ValueError as error:
                _log.warning("%s-%d, offset %d: %s", offsets.TOPIC, self._partition.index, offset, error)

    def unload(self) -> None:
        """Send everyone away; the log has the state."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        coordinator, self._coordinator = self._coordinator, None
        if coordinator is not None:
            self._carry_out(coordinator.handle(Unloaded(), self._broker.now_ms()), scheduling=False)

    # -- events ---------------------------------------------------------------------------------------------

    def call(self, request: Request, context: Context, then: Then) -> None:
        """Hand a request to the coordinator; `then` gets the answer, perhaps much later."""
        if self._coordinator is None:
            code = Code.NOT_COORDINATOR if self._broker.is_stopping else Code.COORDINATOR_LOAD_IN_PROGRESS
            then(refusal(request, code))
            return
        self._tokens += 1
        self._open[self._tokens] = then
        self.happened(Call(self._tokens, request, context))

    def happened(self, event: Event) -> None:
        """Tell the coordinator, and do what it wants."""
        if self._coordinator is not None:
            self._carry_out(self._coordinator.handle(event, self._broker.now_ms()))

    def _carry_out(self, effects: Iterable[Effect], *, scheduling: bool = True) -> None:
        for effect in effects:
            match effect:
                case Reply(token, response):
                    self._open.pop(int(str(token)))(response)
                case AppendRecords():
                    self._append(effect)
                case Schedule(deadline_ms) if scheduling:
                    self._schedule(deadline_ms)

    def _schedule(self, deadline_ms: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline_ms is not None:
            wait_s = max(deadline_ms - self._broker.now_ms(), 0) / 1000
            self._timer = self._broker.loop.call_later(wait_s, self.happened, TimePassed())

    def _append(self, effect: AppendRecords) -> None:
        partition, broker = self._partition, self._broker
        before = partition.log.view.end_position
        try:
            appended = partition.append(list(effect.records), durable=False)
        except KStoreError as error:
            # Not at once: the coordinator is in the middle of carrying out.
            broker.loop.call_soon(self.happened, AppendFailed(effect.append_id, code_of(error)))
            return
        broker.appended(partition, max(partition.log.view.end_position - before, 1))

        def settled(error: KStoreError | None) -> None:
            if error is not None:
                self.happened(AppendFailed(effect.append_id, code_of(error)))
            else:
                self.happened(Appended(effect.append_id, appended.base_offset))

        if broker.config.kstore_acks_all == FSYNC:
            broker.durability.wait(partition, appended.next_offset, settled)
        else:
            broker.loop.call_soon(settled, None)

    # -- compaction -----------------------------------------------------------------------------------------

    def compact_if_grown(self) -> None:
        """Shorten the log to its survivors, where that is worth it."""
        size_bytes = sum(segment.size_bytes for segment in self._partition.segments)
        if self._coordinator is not None and size_bytes > max(
            COMPACT_BYTES_MIN, COMPACT_GROWTH * self._size_after_compaction
        ):
            self.compact()

    def compact(self) -> None:
        """Append the last record of every key, make that durable, and drop everything before.

        Reading what there is happens on a thread; what came meanwhile is read here, so that nothing is appended
        between the last look and the survivors.
        """
        if self._is_compacting:
            return
        self._is_compacting = True
        partition = self._partition
        end = partition.log_end_offset
        last: dict[bytes, tuple[int, bytes | None]] = {}

        def look() -> None:
            for offset, key, value in records_of(partition, end):
                last[key] = (offset, value)

        def then(_: None, error: KStoreError | None) -> None:
            self._is_compacting = False
            if error is None and self._coordinator is not None:
                try:
                    self._rewrite(last, end)
                    return
                except KStoreError as failure:
                    error = failure
            if error is not None:
                _log.error("%s-%d is not compacted: %s", offsets.TOPIC, partition.index, error)

        self._broker.off_loop(look, then)

    def _rewrite(self, last: dict[bytes, tuple[int, bytes | None]], end: int) -> None:
        partition = self._partition
        for offset, key, value in records_of(partition, partition.log_end_offset, end):
            last[key] = (offset, value)
        survivors = [(key, value) for key, (_, value) in last.items() if value is not None]
        partition.roll()
        start = partition.log_end_offset
        if survivors:
            partition.append(survivors, durable=False)
        self._size_after_compaction = sum(segment.size_bytes for segment in partition.segments[-1:])

        def settled(error: KStoreError | None) -> None:
            if error is None and not self._broker.is_stopping:
                self._broker.off_loop(lambda: partition.delete_records(start), lambda _, failure: None)

        self._broker.durability.wait(partition, partition.log_end_offset, settled)

    def changed(self, metadata: Metadata, change: Change) -> None:
        """Topics came, went or grew."""
        if change.deleted:
            self.happened(TopicsDeleted(change.deleted))
        if change.created or change.deleted or change.changed:
            self.happened(MetadataChanged(topics_of(metadata)))


def not_available(request: Request) -> Response:
    """The answer where there is no coordinator, and none can be made."""
    return refusal(request, Code.COORDINATOR_NOT_AVAILABLE)


def topics_of(metadata: Metadata) -> dict[str, Topic]:
    """The topics that groups can read, as coordinators want them."""
    return {
        name: Topic(topic.topic_id, len(topic.partitions)) for name, topic in metadata.topics.items()
    }


def records_of(partition: Partition, end: int, start: int = 0) -> Iterable[tuple[int, bytes, bytes | None]]:
    """Offset, key and value of the committed records from `start` up to `end`."""
    offset = max(start, partition.log_start_offset)
    while offset < end:
        batches = partition.read(offset, isolation="read_committed")
        for record in batches.records(from_offset=offset):
            if record.offset < end:
                yield record.offset, record.key or b"", record.value
        if batches.next_offset <= offset:
            return
        offset = batches.next_offset
