"""Verify: every kind of damage is found, named by file and place, and nothing is changed by looking."""

from __future__ import annotations

import pytest

import kstore
from kstore.log import names
from support.damage import DAMAGE, KINDS, damaged, directory


def test_a_directory_in_order_has_no_findings_and_is_counted():
    disk, expected = directory()
    report = kstore.verify("/data", disk=disk)
    logs = [name for name in disk.list("/data/t-0") if name.endswith(".log")]
    assert report.findings == []
    assert report.ok
    assert report.as_dict()["ok"] is True
    assert (report.partitions, report.records, report.clean_stop) == (1, len(expected) + 1, True)
    assert report.segments == len(logs)
    assert report.size_bytes == sum(disk.size(f"/data/t-0/{name}") for name in logs)


@pytest.mark.parametrize("name", DAMAGE)
def test_each_damage_is_found_where_it_is_and_as_what_it_is(name):
    disk, path, _ = damaged(name)
    before = disk.files()
    report = kstore.verify("/data", disk=disk)
    assert disk.files() == before
    found = report.findings[0]
    assert (found.file, found.kind) == (path, KINDS[name])
    assert found.reason
    assert found.repair
    assert found.file in str(found)


def test_a_partition_may_be_verified_alone():
    disk, _, _ = damaged("batch")
    assert [f.kind for f in kstore.verify("/data/t-0", disk=disk).findings][:1] == ["batch"]


def test_a_damaged_batch_is_told_with_its_bytes_and_offsets():
    disk, path, lost = damaged("batch")
    finding = kstore.verify("/data", disk=disk).findings[0]
    assert 0 < finding.position < finding.end_position <= disk.size(path)
    assert range(finding.first_offset, finding.next_offset) == lost


def test_progress_is_told_in_bytes():
    disk, _ = directory()
    steps = []
    kstore.verify("/data", disk=disk, progress=lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1] > 0


def test_an_unclean_stop_is_no_finding():
    disk, _ = directory()
    disk.unlink(f"/data/{names.CLEAN_SHUTDOWN_FILE}")
    report = kstore.verify("/data", disk=disk)
    assert (report.ok, report.clean_stop) == (True, False)


@pytest.mark.parametrize("path", ["/none", "/data/meta.properties", "/empty"])
def test_a_path_without_a_log_is_refused(path):
    disk, _ = directory()
    disk.make_dir("/empty")
    with pytest.raises(kstore.NotALogDirectory):
        kstore.verify(path, disk=disk)


def test_a_compacted_topic_may_have_gaps():
    disk, _ = directory(**{"cleanup.policy": "compact"})
    logs = [name for name in disk.list("/data/t-0") if name.endswith(".log")]
    for kind in (".log", ".index", ".timeindex"):
        disk.unlink(f"/data/t-0/{logs[1].replace('.log', kind)}")
    assert [f for f in kstore.verify("/data", disk=disk).findings if f.kind == "gap"] == []
