"""What recovery takes out of a log is kept, whole and for good, whatever is taken out of the same place later."""

from __future__ import annotations

import errno
import os

import pytest

from kstore.log import names
from kstore.log.kept import keep, keep_segment, place_of
from kstore.testing.simdisk import SimDisk
from support.stores import kill, new_partition, open_store, power_off

LOG = "/d/" + names.log_name(0)


@pytest.fixture
def disk():
    disk = SimDisk(medium=True)
    disk.make_dir("/d")
    disk.sync_dir("/")
    disk.write_file(LOG, b"log")
    return disk


def found(disk):
    return {path: data for path, data in disk.files().items() if path.endswith(".corrupt")}


def test_what_is_kept_is_on_the_medium_before_the_log_loses_it(disk):
    path = keep(disk, LOG, 7, b"torn")
    assert path == f"{LOG}.7.corrupt"
    assert power_off(disk).read_file(path) == b"torn"


def test_a_name_that_never_reached_the_medium_does_by_the_next_recovery(disk):
    disk.faults.plant(errno.EIO, kinds=["sync_dir"])
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        keep(disk, LOG, 7, b"torn")
    assert found(power_off(disk)) == {}
    keep(disk, LOG, 7, b"torn")
    assert found(power_off(disk)) == {f"{LOG}.7.corrupt": b"torn"}


def test_zeros_are_nothing_to_keep(disk):
    assert keep(disk, LOG, 7, bytes(5000)) == ""
    assert found(disk) == {}


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(lambda torn: torn, id="all"),
        pytest.param(lambda torn: torn[:600], id="a part"),
        pytest.param(lambda torn: bytes(12) + torn[12:], id="zeros up to the end of the sector"),
        pytest.param(lambda torn: torn[:524] + bytes(512) + torn[1036:], id="zeros in a sector"),
        pytest.param(lambda torn: torn + bytes(3000), id="zeros behind"),
    ],
)
def test_what_an_interrupted_cut_left_is_there_already(disk, left):
    torn = b"t" * 2000
    for removed in (torn, left(torn), torn):
        assert keep(disk, LOG, 500, removed) == f"{LOG}.500.corrupt"
    assert found(disk) == {f"{LOG}.500.corrupt": torn}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(b"t" * 1999 + b"x", id="another byte"),
        pytest.param(b"t" * 2001, id="a byte more"),
        pytest.param(bytes(11) + b"t" * 1989, id="zeros that no cut of a sector leaves"),
        pytest.param(bytes(12) + b"t" * 1987 + b"x", id="zeros and another byte"),
    ],
)
def test_other_bytes_from_the_same_place_are_kept_beside_the_first(disk, other):
    first, second = keep(disk, LOG, 500, b"t" * 2000), keep(disk, LOG, 500, other)
    assert found(disk) == {first: b"t" * 2000, second: other}
    assert second == place_of(disk, LOG, 500, other) == f"{LOG}.500-2.corrupt"
    assert keep(disk, LOG, 500, b"and more") == f"{LOG}.500-3.corrupt"


def test_a_segment_is_never_set_aside_over_another(disk):
    first = keep_segment(disk, LOG)
    disk.write_file(LOG, b"log again")
    second = keep_segment(disk, LOG)
    disk.sync_dir("/d")
    assert (first, second) == (f"{LOG}.corrupt", f"{LOG}-2.corrupt")
    assert power_off(disk).files() == {first: b"log", second: b"log again"}


def test_every_name_of_something_kept_is_known_and_no_other_is():
    log = names.log_name(12)
    made = [names.corrupt_name(log, position, number) for position in (None, 0, 77) for number in (1, 2, 30)]
    assert len(set(made)) == len(made)
    assert all(names.is_corrupt_name(name) for name in made)
    for name in (log, f"{log}.x.corrupt", f"{log}.07.corrupt", "notes.corrupt", f"{log}.7.corrupt.tmp"):
        assert not names.is_corrupt_name(name)


# -- in a log -----------------------------------------------------------------------------------------------------


def torn_store(disk, torn):
    store, partition = new_partition(disk)
    partition.append([b"whole" * 90], timestamp_ms=1)
    kill(store)
    path = partition.segments[0].path
    size = disk.size(path)
    disk.open_file(path).write_at(torn, size)
    return path, size


def test_a_cut_that_a_power_loss_half_undoes_costs_no_kept_byte():
    """The size of the shorter file is not on the medium, the zeros of its last sectors are."""
    disk, torn = SimDisk(), b"0123456789" * 400
    path, size = torn_store(disk, torn)
    kill(open_store(disk))
    disk.open_file(path).write_at(bytes(4096 - size) + torn[4096 - size :], size)
    kill(open_store(disk))
    assert found(disk) == {f"{path}.{size}.corrupt": torn}
    assert disk.size(path) == size


def test_two_torn_tails_at_one_place_are_both_kept():
    disk = SimDisk()
    path, size = torn_store(disk, b"one torn tail")
    kill(open_store(disk))
    disk.open_file(path).write_at(b"another", size)
    kill(open_store(disk))
    assert found(disk) == {f"{path}.{size}.corrupt": b"one torn tail", f"{path}.{size}-2.corrupt": b"another"}


def test_an_unfinished_copy_is_removed_and_a_strangers_file_is_not():
    disk = SimDisk()
    path, size = torn_store(disk, b"")
    own, strangers = f"{path}.{size}.corrupt.tmp", f"{path}.notes.corrupt.tmp"
    for name in (own, strangers):
        disk.write_file(name, b"half")
    kill(open_store(disk))
    assert (disk.exists(own), disk.exists(strangers)) == (False, True)
