"""The directory that graduation makes, file by file; a real Kafka judges it in tests/interop."""

import errno
import hashlib
import json
import os
import shutil

import pytest

import kstore
from kstore.graduation import cluster
from kstore.kraft import read_metadata
from kstore.log import names
from kstore.log.disk import OsDisk
from kstore.log.properties import parse_meta_properties, parse_properties
from kstore.log.snapshots import load_snapshot
from support import corpus

CODECS = ("none", "gzip", "zstd")


def make(path, *, close=True):
    """Two topics over several segments, a producer id, a group; left open without `close`, as a crash leaves it."""
    store = kstore.open(path, config={"log.flush.scheduler.interval.ms": 0})
    store.create_topic("orders", partitions=2, config={"internal.segment.bytes": 4096, "retention.ms": 5000})
    store.create_topic("table", config={"cleanup.policy": "compact"})
    log = store.partition("orders", 0)
    for index in range(60):
        log.append([b"value %d" % index * 20], compression=CODECS[index % 3])
    log.append_batches(
        kstore.encode_batches([b"x"], timestamp_ms=store.clock(), producer_id=77, producer_epoch=0, base_sequence=0)
    )
    store.partition("table", 0).append([(b"k", b"v")])
    store.groups.commit("readers", {("orders", 0): 7})
    if close:
        store.close()
    return store


@pytest.fixture
def data(tmp_path):
    make(tmp_path / "data")
    return tmp_path / "data"


def state(path):
    """Every file below a directory with its bytes and inode."""
    return {
        file.relative_to(path).as_posix(): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_ino)
        for file in path.rglob("*")
        if file.is_file() and file.name not in (".lock", "kstore-holder")
    }


def all_records(path, topic="orders", number=0):
    with kstore.open(path, read_only=True) as store:
        log = store.partition(topic, number)
        found, offset = [], log.log_start_offset
        while (batches := log.read(offset)).next_offset > offset:
            found += [(r.offset, r.key, r.value, r.timestamp_ms) for r in batches]
            offset = batches.next_offset
        return found


def test_the_root_files_are_a_brokers(data, tmp_path):
    done = kstore.graduate(data, tmp_path / "kafka", node_id=3, listener="localhost:19092")
    to = tmp_path / "kafka"
    meta = parse_meta_properties((to / "meta.properties").read_bytes())
    assert (meta.node_id, meta.version, meta.cluster_id) == (3, 1, done.cluster_id)
    assert done.cluster_id == parse_meta_properties((data / "meta.properties").read_bytes()).cluster_id
    assert meta.directory_id != parse_meta_properties((data / "meta.properties").read_bytes()).directory_id
    assert json.loads((to / ".kafka_cleanshutdown").read_text()) == {"version": 0, "brokerEpoch": 0}
    for name in ("replication-offset-checkpoint", "recovery-point-offset-checkpoint"):
        lines = (to / name).read_text().splitlines()[2:]
        assert {tuple(line.split()) for line in lines} == {
            ("orders", "0", "61"), ("orders", "1", "0"), ("table", "0", "1"), ("__consumer_offsets", "0", "1"),
        }  # fmt: skip
    strangers = {path.name for path in to.iterdir()} - {"kstore-server.properties"}
    assert not any(name.startswith("kstore") or name == ".lock" for name in strangers)


def test_metadata_names_topics_configs_and_epochs(data, tmp_path):
    done = kstore.graduate(data, tmp_path / "kafka")
    metadata = read_metadata(OsDisk(), str(tmp_path / "kafka"))
    assert metadata.topic_configs == {
        "orders": {"internal.segment.bytes": "4096", "retention.ms": "5000"},
        "table": {"cleanup.policy": "compact"},
        "__consumer_offsets": dict(cluster.INTERNAL_CONFIGS["__consumer_offsets"]),
    }
    assert metadata.broker_epochs == {1: 0}
    assert metadata.next_producer_id == done.next_producer_id == 78
    assert metadata.features == cluster.FEATURES
    for name, topic in metadata.topics.items():
        for number, partition in topic.partitions.items():
            text = (tmp_path / "kafka" / f"{name}-{number}" / "partition.metadata").read_text()
            assert text.rpartition(" ")[2] == names.uuid_to_text(topic.topic_id)
            assert partition == (0, -1, (1,))
    assert done.topics == {"__consumer_offsets": 1, "orders": 2, "table": 1}
    assert done.records_end == {"__consumer_offsets": [1], "orders": [61, 0], "table": [1]}


def test_the_target_holds_every_record_and_producer(data, tmp_path):
    kstore.graduate(data, tmp_path / "kafka")
    assert all_records(tmp_path / "kafka") == all_records(data)
    entries = load_snapshot(OsDisk(), str(tmp_path / "kafka" / "orders-0"), 61).entries
    assert [entry.producer_id for entry in entries] == [77]
    with kstore.open(tmp_path / "kafka") as store:
        assert store.groups.committed("readers")["orders", 0].offset == 7
        assert store.topics()["orders"].config.roll_bytes == 4096
    assert kstore.verify(tmp_path / "kafka").ok


