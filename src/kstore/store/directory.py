"""What a directory is: a log directory, an empty place to make one, or something that must be left alone.

Owns the look at a path before anything is opened in it, and `meta.properties`. Called by `store` and `inspect`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore.errors import NotALogDirectory
from kstore.log import names
from kstore.log.properties import MetaProperties
from kstore.log.twins import RootCheckpoints

if TYPE_CHECKING:
    from kstore.log.disk import Disk

METADATA_TOPIC = names.METADATA_TOPIC
"""Kafka's own quorum log: in the same directory, but not a topic. It is never written, recovered or deleted here."""

ROOT_FILES = frozenset(
    {
        names.META_PROPERTIES_FILE,
        names.RECOVERY_POINTS_FILE,
        names.LOG_STARTS_FILE,
        names.HIGH_WATERMARKS_FILE,
        names.CLEANER_OFFSETS_FILE,
        names.CLEAN_SHUTDOWN_FILE,
        "bootstrap.checkpoint",
    }
)


def look(disk: Disk, path: str, *, create: bool) -> bool:
    """Check that `path` is, or may become, a log directory; returns whether it is to be made into one.

    Raises `NotALogDirectory` with what to do instead.
    """
    if not disk.exists(path):
        if not create:
            raise NotALogDirectory(f"{path} does not exist; check the path, or open it with create=True to make it")
        return True
    if not disk.is_dir(path):
        raise NotALogDirectory(f"{path} is a file; a log directory is a folder that holds folders like orders-0")
    listing = disk.list(path)
    own = names.parse_dir_name(path.rstrip("/").rsplit("/", 1)[-1])
    if own is not None and any(names.parse_file_name(name) for name in listing):
        raise NotALogDirectory(f"{path} is one partition's directory; open its parent directory")
    if holds_logs(listing):
        return False
    strangers = [name for name in listing if not name.startswith(".") and name != "lost+found"]
    if strangers:
        raise NotALogDirectory(
            f"{path} holds {_some(strangers)} and no partition; choose a log directory, or an empty one to make"
        )
    if not create:
        raise NotALogDirectory(f"{path} is empty; open it with create=True to make it a log directory")
    return True


def make(disk: Disk, path: str) -> None:
    """Make a directory and those above it that are missing; on the medium when this returns. Raises `OSError`."""
    made = []
    above = path
    while above and not disk.exists(above):
        made.append(above)
        above = above.rpartition("/")[0]
    disk.make_dir(path)
    for new in made:
        disk.sync_dir(new.rpartition("/")[0] or ("/" if new.startswith("/") else "."))


def holds_logs(listing: list[str]) -> bool:
    """Whether a directory with these entries is a log directory, with or without the root's own files."""
    return any(
        name in ROOT_FILES or name.startswith("kstore-") or names.parse_dir_name(name) is not None
        for name in listing
    )


def _some(entries: list[str]) -> str:
    shown = ", ".join(sorted(entries)[:3])
    return shown if len(entries) <= 3 else f"{shown} and {len(entries) - 3} more"


def identify(roots: RootCheckpoints, node_id: int, now_ms: int) -> None:
    """Give a new directory its identity: random cluster and directory ids, as `kafka-storage format` does."""
    cluster_id = names.uuid_to_text(names.random_uuid())
    roots.write_meta(MetaProperties(cluster_id, node_id, names.random_uuid()), now_ms=now_ms)
