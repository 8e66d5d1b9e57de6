"""Files that a real Kafka wrote, format by format: batches, records, indexes, producer state, epochs.

Runs over the committed fixtures; KSTORE_CORPUS=DIR adds a whole corpus. The store as a whole is judged in `test_store`.
"""

import re

import pytest

from kstore import decode_batches
from kstore._native import batch as native
from kstore._native.segment import Segment
from kstore.compression import codec_id
from kstore.log import names
from kstore.log.checkpoints import parse_clean_shutdown, parse_offsets, parse_partition_metadata
from kstore.log.disk import OsDisk
from kstore.log.epochs import parse_epochs
from kstore.log.producers import ProducerBatch, ProducerStates
from kstore.log.properties import format_properties, parse_meta_properties, parse_properties
from kstore.log.snapshots import format_snapshot, load_snapshot, parse_snapshot
from kstore.log.transactions import parse_aborted
from support import corpus

CASES = corpus.case_names()
SEVERAL_LIVES = {
    "root-unclean", "root-torn", "root-recovered", "torn", "recovered", "leader-epochs", "unclean-election",
}  # fmt: skip
"""A restart begins the count of bytes since the last index entry anew, and the clean stop before it has forced a time
index entry: indexes of logs that lived on are not what a rebuild makes."""


def logs(case, directory):
    return sorted((case.path / directory).glob("*.log"))


def good_end(case, directory, segment):
    """The end of the last batch that the oracle knows in a segment: behind it is the torn tail of a harmed log."""
    rows = [row for row in case.batches.get(directory, []) if row["segment"] == segment]
    return rows[-1]["position"] + rows[-1]["size"] if rows else 0


def pieces(case):
    """(directory, segment base offset, bytes up to the end of the last good batch) of each log of a case."""
    for directory in case.directories:
        for path in logs(case, directory):
            base = int(path.stem)
            yield directory, base, path.read_bytes()[: good_end(case, directory, base)]


def text(data):
    return None if data is None else data.hex()


def record_row(record):
    return {
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "timestampType": record.timestamp_type,
        "key": text(record.key),
        "value": text(record.value),
        "headers": [[name, text(value)] for name, value in record.headers],
        "producerId": record.producer_id,
        "producerEpoch": record.producer_epoch,
        "sequence": record.sequence,
        "isTransactional": record.is_transactional,
        "isControl": record.is_control,
        "leaderEpoch": record.leader_epoch,
    }


def header_row(header):
    return {
        "position": header.position,
        "size": header.size_bytes,
        "baseOffset": header.base_offset,
        "lastOffset": header.last_offset,
        "count": header.records,
        "leaderEpoch": header.leader_epoch,
        "crc": header.crc,
        "timestampType": "LogAppendTime" if header.is_log_append_time else "CreateTime",
        "maxTimestamp": header.max_timestamp_ms,
        "deleteHorizonMs": header.base_timestamp_ms if header.has_horizon else None,
        "producerId": header.producer_id,
        "producerEpoch": header.producer_epoch,
        "baseSequence": header.base_sequence,
        "lastSequence": header.last_sequence,
        "isTransactional": header.is_transactional,
        "isControl": header.is_control,
    }


def without(row, *keys):
    return {key: value for key, value in row.items() if key not in keys}


@pytest.mark.parametrize("name", CASES)
def test_batch_headers(name):
    case = corpus.case(name)
    for directory, base, data in pieces(case):
        rows = [row for row in case.batches.get(directory, []) if row["segment"] == base]
        found = list(native.headers(data))
        assert [header_row(header) for header in found] == [without(row, "dir", "segment", "codec") for row in rows]
        assert [header.codec for header in found] == [codec_id(row["codec"]) for row in rows]


@pytest.mark.parametrize("name", CASES)
def test_records(name):
    case = corpus.case(name)
    for directory, base, data in pieces(case):
        rows = [row for row in case.records.get(directory, []) if row["segment"] == base]
        found = [record_row(record) for record in decode_batches(data).records(control=True)]
        assert found == [without(row, "dir", "segment", "batch") for row in rows], f"{directory} {base}"


@pytest.mark.parametrize("name", CASES)
def test_columns_say_what_records_say(name):
    case = corpus.case(name)
    for _, _, data in pieces(case):
        batches = decode_batches(data)
        columns = batches.columns()
        records = list(batches)
        assert columns.offsets.tolist() == [record.offset for record in records]
        assert columns.timestamps.tolist() == [record.timestamp_ms for record in records]
        assert [columns.value(i) for i in range(len(records))] == [record.value for record in records]
        assert [columns.key(i) for i in range(len(records))] == [record.key for record in records]


def rebuilt(case, directory, base, data, tmp_path):
    """The two index files that kstore makes of a log's bytes."""
    tmp_path.mkdir(parents=True, exist_ok=True)
    (tmp_path / names.log_name(base)).write_bytes(data)
    settings = case.config(directory)
    segment = Segment(
        OsDisk(), str(tmp_path), base, writable=True,
        index_interval_bytes=int(settings.get("index.interval.bytes", 4096)),
        index_bytes_max=int(settings.get("segment.index.bytes", 10485760)),
    )  # fmt: skip
    segment.recover()
    segment.close()
    return [(tmp_path / name(base)).read_bytes() for name in (names.index_name, names.timeindex_name)]