def test_the_source_does_not_change(data, tmp_path):
    before = state(data)
    kstore.graduate(data, tmp_path / "kafka")
    assert state(data) == before
    with kstore.open(tmp_path / "kafka") as store:  # nor later, by what happens in the target
        for _ in range(60):
            store.partition("orders", 0).append([b"more" * 100])
    assert state(data) == before


def test_sealed_segments_are_shared_and_active_ones_are_not(data, tmp_path):
    done = kstore.graduate(data, tmp_path / "kafka")
    logs = sorted((data / "orders-0").glob("*.log"))
    assert len(logs) > 2
    shared = [os.path.samefile(log, tmp_path / "kafka" / "orders-0" / log.name) for log in logs]
    assert shared == [True] * (len(logs) - 1) + [False]
    assert done.linked_bytes == sum(log.stat().st_size for log in logs[:-1])
    for path in data.rglob("*"):
        twin = tmp_path / "kafka" / path.relative_to(data)
        if path.is_file() and path.suffix != ".log" and twin.exists():
            assert not os.path.samefile(path, twin)


def test_a_file_system_without_links_gets_copies(data, tmp_path):
    class NoLinks(OsDisk):
        def link(self, source, target):
            raise OSError(errno.EXDEV, "other file system", source)

    done = kstore.graduate(data, tmp_path / "kafka", disk=NoLinks())
    assert done.linked_bytes == 0
    assert all_records(tmp_path / "kafka") == all_records(data)


def test_an_unclean_source_is_recovered_in_the_copy_alone(tmp_path):
    store = make(tmp_path / "live", close=False)
    shutil.copytree(tmp_path / "live", tmp_path / "data")  # as kill -9 leaves it
    (tmp_path / "data" / ".lock").unlink()
    (tmp_path / "data" / "kstore-holder").unlink()
    store.close()
    active = max((tmp_path / "data" / "orders-0").glob("*.log"))
    active.write_bytes(active.read_bytes()[:-3])
    before = state(tmp_path / "data")
    kstore.graduate(tmp_path / "data", tmp_path / "kafka")
    assert state(tmp_path / "data") == before
    assert [row[0] for row in all_records(tmp_path / "kafka")] == list(range(60))
    assert kstore.verify(tmp_path / "kafka").ok


def test_kafkas_own_directory_may_graduate_too(tmp_path):
    source = corpus.case("clean").copy(tmp_path / "data")
    done = kstore.graduate(source, tmp_path / "kafka")
    metadata = read_metadata(OsDisk(), str(tmp_path / "kafka"))
    theirs = read_metadata(OsDisk(), str(source))
    assert metadata.topic_configs.keys() == theirs.topic_configs.keys()
    for name, config in theirs.topic_configs.items():
        assert metadata.topic_configs[name].items() >= config.items()
        assert metadata.topics[name].topic_id == theirs.topics[name].topic_id
    assert done.next_producer_id >= theirs.next_producer_id > 0
    assert not (tmp_path / "kafka" / "__cluster_metadata-0").exists()


def test_a_topic_made_in_kafkas_directory_is_warned_about(data, tmp_path, caplog):
    with kstore.open(data) as store:
        store.create_topic("fine")
    assert caplog.records == []
    kstore.graduate(data, tmp_path / "kafka")
    with kstore.open(tmp_path / "kafka") as store:
        store.create_topic("stranger")
    assert "-stray" in caplog.text


# -- refusals ------------------------------------------------------------------------------------------------------


def nothing_made(path, *, also=()):
    return {entry.name for entry in path.iterdir()} == {"data", *also}


def test_a_target_that_is_there_is_refused(data, tmp_path):
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "something").touch()
    with pytest.raises(kstore.UsageError, match="not an empty directory"):
        kstore.graduate(data, tmp_path / "kafka")
    (tmp_path / "kafka" / "something").unlink()
    kstore.graduate(data, tmp_path / "kafka")
    assert (tmp_path / "kafka" / "bootstrap.checkpoint").exists()


def test_a_source_in_use_is_refused(data, tmp_path):
    with kstore.open(data), pytest.raises(kstore.StoreLocked):
        kstore.graduate(data, tmp_path / "kafka")
    assert nothing_made(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"listener": "9092"}, "HOST:PORT"),
        ({"listener": "localhost:0"}, "HOST:PORT"),
        ({"listener": "localhost:70000"}, "HOST:PORT"),
        ({"listener": ":9092"}, "HOST:PORT"),
        ({"node_id": -1}, "node id"),
        ({"cluster_id": "short"}, "cluster id"),
    ],
)
def test_bad_arguments_are_refused(data, tmp_path, arguments, message):
    with pytest.raises(kstore.UsageError, match=message):
        kstore.graduate(data, tmp_path / "kafka", **arguments)
    assert nothing_made(tmp_path)


@pytest.mark.parametrize("to", ["data/inside", "absent/kafka", "with,comma"])
def test_bad_targets_are_refused(data, tmp_path, to):
    with pytest.raises(kstore.UsageError):
        kstore.graduate(data, tmp_path / to)
    assert nothing_made(tmp_path)


