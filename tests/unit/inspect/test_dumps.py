"""Dump: every kind of file as plain objects under kafka-dump-log's names, damaged ones too."""

from __future__ import annotations

import pytest

import kstore
from kstore.inspect import dump
from kstore.log import names
from support.damage import DIR, damaged, directory
from support.stores import NOW_MS


def rows(path, disk=None, **how):
    disk = disk or directory()[0]
    return [{k: v for k, v in row.items() if k != "file"} for row in dump(path, disk=disk, **how)]


def test_a_segment_shows_its_batches_under_kafkas_names():
    data, marker = rows(f"{DIR}/{names.log_name(0)}")[:2]
    expected = {
        "type": "batch", "baseOffset": 0, "lastOffset": 0, "count": 1, "position": 0, "producerId": 9,
        "producerEpoch": 0, "baseSequence": 0, "lastSequence": 0, "isTransactional": True, "isControl": False,
        "isvalid": True, "magic": 2, "partitionLeaderEpoch": 0, "maxTimestamp": NOW_MS, "compresscodec": "none",
    }  # fmt: skip
    assert expected.items() <= data.items()
    assert (marker["isControl"], marker["position"]) == (True, data["size"])


def test_records_follow_their_batch_when_asked_for():
    batch, record = rows(f"{DIR}/{names.log_name(0)}", records=True)[:2]
    assert (batch["type"], record["type"]) == ("batch", "record")
    assert (record["offset"], record["key"], record["value"], record["headers"]) == (0, None, b"aborted" * 9, [])


def test_damage_in_a_segment_is_a_row_and_the_dump_goes_on_behind_it():
    disk, path, lost = damaged("batch")
    found = rows(path, disk)
    damage = next(row for row in found if row["type"] == "damage")
    assert range(damage["firstOffset"], damage["nextOffset"]) == lost
    assert damage["endPosition"] > damage["position"]
    whole = [row["baseOffset"] for row in rows(path, directory()[0])]
    assert [row["baseOffset"] for row in found if row["type"] == "batch"] == [o for o in whole if o not in lost]


def test_the_indexes_beside_a_segment():
    batches = rows(f"{DIR}/{names.log_name(0)}")
    positions = {row["lastOffset"]: row["position"] for row in batches}
    found = rows(f"{DIR}/{names.index_name(0)}")
    assert found
    assert all(row == {"type": "index", "offset": row["offset"], "position": positions[row["offset"]]} for row in found)
    assert rows(f"{DIR}/{names.timeindex_name(0)}")[0] == {"type": "timeindex", "timestamp": NOW_MS, "offset": 0}
    (aborted,) = rows(f"{DIR}/{names.txnindex_name(0)}")
    expected = {"type": "txnindex", "producerId": 9, "firstOffset": 0, "lastOffset": 1}
    assert expected.items() <= aborted.items()
    assert rows(f"{DIR}/{names.EPOCHS_FILE}") == [{"type": "epoch", "epoch": 0, "startOffset": 0}]


def test_a_snapshot_shows_its_producers():
    disk, _ = directory()
    name = max(name for name in disk.list(DIR) if name.endswith(".snapshot"))
    (row,) = rows(f"{DIR}/{name}", disk)
    assert (row["producerId"], row["producerEpoch"], row["lastSequence"], row["lastOffset"]) == (9, 0, 0, 0)
    assert row["currentTxnFirstOffset"] is None


def test_files_of_the_root():
    disk, _ = directory()
    (point,) = rows(f"/data/{names.RECOVERY_POINTS_FILE}", disk)
    assert point == {"type": "checkpoint", "topic": "t", "partition": 0, "offset": 8}
    assert rows(f"/data/{names.CLEAN_SHUTDOWN_FILE}", disk)[0]["type"] == "cleanshutdown"
    assert rows(f"/data/{names.META_PROPERTIES_FILE}", disk)[0]["properties"]["node.id"] == "1"
    assert rows(f"{DIR}/{names.PARTITION_METADATA_FILE}", disk)[0]["type"] == "metadata"


@pytest.mark.parametrize("name", ["snapshot", "leader epochs", "recovery points", "clean marker", "transaction index"])
def test_a_file_that_does_not_parse_is_a_row_of_damage(name):
    disk, path, _ = damaged(name)
    assert [row["type"] for row in rows(path, disk)] == ["damage"]


def test_a_directory_shows_every_file_of_kafkas_in_it():
    disk, _ = directory()
    disk.write_file("/data/notes.txt", b"mine")
    shown = {row["file"] for row in dump("/data", disk=disk)}
    expected = {p for p in disk.files() if p.endswith((".log", ".txnindex", "meta.properties")) and disk.size(p)}
    assert expected <= shown
    assert "/data/notes.txt" not in shown


@pytest.mark.parametrize("zeros", [8, 24, 80_000])
def test_the_zeros_of_an_index_that_was_not_closed_are_no_entries(zeros):
    disk, _ = directory()
    path = f"{DIR}/{names.index_name(0)}"
    before = rows(path, disk)
    disk.open_file(path).write_at(bytes(zeros), disk.size(path))
    assert rows(path, disk) == before


def test_a_missing_path_is_refused():
    with pytest.raises(kstore.NotALogDirectory, match="does not exist"):
        rows("/none")
