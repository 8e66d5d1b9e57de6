"""The group coordinators of a broker, each on its partition of `__consumer_offsets`.

Owns which of them a group falls on, and when the topic is made, loaded and let go. Must not know a group's rules
(`groups`), the wire, nor what a coordinator does with its partition (`group_partition`). Called by the group handlers,
on the event loop.

Invariants
1. The topic is made by the first request for a group, never by a start; whoever asks meanwhile waits for it.
2. What coordinators need is imported with the first of them: a broker without groups starts without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kstore.errors import KStoreError, TopicExists
from kstore.groups import offsets

if TYPE_CHECKING:
    from kstore.broker.group_partition import GroupPartition, Then
    from kstore.broker.node import Broker
    from kstore.cluster.metadata import Change, Metadata
    from kstore.groups.requests import Context, Request
    from kstore.groups.responses import Response


class Coordination:
    """All group coordinators of this broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._partitions: list[GroupPartition] = []
        self._waiting: list[Callable[[KStoreError | None], None]] = []

    def start(self) -> None:
        """Load the groups of a directory that has some; meanwhile they are told that it is being done."""
        topic = self._broker.cluster.metadata.topics.get(offsets.TOPIC)
        if topic is None or self._partitions:
            return
        numbers = range(len(topic.partitions))
        # With all that coordinators need: a broker without groups starts without it.
        from kstore.broker.group_partition import GroupPartition

        self._partitions = [GroupPartition(self._broker, self._broker.partition(topic.name, n)) for n in numbers]
        loading = len(self._partitions)

        def one_is_done() -> None:
            nonlocal loading
            loading -= 1
            if not loading:
                self._tell(None)

        for one in self._partitions:
            one.load(one_is_done)

    def when_there(self, then: Callable[[KStoreError | None], None]) -> None:
        """Call `then` when there is an offsets topic; the first one who asks has it made, and waits until it serves."""
        if self._partitions and not self._waiting:
            then(None)
            return
        self._waiting.append(then)
        if len(self._waiting) > 1:
            return

        def create() -> None:
            partitions, config = self._broker.defaults_of(offsets.TOPIC)
            try:
                self._broker.cluster.create_topic(offsets.TOPIC, partitions, -1, config, validate_only=False)
            except TopicExists:
                return

        def created(_: None, error: KStoreError | None) -> None:
            if error is not None:
                self._tell(error)
            else:
                self.start()

        self._broker.off_loop(create, created)

    def _tell(self, error: KStoreError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one(error)

    def call(self, group_id: str, request: Request, context: Context, then: Then) -> None:
        """Hand a request to the coordinator of its group."""

        def there(error: KStoreError | None) -> None:
            if error is not None or not self._partitions:
                from kstore.broker.group_partition import not_available

                then(not_available(request))
                return
            self._partitions[offsets.partition_for(group_id, len(self._partitions))].call(request, context, then)

        self.when_there(there)

    def call_all(self, request: Request, context: Context, then: Callable[[list[Response]], None]) -> None:
        """Hand a request to every coordinator; `then` gets all the answers. Makes no topic."""
        answers: list[Response] = []
        if not self._partitions:
            then(answers)
            return

        def one(response: Response) -> None:
            answers.append(response)
            if len(answers) == len(self._partitions):
                then(answers)

        for partition in list(self._partitions):
            partition.call(request, context, one)

    def changed(self, metadata: Metadata, change: Change) -> None:
        """Topics came, went or grew."""
        if offsets.TOPIC in change.deleted:
            self.unload()
            return
        if offsets.TOPIC in change.created:
            self.start()
        for one in self._partitions:
            one.changed(metadata, change)

    def reload(self) -> None:
        """Load again: someone else wrote to the topic, as commits of a consumer without a broker are folded in."""
        self.unload()
        self.start()

    def unload(self) -> None:
        """Send everyone away."""
        partitions, self._partitions = self._partitions, []
        for one in partitions:
            one.unload()

    def tick(self) -> None:
        """Background work: shorten logs that have grown."""
        for one in self._partitions:
            one.compact_if_grown()