@pytest.mark.parametrize("name", [name for name in CASES if name not in SEVERAL_LIVES])
def test_indexes_are_kafkas_byte_for_byte(name, tmp_path):
    case = corpus.case(name)
    for directory, base, data in pieces(case):
        folder = case.path / directory
        kafkas = [(folder / name(base)).read_bytes() for name in (names.index_name, names.timeindex_name)]
        if directory.startswith(names.METADATA_TOPIC):
            continue  # the raft log appends several batches at once and is indexed by its own rule
        mine = rebuilt(case, directory, base, data, tmp_path / directory / str(base))
        assert mine == kafkas, f"{directory} {base}"


def replayed(case, directory, until):
    """Producer state below an offset, by the oracle's batches."""
    markers = {row["batch"]: row for row in case.records.get(directory, []) if row["isControl"]}
    states = ProducerStates()
    for row in case.batches.get(directory, []):
        marker = markers.get(row["baseOffset"])
        if row["producerId"] < 0 or row["baseOffset"] >= until or (row["isControl"] and marker is None):
            continue
        states.apply(
            ProducerBatch(
                base_offset=row["baseOffset"],
                last_offset=row["lastOffset"],
                producer_id=row["producerId"],
                producer_epoch=row["producerEpoch"],
                base_sequence=row["baseSequence"],
                last_sequence=row["lastSequence"],
                transactional=row["isTransactional"],
                control_type={None: None, "0000": "abort", "0001": "commit"}[marker and marker["key"][4:8]],
                coordinator_epoch=int(marker["value"][4:12], 16) if marker else -1,
                timestamp_ms=row["maxTimestamp"],
            )
        )
    return states


@pytest.mark.parametrize("name", CASES)
def test_snapshots_are_read_and_written(name):
    case = corpus.case(name)
    harmed = " ".join(case.info["edits"])
    for path in sorted(case.path.rglob("*.snapshot")):
        data = path.read_bytes()
        entries = parse_snapshot(data)
        if f"{path.parent.name}/{path.name}" in harmed:
            assert entries is None
        else:
            assert format_snapshot(entries) == data


@pytest.mark.parametrize("name", CASES)
def test_transaction_indexes(name):
    """What kstore reads in `.txnindex` is what Kafka's dump shows."""
    case = corpus.case(name)
    parts = re.split(r"^Dumping ", case.dump, flags=re.M)
    for path in sorted(case.path.rglob("*.txnindex")):
        base = int(path.stem)
        shown = next(part for part in parts if part.startswith(f"{path.parent.name}/{path.name}")
                     or f"/{path.parent.name}/{path.name}\n" in part.partition("\n")[0] + "\n")  # fmt: skip
        entry = r"producerId: (-?\d+) firstOffset: (\d+) lastOffset: (\d+) lastStableOffset: (\d+)"
        lines = re.findall(entry, shown.partition("\n")[2])
        found = parse_aborted(path.read_bytes(), base)
        assert [tuple(entry) for entry in found] == [tuple(map(int, line)) for line in lines]


@pytest.mark.parametrize("name", CASES)
def test_small_files_are_read_and_written(name):
    case = corpus.case(name)
    for path in sorted(case.path.rglob("leader-epoch-checkpoint")):
        entries = parse_epochs(path.read_bytes())
        lines = path.read_text().splitlines()[2:]
        assert [tuple(entry) for entry in entries] == [tuple(map(int, line.split())) for line in lines]
    for path in sorted(case.path.rglob("partition.metadata")):
        assert names.uuid_to_text(parse_partition_metadata(path.read_bytes())) == path.read_text().rpartition(" ")[2]
    for path in sorted(case.path.glob("*-checkpoint")):
        lines = [line.split() for line in path.read_text().splitlines()[2:]]
        assert parse_offsets(path.read_bytes()) == {(topic, int(part)): int(offset) for topic, part, offset in lines}
    marker = case.path / names.CLEAN_SHUTDOWN_FILE
    assert not marker.exists() or parse_clean_shutdown(marker.read_bytes()) >= 0


@pytest.mark.parametrize("name", [name for name in CASES if corpus.case(name).is_root])
def test_meta_properties(name):
    data = (corpus.case(name).path / names.META_PROPERTIES_FILE).read_bytes()
    meta = parse_meta_properties(data)
    assert (meta.version, meta.node_id) == (1, 1)
    again = format_properties(parse_properties(data), now_ms=0)
    assert [line for line in again.splitlines() if line[:1] != b"#"] == [
        line for line in data.splitlines() if line[:1] != b"#"
    ]


@pytest.mark.parametrize("name", [name for name in CASES if not corpus.case(name).harmed])
def test_producer_state_of_the_last_snapshot(name):
    """Replaying the batches gives the state that Kafka kept, producer by producer."""
    case = corpus.case(name)
    for directory in case.directories:
        if directory.startswith(names.METADATA_TOPIC) or "compacted" in directory:
            continue  # compaction takes batches away that the state remembers
        if int(logs(case, directory)[0].stem) > 0:
            continue  # what was deleted cannot be replayed
        snapshot = load_snapshot(OsDisk(), str(case.path / directory), 2**62)
        if snapshot.offset is None:
            continue
        states = replayed(case, directory, snapshot.offset)
        assert {row(entry) for entry in states.entries()} == {row(entry) for entry in snapshot.entries}, directory


def row(entry):
    last = entry.batches[-1] if entry.batches else None
    return (entry.producer_id, entry.epoch, entry.coordinator_epoch, entry.last_timestamp_ms, entry.txn_first_offset,
            last and (last.last_sequence, last.last_offset))  # fmt: skip
