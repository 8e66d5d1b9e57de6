"""Running `kstore` in this process and looking at what it says."""

from typing import NamedTuple

import pytest

from kstore.cli.main import main


class Said(NamedTuple):
    code: int
    out: bytes
    err: str


@pytest.fixture
def run(capfdbinary, monkeypatch):
    """`run("topics", "list", ...)`: exit code, stdout, stderr."""
    monkeypatch.delenv("KSTORE_TRACEBACK", raising=False)

    def call(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        out, err = capfdbinary.readouterr()
        return Said(code, out, err.decode())

    return call


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"
