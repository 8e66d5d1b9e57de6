"""A broker in a test: there at once, gone without a trace; the pytest plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import kstore.testing
from kstore.errors import UsageError
from kstore.testing.cluster import Cluster
from kstore.wire.messages.sessions import ApiVersionsRequest
from support.wire_client import WireClient

SOURCES = Path(__file__).parents[3] / "src"


def open_files() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd_is_there(fd)}


def fd_is_there(fd: str) -> bool:
    try:
        os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False
    return True


def test_nothing_is_left() -> None:
    with Cluster():
        pass  # modules that are imported late, and what they open once
    threads, files = set(threading.enumerate()), open_files()
    cluster = Cluster()
    with cluster, WireClient(cluster.bootstrap) as client:
        client.ask(ApiVersionsRequest(), 0)
        directory = cluster.directory
        assert Path(directory).is_dir()
    assert set(threading.enumerate()) == threads
    assert open_files() == files
    assert not Path(directory).exists(), "the temporary directory goes"
    assert cluster.bootstrap == ""


def test_a_directory_of_ones_own_stays(tmp_path: Path) -> None:
    with Cluster(directory=str(tmp_path / "d")):
        pass
    assert (tmp_path / "d" / "meta.properties").exists()


def test_restart_keeps_the_port(tmp_path: Path) -> None:
    with Cluster() as cluster:
        before = cluster.bootstrap
        cluster.restart()
        assert cluster.bootstrap == before
        with WireClient(before) as client:
            client.ask(ApiVersionsRequest(), 0)


def test_the_public_name() -> None:
    assert kstore.testing.Cluster is Cluster
    with pytest.raises(AttributeError, match="Clusters"):
        _ = kstore.testing.Clusters


def test_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Cluster(brokers=3)
    with Cluster(directory=str(tmp_path / "d")) as cluster:
        with pytest.raises(UsageError):
            cluster.start()
        second = Cluster(directory=str(tmp_path / "d"))
        with pytest.raises(UsageError, match="locked"):
            second.start()
        second.stop()
    with pytest.raises(UsageError):
        _ = cluster.broker


def test_the_pytest_plugin(tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(
        "import socket\n"
        "def test_it(kstore_cluster):\n"
        "    host, port = kstore_cluster.bootstrap.split(':')\n"
        "    socket.create_connection((host, int(port))).close()\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "kstore.testing.plugin", "-p", "no:cacheprovider", str(test)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_the_plugin_is_light() -> None:
    code = (
        "import sys, kstore.testing.plugin\n"
        "assert not [name for name in sys.modules if name.startswith(('kstore.broker', 'kstore.store', 'numpy'))]\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCES)}, check=True, timeout=60)
