"""A broker for each test of this folder, and a client that speaks the bare protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.testing.cluster import Cluster
from support.wire_client import WireClient


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(directory=str(tmp_path / "data")) as running:
        yield running


@pytest.fixture
def client(cluster: Cluster) -> Iterator[WireClient]:
    with WireClient(cluster.bootstrap) as connected:
        yield connected
