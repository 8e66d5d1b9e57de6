"""A client with nothing but the project's own codec: one socket, requests of any version, and bytes that are none."""

from __future__ import annotations

import itertools
import socket
import struct
from types import TracebackType
from typing import Any

from kstore.records import encode_batches
from kstore.wire.codec import decode_response, encode_request
from kstore.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kstore.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kstore.wire.schema import Request

TIMEOUT_S = 10.0


class WireClient:
    """Asks, and reads answers to the last byte. `last` is the newest version by default."""

    def __init__(self, bootstrap: str, client_id: str | None = "test") -> None:
        host, _, port = bootstrap.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client_id = client_id
        self._ids = itertools.count(1)

    def ask(self, request: Request, version: int) -> Any:
        """The answer to one request."""
        self.post(request, version)
        return self.receive(request.API_KEY, version)

    def post(self, request: Request, version: int) -> int:
        """Send a request and do not wait; returns its correlation id."""
        number = next(self._ids)
        self.socket.sendall(b"".join(encode_request(request, version, number, self.client_id)))
        return number

    def receive(self, key: int, version: int) -> Any:
        """The next answer, which must be of that API."""
        return self.receive_with_id(key, version)[1]

    def receive_with_id(self, key: int, version: int) -> tuple[int, Any]:
        """Correlation id and body of the next answer."""
        return decode_response(key, version, self.receive_frame())

    def receive_frame(self) -> bytes:
        """The next frame without its size; `ConnectionError` where the broker closed."""
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)

    def is_closed_by_broker(self) -> bool:
        """Whether the broker closes without another byte (waits for it)."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _exactly(self, count: int) -> bytes:
        pieces = []
        while count:
            piece = self.socket.recv(min(count, 1 << 20))
            if not piece:
                raise ConnectionError("the broker closed the connection")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> WireClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what most tests need -------------------------------------------------------------------------------

    def make_topic(self, topic: str) -> None:
        """Have a topic made, by asking for it."""
        assert self.ask(MetadataRequest(topics=[MetadataRequestTopic(name=topic)]), 9).topics[0].error_code == 0

    def produce(self, topic: str, values: list[bytes], *, partition: int = 0, acks: int = -1, version: int = 9) -> Any:
        """One batch; the answer for its partition."""
        records = encode_batches(values)
        answer = self.ask(produce_request(topic, records, partition=partition, acks=acks), version)
        return answer.responses[0].partition_responses[0]

    def fetch(self, topic: str, offset: int, *, partition: int = 0, version: int = 12, **options: Any) -> Any:
        """One partition, sessionless; the answer for it."""
        answer = self.ask(fetch_request(topic, offset, partition=partition, **options), version)
        return answer.responses[0].partitions[0]


def produce_request(
    topic: str, records: Any, *, partition: int = 0, acks: int = -1, timeout_ms: int = 30_000, **options: Any
) -> ProduceRequest:
    data = PartitionProduceData(index=partition, records=records)
    topics = [TopicProduceData(name=topic, partition_data=[data])]
    return ProduceRequest(acks=acks, timeout_ms=timeout_ms, topic_data=topics, **options)


def fetch_request(
    topic: str,
    offset: int,
    *,
    partition: int = 0,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 20,
    partition_max_bytes: int = 1 << 20,
    current_leader_epoch: int = -1,
    **options: Any,
) -> FetchRequest:
    wanted = FetchPartition(
        partition=partition,
        fetch_offset=offset,
        partition_max_bytes=partition_max_bytes,
        current_leader_epoch=current_leader_epoch,
    )
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        topics=[FetchTopic(topic=topic, partitions=[wanted])],
        **options,
    )
