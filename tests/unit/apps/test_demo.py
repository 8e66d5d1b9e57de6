"""The demonstration tells the truth: it ends with 0 only when everything it shows agreed."""

import pytest

from kstore.apps import demo


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A standard library of two files, and no benchmark."""
    library = tmp_path / "library"
    library.mkdir()
    for name in ("a.py", "b.py"):
        (library / name).write_bytes(b"".join(b"line %d of %s\n" % (n, name.encode()) for n in range(30_000)))
    monkeypatch.setattr(demo.sysconfig, "get_path", lambda name: str(library))
    monkeypatch.setattr(demo.Demo, "bench", lambda self: None)
    return tmp_path / "demo"


def test_whole_story(small, capsys):
    assert demo.main([str(small)]) == 0
    said = capsys.readouterr().out
    # Whether the kill leaves a window is for the moment to decide; that it is the duplicates, the story checks itself.
    for fact in ("lost / invented  0 / 0", "= the window", "baseOffset: 0", "1 finding", "it verifies now"):
        assert fact in said


def test_a_claim_that_does_not_hold_ends_with_1(small, capsys, monkeypatch):
    monkeypatch.setattr(demo.Demo, "copy_with_a_kill", _copy_and_lose_a_line)
    assert demo.main([str(small)]) == 1
    assert "1 lines are missing from the output" in capsys.readouterr().out


def _copy_and_lose_a_line(self, copy=demo.Demo.copy_with_a_kill):
    copy(self)
    data = self.output.read_bytes()
    self.output.write_bytes(data.replace(b"line 777 of a.py\n", b""))


def test_a_directory_with_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "letter").write_text("dear")
    assert demo.main([str(tmp_path)]) == 2
    assert (tmp_path / "letter").read_text() == "dear"
