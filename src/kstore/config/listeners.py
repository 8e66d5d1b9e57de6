"""Where a broker listens, under which names, and what each listener asks of its clients.

Owns `listeners`, `advertised.listeners`, `listener.security.protocol.map` and the prefix `listener.name.NAME.`. Knows
no socket. Called by `broker` beside it; sources: SocketServerConfigs and KafkaConfig of Apache Kafka 4.3.

Invariants
1. Names are unique, and each has one of Kafka's four protocols.
2. A SASL listener has at least one mechanism, and PLAIN has users; a TLS listener has a key store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from kstore.config.security import PLAIN, SecurityConfig
from kstore.errors import InvalidConfig
from kstore.nearest import nearest

PLAINTEXT: Final = "PLAINTEXT"
PREFIX: Final = "listener.name."
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


class Protocol(NamedTuple):
    """One of Kafka's four."""

    has_tls: bool
    has_sasl: bool


PROTOCOLS: Final = {
    PLAINTEXT: Protocol(False, False),
    "SSL": Protocol(True, False),
    "SASL_PLAINTEXT": Protocol(False, True),
    "SASL_SSL": Protocol(True, True),
}
DEFAULT_MAP: Final = ",".join(f"{name}:{name}" for name in PROTOCOLS)


class ListenerConfig(NamedTuple):
    """One listener. An empty host is every address, port 0 picks a free one."""

    name: str
    host: str
    port: int
    protocol: Protocol
    advertised: tuple[str, int] | None
    """What clients are told to connect to; None: where the broker listens."""
    security: SecurityConfig


def listener_configs(
    listeners: str, advertised: str, protocol_map: str, values: Mapping[str, str]
) -> tuple[ListenerConfig, ...]:
    """Every listener, in order; `InvalidConfig`.

    `values` are the keys of `SecurityConfig` as they were given, with the prefix of a listener or without.
    """
    places = _places("listeners", listeners)
    told = _places("advertised.listeners", advertised) if advertised.strip() else {}
    for name in told.keys() - places.keys():
        raise InvalidConfig(f"advertised.listeners: no listener is named {name}{nearest(name, places)}")
    protocols = _protocols(protocol_map)
    lower = {name.lower(): name for name in places}
    for key in values:
        if key.startswith(PREFIX) and part_of(key)[0] not in lower:
            raise InvalidConfig(f"{key}: no listener has that name; there is {', '.join(sorted(lower))}")
    fixed = [place for place in places.values() if place[1] != 0]
    if len(set(fixed)) < len(fixed):
        raise InvalidConfig(f"listeners={listeners!r}: each has an address of its own")
    made = []
    for name, (host, port) in places.items():
        if name.upper() not in protocols:
            raise InvalidConfig(
                f"listener {name}: listener.security.protocol.map has no such name{nearest(name, protocols)}"
            )
        made.append(
            _checked(ListenerConfig(name, host, port, protocols[name.upper()], told.get(name), _own(name, values)))
        )
    return tuple(made)


def part_of(key: str) -> tuple[str, str]:
    """Listener, in lower case, and key of `listener.name.LISTENER.KEY`; listeners' names may have dots, keys begin
    with a word that tells where they begin."""
    rest = key.removeprefix(PREFIX)
    for known, _ in SecurityConfig.keys().items():
        if rest.endswith(f".{known}"):
            return rest.removesuffix(f".{known}").lower(), known
    name, _, own = rest.partition(".")
    return name.lower(), own


def _own(name: str, values: Mapping[str, str]) -> SecurityConfig:
    """What holds for one listener: its own values before those for all."""
    for_all = {key: value for key, value in values.items() if not key.startswith(PREFIX)}
    for key, value in values.items():
        if key.startswith(PREFIX) and part_of(key)[0] == name.lower():
            for_all[part_of(key)[1]] = value
    return SecurityConfig.parse(for_all)


def _checked(one: ListenerConfig) -> ListenerConfig:
    security = one.security
    if one.protocol.has_sasl and PLAIN in security.sasl_enabled_mechanisms and not security.users_of_plain:
        raise InvalidConfig(
            f"listener {one.name}: PLAIN has no users; name them in {PREFIX}{one.name.lower()}.plain.sasl.jaas.config"
        )
    if one.protocol.has_tls and not security.ssl_keystore_location:
        raise InvalidConfig(f"listener {one.name}: ssl.keystore.location has to name a PEM file: key and certificates")
    trusts = security.ssl_truststore_location or security.ssl_truststore_certificates
    if one.protocol.has_tls and security.ssl_client_auth != "none" and not trusts:
        raise InvalidConfig(f"listener {one.name}: ssl.client.auth needs ssl.truststore.location")
    return one


def _protocols(text: str) -> dict[str, Protocol]:
    found: dict[str, Protocol] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, _, protocol = (part.strip().upper() for part in item.rpartition(":"))
        if not NAME.fullmatch(name) or protocol not in PROTOCOLS:
            raise InvalidConfig(
                f"listener.security.protocol.map: {item!r} is not NAME:PROTOCOL{nearest(protocol, PROTOCOLS)}"
            )
        if name in found:
            raise InvalidConfig(f"listener.security.protocol.map has {name} twice")
        found[name] = PROTOCOLS[protocol]
    return found


def host_and_port(key: str, text: str) -> tuple[str, int]:
    """The two of `HOST:PORT`, or `[HOST]:PORT`; `InvalidConfig` for anything else."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or "/" in host or "," in host:
        raise InvalidConfig(f"{key}: {text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _places(key: str, text: str) -> dict[str, tuple[str, int]]:
    """Host and port by name of `NAME://HOST:PORT,...`; plain `HOST:PORT` is PLAINTEXT."""
    found: dict[str, tuple[str, int]] = {}
    for item in (item.strip() for item in text.split(",")):
        name, separator, rest = item.rpartition("://")
        name = name if separator else PLAINTEXT
        if not NAME.fullmatch(name):
            raise InvalidConfig(f"{key}: {item!r} is not NAME://HOST:PORT or HOST:PORT")
        if name.lower() in (other.lower() for other in found):
            raise InvalidConfig(f"{key} has {name} twice")
        found[name] = host_and_port(key, rest)
    return found
