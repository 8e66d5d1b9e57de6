"""One broker for a module of client tests, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.testing.cluster import Cluster


@pytest.fixture(scope="module")
def clients_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("broker") / "data"
    with Cluster(directory=str(directory)) as cluster:
        yield cluster
