"""What a KRaft cluster knows, read from one log directory: topics with ids and configs, broker epochs, features.

Owns the replay of metadata records and the choice of the files to replay. Reads through a `disk`, changes nothing.
Called by the store when it opens a directory that Kafka wrote (which config has a topic, which broker epoch goes into
`.kafka_cleanshutdown`) and by `graduation`.

Invariants
1. Replay starts at the newest checkpoint that reads to its end and goes on with the log behind it, as a controller
   does; `bootstrap.checkpoint` counts only while the metadata log is empty.
2. Damage ends the replay there and is said (`complete` is False): what was read so far still stands.

Rules from MetadataImage, PartitionRegistration.merge and BootstrapDirectory of Apache Kafka 4.3.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from kstore.errors import CorruptionError, RejectedError
from kstore.kraft import records
from kstore.records import decode_batches

METADATA_DIR: Final = "__cluster_metadata-0"
BOOTSTRAP_FILE: Final = "bootstrap.checkpoint"

_CHECKPOINT = re.compile(r"([0-9]{20})-([0-9]{10})\.checkpoint")
_SEGMENT = re.compile(r"([0-9]{20})\.log")


class Files(Protocol):
    """The part of a `Disk` that reading takes."""

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path`."""

    def list(self, path: str) -> list[str]:
        """The names in a directory."""

    def read_file(self, path: str) -> bytes:
        """All bytes of a file."""


class KraftPartition(NamedTuple):
    """A partition as the controller knows it."""

    leader_epoch: int
    leader: int
    replicas: tuple[int, ...]


@dataclass
class KraftTopic:
    """A topic: its id, the configs set on it (Kafka's strings, defaults left out) and its partitions by number."""

    name: str
    topic_id: bytes
    config: dict[str, str] = field(default_factory=dict)
    partitions: dict[int, KraftPartition] = field(default_factory=dict)


@dataclass
class KraftMetadata:
    """The state after replay.

    `broker_configs` maps a broker id as text to its dynamic configs, "" to those of all brokers. `broker_epochs`
    holds the registered brokers only. `next_offset` is the metadata offset behind the last record read: 0 where there
    is no metadata, or none but what a first boot will start from.
    """

    topics: dict[str, KraftTopic] = field(default_factory=dict)
    broker_epochs: dict[int, int] = field(default_factory=dict)
    broker_configs: dict[str, dict[str, str]] = field(default_factory=dict)
    features: dict[str, int] = field(default_factory=dict)
    next_producer_id: int = 0
    next_offset: int = 0
    complete: bool = True
    _names: dict[bytes, str] = field(default_factory=dict, repr=False)
    _configs: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    _pending: list[records.MetadataRecord] | None = field(default=None, repr=False)

    @property
    def topic_configs(self) -> dict[str, dict[str, str]]:
        """The configs set on each topic, by its name."""
        return {name: dict(topic.config) for name, topic in self.topics.items()}

    def replay(self, record: records.MetadataRecord) -> None:
        """Replays one record; those of a metadata transaction count once it has ended (KIP-868)."""
        match record.api_key:
            case records.BEGIN_TRANSACTION:
                self._pending = []
            case records.ABORT_TRANSACTION:
                self._pending = None
            case records.END_TRANSACTION:
                held, self._pending = self._pending or [], None
                for one in held:
                    self._apply(one)
            case _ if self._pending is not None:
                self._pending.append(record)
            case _:
                self._apply(record)

    def _apply(self, record: records.MetadataRecord) -> None:
        """What a record says about the above; other types say nothing."""
        data = record.data
        if data is None:
            return
        match record.api_key:
            case records.TOPIC:
                self._names[data["topicId"]] = data["name"]
                config = self._configs.setdefault(data["name"], {})
                self.topics[data["name"]] = KraftTopic(data["name"], data["topicId"], config)
            case records.REMOVE_TOPIC:
                name = self._names.pop(data["topicId"], "")
                self.topics.pop(name, None)
                self._configs.pop(name, None)
            case records.PARTITION | records.PARTITION_CHANGE:
                self._apply_partition(record.api_key, data)
            case records.CONFIG:
                self._apply_config(data)
            case records.REGISTER_BROKER:
                self.broker_epochs[data["brokerId"]] = data["brokerEpoch"]
            case records.UNREGISTER_BROKER:
                self.broker_epochs.pop(data["brokerId"], None)
            case records.FEATURE_LEVEL:
                self.features[data["name"]] = data["featureLevel"]
            case records.PRODUCER_IDS:
                self.next_producer_id = data["nextProducerId"]

    def _apply_partition(self, api_key: int, data: dict[str, Any]) -> None:
        topic = self.topics.get(self._names.get(data["topicId"], ""))
        if topic is None:
            return
        number = data["partitionId"]
        if api_key == records.PARTITION:
            topic.partitions[number] = KraftPartition(data["leaderEpoch"], data["leader"], tuple(data["replicas"]))
        elif (old := topic.partitions.get(number)) is not None:
            replicas = old.replicas if data["replicas"] is None else tuple(data["replicas"])
            moved = data["leader"] != -2  # -2: the record leaves the leader alone, and with it the epoch
            leader, epoch = (data["leader"], old.leader_epoch + 1) if moved else (old.leader, old.leader_epoch)
            topic.partitions[number] = KraftPartition(epoch, leader, replicas)

    def _apply_config(self, data: dict[str, Any]) -> None:
        if data["resourceType"] == records.TOPIC_RESOURCE:
            configs = self._configs.setdefault(data["resourceName"], {})
        elif data["resourceType"] == records.BROKER_RESOURCE:
            configs = self.broker_configs.setdefault(data["resourceName"], {})
        else:
            return
        if data["value"] is None:
            configs.pop(data["name"], None)
        else:
            configs[data["name"]] = data["value"]


