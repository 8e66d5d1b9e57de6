"""Records of one topic from a broker: by partitions that were named, or as a member of a group.

Owns librdkafka's consumer: what is assigned, how far each partition was handed out, which of them are at their end.
Must not know what is done with records. Called by `kstore consume` and `kstore file-consumer`.

Invariants
1. `next_offsets` covers exactly what `read` has returned and `take` has confirmed: commits are made of it alone.
2. Before a partition goes to another member, `on_revoke` has run and may commit.
3. Nothing is committed for a partition that was lost: another member has it already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kstore.errors import KStoreError

if TYPE_CHECKING:
    from kstore.apps.client import Client

MESSAGES_MAX = 2000
"""Records of one `read`."""
NO_GROUP = "kstore-without-a-group"
"""librdkafka wants a name even where nothing is committed."""


def _nothing() -> None:
    """No one to tell."""


class Reader:
    """One consumer. Use `close` when done."""

    def __init__(
        self,
        client: Client,
        topic: str,
        *,
        group: str | None = None,
        starts: Mapping[int, int] | None = None,
        from_beginning: bool = False,
        isolation: str = "read_uncommitted",
        on_assign: Callable[[list[int]], None] = lambda partitions: None,
        on_revoke: Callable[[], None] = _nothing,
        on_lost: Callable[[list[int]], None] = lambda partitions: None,
    ) -> None:
        """`starts` names partitions and where to begin in each, -1 for the group's commit; None: join `group`.

        A group without a commit begins at the log start, and so does every partition with `from_beginning`.
        """
        self._client = client
        self._kafka = client.kafka
        self.topic = topic
        self._from_beginning = from_beginning
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost
        self.next_offsets: dict[int, int] = {}
        """By partition: behind the last record that was taken."""
        self.assigned: set[int] | None = None
        """The partitions that are ours; None before the group has given any."""
        self._ended: set[int] = set()
        self._failure: BaseException | None = None
        self._consumer = client.consumer(group or NO_GROUP, isolation_level=isolation)
        if starts is None:
            self._consumer.subscribe(
                [topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
        else:
            self.assigned = set(starts)
            stored = self._kafka.OFFSET_STORED
            with client.failures():
                self._consumer.assign(
                    [
                        self._kafka.TopicPartition(topic, index, stored if offset < 0 else offset)
                        for index, offset in starts.items()
                    ]
                )

    @property
    def at_end(self) -> bool:
        """Whether everything that is ours was read to its end, since it is ours."""
        return self.assigned is not None and self.assigned <= self._ended

    # -- the group ------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run what librdkafka calls: an exception must not pass through it, `read` raises it."""
        try:
            work()
        except BaseException as failure:
            self._failure = self._failure or failure

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        self.assigned = {place.partition for place in partitions}
        self._ended.clear()
        self.next_offsets.clear()
        if self._from_beginning:
            for place in partitions:
                place.offset = self._kafka.OFFSET_BEGINNING
            self._from_beginning = False
            consumer.assign(partitions)
        self._guarded(lambda: self._on_assign(sorted(self.assigned or ())))

    def _revoked(self, consumer: Any, partitions: list[Any]) -> None:
        self._guarded(self._on_revoke)
        self._forget(partitions)

    def _lost(self, consumer: Any, partitions: list[Any]) -> None:
        self._forget(partitions)
        self._guarded(lambda: self._on_lost(sorted(place.partition for place in partitions)))

    def _forget(self, partitions: Iterable[Any]) -> None:
        gone = {place.partition for place in partitions}
        self.assigned = (self.assigned or set()) - gone
        self._ended -= gone
        for index in gone:
            self.next_offsets.pop(index, None)

    # -- reading --------------------------------------------------------------------------------------------

    def read(self, wait_s: float) -> list[Any]:
        """Records that came, waiting for the first of them at most so long; hand each to `take` when it is done.

        Raises `BrokerFailed` and what the callbacks raised.
        """
        with self._client.failures():
            messages = self._consumer.consume(MESSAGES_MAX, wait_s)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        found = []
        for message in messages:
            error = message.error()
            if error is None:
                self._ended.discard(message.partition())
                found.append(message)
            elif error.code() == self._kafka.KafkaError._PARTITION_EOF:
                self._ended.add(message.partition())
            elif error.fatal() or not error.retriable():
                raise self._refused(error)
        return found

    def _refused(self, error: Any) -> KStoreError:
        return self._client.failure(error)

    def take(self, message: Any) -> None:
        """The record is done: commits cover it from now on."""
        self.next_offsets[message.partition()] = message.offset() + 1

    # -- committing -----------------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[int, int], metadata: str = "", *, wait: bool = True) -> None:
        """Commit offsets for the group; without `wait` librdkafka sends them when it can. Raises `BrokerFailed`."""
        if not offsets:
            return
        places = [
            self._kafka.TopicPartition(self.topic, index, offset, metadata) for index, offset in sorted(offsets.items())
        ]
        with self._client.failures():
            done = self._consumer.commit(offsets=places, asynchronous=not wait)
        for place in done or ():
            if place.error is not None:
                raise self._client.failure(place.error)

    def close(self) -> None:
        """Leave the group and let go of everything; what `on_revoke` raises on the way is raised."""
        self._consumer.close()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
