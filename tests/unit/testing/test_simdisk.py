"""The simulated disk does what the operating system does: the same calls on both, the same answers and errors."""

from __future__ import annotations

import errno
import random

import pytest

from kstore._native.file import File
from kstore.errors import StoreLocked
from kstore.log.disk import OsDisk
from kstore.testing.simdisk import SimDisk

NAMES = ["a", "b", "sub", "sub/a", "sub/b", "sub/deep", "sub/deep/a", "other"]


def _outcome(step, disk, root):
    try:
        return step(disk, root)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def _step(dice):
    """One random call, as a function of a disk and its root."""
    path, target = dice.choice(NAMES), dice.choice(NAMES)
    data, position = dice.randbytes(dice.randrange(1, 6000)), dice.randrange(0, 9000)

    def with_file(use):
        def call(disk, root):
            file = disk.open_file(f"{root}/{path}", create=dice_create, writable=dice_writable)
            try:
                return use(file)
            finally:
                file.close()

        return call

    dice_create, dice_writable = dice.random() < 0.6, dice.random() < 0.9
    steps = [
        with_file(lambda file: file.write_at(data, position)),
        with_file(lambda file: file.read_at(position, len(data))),
        with_file(lambda file: file.truncate(position)),
        with_file(lambda file: file.size()),
        with_file(lambda file: bytes(file.mapping(file.size()).view[: file.size()])),
        with_file(lambda file: file.sync()),
        lambda disk, root: disk.exists(f"{root}/{path}"),
        lambda disk, root: disk.is_dir(f"{root}/{path}"),
        lambda disk, root: disk.list(f"{root}/{path}"),
        lambda disk, root: disk.read_file(f"{root}/{path}"),
        lambda disk, root: disk.rename(f"{root}/{path}", f"{root}/{target}"),
        lambda disk, root: disk.unlink(f"{root}/{path}"),
        lambda disk, root: disk.link(f"{root}/{path}", f"{root}/{target}"),
        lambda disk, root: disk.make_dir(f"{root}/{path}"),
        lambda disk, root: disk.remove_dir(f"{root}/{path}"),
        lambda disk, root: disk.sync_dir(f"{root}/sub"),
        lambda disk, root: disk.write_file(f"{root}/{path}", data),
        lambda disk, root: disk.write_file_atomic(f"{root}/{path}", data),
    ]
    return dice.choice(steps)


SAME_REFUSAL = {"EISDIR", "ENOTDIR", "ENOTEMPTY", "EINVAL", "EPERM", "EEXIST", "ENOENT"}


