"""What kstore's own sidecars are still worth after anybody else may have been here.

Owns two judgements that a wrong answer to would make a legal directory look damaged:

- *undisturbed*: nobody but kstore has written here since kstore did last. Seals and quarantines speak of bytes at
  positions, and a Kafka that compacted or cut a log since has moved them.
- *dense*: the offsets of a topic have never had a hole, so that a hole is damage. Today's `cleanup.policy` cannot tell
  that, because it may have been `compact` before, and a follower has the holes of its leader. So it is known only of
  a topic that was made here, never had that policy, has stored no batch that left offsets out, lies in an
  undisturbed directory, and is in no cleaner checkpoint. It is forgotten before it ceases to hold, for good.

Called by `Store` and by `inspect`, which looks without a store. Knows no segments.

Invariants
1. Being dense or undisturbed is never guessed: where anything that would tell is missing, the answer is no.
2. Stale sidecars and stale density are gone, durably, before `begin` writes the twin that hides that others ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore.config import StoreConfig
from kstore.log import names
from kstore.log.twins import RootCheckpoints
from kstore.store import topics
from kstore.store.catalog import Catalog

if TYPE_CHECKING:
    from kstore.log.disk import Disk

POSITIONAL_FILES = (names.SEALS_FILE, names.QUARANTINE_FILE)
"""Sidecars that say something of bytes at a position. Tail checkpoints do too, and check it themselves."""


class Trust:
    """What to believe of one directory."""

    def __init__(self, roots: RootCheckpoints, catalog: Catalog) -> None:
        """Decides by what the two have read; does no I/O."""
        self._roots = roots
        self._catalog = catalog
        self.vouched = roots.vouched
        """kstore wrote here before, and what it wrote is checksummed."""
        self.undisturbed = self.vouched and not roots.others_ran and not roots.cleaner_ran

    @classmethod
    def read(cls, disk: Disk, root: str, *, writable: bool = False) -> Trust:
        """Of a directory that no store of ours has open; changes nothing. Raises `OSError`."""
        catalog = Catalog(disk, root, StoreConfig())
        kafkas = topics.kafkas_metadata(disk, root)
        catalog.load({} if kafkas is None else kafkas.topic_configs)
        return cls(RootCheckpoints.open(disk, root, writable=writable), catalog)

    def dense_id(self, topic: str, partition: int) -> bytes | None:
        """The topic id of which a partition's directory is known to have no hole; None where it may have some.

        A directory that says another id of itself is not the one that is meant.
        """
        if not self.undisturbed or self._roots.was_cleaned(topic, partition):
            return None
        return self._catalog.dense_id(topic)

    def log_start(self, topic: str, partition: int) -> int:
        """The checkpointed log start offset of a partition; 0 where there is none."""
        return self._roots.log_start(topic, partition) or 0

    def durable(self, topic: str, partition: int) -> int:
        """The end of what was on the medium once, by the recovery point checkpoint; 0 where nothing is known."""
        return self._roots.recovery_point(topic, partition).durable

    def begin(self, disk: Disk, root: str) -> None:
        """To be called before anything is changed: forget what no longer holds, then `RootCheckpoints.begin`.

        Raises `OSError`.
        """
        found = topics.partitions_of(disk, root)
        if self.undisturbed:
            cleaned = [t for t, numbers in found.items() if any(self._roots.was_cleaned(t, n) for n in numbers)]
            self._catalog.forget_dense(cleaned)
        else:
            self._catalog.forget_dense(found)
            for topic, numbers in found.items():
                for number in numbers:
                    _remove_positional(disk, f"{root}/{names.partition_dir_name(topic, number)}")
        self._roots.begin()


def _remove_positional(disk: Disk, directory: str) -> None:
    stale = [path for name in POSITIONAL_FILES if disk.exists(path := f"{directory}/{name}")]
    for path in stale:
        disk.unlink(path)
    if stale:
        disk.sync_dir(directory)
