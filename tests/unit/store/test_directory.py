"""What a path is, before anything is opened in it."""

from __future__ import annotations

import pytest

from kstore.errors import NotALogDirectory
from kstore.store.directory import holds_logs, look, make
from kstore.testing.simdisk import SimDisk


def disk_with(*paths):
    disk = SimDisk()
    for path in paths:
        if path.endswith("/"):
            disk.make_dir(path.rstrip("/"))
        else:
            disk.make_dir(path.rpartition("/")[0]) if not disk.exists(path.rpartition("/")[0]) else None
            disk.write_file(path, b"")
    return disk


@pytest.mark.parametrize(
    "name", ["orders-0", "meta.properties", "recovery-point-offset-checkpoint", ".kafka_cleanshutdown", "kstore-topics"]
)
def test_one_known_name_makes_a_log_directory(name):
    assert holds_logs(["notes.txt", name])
    assert look(disk_with(f"/d/{name}"), "/d", create=False) is False


@pytest.mark.parametrize("name", ["orders", "orders-x", "orders-00", "x.properties"])
def test_other_names_do_not(name):
    assert not holds_logs([name])


def test_an_absent_or_empty_path_may_become_one():
    assert look(SimDisk(), "/d", create=True)
    assert look(disk_with("/d/"), "/d", create=True)
    assert look(disk_with("/d/lost+found/", "/d/.hidden"), "/d", create=True)


@pytest.mark.parametrize(
    ("paths", "create", "advice"),
    [
        ([], False, "create=True"),
        (["/d/"], False, "create=True"),
        (["/d"], True, "is a file"),
        (["/d/report.pdf", "/d/a", "/d/b", "/d/c"], True, "holds a, b, c and 1 more"),
    ],
)
def test_a_path_that_is_none_is_refused_with_what_to_do(paths, create, advice):
    with pytest.raises(NotALogDirectory, match=advice):
        look(disk_with(*paths), "/d", create=create)


def test_a_partitions_directory_points_to_its_parent():
    with pytest.raises(NotALogDirectory, match="open its parent"):
        look(disk_with("/d/orders-0/00000000000000000000.log"), "/d/orders-0", create=True)


@pytest.mark.parametrize(("path", "synced"), [("/a/b/c", {"/", "/a", "/a/b"}), ("/a", {"/"})])
def test_every_new_name_is_synced(path, synced):
    disk = SimDisk()
    seen = set()
    disk.faults.on_call = lambda kind, p: seen.add(p) if kind == "sync_dir" else None
    make(disk, path)
    assert seen == synced