@pytest.mark.parametrize("part", range(20))
def test_it_answers_as_the_operating_system(tmp_path, seed, part):
    dice = random.Random(f"{seed}/{part}")
    real, simulated = OsDisk(), SimDisk()
    root = str(tmp_path)
    simulated.make_dir(root)
    for _ in range(150):
        step = _step(dice)
        expected = _outcome(step, real, root)
        got = _outcome(step, simulated, root)
        if {str(expected), str(got)} <= SAME_REFUSAL:
            continue    # which of two true reasons is told differs between file systems too
        assert got == expected
    files = {path[len(root) + 1 :]: data for path, data in simulated.files().items()}
    assert files == {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert simulated.open_files == 0
    nodes = {id(node): len(node.data) for node in simulated._nodes.values() if node.data is not None}
    assert simulated.used_bytes == sum(nodes.values())


def test_its_files_are_files():
    disk = SimDisk()
    file = disk.open_file("/a", create=True)
    assert isinstance(file, File)
    file.write_at(memoryview(b"abc"), 2)
    assert file.read_at(0, 10) == b"\0\0abc"
    assert bytes(file.mapping(5).view) == b"\0\0abc"
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.size()
    with pytest.raises(OSError):
        file.write_at(b"x", 0)


def test_a_view_of_it_outlives_unlink_and_close():
    disk = SimDisk()
    disk.write_file("/a", b"kept")
    file = disk.open_file("/a")
    view = file.mapping(4).view[1:3]
    file.write_at(b"XXXX", 0)
    disk.unlink("/a")
    file.close()
    assert bytes(view) == b"ep"


def test_a_mapping_may_reach_beyond_the_end():
    disk = SimDisk()
    disk.write_file("/a", b"abc")
    file = disk.open_file("/a")
    assert file.mapping(3).length == 3
    assert file.mapping(100).length >= 100


def test_the_lock_is_exclusive_on_one_disk_and_free_on_another():
    disk = SimDisk()
    lock = disk.lock("/.lock")
    with pytest.raises(StoreLocked, match="this process"):
        disk.lock("/.lock")
    SimDisk().lock("/.lock")
    after_crash = SimDisk(disk.image())
    after_crash.lock("/.lock").release()
    lock.release()
    disk.lock("/.lock").release()


def test_an_image_starts_another_disk_and_neither_changes_the_other():
    first = SimDisk()
    first.make_dir("/d/e")
    first.write_file("/d/e/a", b"one")
    first.link("/d/e/a", "/d/b")
    second = SimDisk(first.image())
    assert second.files() == first.files() == first.image().files()
    second.open_file("/d/b").write_at(b"X", 0)
    assert second.read_file("/d/e/a") == b"Xne"
    assert first.read_file("/d/e/a") == b"one"
    second.open_file("/d/new", create=True).write_at(b"n", 0)
    assert not first.exists("/d/new")


def test_a_full_disk_takes_what_fits_and_has_room_again_after_an_unlink():
    disk = SimDisk(capacity_bytes=10)
    disk.write_file("/a", b"12345")
    file = disk.open_file("/b", create=True)
    with pytest.raises(OSError) as caught:
        file.write_at(b"abcdefgh", 0)
    assert caught.value.errno == errno.ENOSPC
    assert disk.read_file("/b") == b"abcde"
    file.write_at(b"ABC", 0)
    disk.unlink("/a")
    file.write_at(b"fgh", 5)
    assert disk.read_file("/b") == b"ABCdefgh"


def test_flipped_bits_stay_flipped():
    disk = SimDisk()
    disk.write_file("/a", b"\0\0")
    disk.flip_bit("/a", 9)
    assert disk.read_file("/a") == b"\0\2"


# -- faults -------------------------------------------------------------------------------------------------------


def test_the_nth_call_fails_and_only_that():
    disk = SimDisk()
    plant = disk.faults.plant(errno.ENOSPC, nth=2, kinds=("write",))
    file = disk.open_file("/a", create=True)
    file.write_at(b"1", 0)
    file.write_at(b"2", 1)
    with pytest.raises(OSError) as caught:
        file.write_at(b"3", 2)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/a")
    file.write_at(b"4", 2)
    assert disk.read_file("/a") == b"124"
    assert plant.fired == 1


def test_a_fault_may_hit_some_paths_for_good():
    disk = SimDisk()
    disk.faults.plant(errno.EIO, path_ends=(".log",), times=None)
    disk.write_file("/a", b"fine")
    for _ in range(3):
        with pytest.raises(OSError):
            disk.open_file("/0.log", create=True)
    disk.faults.clear()
    disk.open_file("/0.log", create=True)


def test_a_failing_write_may_arrive_in_part():
    disk = SimDisk()
    file = disk.open_file("/a", create=True)
    disk.faults.plant(errno.EIO, kinds=("write",), part=0.5)
    with pytest.raises(OSError):
        file.write_at(b"12345678", 0)
    assert disk.read_file("/a") == b"1234"


def test_every_call_can_be_watched():
    disk = SimDisk()
    seen = []
    disk.faults.on_call = lambda kind, path: seen.append((kind, path))
    disk.write_file_atomic("/a", b"x")
    assert seen == [
        ("create", "/a.tmp"), ("truncate", "/a.tmp"), ("write", "/a.tmp"), ("sync", "/a.tmp"),
        ("rename", "/a.tmp"), ("sync_dir", "/"),
    ]
    assert disk.faults.calls == 6
