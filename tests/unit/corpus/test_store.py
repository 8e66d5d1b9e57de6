"""Whole directories that a real Kafka left, opened by `kstore.open`: every record, state and file as the oracle says.

Runs over the committed fixtures; KSTORE_CORPUS=DIR adds a whole corpus.
"""

import contextlib
from pathlib import Path

import pytest

import kstore
from kstore.log import names
from kstore.log.disk import OsDisk
from kstore.log.epochs import parse_epochs
from kstore.log.snapshots import load_snapshot
from support import corpus

CASES = corpus.case_names()
KEEP = {"log.retention.ms": -1, "producer.id.expiration.ms": 2**62}
SYNONYMS = {
    "index.interval.bytes": "log.index.interval.bytes",
    "segment.index.bytes": "log.index.size.max.bytes",
    "segment.ms": "log.roll.ms",
}


@contextlib.contextmanager
def opened(case, root, tmp_path, *, read_only=False):
    """One log directory of a case, as a copy. Lone partitions get by broker keys what no metadata tells."""
    path = case.path / root if read_only else case.copy(tmp_path / case.name) / root
    config = dict(KEEP)
    if not case.is_root:
        for directory in case.directories:
            config |= {SYNONYMS[key]: value for key, value in case.config(directory).items() if key in SYNONYMS}
    with kstore.open(path, create=False, read_only=read_only, config=config) as store:
        yield store


def partitions(case, root, store):
    """(directory, partition) of every user and internal topic; Kafka's metadata log is not one."""
    for directory in case.directories:
        folder = Path(directory)
        topic, _, number = folder.name.rpartition("-")
        if folder.parent.as_posix() == root and topic != names.METADATA_TOPIC:
            yield directory, store.partition(topic, int(number))


def read_all(log, isolation="read_uncommitted", control=False):
    """Offset, time, key and value of each record from the log start on, in pieces of 8 KiB."""
    found, offset = [], log.log_start_offset
    while True:
        batches = log.read(offset, max_bytes=8192, isolation=isolation)
        records = batches.records(control=True) if control else batches
        found += [(r.offset, r.timestamp_ms, r.key, r.value) for r in records if r.offset >= offset]
        if batches.next_offset <= offset:
            return found
        offset = batches.next_offset


def data(text):
    return None if text is None else bytes.fromhex(text)


def rows(case, directory, start, *, control=False):
    return [
        (row["offset"], row["timestamp"], data(row["key"]), data(row["value"]))
        for row in case.records.get(directory, [])
        if row["offset"] >= start and (control or not row["isControl"])
    ]


def committed(case, directory, start):
    """What read_committed shows: below the first open transaction, without those that were aborted."""
    open_since, hidden = {}, set()
    for row in case.records.get(directory, []):
        if row["isControl"]:
            began = open_since.pop(row["producerId"], None)
            if began is not None and row["key"][4:8] == "0000":
                hidden |= {
                    other["offset"] for other in case.records[directory]
                    if other["producerId"] == row["producerId"] and began <= other["offset"] < row["offset"]
                }  # fmt: skip
        elif row["isTransactional"]:
            open_since.setdefault(row["producerId"], row["offset"])
    stable = min(open_since.values(), default=2**62)
    return stable, [row for row in rows(case, directory, start) if row[0] < stable and row[0] not in hidden]



@pytest.mark.parametrize("name", [name for name in CASES if not corpus.case(name).harmed])
@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "writing"])
def test_every_record_and_offset(name, read_only, tmp_path):
    case = corpus.case(name)
    for root in case.roots:
        with opened(case, root, tmp_path / root, read_only=read_only) as store:
            for directory, log in partitions(case, root, store):
                start = case.checkpoint(directory, "log-start-offset") if case.is_root else None
                segments = sorted((case.path / directory).glob("*.log"))
                assert log.log_start_offset == (int(segments[0].stem) if start is None else start), directory
                batches = case.batches.get(directory, [])
                end = max([int(segments[-1].stem), *(batch["lastOffset"] + 1 for batch in batches)])
                assert log.log_end_offset == log.high_watermark == end, directory
                assert read_all(log) == rows(case, directory, log.log_start_offset), directory
                assert read_all(log, control=True) == rows(case, directory, log.log_start_offset, control=True)


@pytest.mark.parametrize("name", [name for name in CASES if not corpus.case(name).harmed])
def test_read_committed(name, tmp_path):
    case = corpus.case(name)
    for root in case.roots:
        with opened(case, root, tmp_path / root) as store:
            for directory, log in partitions(case, root, store):
                if "compacted" in directory:
                    continue  # the cleaner has taken the data of aborted transactions, and some markers, away
                stable, expected = committed(case, directory, log.log_start_offset)
                assert read_all(log, "read_committed") == expected, directory
                assert log.last_stable_offset == min(stable, log.high_watermark), directory


