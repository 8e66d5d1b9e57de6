"""The pytest plugin of kstore: the fixture `kstore_cluster`.

Loaded by pytest through an entry point wherever kstore is installed; it imports nothing of kstore until a test asks for
the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kstore.testing.cluster import Cluster


@pytest.fixture
def kstore_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A running broker for one test; `kstore_cluster.bootstrap` is its address.

    Its log directory is `kstore` in the test's `tmp_path`, so that pytest keeps it when the test fails.
    """
    from kstore.testing.cluster import Cluster

    with Cluster(directory=str(tmp_path / "kstore")) as cluster:
        yield cluster
