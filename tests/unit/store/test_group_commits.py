"""Committed offsets: in Kafka's topic from a writer, in a file from a reader, folded together, the later one counts."""

import pytest

import kstore
from kstore.errors import UsageError
from kstore.groups import offsets
from kstore.store import group_commits
from kstore.store.group_commits import waiting_commits

PLACE = ("orders", 0)


@pytest.fixture
def writer(tmp_path):
    with kstore.open(tmp_path / "data") as store:
        store.create_topic("orders")
        yield store


@pytest.fixture
def reader(writer):
    with kstore.open(writer.path, read_only=True) as store:
        yield store


def offset(store, group="g", place=PLACE):
    commit = store.groups.committed(group).get(place)
    return None if commit is None else commit.offset


def records(store):
    found = []
    for index in store.topics()[offsets.TOPIC].partitions:
        partition = store.partition(offsets.TOPIC, index)
        at = partition.log_start_offset
        while at < partition.log_end_offset:
            batches = partition.read(at)
            found += [offsets.decode(record.key, record.value) for record in batches]
            at = batches.next_offset
    return found


def test_a_writer_appends_kafkas_records(writer):
    writer.groups.commit("g", {PLACE: 7}, metadata="here")
    (found,) = records(writer)
    assert found.key == ("g", "orders", 0)
    assert (found.value.offset, found.value.metadata) == (7, "here")
    assert writer.topics()[offsets.TOPIC].config.cleanup_policy == ("compact",)
    assert waiting_commits(writer.disk, writer.path) == {}


def test_both_kinds_of_store_see_a_writers_commit(writer, reader):
    writer.groups.commit("g", {PLACE: 7})
    assert offset(writer) == offset(reader) == 7
    writer.groups.commit("g", {PLACE: 9})
    assert offset(reader) == 9
    assert reader.groups.names() == ["g"]


def test_a_readers_commit_is_seen_at_once_and_folded_once(writer, reader):
    reader.groups.commit("g", {PLACE: 7}, metadata="m")
    assert offset(reader) == offset(writer) == 7
    assert writer.groups.names() == ["g"]
    assert offsets.TOPIC not in writer.topics()
    assert writer.groups.fold() == 1
    assert writer.groups.fold() == 0
    (found,) = records(writer)
    assert (found.value.offset, found.value.metadata) == (7, "m")
    reader.groups.commit("g", {PLACE: 8})
    assert writer.groups.fold() == 1
    assert [record.value.offset for record in records(writer)] == [7, 8]


def test_closing_and_opening_a_writer_folds(tmp_path):
    path = tmp_path / "data"
    with kstore.open(path) as writer, kstore.open(path, read_only=True) as reader:
        writer.create_topic("orders")
        reader.groups.commit("g", {PLACE: 3})
    with kstore.open(path, read_only=True) as reader:
        assert [record.value.offset for record in records(reader)] == [3]
        reader.groups.commit("g", {PLACE: 5})
    kstore.open(path).close()
    with kstore.open(path, read_only=True) as reader:
        assert [record.value.offset for record in records(reader)] == [3, 5]


def test_the_later_commit_counts_whichever_side_it_is_on(writer, reader):
    reader.groups.commit("g", {PLACE: 7})
    writer.groups.commit("g", {PLACE: 2})
    assert offset(writer) == offset(reader) == 2
    assert writer.groups.fold() == 0
    reader.groups.commit("g", {PLACE: 3})
    assert offset(writer) == offset(reader) == 3


def test_a_clock_set_back_hides_no_commit(writer, reader):
    writer.groups.commit("g", {PLACE: 7})
    reader.clock = writer.clock = lambda: 1000
    reader.groups.commit("g", {PLACE: 8})
    assert offset(writer) == 8
    writer.groups.commit("g", {PLACE: 9})
    assert offset(reader) == 9


def test_groups_and_partitions_are_apart(writer, reader):
    reader.groups.commit("a", {("orders", 0): 1})
    reader.groups.commit("b", {("orders", 0): 2, ("other", 3): 4})
    writer.groups.commit("a", {("other", 3): 5})
    assert {place: commit.offset for place, commit in reader.groups.committed("a").items()} == {
        ("orders", 0): 1,
        ("other", 3): 5,
    }
    assert offset(reader, "b", ("other", 3)) == 4
    assert reader.groups.names() == ["a", "b"]
    assert reader.groups.committed("c") == {}


