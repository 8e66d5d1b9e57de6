"""The file consumer: at least once, the window shown; exactly, when asked."""

import threading
import time

import pytest

import kstore
from kstore.apps import file_consumer
from kstore.apps.file_consumer import FileConsumer, Output
from kstore.errors import UsageError


class Killed(BaseException):
    """Stands for SIGKILL."""


class World:
    """One topic of one directory, one output, one group; the consumer reads beside the writing store."""

    def __init__(self, store, tmp_path):
        self.store = store
        self.reader = kstore.open(store.path, read_only=True)
        self.path = tmp_path / "output"
        self.notices = []

    def fill(self, values, partitions=1):
        if "t" not in self.store.topics():
            self.store.create_topic("t", partitions)
        for index in range(partitions):
            part = values[index::partitions]
            for at in range(0, len(part), 7):
                self.store.partition("t", index).append(part[at : at + 7])

    def consumer(self, **options):
        return FileConsumer(
            self.reader, "t", str(self.path), "g", notice=self.notices.append, **{"poll_ms": 2, **options}
        )

    def run(self, **options):
        for index in self.reader.topics()["t"].partitions:
            self.reader.partition("t", index).refresh()
        return self.consumer(**options).run()

    def output(self):
        return self.path.read_bytes()

    def committed(self):
        return {index: commit.offset for (_, index), commit in self.reader.groups.committed("g").items()}


@pytest.fixture
def world(store, tmp_path):
    made = World(store, tmp_path)
    yield made
    made.reader.close()


VALUES = [b"%d" % n for n in range(100)]


@pytest.mark.parametrize("commit", ["sync", "async"])
def test_values_become_lines_and_the_group_is_at_the_end(world, commit):
    world.fill([b"a", b"", b"\xff\r", b"b"])
    summary = world.run(commit=commit)
    assert world.output() == b"a\n\n\xff\r\nb\n"
    assert summary.records == 4
    assert world.committed() == {0: 4}


@pytest.mark.parametrize("commit", ["sync", "async"])
def test_a_second_run_goes_on(world, commit):
    world.fill(VALUES[:50], 3)
    world.run(commit=commit)
    world.fill(VALUES[50:], 3)
    summary = world.run(commit=commit)
    assert summary.resumed
    assert summary.window_lines == 0
    assert sorted(world.output().split()) == sorted(VALUES)


def test_null_values_are_empty_lines(world):
    world.fill([b"a"])
    world.store.partition("t", 0).append([(b"key", None), (b"key", b"b")])
    world.run()
    assert world.output() == b"a\n\nb\n"


