"""Damage below the recovery point, met after an unclean stop: quarantined, never cut; all else stays readable."""

import pytest

import kstore
from kstore._native import batch
from kstore.log import names
from kstore.log.damage import read_damage
from kstore.log.disk import OsDisk
from kstore.testing.simdisk import SimDisk
from support.promises import reopen

BATCHES = 60


@pytest.fixture
def crashed(tmp_path):
    """A partition of several segments, one record a batch, all durable; then no clean marker and no tail checkpoint."""
    with kstore.open(tmp_path / "data") as store:
        store.create_topic("orders", config={"internal.segment.bytes": 4096})
        log = store.partition("orders", 0)
        for index in range(BATCHES):
            log.append([b"value %d " % index * 20])
        assert len(log.segments) > 3
    (tmp_path / "data" / names.CLEAN_SHUTDOWN_FILE).unlink()
    for path in (tmp_path / "data" / "orders-0").glob("kstore-tail-*"):
        path.unlink()
    (tmp_path / "data" / names.TWIN_FILE).unlink()
    return tmp_path / "data"


def headers(log):
    return list(batch.headers(log.read_bytes()))


def flip(log, position):
    data = bytearray(log.read_bytes())
    data[position] ^= 1
    log.write_bytes(data)


def offsets_of(path, end):
    """The offsets that can be read, going on behind damage as its error says; then what the log says its end is."""
    with kstore.open(path) as store:
        log = store.partition("orders", 0)
        found, offset = [], log.log_start_offset
        while offset < log.log_end_offset:
            try:
                batches = log.read(offset, max_bytes=1)
                found += [record.offset for record in batches]
                offset = batches.next_offset
            except kstore.CorruptionError as error:
                offset = max(error.next_offset, offset + 1)
        assert log.log_end_offset == end
        appended = log.append([b"more"])
        assert appended.base_offset == end
        return found


@pytest.mark.parametrize("which", [0, 1, -1], ids=["first", "middle", "active"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_bad_batch_costs_that_batch(crashed, which, place):
    log = sorted((crashed / "orders-0").glob("*.log"))[which]
    found = headers(log)
    bad = found[{"first": 0, "middle": len(found) // 2, "last": -1}[place]]
    flip(log, bad.position + 70)
    expected = [offset for offset in range(BATCHES) if offset != bad.base_offset]
    assert offsets_of(crashed, BATCHES) == expected
    damage = read_damage(OsDisk(), str(crashed / "orders-0"))
    assert [(d.first_offset, d.next_offset) for d in damage] == [(bad.base_offset, bad.base_offset + 1)]
    assert offsets_of(crashed, BATCHES + 1) == [*expected, BATCHES]  # and again, after a clean stop


def test_damage_and_a_torn_tail_are_told_apart(crashed):
    log = max((crashed / "orders-0").glob("*.log"))
    bad = headers(log)[1]
    flip(log, bad.position + 70)
    log.write_bytes(log.read_bytes() + b"\0\0\0\0\0\0\0<torn")
    assert offsets_of(crashed, BATCHES) == [offset for offset in range(BATCHES) if offset != bad.base_offset]
    assert len(read_damage(OsDisk(), str(crashed / "orders-0"))) == 1
    assert [path.read_bytes() for path in (crashed / "orders-0").glob("*.corrupt")] == [b"\0\0\0\0\0\0\0<torn"]


def test_damage_known_before_is_passed_over_by_a_second_recovery(crashed):
    log = min((crashed / "orders-0").glob("*.log"))
    bad = headers(log)[2]
    flip(log, bad.position + 70)
    first = offsets_of(crashed, BATCHES)
    (crashed / names.CLEAN_SHUTDOWN_FILE).unlink()
    for path in [crashed / names.TWIN_FILE, *(crashed / "orders-0").glob("kstore-tail-*")]:
        path.unlink()
    assert offsets_of(crashed, BATCHES + 1) == [*first, BATCHES]


@pytest.mark.parametrize("place", [10, 16, 70], ids=["length", "magic", "records"])
@pytest.mark.parametrize("bad", [0, 1, 3, 4])
@pytest.mark.parametrize("cut", range(6))
def test_a_truncation_at_below_and_above_damage_leaves_a_log_that_goes_on(place, bad, cut):
    disk = SimDisk()
    store = reopen(disk)
    store.create_topic("orders")
    log = store.partition("orders", 0)
    starts = []
    for index in range(5):
        starts.append(log.segments[-1].size_bytes)
        log.append([b"value %d" % index * 20])
    store.flush()
    disk.flip_bit(log.segments[-1].path, (starts[bad] + place) * 8)
    disk.kill()
    log = reopen(disk).partition("orders", 0)
    log.log.replicate_from(0)
    log.truncate_to(cut)
    log.log.stand_alone()
    log.append([b"another history"], durable=True)
    expected = [(offset, b"value %d" % offset * 20) for offset in range(cut) if offset != bad]
    expected.append((cut, b"another history"))
    assert readable(log) == expected
    disk.kill()
    assert readable(reopen(disk).partition("orders", 0)) == expected


PLACES = {"base": 7, "high base": 2, "length": 10, "magic": 16, "last offset": 25, "records": 70}
"""Bytes of a batch: the first four stand outside of its checksum."""
FLIPS = [(place, bad) for place in PLACES for bad in [(0,), (1,), (4,), (0, 1), (1, 2, 3)]]
FLIPS = [flip for flip in FLIPS if flip[0] != "base" or len(flip[1]) == 1]
"""Not several base offsets at once: neighbours could swap theirs, and nothing would contradict them."""


@pytest.mark.parametrize(("place", "bad"), FLIPS)
@pytest.mark.parametrize("cut", range(6))
def test_a_truncation_passes_damage_that_nobody_has_met(place, bad, cut):
    """Also where it hides the place, and where it claims offsets of its neighbours."""
    for bit in (0, 1, 6, 7):
        disk = SimDisk()
        store = reopen(disk)
        store.create_topic("orders")
        log = store.partition("orders", 0)
        starts = []
        for index in range(5):
            starts.append(log.segments[-1].size_bytes)
            log.append([b"value %d" % index * 20])
        store.flush()
        for index in bad:
            disk.flip_bit(log.segments[-1].path, (starts[index] + PLACES[place]) * 8 + bit)
        log.log.replicate_from(0)
        log.truncate_to(cut)
        log.log.stand_alone()
        assert log.log_end_offset == cut
        log.append([b"another history"], durable=True)
        expected = [(offset, b"value %d" % offset * 20) for offset in range(cut) if offset not in bad]
        expected.append((cut, b"another history"))
        assert readable(log) == expected, bit
        disk.kill()
        again = reopen(disk).partition("orders", 0)
        assert (readable(again), again.log_end_offset) == (expected, cut + 1), bit


def readable(log):
    """Offset and value of every record, going on behind damage as its error says."""
    found, offset = [], log.log_start_offset
    while offset < log.log_end_offset:
        try:
            batches = log.read(offset, max_bytes=1)
            found += [(record.offset, record.value) for record in batches]
            offset = batches.next_offset
        except kstore.CorruptionError as error:
            offset = error.next_offset
    return found