@pytest.mark.parametrize("group", ["a/b", "..", "x.tmp", "ümlaut", "a" * 400, "\n", "%2F", " "])
def test_any_name_is_a_group(writer, reader, group):
    reader.groups.commit(group, {PLACE: 1})
    assert offset(writer, group) == 1
    writer.groups.fold()
    assert records(writer)[0].key.group == group
    assert reader.groups.names() == [group]


def test_every_flipped_byte_of_a_file_is_noticed(writer, reader):
    writer.groups.commit("g", {PLACE: 1})
    reader.groups.commit("g", {PLACE: 2})
    path = f"{writer.path}/kstore-group-g"
    with open(path, "rb") as file:
        data = file.read()
    for at in range(len(data)):
        with open(path, "wb") as file:
            file.write(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        assert offset(reader) == 1, at
        assert writer.groups.fold() == 0
    with open(path, "wb") as file:
        file.write(data)
    assert writer.groups.fold() == 1


def test_a_file_under_another_groups_name_is_ignored(writer, reader):
    reader.groups.commit("g", {PLACE: 2})
    with open(f"{writer.path}/kstore-group-g", "rb") as file, open(f"{writer.path}/kstore-group-h", "wb") as copy:
        copy.write(file.read())
    assert writer.groups.names() == ["g"]
    assert offset(reader, "h") is None


def test_a_file_that_is_being_written_is_left_alone(writer, reader, monkeypatch):
    """A reader replaces its file while a writer folds: the half-made one may vanish at any moment."""
    reader.groups.commit("g", {PLACE: 2})
    with open(f"{writer.path}/kstore-group-g.tmp", "wb") as file:
        file.write(b"half")
    read_file = writer.disk.read_file
    monkeypatch.setattr(writer.disk, "read_file", lambda path: (_gone if path.endswith(".tmp") else read_file)(path))
    assert writer.groups.fold() == 1
    assert writer.groups.names() == ["g"]


def _gone(path):
    raise FileNotFoundError(2, "No such file or directory", path)


def test_deleted_commits_are_gone(writer, reader):
    writer.groups.commit("g", {PLACE: 2})
    key = offsets.encode_key("g", "orders", 0)
    writer.partition(offsets.TOPIC, 0).append([(key, None)])
    assert offset(writer) is None
    assert offset(reader) is None
    assert reader.groups.names() == []
    reader.groups.commit("g", {PLACE: 3})
    assert offset(writer) == 3


def test_other_records_in_the_topic_do_no_harm(writer, reader):
    writer.groups.commit("g", {PLACE: 2})
    writer.partition(offsets.TOPIC, 0).append([b"no key", (b"\x00\x63", b"x"), (b"\x00\x01\x00", b"cut")])
    writer.groups.commit("g", {PLACE: 4})
    assert offset(reader) == offset(writer) == 4


def test_one_consumer_a_group(writer, reader):
    held = reader.groups.hold("g")
    with pytest.raises(UsageError, match="group g is being read by"):
        writer.groups.hold("g")
    writer.groups.hold("h").release()
    held.release()
    writer.groups.hold("g").release()


@pytest.mark.parametrize(
    ("group", "positions", "metadata"),
    [("", {PLACE: 1}, ""), ("g", {PLACE: -1}, ""), ("g", {PLACE: 1}, "x" * 4097)],
)
def test_bad_commits_are_refused(writer, group, positions, metadata):
    with pytest.raises(UsageError):
        writer.groups.commit(group, positions, metadata=metadata)
    assert offsets.TOPIC not in writer.topics()


def test_partitions_of_a_topic_that_kafka_made_are_used(writer, reader):
    writer.create_topic(offsets.TOPIC, 50, offsets.TOPIC_CONFIG)
    for group in ("a", "b", "some-group"):
        writer.groups.commit(group, {PLACE: 1})
        number = offsets.partition_for(group, 50)
        assert writer.partition(offsets.TOPIC, number).log_end_offset == 1
        assert offset(reader, group) == 1
    assert group_commits.PARTITIONS == 1
