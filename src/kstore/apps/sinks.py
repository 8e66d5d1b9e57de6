"""Where a file producer's lines go: the partitions of a log directory, or those of a broker.

Owns sending, flushing, and counting what the log holds of a producer's records behind a known end: that is what lets a
killed producer go on exactly. Must not know files or positions. Called by `file_producer`.

Invariants
1. After `flush` everything that was sent is stored, as durably as the log's owner promises.
2. Records of one partition are stored in the order in which they were sent, and none is left out in between.
3. `count_stored` counts by the highest sequence, so that records which retention took count too.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import kstore
from kstore._native.batch import headers

if TYPE_CHECKING:
    from kstore.apps.client import Client
    from kstore.apps.routing import Keyed
    from kstore.store import Store

SEQUENCES: Final = 1 << 31
"""Sequences wrap from 2^31 - 1 to 0."""
HEADER: Final = "kstore-file-producer"
"""Name of the header that a record sent through a broker carries: producer id and sequence, 12 bytes, big-endian."""
_MARK = struct.Struct(">qi")
WAIT_S = 0.5


def keyed(record: bytes | Keyed) -> Keyed:
    """Key and value of a record; a plain value has no key."""
    return (None, record) if isinstance(record, bytes) else record


class Sink(Protocol):
    """What a file producer sends to."""

    topic: str
    message_bytes_max: int
    """The topic's max.message.bytes."""

    def topic_id(self) -> str:
        """The topic's id."""

    def raise_limit(self, size_bytes: int) -> None:
        """Let the topic take larger batches."""

    def append(
        self, partition: int, records: list[bytes] | list[Keyed], producer_id: int, base_sequence: int
    ) -> None:
        """Send records; they count as sent, and are stored when `flush` returns."""

    def flush(self) -> None:
        """Wait until everything that was sent is stored."""

    def end_offsets(self) -> tuple[int, ...]:
        """By partition, where the log ends."""

    def count_stored(self, partition: int, producer_id: int, next_sequence: int, log_end_offset: int) -> int:
        """How many records of the producer lie at and above `log_end_offset`; -1 where the log ends below that."""


class StoreSink:
    """A log directory of this process: batches carry the producer's id and sequences, as Kafka's own do."""

    def __init__(self, store: Store, topic: str, partitions: int, compression: str | None = None) -> None:
        """The topic must have that many partitions."""
        self.topic = topic
        self._store = store
        self._compression = compression
        self._partitions = [store.partition(topic, index) for index in range(partitions)]
        self.message_bytes_max = store.topic(topic).config.max_message_bytes

    def topic_id(self) -> str:
        """The topic's id."""
        return self._store.topic(self.topic).topic_id

    def raise_limit(self, size_bytes: int) -> None:
        """Let the topic take larger batches."""
        self._store.alter_topic(self.topic, {"max.message.bytes": size_bytes})
        self.message_bytes_max = size_bytes

    def append(
        self, partition: int, records: list[bytes] | list[Keyed], producer_id: int, base_sequence: int
    ) -> None:
        """Append records as batches of the producer."""
        buffer = kstore.encode_batches(
            records,
            timestamp_ms=time.time_ns() // 1_000_000,
            compression=self._compression,
            batch_bytes_max=self.message_bytes_max,
            producer_id=producer_id,
            producer_epoch=0,
            base_sequence=base_sequence,
        )
        self._partitions[partition].append_batches(buffer)

    def flush(self) -> None:
        """Make every partition durable."""
        for partition in self._partitions:
            partition.flush()

    def end_offsets(self) -> tuple[int, ...]:
        """By partition, where the log ends."""
        return tuple(partition.log_end_offset for partition in self._partitions)

    def count_stored(self, partition: int, producer_id: int, next_sequence: int, log_end_offset: int) -> int:
        """By the headers of batches; no record is read."""
        log = self._partitions[partition]
        end = log.log_end_offset
        if end < log_end_offset:
            return -1
        stored = 0
        offset = max(log_end_offset, log.log_start_offset)
        while offset < end:
            batches = log.read(offset)
            for header in headers(batches.buffer):
                if header.producer_id == producer_id and header.base_offset >= log_end_offset:
                    sequence_end = header.base_sequence + header.last_offset - header.base_offset + 1
                    stored = (sequence_end - next_sequence) % SEQUENCES
            offset = batches.next_offset
        return stored


class BrokerSink:
    """A broker. Producer ids are the broker's to give, so every record carries ours, and its sequence, in a header."""

    def __init__(self, client: Client, topic: str, partitions: int, compression: str | None = None) -> None:
        """The topic must have that many partitions. Raises `BrokerFailed`."""
        from kstore.apps.sender import Sender

        self.topic = topic
        self._client = client
        self._indexes = tuple(range(partitions))
        self._sender = Sender(client, topic, compression)
        self.message_bytes_max = int(client.config(topic)["max.message.bytes"].value)

    def topic_id(self) -> str:
        """The topic's id; its name where the broker tells none."""
        return self._client.topic_id(self.topic) or self.topic

    def raise_limit(self, size_bytes: int) -> None:
        """Let the topic take larger batches."""
        self._client.alter_topic(self.topic, {"max.message.bytes": size_bytes})
        self.message_bytes_max = size_bytes

    def append(
        self, partition: int, records: list[bytes] | list[Keyed], producer_id: int, base_sequence: int
    ) -> None:
        """Queue records; raises the failure of any that was sent before."""
        rows: Sequence[bytes | Keyed] = records
        for place, record in enumerate(rows):
            key, value = keyed(record)
            mark = _MARK.pack(producer_id, (base_sequence + place) % SEQUENCES)
            self._sender.send(partition, key, value, [(HEADER, mark)])
        self._sender.serve()

    def flush(self) -> None:
        """Wait until the broker has acknowledged everything."""
        self._sender.flush()

    def end_offsets(self) -> tuple[int, ...]:
        """By partition, where the log ends."""
        bounds = self._client.offsets(self.topic, self._indexes)
        return tuple(bounds[index][1] for index in self._indexes)

    def count_stored(self, partition: int, producer_id: int, next_sequence: int, log_end_offset: int) -> int:
        """By the headers of records, which are read once when a producer resumes."""
        from kstore.apps.broker_reader import Reader

        start, end = self._client.offsets(self.topic, (partition,))[partition]
        if end < log_end_offset:
            return -1
        stored = 0
        offset = max(log_end_offset, start)
        if offset == end:
            return 0
        reader = Reader(self._client, self.topic, starts={partition: offset})
        try:
            while not reader.at_end and reader.next_offsets.get(partition, offset) < end:
                for message in reader.read(WAIT_S):
                    reader.take(message)
                    for name, mark in message.headers() or ():
                        if name == HEADER and len(mark) == _MARK.size:
                            owner, sequence = _MARK.unpack(mark)
                            if owner == producer_id:
                                stored = (sequence + 1 - next_sequence) % SEQUENCES
        finally:
            reader.close()
        return stored
