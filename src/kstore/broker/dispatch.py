"""From a frame to its handler: which APIs there are, in which versions, and what happens to bytes that are none.

Owns the table of handlers by API key. Must not know what they do. Called by `connection` through the broker, once for
every request.

Invariants
1. A request reaches a handler only if its API and version were advertised, or the table says that it is answered all
   the same; ApiVersions is answered in any version (KIP-511), everything else closes the connection (N6).
2. Bytes that are no request close the connection: what follows cannot be trusted (N2 to N5).
3. A handler that fails closes its client's connection, and nobody else's.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kstore.broker import fetch, metadata, offsets, produce, sessions
from kstore.broker.call import Call
from kstore.broker.connection import Connection
from kstore.errors import MalformedMessage, UnsupportedVersion
from kstore.wire import negotiation
from kstore.wire.apis import APIS
from kstore.wire.codec import decode_header, decode_request

if TYPE_CHECKING:
    from kstore.broker.node import Broker

Handler = Callable[["Broker", Call], None]


def _later(module: str, name: str) -> Handler:
    """A handler whose module is loaded by the first request for it: most brokers of a test never need it."""
    found: Handler | None = None

    def handle(broker: Broker, call: Call) -> None:
        nonlocal found
        if found is None:
            found = getattr(importlib.import_module(f"kstore.broker.{module}"), name)
        found(broker, call)

    handle.__module__, handle.__qualname__ = f"kstore.broker.{module}", name
    return handle


HANDLERS: dict[int, Handler] = {
    0: produce.produce,
    1: fetch.fetch,
    2: offsets.list_offsets,
    3: metadata.metadata,
    8: _later("commits", "offset_commit"),
    9: _later("commits", "offset_fetch"),
    10: sessions.find_coordinator,
    11: _later("groups", "join_group"),
    12: _later("groups", "heartbeat"),
    13: _later("groups", "leave_group"),
    14: _later("groups", "sync_group"),
    15: _later("group_admin", "describe_groups"),
    16: _later("group_admin", "list_groups"),
    17: sessions.sasl_handshake,
    18: sessions.api_versions,
    19: _later("topics", "create_topics"),
    20: _later("topics", "delete_topics"),
    21: _later("partitions", "delete_records"),
    22: _later("producers", "init_producer_id"),
    23: _later("partitions", "offset_for_leader_epoch"),
    24: _later("transactions", "add_partitions_to_txn"),
    25: _later("transactions", "add_offsets_to_txn"),
    26: _later("transactions", "end_txn"),
    27: _later("transactions", "write_txn_markers"),
    28: _later("transactions", "txn_offset_commit"),
    32: _later("configs", "describe_configs"),
    33: _later("configs", "alter_configs"),
    35: _later("partitions", "describe_log_dirs"),
    36: sessions.sasl_authenticate,
    37: _later("topics", "create_partitions"),
    42: _later("group_admin", "delete_groups"),
    43: _later("admin", "elect_leaders"),
    44: _later("configs", "incremental_alter_configs"),
    46: _later("admin", "list_partition_reassignments"),
    47: _later("commits", "offset_delete"),
    50: _later("scram_admin", "describe"),
    51: _later("scram_admin", "alter"),
    60: _later("admin", "describe_cluster"),
    61: _later("partitions", "describe_producers"),
    65: _later("transactions", "describe_transactions"),
    66: _later("transactions", "list_transactions"),
    68: _later("consumer_groups", "heartbeat"),
    69: _later("consumer_groups", "describe"),
    74: _later("configs", "list_config_resources"),
    75: _later("admin", "describe_topic_partitions"),
}
"""By API key. What is in here is advertised, but for `UNADVERTISED`."""

UNADVERTISED: frozenset[int] = frozenset({24, 25, 26, 27, 28})
"""Answered when asked, and not offered."""


def handlers_by_version(handlers: Mapping[int, Handler]) -> dict[tuple[int, int], Handler]:
    """By API key and version, for the look-up that every request needs."""
    return {
        (key, version): handler
        for key, handler in handlers.items()
        for version in range(APIS[key].first, APIS[key].last + 1)
        if negotiation.offers(key, version)
    }


_OFFERED = handlers_by_version(HANDLERS)

_log = logging.getLogger(__name__)


def advertised() -> list[int]:
    """The API keys that ApiVersions names."""
    return sorted(HANDLERS.keys() - UNADVERTISED)


def dispatch(
    broker: Broker,
    connection: Connection,
    frame: memoryview,
    offered: Mapping[tuple[int, int], Handler] = _OFFERED,
) -> None:
    """Handle one request of a connection, which may be of what is `offered`."""
    try:
        header, body = decode_request(frame)
        handler = offered.get((header.api_key, header.api_version))
        if handler is None:
            raise UnsupportedVersion(header.api_key, header.api_version, "this broker does not offer it")
    except UnsupportedVersion as error:
        _refuse(connection, frame, str(error))
        return
    except MalformedMessage as error:
        connection.close(str(error), logging.WARNING)
        return
    broker.traffic.requests[header.api_key] += 1
    call = Call(connection, header.api_key, header.api_version, header.correlation_id, header.client_id, body, frame)
    connection.accept(call, len(frame))
    try:
        handler(broker, call)
    except Exception:
        _log.exception("%s: API %d version %d failed", connection.peer, header.api_key, header.api_version)
        connection.close("its request failed", logging.ERROR)


def _refuse(connection: Connection, frame: memoryview, reason: str) -> None:
    try:
        header, _ = decode_header(frame)
    except MalformedMessage as error:
        connection.close(str(error), logging.WARNING)
        return
    refused = negotiation.refuse(header)
    if refused is None:
        connection.close(reason, logging.WARNING)
        return
    call = Call(connection, header.api_key, 0, header.correlation_id, header.client_id, None)
    connection.accept(call, len(frame))
    connection.finish(call, refused)
