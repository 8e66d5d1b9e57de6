"""Damage below the recovery point, met after an unclean stop: quarantined, never cut; all else stays readable."""

import pytest

import kstore
from kstore._native import batch
from kstore.log import names
from kstore.log.damage import read_damage
from kstore.log.disk import OsDisk

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
