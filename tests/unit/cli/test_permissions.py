"""What this user may not read or write: exit code 1 for every command, one line that names the file, nothing changed.

Root may do everything, so a test that root runs gives its rights away for as long as a command runs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import kstore
import kstore.broker.service  # `serve` imports it when it runs, as a user who may not be able to

NOBODY = 65534


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, the user's own: `home/data` is a log directory of several segments, `in` two lines."""
    top = Path(tempfile.mkdtemp(prefix="kstore-permissions-"))
    monkeypatch.chdir(top)
    Path("home").mkdir()
    with kstore.open("home/data") as store:
        store.create_topic("orders", config={"internal.segment.bytes": 2000})
        for number in range(60):
            store.partition("orders", 0).append([b"%d" % number * 40])
    Path("in").write_bytes(b"a\nb\n")
    if os.geteuid() == 0:
        for path in (top, *top.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    yield top
    shutil.rmtree(top)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """As a user to whom permissions matter."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


READERS = {
    "topics list": "topics list --dir home/data",
    "topics describe": "topics describe orders --dir home/data",
    "consume": "consume orders --dir home/data",
    "consume for a group": "consume orders --dir home/data --group g",
    "file-consumer": "file-consumer orders home/out --dir home/data --group g",
    "groups list": "groups list --dir home/data",
    "groups describe": "groups describe g --dir home/data",
    "log dump": "log dump home/data/orders-0",
    "log verify": "log verify home/data",
    "log repair": "log repair home/data",
    "graduate": "graduate home/data --to home/kafka",
}
WRITERS = {
    "topics create": "topics create new --dir home/data",
    "topics alter": "topics alter orders --dir home/data --config retention.ms=5",
    "topics delete": "topics delete orders --dir home/data",
    "produce": "produce orders in --dir home/data",
    "file-producer": "file-producer in orders --dir home/data",
    "serve": "serve --dir home/data --listen 127.0.0.1:0",
}
FOLLOWERS = {
    "consume --follow": "consume orders --dir home/data --follow",
    "file-consumer --follow": "file-consumer orders home/out --dir home/data --group g --follow",
}


def files():
    """All there is, but the empty files by which consumers of a group lock one another out."""
    found = {path: path.read_bytes() for path in Path("home").rglob("*") if path.is_file()}
    return {path: data for path, data in found.items() if data or not path.name.startswith("kstore-consumer-")}


def refused(run, words, denied, mode):
    """Run a command while `denied` has `mode`: it fails as it should, and nothing has changed."""
    if "serve" not in words and "--follow" not in words:  # once with all rights, to import all that it needs
        shutil.copytree("home", "other")
        run(*words.replace("home", "other").split())
    before = files()
    denied.chmod(mode)
    with without_rights():
        said = run(*words.split())
    denied.chmod(0o700)
    assert said.code == 1, said
    assert said.err.startswith("kstore: "), said.err
    assert said.err.count("\n") == 1, said.err
    assert "ermission denied" in said.err
    assert str(denied) in said.err
    assert files() == before


@pytest.mark.parametrize("command", [*READERS, *WRITERS, *FOLLOWERS])
@pytest.mark.parametrize("denied", ["home", "home/data"])
def test_a_directory_that_cannot_be_entered(run, world, command, denied):
    refused(run, (READERS | WRITERS | FOLLOWERS)[command], Path(denied), 0)


@pytest.mark.parametrize("command", WRITERS)
def test_a_directory_that_cannot_be_written(run, world, command):
    refused(run, WRITERS[command], Path("home/data"), 0o500)


@pytest.mark.parametrize("command", sorted({*READERS, *WRITERS} - {"log dump"}))
def test_a_root_file_that_cannot_be_read(run, world, command):
    refused(run, (READERS | WRITERS)[command], Path("home/data/meta.properties"), 0)


@pytest.mark.parametrize(
    "command", ["topics describe", "consume", "file-consumer", "log dump", "log verify", "log repair", "graduate"]
)
def test_a_segment_that_cannot_be_read(run, world, command):
    refused(run, READERS[command], max(Path("home/data/orders-0").glob("*.log")), 0)


@pytest.mark.parametrize(
    ("words", "denied"),
    [
        ("produce orders in --dir home/data", "in"),
        ("file-producer in orders --dir home/data", "in"),
        ("file-consumer orders home/out --dir home/data --group g", "home/out"),
        ("serve --dir home/new --properties in", "in"),
    ],
)
def test_an_input_or_output_that_is_denied(run, world, words, denied):
    if denied == "home/out":
        Path(denied).touch()
    refused(run, words, Path(denied), 0)
    assert not (world / "home" / "new").exists()