@pytest.mark.parametrize("name", [name for name in CASES if not corpus.case(name).harmed])
def test_lookup_by_time(name, tmp_path):
    """The first record in the log at or above a time, as a plain scan finds it."""
    case = corpus.case(name)
    for root in case.roots:
        with opened(case, root, tmp_path / root, read_only=True) as store:
            for directory, log in partitions(case, root, store):
                found = rows(case, directory, log.log_start_offset, control=True)
                times = sorted({row[1] for row in found})
                for time in [*times[:: max(1, len(times) // 9)], *times[-1:], 0]:
                    if time < 0:
                        continue  # Kafka's lookup knows no time below zero
                    first = next(((row[0], row[1]) for row in found if row[1] >= time), None)
                    assert log.offset_for_timestamp(time) == first, (directory, time)


@pytest.mark.parametrize("name", [name for name in CASES if not corpus.case(name).harmed])
def test_producers_and_epochs(name, tmp_path):
    case = corpus.case(name)
    clean = (case.path / names.CLEAN_SHUTDOWN_FILE).exists()
    for root in case.roots:
        with opened(case, root, tmp_path / root) as store:
            for directory, log in partitions(case, root, store):
                kept = parse_epochs((case.path / directory / names.EPOCHS_FILE).read_bytes())
                found = tuple(log.log.derived.epochs.entries)
                if not case.is_root and "delete-records" in directory:  # where the log starts stood in the root
                    assert [entry.epoch for entry in found] == [entry.epoch for entry in kept]
                    continue
                # An epoch in which nothing was written may go, as a boot of Kafka forgets it.
                assert found in (kept, tuple(e for e in kept if e.start_offset < log.log_end_offset)), directory
                snapshot = load_snapshot(OsDisk(), str(case.path / directory), 2**62)
                if clean and snapshot.offset == log.log_end_offset:
                    found = {row(entry) for entry in log.log.derived.producers.entries()}
                    assert found == {row(entry) for entry in snapshot.entries}, directory


def row(entry):
    last = entry.batches[-1] if entry.batches else None
    return (entry.producer_id, entry.epoch, entry.coordinator_epoch, entry.last_timestamp_ms, entry.txn_first_offset,
            last and (last.last_sequence, last.last_offset))  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if corpus.case(name).is_root])
def test_a_clean_directory_opens_and_closes_unchanged(name, tmp_path):
    """Every file of Kafka's is as it was, byte for byte, once every partition was opened and closed."""
    case = corpus.case(name)
    if not (case.path / names.CLEAN_SHUTDOWN_FILE).exists():
        return
    with opened(case, ".", tmp_path) as store:
        for _, log in partitions(case, ".", store):
            read_all(log)
    after = tmp_path / case.name
    for path in sorted(case.path.rglob("*")):
        relative = path.relative_to(case.path)
        if not path.is_file() or path.name in corpus.OWN_FILES or path.name.endswith(".deleted"):
            continue
        if path.name.endswith("-checkpoint") and path.parent == case.path:  # the order of lines is free
            assert sorted((after / relative).read_text().split("\n")[2:]) == sorted(path.read_text().split("\n")[2:])
        elif path.suffix == ".snapshot" and not (after / relative).exists():
            continue  # of no segment's base offset, or below the log start: a boot of Kafka removes it too
        elif "-delete" not in relative.parts[0]:
            assert (after / relative).read_bytes() == path.read_bytes(), relative


@pytest.mark.parametrize("name", [name for name in CASES if corpus.case(name).harmed])
def test_recovery_keeps_at_least_what_kafka_keeps(name, tmp_path):
    case = corpus.case(name)
    recovered = corpus.case(name.replace("torn", "recovered"))
    with opened(case, ".", tmp_path) as store:
        for directory, log in partitions(case, ".", store):
            found = read_all(log, control=True)
            for row in rows(case, directory, log.log_start_offset, control=True):
                assert row in found, directory
            kafkas = [
                row for row in rows(recovered, directory, log.log_start_offset, control=True)
                if row[0] < log.log_end_offset
            ]  # fmt: skip
            assert [row for row in kafkas if row not in found] == [], directory
            assert log.log_end_offset >= max((row["offset"] + 1 for row in case.records.get(directory, [])), default=0)
    findings = kstore.verify(tmp_path / case.name).findings
    assert [finding for finding in findings if names.METADATA_TOPIC not in finding.file] == []


@pytest.mark.parametrize("name", [name for name in CASES if corpus.case(name).harmed])
def test_verify_finds_the_harm(name):
    case = corpus.case(name)
    report = kstore.verify(case.path)
    harmed = {edit.partition(":")[0] for edit in case.info["edits"]}
    found = {str(Path(finding.file).relative_to(case.path)) for finding in report.findings}
    missed = {name for name in harmed - found if not any(name.rpartition(".")[0] in other for other in found)}
    assert missed == set()


@pytest.mark.parametrize("name", [n for n in CASES if not corpus.case(n).harmed and "unclean" not in n])
def test_verify_finds_nothing_in_good_directories(name, tmp_path):
    case = corpus.case(name)
    for root in case.roots:
        report = kstore.verify(case.copy(tmp_path / root / name) / root)
        assert [str(finding) for finding in report.findings] == []
