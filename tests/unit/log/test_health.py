"""Health: what ends a directory's writing life, what passes."""

from __future__ import annotations

import errno

import pytest

from kstore.errors import StorageError
from kstore.log.health import Health


def meet(health, number, **how):
    with pytest.raises(StorageError) as caught, health.guard("write", "/d/0.log", **how):
        raise OSError(number, "planted")
    return caught.value


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR])
def test_a_condition_that_passes_leaves_the_directory_writable(number):
    health = Health()
    error = meet(health, number)
    assert (error.errno, error.final, error.retriable) == (number, False, True)
    health.require()


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENODEV, errno.EBADF])
def test_any_other_error_is_final_and_told_to_everybody_after(number):
    health = Health()
    assert meet(health, number).final
    with pytest.raises(StorageError) as caught:
        health.require()
    assert (caught.value.errno, caught.value.file, caught.value.final) == (number, "/d/0.log", True)


def test_the_first_final_failure_is_the_one_that_is_told():
    health = Health()
    meet(health, errno.EIO)
    meet(health, errno.EROFS)
    assert health.failure.errno == errno.EIO


def test_a_caller_may_know_better_both_ways():
    health = Health()
    assert not meet(health, errno.EIO, final=False).final
    health.require()
    assert meet(health, errno.ENOSPC, final=True).final
    with pytest.raises(StorageError):
        health.require()


def test_the_file_is_the_one_of_the_error_where_it_has_one():
    health = Health()
    with pytest.raises(StorageError) as caught, health.guard("open", "/d"):
        raise OSError(errno.ENOSPC, "full", "/d/kstore-seals")
    assert caught.value.file == "/d/kstore-seals"


def test_an_error_without_a_number_counts_as_an_io_error():
    health = Health()
    with pytest.raises(StorageError) as caught, health.guard("write", "/d"):
        raise OSError("short write")
    assert (caught.value.errno, caught.value.final) == (errno.EIO, True)


def test_other_exceptions_pass_as_they_are():
    health = Health()
    with pytest.raises(ZeroDivisionError), health.guard("write", "/d"):
        raise ZeroDivisionError
    health.require()