def read_metadata(disk: Files, root: str) -> KraftMetadata:
    """The cluster metadata that the log directory `root` holds; empty where it has none.

    `OSError` where a file cannot be read. A directory whose broker is not a controller has a metadata log too.
    """
    directory = os.path.join(root, METADATA_DIR)
    names = disk.list(directory) if disk.exists(directory) else []
    metadata = _newest_checkpoint(disk, directory, names)
    _replay_log(disk, directory, names, metadata)
    bootstrap = os.path.join(root, BOOTSTRAP_FILE)
    if metadata.next_offset == 0 and disk.exists(bootstrap):
        _replay(disk.read_file(bootstrap), metadata)
        metadata.next_offset = 0
    return metadata


def _newest_checkpoint(disk: Files, directory: str, names: list[str]) -> KraftMetadata:
    """The state of the newest checkpoint that is whole, else the empty one.

    The checkpoint at offset 0 holds the voters of a dynamic quorum and nothing that is replayed.
    """
    found = sorted((match for match in map(_CHECKPOINT.fullmatch, names) if match), key=lambda match: match[0])
    for match in reversed(found):
        metadata = KraftMetadata()
        if int(match[1]) == 0:
            break
        _replay(disk.read_file(os.path.join(directory, match[0])), metadata)
        if metadata.complete:
            metadata.next_offset = int(match[1])
            return metadata
    return KraftMetadata()


def _replay_log(disk: Files, directory: str, names: list[str], metadata: KraftMetadata) -> None:
    """Replays the records of the log from `metadata.next_offset` on."""
    bases = sorted(int(match[1]) for match in map(_SEGMENT.fullmatch, names) if match)
    for index, base in enumerate(bases):
        if index + 1 == len(bases) or bases[index + 1] > metadata.next_offset:
            _replay(disk.read_file(os.path.join(directory, f"{base:020d}.log")), metadata, metadata.next_offset)
        if not metadata.complete:
            return


def _replay(buffer: bytes, metadata: KraftMetadata, start_offset: int = 0) -> None:
    """Replays the records of one file from `start_offset` on."""
    for offset, record in _records(buffer, metadata):
        if offset >= start_offset:
            metadata.next_offset = offset + 1
            metadata.replay(record)


def _records(buffer: bytes, metadata: KraftMetadata) -> Iterator[tuple[int, records.MetadataRecord]]:
    try:
        for record in decode_batches(buffer):
            if record.value is not None:
                yield record.offset, records.decode(record.value)
    except (CorruptionError, RejectedError, ValueError):
        metadata.complete = False
