"""The cluster that a graduated directory is born into: identity, metadata records, `server.properties`.

Owns what a lone broker and controller must find so that it serves the logs which lie there at once, without recovery
and without renaming any. Pure: values in, records and text out. Called by `build`.

Why these records (seen on Kafka 4.3.1, told in docs/decisions/graduate.md)
1. Every partition is without a leader and has the broker as its only eligible one (KIP-966): what a controlled stop
   leaves. The controller elects it cleanly, in the epoch after the newest one in the log.
2. The broker's registration is there with the epoch that `.kafka_cleanshutdown` says: then it has stopped cleanly in
   the controller's eyes too.
3. Producer ids start above every id in the logs, else a new producer would meet the sequences of an old one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kstore.errors import UsageError
from kstore.kraft import records
from kstore.log import names

BROKER_EPOCH: Final = 0

FEATURES: Final = {
    "metadata.version": 30,
    "eligible.leader.replicas.version": 1,
    "group.version": 1,
    "share.version": 1,
    "streams.version": 1,
    "transaction.version": 2,
}
"""Feature levels of Kafka 4.3; an older broker refuses to start, a newer one may be upgraded from there."""

INTERNAL_CONFIGS: Final[Mapping[str, Mapping[str, str]]] = {
    "__consumer_offsets": {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "segment.bytes": "104857600",
    },
    "__transaction_state": {
        "cleanup.policy": "compact",
        "compression.type": "uncompressed",
        "segment.bytes": "104857600",
        "min.insync.replicas": "1",
        "unclean.leader.election.enable": "false",
    },
    "__share_group_state": {
        "cleanup.policy": "delete",
        "compression.type": "none",
        "segment.bytes": "104857600",
        "retention.ms": "-1",
        "min.insync.replicas": "1",
    },
}
"""The configs with which Kafka creates its internal topics: without them it would delete what must be compacted."""


@dataclass(frozen=True)
class GraduatedTopic:
    """A topic to announce: `leader_epochs` holds the newest epoch in each partition's log, by partition number."""

    name: str
    topic_id: bytes
    config: Mapping[str, str]
    leader_epochs: Sequence[int]


@dataclass(frozen=True)
class Identity:
    """Who the broker is and where it listens. `controller` is the port of the quorum, on the same host."""

    cluster_id: str
    node_id: int
    directory_id: bytes
    host: str
    port: int
    controller_port: int
    incarnation_id: bytes = field(default_factory=names.random_uuid)


def parse_listener(listener: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, an IPv6 host in brackets; `UsageError` for anything else."""
    host, colon, port_text = listener.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not host or not port_text.isascii() or not port_text.isdigit() or not 0 < int(port_text) < 65536:
        raise UsageError(f"listener {listener!r} is not HOST:PORT with a port of 1 to 65535, such as 127.0.0.1:9092")
    return host, int(port_text)


def controller_port(port: int) -> int:
    """The port next to the broker's, where there is one."""
    return port + 1 if port < 65535 else port - 1


def metadata_records(identity: Identity, topics: Sequence[GraduatedTopic], next_producer_id: int) -> list[bytes]:
    """The records of `bootstrap.checkpoint`: features, the broker, producer ids, then topic by topic."""
    values = [
        records.encode(records.FEATURE_LEVEL, 0, name=name, featureLevel=level) for name, level in FEATURES.items()
    ]
    values.append(_registration(identity))
    values.append(
        records.encode(
            records.PRODUCER_IDS,
            0,
            brokerId=identity.node_id,
            brokerEpoch=BROKER_EPOCH,
            nextProducerId=next_producer_id,
        )
    )
    for topic in topics:
        values += _topic_records(identity, topic)
    return values


def _registration(identity: Identity) -> bytes:
    endpoint = {"name": "PLAINTEXT", "host": _reachable(identity.host), "port": identity.port, "securityProtocol": 0}
    supported = [
        {"name": name, "minSupportedVersion": 7 if name == "metadata.version" else 0, "maxSupportedVersion": level}
        for name, level in FEATURES.items()
    ]
    return records.encode(
        records.REGISTER_BROKER,
        3,
        brokerId=identity.node_id,
        incarnationId=identity.incarnation_id,
        brokerEpoch=BROKER_EPOCH,
        endPoints=[endpoint],
        features=supported,
        rack=None,
        fenced=True,
        logDirs=[identity.directory_id],
    )


def _topic_records(identity: Identity, topic: GraduatedTopic) -> list[bytes]:
    values = [records.encode(records.TOPIC, 0, name=topic.name, topicId=topic.topic_id)]
    values += [
        records.encode(
            records.CONFIG, 0, resourceType=records.TOPIC_RESOURCE, resourceName=topic.name, name=key, value=value
        )
        for key, value in sorted(topic_config(topic).items())
    ]
    node = [identity.node_id]
    values += [
        records.encode(
            records.PARTITION,
            2,
            partitionId=number,
            topicId=topic.topic_id,
            replicas=node,
            isr=[],
            removingReplicas=[],
            addingReplicas=[],
            leader=-1,
            leaderEpoch=max(epoch, 0),
            partitionEpoch=0,
            directories=[identity.directory_id],
            eligibleLeaderReplicas=node,
            lastKnownElr=node,
        )
        for number, epoch in enumerate(topic.leader_epochs)
    ]
    return values


def topic_config(topic: GraduatedTopic) -> dict[str, str]:
    """The topic's configs, those of an internal topic completed by what Kafka gives it."""
    return {**INTERNAL_CONFIGS.get(topic.name, {}), **topic.config}


def server_properties(identity: Identity, log_dir: str, partition_counts: Mapping[str, int]) -> str:
    """What `kafka-server-start.sh` takes to boot on the directory.

    `partition_counts` are those of the internal topics that are there: a broker reads the numbers from the metadata,
    but a reader of this file should not be told others.
    """
    host = f"[{identity.host}]" if ":" in identity.host else identity.host
    reachable = f"[{_reachable(identity.host)}]" if ":" in identity.host else _reachable(identity.host)
    listeners = f"PLAINTEXT://{host}:{identity.port},CONTROLLER://{reachable}:{identity.controller_port}"
    lines = {
        "process.roles": "broker,controller",
        "node.id": str(identity.node_id),
        "controller.quorum.voters": f"{identity.node_id}@{reachable}:{identity.controller_port}",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://{reachable}:{identity.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": log_dir,
        "offsets.topic.num.partitions": str(partition_counts.get("__consumer_offsets", 50)),
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": str(partition_counts.get("__transaction_state", 50)),
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
    }
    return "".join(f"{key}={_escape(value)}\n" for key, value in lines.items())


def _escape(value: str) -> str:
    """A value as Java's Properties.load reads it back: a backslash doubled, what is not ASCII by its UTF-16 units."""
    return re.sub(r"[^ -~]", _units, value.replace("\\", "\\\\"))


def _units(match: re.Match[str]) -> str:
    data = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[i : i + 2].hex()}" for i in range(0, len(data), 2))


def _reachable(host: str) -> str:
    """A host that a client can connect to: the loopback address for a wildcard."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