def test_sources_that_are_no_log_directory_are_refused(tmp_path):
    (tmp_path / "data").mkdir()
    for source in ("data", "absent"):
        with pytest.raises(kstore.NotALogDirectory):
            kstore.graduate(tmp_path / source, tmp_path / "kafka")
    assert nothing_made(tmp_path)


def test_damage_does_not_graduate(data, tmp_path):
    log = min((data / "orders-0").glob("*.log"))
    harmed = bytearray(log.read_bytes())
    harmed[500] ^= 1
    log.write_bytes(harmed)
    (data / ".kafka_cleanshutdown").unlink()
    (data / "kstore-checkpoints").unlink()
    for tail in (data / "orders-0").glob("kstore-tail-*"):
        tail.unlink()
    with pytest.raises(kstore.CorruptionError, match="log repair") as raised:
        kstore.graduate(data, tmp_path / "kafka")
    assert raised.value.file == str(log)
    assert nothing_made(tmp_path)


@pytest.mark.parametrize("which", [0, 1, -1])
def test_damage_that_nobody_has_met_yet_does_not_graduate(data, tmp_path, which):
    """A clean stop lets every open trust the bytes: in a sealed segment that would be a link, and in the active one."""
    log = sorted((data / "orders-0").glob("*.log"))[which]
    harmed = bytearray(log.read_bytes())
    harmed[len(harmed) - 3] ^= 1
    log.write_bytes(harmed)
    before = state(data)
    with pytest.raises(kstore.CorruptionError, match="kstore log repair") as caught:
        kstore.graduate(data, tmp_path / "kafka")
    assert caught.value.file == str(log)
    assert not (tmp_path / "kafka").exists()
    assert state(data) == before


def test_a_missing_partition_is_said(data, tmp_path):
    for path in (data / "orders-0").iterdir():
        path.unlink()
    (data / "orders-0").rmdir()
    (data / "kstore-topics").unlink()
    with pytest.raises(kstore.UsageError, match="no partition 0"):
        kstore.graduate(data, tmp_path / "kafka")
    assert nothing_made(tmp_path)


def test_every_failing_call_leaves_no_target(data, tmp_path):
    """ENOSPC at the n-th change, for every n: no target, no leftover, the source as it was."""
    before = state(data)
    n = 0
    while True:
        disk = FullDisk(n)
        try:
            kstore.graduate(data, tmp_path / "kafka", disk=disk)
        except kstore.StorageError as error:
            assert error.errno == errno.ENOSPC
        else:
            break
        assert nothing_made(tmp_path)
        assert state(data) == before
        n += 7
    assert n > 50
    assert all_records(tmp_path / "kafka") == all_records(data)


class FullDisk(OsDisk):
    """Has no room for a new name after `left` of them."""

    def __init__(self, left):
        self.left = left

    def _take(self):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "no space left on device")

    def open_file(self, path, *, create=False, writable=True):
        if create:
            self._take()
        return super().open_file(path, create=create, writable=writable)

    def rename(self, source, target):
        self._take()
        super().rename(source, target)

    def make_dir(self, path):
        self._take()
        super().make_dir(path)


# -- server.properties -----------------------------------------------------------------------------------------------


def test_server_properties_start_that_broker(data, tmp_path):
    done = kstore.graduate(data, tmp_path / "kafka", node_id=5, listener="0.0.0.0:65535")
    assert (tmp_path / "kafka" / "kstore-server.properties").read_text() == done.server_properties
    found = parse_properties(done.server_properties.encode())
    assert found["log.dirs"] == str(tmp_path / "kafka")
    assert found["node.id"] == "5"
    assert found["listeners"] == "PLAINTEXT://0.0.0.0:65535,CONTROLLER://127.0.0.1:65534"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:65535"
    assert found["controller.quorum.voters"] == "5@127.0.0.1:65534"
    assert found["offsets.topic.num.partitions"] == "1"


def test_paths_survive_javas_properties():
    identity = cluster.Identity("c", 1, bytes(16), "::1", 9092, 9093, bytes(16))
    path = "/data/größe 日本 🙂/back\\slash"
    text = cluster.server_properties(identity, path, {})
    assert text.isascii()
    assert parse_properties(text.encode())["log.dirs"] == path
    assert parse_properties(text.encode())["listeners"].startswith("PLAINTEXT://[::1]:9092,")


def test_listeners():
    assert cluster.parse_listener("[::1]:9092") == ("::1", 9092)
    assert cluster.parse_listener("kafka.example:1") == ("kafka.example", 1)


def test_files_that_are_called_like_partitions_are_none(data, tmp_path):
    with kstore.open(data) as store:
        store.groups.commit("7", {("orders", 0): 7})  # its file may be called kstore-group-7
    (data / "kstore-position-47609525").write_bytes(b"the place in a followed file")
    kstore.graduate(data, tmp_path / "kafka")
    assert kstore.verify(data).ok
    assert not any(path.name.startswith("kstore-position") for path in (tmp_path / "kafka").iterdir())
    with kstore.open(data) as store:
        assert sorted(store.topics()) == ["__consumer_offsets", "orders", "table"]
