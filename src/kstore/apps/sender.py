"""Records sent through a broker, in order and without a gap: what comes behind a refused record is not stored either.

Owns librdkafka's producer and the first failure. Must not know where records come from. Called by `kstore produce` and
the file producer.

Invariants
1. When `flush` returns, every record sent so far is stored as the broker's acks=all means it.
2. The first failure is raised, at the next call, and nothing is sent after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kstore.errors import BatchTooLarge, BrokerFailed, KStoreError, UsageError

if TYPE_CHECKING:
    from kstore.apps.client import Client

FLUSH_S = 300.0
"""librdkafka's own limit of a delivery (message.timeout.ms)."""
MESSAGE_TOO_LARGE = 10
RECORD_OVERHEAD_BYTES = 256
"""Room for a batch's header and a record's own fields."""


class Sender:
    """One producer for one topic."""

    def __init__(self, client: Client, topic: str, compression: str | None = None) -> None:
        """`compression` is a codec of Kafka's; None for none."""
        self._client = client
        self._topic = topic
        self._refused: Any = None
        self._largest_bytes = 0
        self._producer = client.producer(compression_type=compression or "none")

    def send(
        self, partition: int, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]] | None = None
    ) -> None:
        """Queue a record; waits while librdkafka's queue is full. Raises the first failure."""
        self._largest_bytes = max(self._largest_bytes, len(value) + len(key or b""))
        while True:
            try:
                self._guarded(
                    lambda: self._producer.produce(
                        self._topic, value, key, partition, on_delivery=self._delivered, headers=headers
                    )
                )
                return
            except BufferError:
                self.serve(0.1)

    def serve(self, wait_s: float = 0.0) -> None:
        """Take in what was delivered. Raises the first failure."""
        self._guarded(lambda: self._producer.poll(wait_s))

    def flush(self) -> None:
        """Wait until everything is stored. Raises the first failure."""
        left = self._guarded(lambda: self._producer.flush(FLUSH_S))
        if left:
            raise BrokerFailed(self._client.bootstrap, -1, f"{left} records were not acknowledged in {FLUSH_S:.0f} s")

    def _delivered(self, error: Any, message: Any) -> None:
        """Called by librdkafka, which an exception must not pass through: what went wrong is only noted."""
        if error is not None and self._refused is None:
            self._refused = error

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """Run a call of librdkafka's. After a fatal error it raises that, at times wrapped in a `SystemError`."""
        kafka = self._client.kafka
        try:
            done = work()
        except kafka.KafkaException as error:
            raise self._failure(error.args[0]) from None
        except SystemError as error:
            cause = error.__cause__
            if not isinstance(cause, kafka.KafkaException):
                raise
            raise self._failure(cause.args[0]) from None
        if self._refused is not None:
            raise self._failure(self._refused)
        return done

    def _failure(self, error: Any) -> KStoreError:
        if error.code() not in (MESSAGE_TOO_LARGE, self._client.kafka.KafkaError._GAPLESS_GUARANTEE):
            return self._client.failure(error)
        limit_bytes = int(self._client.config(self._topic)["max.message.bytes"].value)
        if self._largest_bytes + RECORD_OVERHEAD_BYTES <= limit_bytes:
            return self._client.failure(error)
        needed = 1 << (self._largest_bytes + RECORD_OVERHEAD_BYTES - 1).bit_length()
        return UsageError(
            f"{BatchTooLarge(self._largest_bytes, limit_bytes, 'max.message.bytes')}; raise it: `kstore topics alter "
            f"{self._topic} --bootstrap-server {self._client.bootstrap} --config max.message.bytes={needed}`"
        )
