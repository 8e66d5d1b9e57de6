"""The file producer: every line once, in order, whatever happens to it or to the file."""

import dataclasses
import itertools
import os
import random
import threading
import time
from pathlib import Path

import pytest

from kstore.apps import file_producer, positions
from kstore.apps.file_producer import FileProducer
from kstore.apps.partitioner import partition_of_key
from kstore.apps.routing import Routing
from kstore.apps.sinks import StoreSink
from kstore.errors import CorruptionError, UsageError
from support.topics import records_of, values_of


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code under test catches it."""


class World:
    """One file, one topic, one position file."""

    def __init__(self, store, tmp_path):
        self.store = store
        self.path = str(tmp_path / "input.log")
        self.position_file = str(tmp_path / "position")
        self.notices = []
        self.partitions = 1

    def topic(self, partitions=1, config=None):
        self.partitions = partitions
        self.store.create_topic("lines", partitions, config)

    def write(self, data, mode="wb"):
        with open(self.path, mode) as file:
            file.write(data)

    def producer(self, routing=None, **options):
        return FileProducer(
            StoreSink(self.store, "lines", self.partitions, options.pop("compression", None)),
            self.path,
            routing or Routing(self.partitions),
            position_file=self.position_file,
            notice=self.notices.append,
            **{"poll_ms": 2, "rotate_wait_ms": 20, **options},
        )

    def run(self, routing=None, **options):
        return self.producer(routing, **options).run()

    def values(self):
        return values_of(self.store, "lines")


@pytest.fixture
def world(store, tmp_path):
    return World(store, tmp_path)


# -- what a line is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"", []),
        (b"\n\n", [b"", b""]),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\n\r\nb\r\n", [b"a\r", b"\r", b"b\r"]),
        (b"\xff\xfe\n\x00\n", [b"\xff\xfe", b"\x00"]),
    ],
)
def test_lines_are_kept_exactly(world, data, values):
    world.topic()
    world.write(data)
    assert world.run().lines == len(values)
    assert world.values() == {0: values}


def test_ten_megabyte_lines_raise_the_limit_of_the_topic(world):
    world.topic()
    long = os.urandom(10_000_000).replace(b"\n", b"x")
    world.write(b"a\n" + long + b"\nb\n")
    world.run()
    assert world.values() == {0: [b"a", long, b"b"]}
    assert world.store.topics()["lines"].config.max_message_bytes == 1 << 24
    assert any("max.message.bytes" in notice for notice in world.notices)


def test_too_long_a_line_is_refused_and_names_the_option(world):
    world.topic()
    world.write(b"x" * 101 + b"\n")
    with pytest.raises(UsageError, match="--max-line-bytes 100"):
        world.run(line_bytes_max=100)
    assert world.values() == {0: []}


def test_keys_go_where_javas_client_sends_them(world):
    world.topic(5)
    world.write(b"".join(b"%d,user-%d,x\n" % (n, n % 13) for n in range(200)))
    world.run(Routing(5, key_field=2, separator=b","))
    found = records_of(world.store, "lines")
    assert sum(map(len, found.values())) == 200
    for index, records in found.items():
        for record in records:
            assert record.key == record.value.split(b",")[1]
            assert partition_of_key(record.key, 5) == index


# -- going on ----------------------------------------------------------------------------------------------------


def test_a_second_run_sends_only_what_is_new(world):
    world.topic()
    world.write(b"a\nb\n")
    world.run()
    assert world.run().lines == 0
    world.write(b"c\n", "ab")
    assert world.run().lines == 1
    assert world.values() == {0: [b"a", b"b", b"c"]}


def test_newline_that_comes_after_the_last_line_was_sent(world):
    world.topic()
    world.write(b"a\nb")
    world.run()
    world.write(b"\nc\n", "ab")
    world.run()
    assert world.values() == {0: [b"a", b"b", b"c"]}


def test_last_line_that_grew_after_it_was_sent(world):
    world.topic()
    world.write(b"half")
    world.run()
    world.write(b"line\nc\n", "ab")
    world.run()
    assert world.values() == {0: [b"half", b"line", b"c"]}
    assert any("has grown since" in notice for notice in world.notices)


def test_rotated_while_no_producer_ran(world):
    world.topic()
    world.write(b"a\n")
    world.run()
    world.write(b"b\n", "ab")
    os.rename(world.path, world.path + ".1")
    world.write(b"c\n")
    world.run()
    assert world.values() == {0: [b"a", b"b", b"c"]}
    world.write(b"d\n", "ab")
    world.run()
    assert world.values() == {0: [b"a", b"b", b"c", b"d"]}


@pytest.mark.parametrize("anew", [b"x\n", b"xx\nyy\nzz\n"])
def test_truncated_while_no_producer_ran(world, anew):
    world.topic()
    world.write(b"a\nb\n")
    world.run()
    world.write(anew)
    world.run()
    assert world.values() == {0: [b"a", b"b", *anew.split()]}


def test_replaced_while_no_producer_ran(world, tmp_path):
    world.topic()
    world.write(b"a\n")
    world.run()
    (tmp_path / "other").write_bytes(b"a\nb\n")
    os.replace(tmp_path / "other", world.path)
    world.run()
    assert world.values() == {0: [b"a", b"a", b"b"]}


def test_topic_made_anew_gets_the_whole_file(world):
    world.topic()
    world.write(b"a\n")
    world.run()
    world.store.delete_topic("lines")
    world.topic()
    world.run()
    assert world.values() == {0: [b"a"]}


def test_position_of_another_file_or_topic_is_refused(world):
    world.topic()
    world.write(b"a\n")
    world.run()
    world.path += ".other"
    world.write(b"b\n")
    with pytest.raises(UsageError, match="--position-file"):
        world.run()


@pytest.mark.parametrize("at", [0, 20, -2])
def test_damaged_position_file_is_never_believed(world, at):
    world.topic()
    world.write(b"a\n")
    world.run()
    data = bytearray(Path(world.position_file).read_bytes())
    data[at] ^= 1
    with open(world.position_file, "wb") as file:
        file.write(data)
    with pytest.raises(CorruptionError, match="position"):
        world.run()
    assert world.values() == {0: [b"a"]}


# -- killed ------------------------------------------------------------------------------------------------------


def kill_at(monkeypatch, world, step, *, after):
    """Die at the step-th append, flush or save of the position, before or after it happened."""
    left = [step]

    def armed(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0 and not after:
                raise Killed
            result = function(*args, **kwargs)
            if left[0] < 0:
                raise Killed
            return result

        return call

    for index in range(world.partitions):
        partition = world.store.partition("lines", index)
        for name in ("append_batches", "flush"):
            monkeypatch.setattr(partition, name, armed(getattr(partition, name)), raising=True)
    monkeypatch.setattr(positions, "save", armed(positions.save))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("routing", [Routing(3), Routing(3, key_field=1, separator=b" ")])
def test_killed_at_every_step_no_line_is_lost_or_sent_twice(world, monkeypatch, after, routing):
    lines = [b"%d %s" % (n % 7, b"v" * (n * 131 % 3000)) for n in range(400)] + [b"no newline"]
    data = b"\n".join(lines)
    expected = {}
    for index, part in routing.split(lines, 0).items():
        expected[index] = [value if isinstance(value, bytes) else value[1] for value in part]
    monkeypatch.setattr(file_producer, "SAVE_BYTES", 150_000)
    monkeypatch.setattr("kstore.apps.tail.READ_BYTES", 60_000)
    world.partitions = 3
    for step in range(200):
        world.store.create_topic("lines", 3)
        world.write(data)
        with monkeypatch.context() as patch:
            kill_at(patch, world, step, after=after)
            try:
                world.run(routing)
                finished = True
            except Killed:
                finished = False
        world.run(routing)
        assert world.values() == expected, f"killed at step {step}"
        world.store.delete_topic("lines")
        os.unlink(world.position_file)
        if finished:
            break
    else:
        pytest.fail("the run has more steps than the test walks")
    assert step > 20


def test_killed_again_and_again_while_the_file_grows_and_rotates(world, monkeypatch, seed):
    rng = random.Random(seed)
    world.topic(3)
    world.write(b"")
    sent, number = [], 0
    for _ in range(40):
        part = [b"%d" % (number + n) + b"." * rng.randrange(2000) for n in range(rng.randrange(60))]
        number += len(part)
        sent += part
        world.write(b"".join(line + b"\n" for line in part), "ab")
        with monkeypatch.context() as patch:
            kill_at(patch, world, rng.randrange(8), after=rng.random() < 0.5)
            try:
                world.run()
            except Killed:
                pass
        if rng.random() < 0.2:
            world.run()
            os.rename(world.path, world.path + ".1")
            world.write(b"")
    world.run()
    assert sorted(itertools.chain(*world.values().values())) == sorted(sent)


def test_killed_between_a_last_line_and_its_position_then_the_line_grows(world, monkeypatch):
    world.topic()
    world.write(b"a\nhalf")
    saves = []

    def save(path, position):
        saves.append(position)
        if len(saves) == 3:
            raise Killed
        positions_save(path, position)

    positions_save = positions.save
    with monkeypatch.context() as patch:
        patch.setattr(positions, "save", save)
        with pytest.raises(Killed):
            world.run()
    assert world.values() == {0: [b"a", b"half"]}
    world.write(b"line\nb\n", "ab")
    world.run()
    assert world.values() == {0: [b"a", b"half", b"line", b"b"]}


def test_other_routing_after_a_kill_is_refused(world, monkeypatch):
    world.topic(3)
    world.write(b"a,b\n")
    with monkeypatch.context() as patch:
        kill_at(patch, world, 4, after=True)
        with pytest.raises(Killed):
            world.run()
    assert sum(map(len, world.values().values())) == 1
    with pytest.raises(UsageError, match="same key and partition options"):
        world.run(Routing(3, key_field=1, separator=b","))


def test_a_full_disk_loses_and_repeats_nothing(world, monkeypatch):
    world.topic(3)
    lines = [b"%d" % n + b"x" * 500 for n in range(300)]
    world.write(b"\n".join(lines) + b"\n")
    partition = world.store.partition("lines", 1)
    with monkeypatch.context() as patch:
        patch.setattr(partition, "append_batches", _no_space)
        with pytest.raises(OSError, match="No space"):
            world.run()
    assert any(world.values().values())
    world.run()
    assert sorted(itertools.chain(*world.values().values())) == sorted(lines)


def _no_space(buffer):
    raise OSError(28, "No space left on device")


# -- following ---------------------------------------------------------------------------------------------------


class Following:
    """A producer that follows in a thread of its own."""

    def __init__(self, world, **options):
        self.world = world
        self.producer = world.producer(follow=True, **options)
        self.thread = threading.Thread(target=self._run)
        self.failure = None

    def _run(self):
        try:
            self.producer.run()
        except BaseException as failure:
            self.failure = failure

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.producer.stop()
        self.thread.join(20)
        assert self.failure is None, self.failure

    def wait_for(self, values):
        until = time.monotonic() + 20
        while self.world.values() != values:
            assert self.thread.is_alive(), self.failure
            assert time.monotonic() < until, self.world.values()
            time.sleep(0.002)


def test_following_sends_no_half_line(world):
    world.topic()
    world.write(b"a\nha")
    with Following(world) as following:
        following.wait_for({0: [b"a"]})
        world.write(b"lf\nb", "ab")
        following.wait_for({0: [b"a", b"half"]})
    assert world.values() == {0: [b"a", b"half"]}


def test_following_a_rotation_finishes_the_old_file_first(world):
    world.topic()
    world.write(b"a\n")
    with Following(world) as following:
        following.wait_for({0: [b"a"]})
        os.rename(world.path, world.path + ".1")
        with open(world.path + ".1", "ab") as old:
            old.write(b"late\nlast without newline")
        world.write(b"new\n")
        following.wait_for({0: [b"a", b"late", b"last without newline", b"new"]})
        world.write(b"more\n", "ab")
        following.wait_for({0: [b"a", b"late", b"last without newline", b"new", b"more"]})


def test_following_a_truncation(world):
    world.topic()
    world.write(b"a\nb\nhalf")
    with Following(world) as following:
        following.wait_for({0: [b"a", b"b"]})
        world.write(b"new\n")
        following.wait_for({0: [b"a", b"b", b"new"]})
    assert any("truncated" in notice for notice in world.notices)


def test_following_a_replacement(world, tmp_path):
    world.topic()
    world.write(b"a\n")
    with Following(world) as following:
        following.wait_for({0: [b"a"]})
        (tmp_path / "other").write_bytes(b"x\ny\n")
        os.replace(tmp_path / "other", world.path)
        following.wait_for({0: [b"a", b"x", b"y"]})


def test_stopping_leaves_nothing_to_repeat(world):
    world.topic()
    world.write(b"a\n")
    with Following(world) as following:
        following.wait_for({0: [b"a"]})
    assert world.run().lines == 0


def test_a_position_is_never_ahead_of_durable_data(world, monkeypatch):
    """A power loss may take what is not durable; the position must lie below that."""
    world.topic(3)
    world.write(b"".join(b"%d\n" % n * 50 for n in range(2000)))
    seen = []

    def save(path, position):
        for index, end in enumerate(position.log_end_offsets):
            assert world.store.partition("lines", index).recovery_point >= end
        seen.append(position)
        positions_save(path, position)

    positions_save = positions.save
    monkeypatch.setattr(positions, "save", save)
    monkeypatch.setattr(file_producer, "SAVE_BYTES", 100_000)
    monkeypatch.setattr("kstore.apps.tail.READ_BYTES", 50_000)
    world.run()
    assert len(seen) > 3


def test_records_that_the_log_lost_are_said_and_the_file_goes_on(world):
    """A repaired or replaced log may end below the position: what is gone cannot be counted, what comes is sent."""
    world.topic()
    world.write(b"a\nb\n")
    world.run()
    saved = positions.load(world.position_file)
    positions.save(world.position_file, dataclasses.replace(saved, log_end_offsets=(9,)))
    world.write(b"c\n", "ab")
    world.run()
    assert world.values() == {0: [b"a", b"b", b"c"]}
    assert any("lost records" in notice for notice in world.notices)


def test_every_batch_carries_the_files_own_producer_id(world):
    world.topic(2)
    world.write(b"a\nb\n")
    world.run()
    world.write(b"c\n", "ab")
    world.run()
    found = {(r.producer_id, r.producer_epoch, r.sequence) for r in records_of(world.store, "lines")[0]}
    saved = positions.load(world.position_file)
    assert found == {(saved.producer_id, 0, n) for n in range(3)}
