"""One broker for a module of client tests, in this process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.testing.cluster import Cluster


@pytest.fixture(scope="module")
def clients_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("broker") / "data"
    with Cluster(directory=str(directory)) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def collect_garbage() -> Iterator[None]:
    """Sockets that client libraries leave to the collector are collected while the test's own filters hold: later,
    the warnings would be nobody's, and fail the run.
    """
    yield
    gc.collect()
