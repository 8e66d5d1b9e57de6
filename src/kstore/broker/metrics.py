"""Metrics in Prometheus' format, over HTTP: what a broker counts, read when somebody asks and not before.

Owns names and meaning of the metrics. Needs prometheus-client (the extra `metrics`), imported by `MetricsServer` alone.
Made by `service` where `kstore.metrics.listener` names an address.

Invariants
1. A request to the broker costs a handful of additions for it; everything else is gathered at a scrape.
2. The broker's state is read on its event loop, sizes of segments on a thread; the server's threads touch neither.
3. A scrape that the loop does not answer within `SCRAPE_S` fails, and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from kstore.broker.group_calls import gather
from kstore.errors import KStoreError, MissingPackage
from kstore.groups import requests, responses
from kstore.wire.apis import APIS

if TYPE_CHECKING:
    from kstore.broker.node import Broker

SCRAPE_S = 10.0

Place = tuple[str, int]
"""Topic and partition."""


@dataclass
class Picture:
    """A broker at the moment of a scrape."""

    requests: dict[str, int] = field(default_factory=dict)
    received_bytes: int = 0
    sent_bytes: int = 0
    accepted: int = 0
    refused: int = 0
    connections: int = 0
    parked: int = 0
    held_bytes: int = 0
    starts: dict[Place, int] = field(default_factory=dict)
    ends: dict[Place, int] = field(default_factory=dict)
    sizes: dict[Place, int] = field(default_factory=dict)
    groups: Counter[str] = field(default_factory=Counter)
    """Groups by their state."""
    committed: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """Offsets by group, topic and partition."""
    is_failed: bool = False
    """The directory failed: nothing is written any more."""


def take_picture(broker: Broker, then: Callable[[Picture], None]) -> None:
    """Gather everything; on the loop, `then` is called there too."""
    traffic = broker.traffic
    picture = Picture(
        requests={api.name: traffic.requests[key] for key, api in APIS.items() if traffic.requests[key]},
        received_bytes=traffic.received_bytes,
        sent_bytes=traffic.sent_bytes,
        accepted=traffic.accepted,
        refused=broker.connections.refused,
        connections=len(broker.connections.open),
        parked=len(broker.waiting),
        held_bytes=broker.held_bytes,
        is_failed=broker.store.health.failure is not None,
    )

    def with_logs(_: None, error: KStoreError | None) -> None:
        _ask_groups(broker, picture, then)

    broker.off_loop(partial(_look_at_logs, broker, picture), with_logs)


def _look_at_logs(broker: Broker, picture: Picture) -> None:
    """Partitions that are open; the others are as they were when they were last used."""
    for topic, found in broker.cluster.metadata.topics.items():
        for index in range(len(found.partitions)):
            partition = broker.store.opened(topic, index)
            if partition is not None:
                place = (topic, index)
                picture.starts[place] = partition.log_start_offset
                picture.ends[place] = partition.high_watermark
                picture.sizes[place] = sum(segment.size_bytes for segment in partition.segments)


def _ask_groups(broker: Broker, picture: Picture, then: Callable[[Picture], None]) -> None:
    context = requests.Context(client_id="kstore-metrics")

    def with_groups(found: list[responses.Response]) -> None:
        groups = [one for answer in found for one in cast(responses.ListGroupsResponse, answer).groups]
        picture.groups.update(one.group_state for one in groups)
        asked = [requests.OffsetFetchRequest(one.group_id) for one in groups]
        gather([partial(broker.coordination.call, one.group_id, one, context) for one in asked], with_offsets)

    def with_offsets(found: list[responses.Response]) -> None:
        for answer in found:
            group = cast(responses.OffsetFetchResponse, answer)
            for topic in group.topics:
                for one in topic.partitions:
                    if one.committed_offset >= 0:
                        picture.committed[group.group_id, topic.name, one.partition_index] = one.committed_offset
        then(picture)

    broker.coordination.call_all(requests.ListGroupsRequest((), ()), context, with_groups)


class MetricsServer:
    """An HTTP server for scrapes, on threads of its own. Use `close`."""

    def __init__(self, broker: Broker, host: str, port: int) -> None:
        """Listen; raises `MissingPackage` and `OSError`."""
        try:
            import prometheus_client
            import prometheus_client.core
        except ImportError:
            raise MissingPackage("kstore.metrics.listener", "prometheus-client", "metrics") from None
        self._broker = broker
        self._families: Any = prometheus_client.core
        registry = prometheus_client.CollectorRegistry(auto_describe=False)
        registry.register(cast(Any, self))
        prometheus_client.ProcessCollector(registry=registry)
        self._server, self._thread = prometheus_client.start_http_server(port, host or "0.0.0.0", registry)
        self.url = f"http://{host or '127.0.0.1'}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Answer no more, and wait for the threads."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def describe(self) -> Iterable[object]:
        """Nothing in advance: what there is shows at a scrape."""
        return ()

    def collect(self) -> Iterator[Any]:
        """A scrape, on a thread of the server."""
        future: Future[Picture] = Future()
        self._broker.loop.call_soon_threadsafe(take_picture, self._broker, future.set_result)
        picture = future.result(SCRAPE_S)
        yield from self._of_the_broker(picture)
        yield from self._of_partitions(picture)
        yield from self._of_groups(picture)

    def _of_the_broker(self, picture: Picture) -> Iterator[Any]:
        by_api = {(name,): count for name, count in picture.requests.items()}
        yield self._counter("kstore_requests", "Requests by API.", ["api"], by_api)
        yield self._counter("kstore_received_bytes", "Bytes of requests.", [], {(): picture.received_bytes})
        yield self._counter("kstore_sent_bytes", "Bytes of answers.", [], {(): picture.sent_bytes})
        yield self._counter("kstore_connections_accepted", "Connections let in.", [], {(): picture.accepted})
        yield self._counter("kstore_connections_refused", "Connections over a limit.", [], {(): picture.refused})
        yield self._gauge("kstore_connections", "Connections that are open.", [], {(): picture.connections})
        yield self._gauge("kstore_parked_fetches", "Fetches that wait for records.", [], {(): picture.parked})
        yield self._gauge("kstore_open_request_bytes", "Bytes of unanswered requests.", [], {(): picture.held_bytes})
        yield self._gauge("kstore_log_dir_failed", "1: it takes no writes any more.", [], {(): int(picture.is_failed)})

    def _of_partitions(self, picture: Picture) -> Iterator[Any]:
        labels = ["topic", "partition"]
        for name, what, values in (
            ("kstore_log_start_offset", "Where the partition begins.", picture.starts),
            ("kstore_high_watermark", "Where consumers end; its rate is the rate of records.", picture.ends),
            ("kstore_log_size_bytes", "Bytes of the partition's segments.", picture.sizes),
        ):
            yield self._gauge(name, what, labels, {(topic, str(i)): value for (topic, i), value in values.items()})

    def _of_groups(self, picture: Picture) -> Iterator[Any]:
        yield self._gauge("kstore_groups", "Groups by state.", ["state"], {(k,): v for k, v in picture.groups.items()})
        labels = ["group", "topic", "partition"]
        committed = {(group, topic, str(i)): value for (group, topic, i), value in picture.committed.items()}
        yield self._gauge("kstore_group_offset", "Committed offsets.", labels, committed)
        lag = {
            (group, topic, str(i)): max(picture.ends[topic, i] - offset, 0)
            for (group, topic, i), offset in picture.committed.items()
            if (topic, i) in picture.ends
        }
        yield self._gauge("kstore_group_lag", "Records between commit and high watermark.", labels, lag)

    def _counter(self, name: str, what: str, labels: list[str], values: Mapping[Any, int]) -> Any:
        return _filled(self._families.CounterMetricFamily(name, what, labels=labels), values)

    def _gauge(self, name: str, what: str, labels: list[str], values: Mapping[Any, int]) -> Any:
        return _filled(self._families.GaugeMetricFamily(name, what, labels=labels), values)


def _filled(family: Any, values: Mapping[Any, int]) -> Any:
    for labels, value in values.items():
        family.add_metric(list(labels), value)
    return family
