"""The catalogue of a directory: which topics there are, with which id, partitions and configuration.

Owns the sidecar `kstore-topics`, because Kafka keeps topic configurations in its metadata log and not beside the
data. Losing the sidecar costs configuration, never data: topics are found again by their partition directories and
their ids by `partition.metadata`. Called by `store`; it decides nothing about logs.

Invariants: the sidecar is replaced atomically and carries a CRC-32C over its body; one that fails its check counts
as absent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kstore._native.crc32c import crc32c
from kstore.config import StoreConfig, TopicConfig, render
from kstore.errors import InvalidConfig

if TYPE_CHECKING:
    from kstore.log.disk import Disk

FILE_NAME = "kstore-topics"
MAGIC = b"kstore-topics 1 "

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topic:
    """One topic of a directory."""

    name: str
    partitions: tuple[int, ...]
    """Partition numbers that have a directory here, rising; a Kafka broker may hold only some of a topic's."""
    topic_id: str
    """Kafka's topic id, 22 characters of base64url; empty where no file tells."""
    config: TopicConfig

    @property
    def partition_count(self) -> int:
        """One more than the highest partition number here."""
        return self.partitions[-1] + 1 if self.partitions else 0


class Entry(NamedTuple):
    """What the sidecar keeps of one topic."""

    topic_id: str
    partitions: int
    """Partition count; 0 where only Kafka's metadata log knows the topic."""
    config: Mapping[str, str]
    state: str = "live"
    """`creating` and `deleting` outlive a crash, so that the next open finishes what was begun."""


def encode(entries: Mapping[str, Entry]) -> bytes:
    """The sidecar's bytes: a header line with the CRC-32C of the body, then the body in JSON."""
    body = json.dumps({name: entry._asdict() for name, entry in sorted(entries.items())}, indent=1).encode()
    return MAGIC + b"%08x\n" % crc32c(body) + body


def decode(data: bytes) -> dict[str, Entry] | None:
    """The sidecar's entries, or None where its check fails."""
    head, _, body = data.partition(b"\n")
    if not head.startswith(MAGIC) or head[len(MAGIC) :] != b"%08x" % crc32c(body):
        return None
    raw: dict[str, Any] = json.loads(body)
    return {name: Entry(**entry) for name, entry in raw.items()}


class Catalog:
    """Topic ids, partition counts and configurations by name, kept in the sidecar."""

    def __init__(self, disk: Disk, directory: str, config: StoreConfig) -> None:
        self._disk = disk
        self._path = f"{directory}/{FILE_NAME}"
        self._config = config
        self._entries: dict[str, Entry] = {}

    def load(self, inherited: Mapping[str, Mapping[str, str]]) -> None:
        """Read the sidecar over `inherited`: what Kafka's own metadata log says of each topic's config."""
        self._entries = {name: Entry("", 0, config) for name, config in inherited.items()}
        if not self._disk.exists(self._path):
            return
        own = decode(self._disk.read_file(self._path))
        if own is None:
            _log.warning("%s fails its check: topic configurations fall back to their defaults", self._path)
            return
        self._entries.update(own)

    def config(self, name: str) -> TopicConfig:
        """The topic's configuration; a key or value that kstore refuses is left out with a warning."""
        entry = self._entries.get(name)
        values = entry.config if entry is not None else {}
        try:
            return self._config.topic(values)
        except InvalidConfig as error:
            _log.warning("config of topic %s: %s; its other keys hold", name, error)
            return self._config.topic({k: v for k, v in values.items() if _fits(k, v)})

    def is_dense(self, name: str) -> bool:
        """Whether the topic's offsets are known to have no holes: its config is at hand and asks for no compaction."""
        return name in self._entries and self.config(name).dense

    def topic_id(self, name: str) -> str:
        """The topic's id, or an empty string."""
        entry = self._entries.get(name)
        return entry.topic_id if entry is not None else ""

    def unfinished(self) -> dict[str, Entry]:
        """Topics whose creation or deletion was interrupted."""
        return {name: entry for name, entry in self._entries.items() if entry.state != "live"}

    def put(self, name: str, entry: Entry) -> None:
        """Remember a topic; on the medium when this returns. Raises `OSError`."""
        self._replace({**self._entries, name: entry})

    def alter(self, name: str, partitions: int, changes: Mapping[str, Any]) -> TopicConfig:
        """Change config keys of a topic; returns its new config. Raises `InvalidConfig` and `OSError`."""
        entry = self._entries.get(name, Entry("", partitions, {}))
        config = {**entry.config, **strings(changes)}
        parsed = self._config.topic(config)
        self.put(name, entry._replace(partitions=partitions, config=config))
        return parsed

    def remove(self, name: str) -> None:
        """Forget a topic; on the medium when this returns. Raises `OSError`."""
        self._replace({k: v for k, v in self._entries.items() if k != name})

    def _replace(self, entries: dict[str, Entry]) -> None:
        self._disk.write_file_atomic(self._path, encode(entries))
        self._entries = entries


def strings(config: Mapping[str, Any]) -> dict[str, str]:
    """Config values as Kafka writes them."""
    return {key: render(tuple(value) if isinstance(value, list) else value) for key, value in config.items()}


def _fits(key: str, value: str) -> bool:
    try:
        TopicConfig.parse({key: value})
    except InvalidConfig:
        return False
    return True
