"""Group commit: one sync for all who wait, its failure told to all of them. Threads meet at events, never by time."""

from __future__ import annotations

import threading

import pytest

from kstore.errors import StorageError
from kstore.log.commit import GroupCommit


class Syncs:
    """A sync that a test holds open: `began` is set inside it, `go` lets it end."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.count = 0
        self.running = 0
        self.most_running = 0
        self.began = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self):
        self.count += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        end = self.ends.pop(0)
        self.began.release()
        assert self.go.acquire(timeout=20)
        self.running -= 1
        if isinstance(end, BaseException):
            raise end
        return end


class Waiter(threading.Thread):
    """A thread in `wait_for(offset)`; `outcome` is what it raised, or "done"."""

    def __init__(self, commit, offset):
        super().__init__(daemon=True)
        self.commit, self.offset, self.outcome = commit, offset, None
        self.start()

    def run(self):
        try:
            self.commit.wait_for(self.offset)
            self.outcome = "done"
        except BaseException as error:
            self.outcome = error

    def result(self):
        self.join(20)
        assert not self.is_alive(), "still waiting"
        return self.outcome


def until_waiting(commit, count):
    """Return once `count` threads wait for the running sync: they hold no lock and block on the condition."""
    while True:
        with commit._changed:
            if len(commit._changed._waiters) >= count:
                return


def failure():
    return StorageError(5, "/d", "fsync", "planted")


def test_what_is_durable_already_costs_no_sync():
    commit = GroupCommit(lambda: pytest.fail("synced"), 10)
    commit.wait_for(10)
    assert commit.durable_offset == 10


def test_one_sync_serves_all_who_wait_for_what_it_covers():
    syncs = Syncs(1, 8)
    commit = GroupCommit(syncs, 0)
    leader = Waiter(commit, 1)
    assert syncs.began.acquire(timeout=20)
    waiters = [Waiter(commit, offset) for offset in range(2, 9)]
    until_waiting(commit, 7)
    syncs.go.release(2)
    assert {w.result() for w in [leader, *waiters]} == {"done"}
    assert (syncs.count, syncs.most_running, commit.durable_offset) == (2, 1, 8)


def test_a_sync_that_began_before_an_append_does_not_serve_it():
    syncs = Syncs(1, 2)
    commit = GroupCommit(syncs, 0)
    first = Waiter(commit, 1)
    assert syncs.began.acquire(timeout=20)
    second = Waiter(commit, 2)
    until_waiting(commit, 1)
    syncs.go.release()
    assert first.result() == "done"
    assert syncs.began.acquire(timeout=20)
    assert second.outcome is None
    syncs.go.release()
    assert second.result() == "done"


def test_a_failed_sync_is_told_to_everybody_who_waits_and_to_everybody_after():
    error = failure()
    syncs = Syncs(error)
    commit = GroupCommit(syncs, 0)
    leader = Waiter(commit, 1)
    assert syncs.began.acquire(timeout=20)
    waiters = [Waiter(commit, 1), Waiter(commit, 2)]
    until_waiting(commit, 2)
    syncs.go.release()
    assert [w.result() for w in [leader, *waiters]] == [error] * 3
    with pytest.raises(StorageError):
        commit.wait_for(1)
    assert (syncs.count, commit.durable_offset) == (1, 0)


def test_what_was_durable_before_a_failure_stays_so():
    commit = GroupCommit(Syncs(), 5)
    commit._failure = failure()
    commit.wait_for(5)


def test_a_passing_failure_is_told_to_its_leader_and_the_next_tries_again():
    passing = StorageError(28, "/d", "write", "full", final=False)
    syncs = Syncs(passing, 3)
    syncs.go.release(2)
    commit = GroupCommit(syncs, 0)
    with pytest.raises(StorageError):
        commit.wait_for(3)
    commit.wait_for(3)
    assert commit.durable_offset == 3


def test_quiet_waits_for_the_running_sync_and_keeps_others_out():
    syncs = Syncs(1, 2)
    commit = GroupCommit(syncs, 0)
    first = Waiter(commit, 1)
    assert syncs.began.acquire(timeout=20)
    entered = threading.Event()
    leave = threading.Event()

    def hold():
        with commit.quiet():
            entered.set()
            assert leave.wait(20)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    until_waiting(commit, 1)
    assert not entered.is_set()
    syncs.go.release()
    assert first.result() == "done"
    assert entered.wait(20)
    second = Waiter(commit, 2)
    until_waiting(commit, 1)
    assert syncs.count == 1
    syncs.go.release()
    leave.set()
    holder.join(20)
    assert second.result() == "done"
    assert syncs.count == 2


def test_quiet_lets_go_when_its_block_fails():
    syncs = Syncs(1)
    syncs.go.release()
    commit = GroupCommit(syncs, 0)
    with pytest.raises(ZeroDivisionError), commit.quiet():
        raise ZeroDivisionError
    commit.wait_for(1)


def test_after_a_truncation_the_same_offsets_are_synced_again():
    syncs = Syncs(4)
    syncs.go.release()
    commit = GroupCommit(syncs, 4)
    commit.rewind(2)
    commit.rewind(3)
    assert commit.durable_offset == 2
    commit.wait_for(4)
    assert syncs.count == 1
