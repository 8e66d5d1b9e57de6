"""The table of error codes against kio's, and the code of every exception."""

from __future__ import annotations

import pytest

from kstore import errors
from kstore.wire import error_codes


def test_numbers_names_and_retries_are_kios():
    kio = pytest.importorskip("kio.schema.errors", reason="kio is in the group 'test'")
    theirs = {(one.value, one.name.upper(), one.retriable) for one in kio.ErrorCode}
    assert {(row.code, row.name, row.retriable) for row in error_codes.BY_CODE.values()} == theirs


def test_every_row_has_a_sentence():
    assert all(row.message.endswith(".") and len(row.message) > 5 for row in error_codes.BY_CODE.values())
    assert error_codes.BY_NAME["NOT_LEADER_OR_FOLLOWER"].code == 6
    assert error_codes.of(3) is error_codes.BY_CODE[3]


def test_codes_that_came_later_have_a_row_too():
    row = error_codes.of(4321)
    assert (row.code, row.retriable) == (4321, False)
    assert "4321" in row.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.OffsetOutOfRange(5, 0, 1), 1),
        (errors.CorruptionError("f", 0, "bad"), 2),
        (errors.NotLeader("x"), 6),
        (errors.NotEnoughReplicas("x"), 19),
        (errors.InvalidBatch("x", error_code=2), 2),
        (errors.StorageError(5, "f", "write", "x"), 56),
        (errors.UnsupportedVersion(3, 99, "x"), 35),
        (errors.MalformedMessage("M", 0, "f", 0, "x"), 42),
        (errors.ClosedError("x"), -1),
        (errors.InvariantError("x"), -1),
        (ValueError("x"), -1),
    ],
)
def test_exceptions_have_codes(error, code):
    assert error_codes.code_of(error) == code


def test_every_exception_has_a_code_of_the_table_that_retries_alike():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.KStoreError)]
    for kind in kinds:
        assert kind.error_code in error_codes.BY_CODE
        if kind.retriable and kind.error_code != -1:
            assert error_codes.of(kind.error_code).retriable, kind
