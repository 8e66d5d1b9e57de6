"""A file followed: whole lines once each, and what happened to the file."""

import os

import pytest

from kstore.apps.positions import fingerprint
from kstore.apps.tail import READ_BYTES, Lines, State, Tail
from kstore.errors import UsageError

MAX = 8 << 20


def drain(tail):
    values = []
    while (lines := tail.read()) is not None:
        values += lines.values
    return values


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "app.log")


def write(path, data, mode="wb"):
    with open(path, mode) as file:
        file.write(data)


@pytest.mark.parametrize(
    ("data", "lines", "rest"),
    [
        (b"", [], None),
        (b"\n", [b""], None),
        (b"a\nb\n", [b"a", b"b"], None),
        (b"a\n\n\nb", [b"a", b"", b""], b"b"),
        (b"a\r\nb\r\n", [b"a\r", b"b\r"], None),
        (b"\xff\xfe\x00\n\x80", [b"\xff\xfe\x00"], b"\x80"),
        (b"no newline", [], b"no newline"),
    ],
)
def test_lines_and_rest(path, data, lines, rest):
    write(path, data)
    tail = Tail(path, line_bytes_max=MAX)
    assert drain(tail) == lines
    found = tail.take_rest()
    assert (found and found.values[0]) == rest
    assert tail.position == len(data)


def test_lines_know_where_they_stand(path):
    write(path, b"ab\ncd\nef")
    tail = Tail(path, line_bytes_max=MAX)
    assert tail.read() == Lines([b"ab", b"cd"], 0, 6)
    assert tail.position == 6
    assert tail.take_rest() == Lines([b"ef"], 6, 8, terminated=False)


def test_a_line_larger_than_a_read(path):
    long = b"x" * (3 * READ_BYTES + 17)
    write(path, b"a\n" + long + b"\nb\n")
    assert drain(Tail(path, line_bytes_max=MAX)) == [b"a", long, b"b"]


def test_a_half_line_waits_for_its_newline(path):
    write(path, b"one\ntw")
    tail = Tail(path, line_bytes_max=MAX)
    assert drain(tail) == [b"one"]
    assert tail.state() is State.WAITING
    write(path, b"o\nthree\n", "ab")
    assert drain(tail) == [b"two", b"three"]


@pytest.mark.parametrize("ending", [b"\n", b""])
def test_too_long_a_line_is_refused(path, ending):
    write(path, b"ok\n" + b"y" * 101 + ending)
    with pytest.raises(UsageError, match="--max-line-bytes 100"):
        drain(Tail(path, line_bytes_max=100))


def test_truncated(path):
    write(path, b"one\ntwo\nhalf")
    tail = Tail(path, line_bytes_max=MAX)
    drain(tail)
    write(path, b"new\n", "wb")
    assert drain(tail) == []
    assert tail.state() is State.TRUNCATED
    assert tail.rewind() == len(b"half")
    assert drain(tail) == [b"new"]


def test_truncated_and_grown_beyond_the_position_at_once(path):
    write(path, b"one\ntwo\n")
    tail = Tail(path, line_bytes_max=MAX)
    drain(tail)
    write(path, b"ONE\nTWO\nthree\nfour\n", "wb")
    assert drain(tail) == []
    assert tail.state() is State.TRUNCATED
    tail.rewind()
    assert drain(tail) == [b"ONE", b"TWO", b"three", b"four"]


def test_rotated_then_switched(path):
    write(path, b"one\n")
    tail = Tail(path, line_bytes_max=MAX)
    drain(tail)
    os.rename(path, path + ".1")
    assert tail.state() is State.WAITING
    write(path + ".1", b"late\n", "ab")
    write(path, b"new\n")
    assert drain(tail) == [b"late"]
    assert tail.state() is State.REPLACED
    tail.switch()
    assert drain(tail) == [b"new"]
    assert tail.state() is State.WAITING


def test_resume_in_place(path):
    write(path, b"one\ntwo\nthree\n")
    with open(path, "rb") as file:
        known = fingerprint(file.fileno(), 8)
    tail, why = Tail.resume(path, known, line_bytes_max=MAX)
    assert why == "continued"
    assert drain(tail) == [b"three"]


def test_resume_finds_the_rotated_file_under_its_new_name(path):
    write(path, b"one\ntwo\n")
    with open(path, "rb") as file:
        known = fingerprint(file.fileno(), 4)
    os.rename(path, path + ".1")
    write(path, b"one\nother\n")
    tail, why = Tail.resume(path, known, line_bytes_max=MAX)
    assert "rotated to" in why
    assert drain(tail) == [b"two"]
    assert tail.state() is State.REPLACED


@pytest.mark.parametrize(
    ("now", "why"), [(b"on", "truncated"), (b"two\ntwo\nthree\n", "written anew"), (b"", "truncated")]
)
def test_resume_refuses_a_file_that_was_cut(path, now, why):
    write(path, b"one\ntwo\n")
    with open(path, "rb") as file:
        known = fingerprint(file.fileno(), 8)
    write(path, now, "wb")
    tail, said = Tail.resume(path, known, line_bytes_max=MAX)
    assert tail is None
    assert why in said


def test_resume_refuses_another_file_in_its_place(path, tmp_path):
    write(path, b"one\ntwo\n")
    with open(path, "rb") as file:
        known = fingerprint(file.fileno(), 8)
    write(str(tmp_path / "other"), b"one\ntwo\nmore\n")
    os.replace(tmp_path / "other", path)
    tail, said = Tail.resume(path, known, line_bytes_max=MAX)
    assert tail is None
    assert "replaced" in said


def test_resumed_tail_notices_truncation_before_it_read_anything(path):
    write(path, b"one\ntwo\n")
    with open(path, "rb") as file:
        known = fingerprint(file.fileno(), 8)
    tail, _ = Tail.resume(path, known, line_bytes_max=MAX)
    write(path, b"1111111\n2222\n", "wb")
    assert tail.read() is None
    assert tail.state() is State.TRUNCATED


def test_newline_behind_a_line_that_was_sent_without(path):
    write(path, b"half")
    with open(path, "rb") as file:
        known = fingerprint(file.fileno(), 4)
    write(path, b"\nnext\n", "ab")
    tail, _ = Tail.resume(path, known, line_bytes_max=MAX)
    assert tail.skip_newline()
    assert drain(tail) == [b"next"]
    assert not tail.skip_newline()
