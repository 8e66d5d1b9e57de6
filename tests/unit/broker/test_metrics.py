"""Metrics over HTTP: what a scrape says after known requests."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.errors import InvalidConfig
from kstore.testing.cluster import Cluster
from kstore.wire.messages.commits import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from kstore.wire.messages.groups import FindCoordinatorRequest
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from support.wire_client import WireClient

pytest.importorskip("prometheus_client")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(directory=str(tmp_path / "data"), config={"kstore.metrics.listener": "127.0.0.1:0"}) as running:
        yield running


def scrape(cluster: Cluster) -> dict[str, float]:
    """Values by metric with its labels, as they are written."""
    with urllib.request.urlopen(cluster.metrics_url, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_a_scrape_counts_what_was_done(cluster: Cluster, client: WireClient) -> None:
    client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    client.produce("t", [b"a", b"b", b"c"])
    found = scrape(cluster)
    assert found['kstore_requests_total{api="Produce"}'] == 1
    assert found['kstore_requests_total{api="Metadata"}'] >= 1
    assert found["kstore_connections"] == 1
    assert found["kstore_connections_refused_total"] == 0
    assert found["kstore_received_bytes_total"] > 100
    assert found["kstore_sent_bytes_total"] > 100
    assert found['kstore_high_watermark{partition="0",topic="t"}'] == 3
    assert found['kstore_log_start_offset{partition="0",topic="t"}'] == 0
    assert found['kstore_log_size_bytes{partition="0",topic="t"}'] > 60
    assert found["kstore_log_dir_failed"] == 0
    client.produce("t", [b"d"])
    assert scrape(cluster)['kstore_requests_total{api="Produce"}'] == 2


def test_groups_and_their_lag(cluster: Cluster, client: WireClient) -> None:
    client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    client.produce("t", [b"a", b"b", b"c"])
    client.ask(FindCoordinatorRequest(key="g"), 0)
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata="")
    topic = OffsetCommitRequestTopic(name="t", partitions=[partition])
    client.ask(OffsetCommitRequest(group_id="g", member_id="", topics=[topic]), 8)
    found = scrape(cluster)
    assert found['kstore_group_offset{group="g",partition="0",topic="t"}'] == 1
    assert found['kstore_group_lag{group="g",partition="0",topic="t"}'] == 2
    assert found['kstore_groups{state="Empty"}'] == 1


def test_the_server_goes_with_the_broker(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with Cluster(directory=str(tmp_path / "data"), config={"kstore.metrics.listener": "127.0.0.1:0"}) as cluster:
        scrape(cluster)
    assert set(threading.enumerate()) <= before


def test_a_wrong_address_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"kstore\.metrics\.listener"), Cluster(
        directory=str(tmp_path / "data"), config={"kstore.metrics.listener": "9404"}
    ):
        pass


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from kstore.cli.main import main\n"
        f"sys.exit(main(['serve', '--dir', {str(tmp_path / 'd')!r}, '--listen', '127.0.0.1:0', "
        "'--set', 'kstore.metrics.listener=127.0.0.1:0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "kstore[metrics]" in done.stderr


def test_every_metric_is_documented(cluster: Cluster, client: WireClient) -> None:
    client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    client.produce("t", [b"a"])
    text = (Path(__file__).parents[3] / "docs" / "BROKER.md").read_text()
    told = set(re.findall(r"`(kstore_\w+)`", text.partition("<!-- metrics: begin")[2].partition("metrics: end")[0]))
    found = {name.partition("{")[0] for name in scrape(cluster) if name.startswith("kstore_")}
    assert found <= told
    assert {name for name in told if "group" not in name} <= found
