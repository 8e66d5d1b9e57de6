"""The metadata of a directory that Kafka wrote, and the replay of what the fixtures do not hold."""

import json
import re

import pytest

from kstore.kraft import read_metadata, records
from kstore.kraft.checkpoint import encode_checkpoint
from kstore.kraft.metadata import BOOTSTRAP_FILE, METADATA_DIR, KraftMetadata
from kstore.log import names
from kstore.log.disk import OsDisk
from support import corpus

ROOTS = [name for name in corpus.case_names() if corpus.case(name).is_root]
ID = bytes(range(16))


def directory(tmp_path, values=(), *, segments=(), checkpoints=()):
    (tmp_path / METADATA_DIR).mkdir()
    (tmp_path / BOOTSTRAP_FILE).write_bytes(encode_checkpoint(list(values), 1))
    for base, data in segments:
        (tmp_path / METADATA_DIR / f"{base:020d}.log").write_bytes(data)
    for offset, epoch, data in checkpoints:
        (tmp_path / METADATA_DIR / f"{offset:020d}-{epoch:010d}.checkpoint").write_bytes(data)
    return read_metadata(OsDisk(), str(tmp_path))


def topic(name, uuid=ID):
    return records.encode(records.TOPIC, 0, name=name, topicId=uuid)


def config(name, key, value):
    return records.encode(records.CONFIG, 0, resourceType=2, resourceName=name, name=key, value=value)


def replay(*values):
    metadata = KraftMetadata()
    for value in values:
        metadata.replay(records.decode(value))
    return metadata


@pytest.mark.parametrize("name", ROOTS)
def test_topics_configs_and_epochs_of_a_real_directory(name):
    case = corpus.case(name)
    metadata = read_metadata(OsDisk(), str(case.path))
    assert metadata.complete
    live = {path.name.rpartition("-")[0] for path in case.path.glob("*-[0-9]")} - {"__cluster_metadata"}
    assert set(metadata.topics) == live
    for topic_name, found in metadata.topics.items():
        text = (case.path / f"{topic_name}-0" / "partition.metadata").read_text()
        assert names.uuid_to_text(found.topic_id) == text.rpartition(" ")[2]
        assert set(found.partitions) == {int(p.name.rpartition("-")[2]) for p in case.path.glob(f"{topic_name}-[0-9]")}
        if not topic_name.startswith("__"):
            assert found.config == case.info["configs"][topic_name]
        else:
            assert found.config["cleanup.policy"] == "compact"
    marker = case.path / ".kafka_cleanshutdown"
    if marker.exists():
        assert metadata.broker_epochs == {1: json.loads(marker.read_text())["brokerEpoch"]}


@pytest.mark.parametrize("name", ROOTS)
def test_decodes_every_record_as_kafkas_dump(name):
    case = corpus.case(name)
    shown = [
        json.loads(line)
        for part in case.dump.split("Dumping ")
        if re.match(r"\S*__cluster_metadata-0/\d+\.log", part)
        for line in re.findall(r'payload: (\{"type".*\})', part)
    ]
    rows = [row for row in case.records["__cluster_metadata-0"] if not row["isControl"]]
    for row, line in zip(rows, shown, strict=True):
        value = bytes.fromhex(row["value"])
        record = records.decode(value)
        assert records.to_json(record) == line
        assert records.encode(record.api_key, record.version, **record.data) == value


def test_no_metadata(tmp_path):
    assert read_metadata(OsDisk(), str(tmp_path)) == KraftMetadata()


def test_bootstrap_counts_while_the_log_is_empty(tmp_path):
    metadata = directory(tmp_path, [topic("a"), config("a", "k", "v")])
    assert metadata.topic_configs == {"a": {"k": "v"}}
    assert metadata.next_offset == 0


def test_the_log_replaces_bootstrap(tmp_path):
    metadata = directory(tmp_path, [topic("a")], segments=[(0, encode_checkpoint([topic("b")], 1))])
    assert set(metadata.topics) == {"b"}
    assert metadata.next_offset == 2


def test_replay_starts_at_the_newest_whole_checkpoint(tmp_path):
    log = encode_checkpoint([topic(f"t{i}", bytes([i]) * 16) for i in range(4)], 1)  # offsets 1 to 4
    snapshot = encode_checkpoint([topic("from-snapshot", b"s" * 16)], 1)
    metadata = directory(tmp_path, segments=[(0, log)],
                         checkpoints=[(3, 1, snapshot), (5, 1, snapshot[:-90]), (0, 0, log)])  # fmt: skip
    assert set(metadata.topics) == {"from-snapshot", "t2", "t3"}
    assert metadata.complete


def test_damage_ends_the_replay_and_is_said(tmp_path):
    first, second = encode_checkpoint([topic("a")], 1), bytearray(encode_checkpoint([topic("b")], 1))
    second[100] ^= 1
    metadata = directory(tmp_path, segments=[(0, first + bytes(second))])
    assert set(metadata.topics) == {"a"}
    assert not metadata.complete


def test_removed_topics_take_their_configs_along():
    remove = records.encode(records.REMOVE_TOPIC, 0, topicId=ID)
    metadata = replay(topic("a"), config("a", "k", "v"), remove, topic("a", b"n" * 16))
    assert metadata.topic_configs == {"a": {}}
    assert metadata.topics["a"].topic_id == b"n" * 16


def test_a_config_without_value_is_unset():
    assert replay(topic("a"), config("a", "k", "v"), config("a", "k", None)).topic_configs == {"a": {}}


def test_a_moved_leader_is_a_new_epoch():
    partition = records.encode(
        records.PARTITION, 0, partitionId=0, topicId=ID, replicas=[1, 2], isr=[1], removingReplicas=[],
        addingReplicas=[], leader=1, leaderEpoch=4, partitionEpoch=0,
    )  # fmt: skip
    isr = records.encode(records.PARTITION_CHANGE, 0, partitionId=0, topicId=ID, isr=[1, 2])
    moved = records.encode(records.PARTITION_CHANGE, 0, partitionId=0, topicId=ID, leader=-1, replicas=[2])
    metadata = replay(topic("a"), partition, isr)
    assert metadata.topics["a"].partitions[0] == (4, 1, (1, 2))
    metadata.replay(records.decode(moved))
    assert metadata.topics["a"].partitions[0] == (5, -1, (2,))


def test_transactions_count_when_they_end():
    begin, end = records.encode(records.BEGIN_TRANSACTION, 0), records.encode(records.END_TRANSACTION, 0)
    abort = records.encode(records.ABORT_TRANSACTION, 0)
    assert set(replay(begin, topic("a")).topics) == set()
    assert set(replay(begin, topic("a"), end).topics) == {"a"}
    assert set(replay(begin, topic("a"), abort, topic("b")).topics) == {"b"}


def test_unregistered_brokers_have_no_epoch():
    register = records.encode(records.REGISTER_BROKER, 0, brokerId=3, incarnationId=ID, brokerEpoch=9, endPoints=[],
                              features=[], rack=None)  # fmt: skip
    gone = records.encode(records.UNREGISTER_BROKER, 0, brokerId=3, brokerEpoch=9)
    assert replay(register).broker_epochs == {3: 9}
    assert replay(register, gone).broker_epochs == {}