def test_nothing_is_committed_before_it_is_on_the_medium(world, monkeypatch):
    world.fill(VALUES)
    order = []
    sync, commit = Output.sync, file_consumer.FileConsumer.store_commit
    monkeypatch.setattr(Output, "sync", lambda self: (order.append(("sync", self.size_bytes)), sync(self))[1])
    groups_commit = world.reader.groups.commit

    def committing(group, positions, *, metadata):
        order.append(("commit", metadata))
        groups_commit(group, positions, metadata=metadata)

    monkeypatch.setattr(world.reader.groups, "commit", committing)
    world.run(commit_every=30)
    assert commit is file_consumer.FileConsumer.store_commit
    assert [what for what, _ in order] == ["sync", "commit"] * (len(order) // 2)
    assert len(order) // 2 == 5  # at the start, after 30, 60 and 90 records, at the end


@pytest.mark.parametrize("exactly", [False, True])
@pytest.mark.parametrize("step", range(1, 12))
def test_killed_between_write_and_commit_repeats_exactly_the_window(world, monkeypatch, step, exactly):
    world.fill(VALUES)
    steps = [step]
    write, commit = Output.write, world.reader.groups.commit

    def count():
        steps[0] -= 1
        if steps[0] == 0:
            raise Killed

    def writing(self, data):
        count()
        write(self, data)
        count()

    def committing(*args, **kwargs):
        count()
        commit(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Output, "write", writing)
        patch.setattr(world.reader.groups, "commit", committing)
        try:
            world.run(commit_every=30)
        except Killed:
            pass
    before = world.output().split() if world.path.exists() else []
    done = sum(world.committed().values())
    summary = world.run(commit_every=30, exactly=exactly)
    window = len(before) - done
    if summary.resumed:
        assert summary.window_lines == window
    assert window <= 30
    expected = VALUES if exactly else before + VALUES[done:]
    assert world.output().split() == expected
    assert world.committed() == {0: 100}


def test_half_a_line_of_a_killed_run_is_not_glued_to_the_next(world):
    world.fill(VALUES[:10])
    world.run(max_records=5)
    with world.path.open("ab") as file:
        file.write(b"5\n6\nhal")
    summary = world.run()
    assert (summary.window_lines, summary.window_bytes) == (2, 7)
    assert world.output().split() == [*VALUES[:7], *VALUES[5:10]]
    assert any("duplicate-read window: 2 whole lines (7 bytes)" in notice for notice in world.notices)


def test_a_file_of_somebody_else_is_appended_to(world):
    world.path.write_bytes(b"theirs")
    world.fill(VALUES[:2])
    world.run()
    assert world.output() == b"theirs\n0\n1\n"


def test_exactly_needs_the_file_of_the_last_commit(world, tmp_path):
    world.fill(VALUES)
    world.run()
    world.path = tmp_path / "another"
    with pytest.raises(UsageError, match="--exactly"):
        world.run(exactly=True)


def test_a_pipe_is_no_output(world):
    world.fill(VALUES)
    with pytest.raises(UsageError, match="kstore consume"):
        FileConsumer(world.reader, "t", "/dev/null", "g").run()


def test_committed_below_the_log_start(world):
    world.fill(VALUES)
    world.run(max_records=10)
    world.store.partition("t", 0).delete_records(40)
    world.reader.close()
    world.reader = kstore.open(world.store.path, read_only=True)
    world.run()
    assert world.output().split()[:10] == VALUES[:10]
    assert world.output().split()[-60:] == VALUES[40:]
    assert any("deleted by retention" in notice for notice in world.notices)


def test_committed_above_the_log_end(world):
    """A power loss took what was read but not durable: reading goes on at the end, nothing that comes is missed."""
    world.fill(VALUES[:10])
    world.reader.groups.commit("g", {("t", 0): 25})
    world.run()
    assert world.committed() == {0: 10}
    assert any("the log ends at 10" in notice for notice in world.notices)
    world.fill(VALUES[10:20])
    world.run()
    assert world.output().split() == VALUES[10:20]


@pytest.mark.parametrize("commit", ["sync", "async"])
def test_following_a_writer(world, commit):
    world.fill(VALUES[:10])
    consumer = world.consumer(follow=True, commit=commit, commit_every=7)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    for start in range(10, 100, 10):
        world.fill(VALUES[start : start + 10])
    until = time.monotonic() + 20
    while world.path.read_bytes().split() != VALUES if world.path.exists() else True:
        assert time.monotonic() < until
        time.sleep(0.002)
    consumer.stop()
    thread.join(20)
    assert world.committed() == {0: 100}


def test_partitions_that_come_later_are_read_too(world, monkeypatch):
    """A topic may be seen while its writer is still making its partitions."""
    monkeypatch.setattr(file_consumer, "PARTITIONS_S", 0)
    world.fill(VALUES[:10], 2)
    topics, hidden = world.reader.topics, [True]

    def seen():
        found = topics()
        return {"t": found["t"]._replace(partitions=(0,))} if hidden else found

    monkeypatch.setattr(world.reader, "topics", seen)
    consumer = world.consumer(follow=True)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    for count, then in ((5, hidden.clear), (10, consumer.stop)):
        until = time.monotonic() + 20
        while not world.path.exists() or len(world.output().split()) < count:
            assert time.monotonic() < until
            time.sleep(0.002)
        then()
    thread.join(20)
    assert sorted(world.output().split()) == sorted(VALUES[:10])
    assert world.committed() == {0: 5, 1: 5}


def test_a_failing_commit_of_the_second_thread_is_raised(world, monkeypatch):
    world.fill(VALUES)
    commits = []
    commit = world.reader.groups.commit

    def committing(*args, **kwargs):
        commits.append(1)
        if len(commits) > 1:
            raise OSError(28, "No space left on device")
        commit(*args, **kwargs)

    monkeypatch.setattr(world.reader.groups, "commit", committing)
    with pytest.raises(OSError, match="No space"):
        world.run(commit="async", commit_every=10)
    assert world.committed() == {0: 0}
