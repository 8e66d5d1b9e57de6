"""A store in memory and what tests of the file applications ask of it."""

import os
import tempfile
from pathlib import Path

import pytest

import kstore


@pytest.fixture
def tmp_path(tmp_path_factory):
    """A directory in memory where the system has one: these tests walk hundreds of crashes, each with its fsyncs."""
    if not os.path.isdir("/dev/shm"):
        yield tmp_path_factory.mktemp("apps")
        return
    with tempfile.TemporaryDirectory(prefix="kstore-test-", dir="/dev/shm") as path:
        yield Path(path)


@pytest.fixture
def store(tmp_path):
    # No background thread: tests that fail a call on purpose count calls.
    with kstore.open(tmp_path / "data", config={"log.flush.scheduler.interval.ms": 0}) as opened:
        yield opened
