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
import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from kstore._native.crc32c import crc32c
from kstore.config import StoreConfig, TopicConfig, render
from kstore.errors import InvalidConfig
from kstore.log import names

if TYPE_CHECKING:
    from kstore.log.disk import Disk

FILE_NAME = "kstore-topics"
MAGIC = b"kstore-topics 1 "

_log = logging.getLogger(__name__)


class Topic(NamedTuple):
    """One topic of a directory."""

    name: str
    partitions: tuple[int, ...]
    """Partition numbers that have a directory here, rising; a Kafka broker may hold only some of a topic's."""
    topic_id: str
    """Kafka's topic id, 22 characters of base64url; empty where no file tells."""
    config: TopicConfig
    overrides: Mapping[str, str] = MappingProxyType({})
    """The config keys that were set for this topic, as Kafka writes them; the others have their defaults."""

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
    dense: bool = False
    """The topic was made here and no offset of its logs was ever left out; see `trust`."""


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
        self._parsed: dict[str, TopicConfig] = {}
        """What `config` has read of `_entries`; emptied whenever those change."""
        self._mutex = threading.Lock()
        """Around every change; no other lock is taken while it is held."""

    def load(self, inherited: Mapping[str, Mapping[str, str]]) -> None:
        """Read the sidecar over `inherited`: what Kafka's own metadata log says of each topic's config.

        A topic that Kafka knows is one that Kafka may have compacted.
        """
        self._parsed = {}
        self._entries = {name: Entry("", 0, config) for name, config in inherited.items()}
        if not self._disk.exists(self._path):
            return
        own = decode(self._disk.read_file(self._path))
        if own is None:
            _log.warning("%s fails its check: topic configurations fall back to their defaults", self._path)
            return
        self._entries.update((name, e._replace(dense=e.dense and name not in inherited)) for name, e in own.items())

    def config(self, name: str) -> TopicConfig:
        """The topic's configuration; a key or value that kstore refuses is left out with a warning."""
        parsed = self._parsed
        if name not in parsed:
            parsed[name] = self._read_config(name)
        return parsed[name]

    def _read_config(self, name: str) -> TopicConfig:
        entry = self._entries.get(name)
        values = entry.config if entry is not None else {}
        try:
            return self._config.topic(values)
        except InvalidConfig as error:
            _log.warning("config of topic %s: %s; its other keys hold", name, error)
            return self._config.topic({k: v for k, v in values.items() if _fits(k, v)})

    def new_entry(self, topic_id: str, partitions: int, config: Mapping[str, Any]) -> Entry:
        """The entry of a topic that is to be made. Raises `InvalidConfig`."""
        dense = not self._config.topic(config).compacts
        return Entry(topic_id, partitions, strings(config), "creating", dense)

    def dense_id(self, name: str) -> bytes | None:
        """The id of the topic, whose logs the sidecar knows to be without holes; None where it does not."""
        entry = self._entries.get(name)
        if entry is None or not entry.dense or self.config(name).compacts:
            return None
        return names.uuid_from_text(entry.topic_id)

    def forget_dense(self, topics: Iterable[str]) -> None:
        """Know from now on that these topics may have holes; on the medium when this returns. Raises `OSError`."""
        with self._mutex:
            stale = {name: entry for name in topics if (entry := self._entries.get(name)) is not None and entry.dense}
            if stale:
                self._replace({**self._entries, **{name: e._replace(dense=False) for name, e in stale.items()}})

    def topic_id(self, name: str) -> str:
        """The topic's id, or an empty string."""
        entry = self._entries.get(name)
        return entry.topic_id if entry is not None else ""

    def unfinished(self) -> dict[str, Entry]:
        """Topics whose creation or deletion was interrupted."""
        return {name: entry for name, entry in self._entries.items() if entry.state != "live"}

    def put(self, name: str, entry: Entry) -> None:
        """Remember a topic; on the medium when this returns. Raises `OSError`."""
        with self._mutex:
            self._replace({**self._entries, name: entry})

    def entry(self, name: str) -> Entry:
        """What is kept of a topic; an empty entry where nothing is."""
        return self._entries.get(name, Entry("", 0, {}))

    def overrides(self, name: str) -> dict[str, str]:
        """The config keys that were set for the topic itself."""
        entry = self._entries.get(name)
        return {} if entry is None else dict(entry.config)

    def alter(self, name: str, partitions: int, changes: Mapping[str, Any]) -> TopicConfig:
        """Change config keys of a topic, None takes one back to its default; returns its new config.

        Raises `InvalidConfig` and `OSError`.
        """
        with self._mutex:
            entry = self._entries.get(name, Entry("", partitions, {}))
            kept = {key: value for key, value in entry.config.items() if key not in changes}
            config = {**kept, **strings({key: value for key, value in changes.items() if value is not None})}
            parsed = self._config.topic(config)
            dense = entry.dense and not parsed.compacts
            self._replace({**self._entries, name: entry._replace(partitions=partitions, config=config, dense=dense)})
            return parsed

    def remove(self, name: str) -> None:
        """Forget a topic; on the medium when this returns. Raises `OSError`."""
        with self._mutex:
            self._replace({k: v for k, v in self._entries.items() if k != name})

    def _replace(self, entries: dict[str, Entry]) -> None:
        self._disk.write_file_atomic(self._path, encode(entries))
        self._entries, self._parsed = entries, {}


def strings(config: Mapping[str, Any]) -> dict[str, str]:
    """Config values as Kafka writes them."""
    return {key: render(tuple(value) if isinstance(value, list) else value) for key, value in config.items()}


def _fits(key: str, value: str) -> bool:
    try:
        TopicConfig.parse({key: value})
    except InvalidConfig:
        return False
    return True
