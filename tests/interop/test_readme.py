"""The README's road from `git clone` to a real Kafka: its very commands, in order, as a stranger would type them.

The broker runs on a free port instead of 9092 and is stopped by its own handle; what the page shows must be printed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docs.pages import ROOT, blocks
from docs.test_examples import commands, compare
from support import kafka

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(kafka.why_not() is not None, reason=str(kafka.why_not())),
]

README = ROOT / "README.md"


def test_the_road_to_kafka(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    first_line = text[: text.index("## From `git clone`")].count("\n")
    last_line = text[: text.index("## Files in, files out")].count("\n")
    steps = [block for block in blocks(README) if block.language == "console" and first_line < block.line < last_line]
    port = kafka.free_port()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "PATH": f"{command_named_kstore(tmp_path)}{os.pathsep}{os.environ['PATH']}",
    }
    broker: subprocess.Popen[bytes] | None = None
    try:
        for block in steps:
            for shown, wanted in commands(block.text):
                command = shown.replace("9092", str(port)).replace("tools/kafka", str(ROOT / "tools" / "kafka"))
                if " serve " in command:
                    broker = serve(command, tmp_path, environment, wanted.strip())
                    continue
                done = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", command],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=180,
                )
                assert done.returncode == 0, f"{shown}\n{done.stdout}{done.stderr}"
                compare(f"README.md:{block.line}", shown, wanted, done.stdout)
    finally:
        if broker is not None:
            os.killpg(broker.pid, signal.SIGTERM)
            broker.wait(60)
    assert broker is not None
    values = subprocess.run(
        [
            sys.executable,
            "-c",
            "import kstore; print(sorted(kstore.open('kafka-data').topics()))",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "numbers" in values


def command_named_kstore(home: Path) -> Path:
    """A folder for PATH in which `kstore` runs this very tree."""
    tools = home / "bin"
    tools.mkdir()
    script = tools / "kstore"
    script.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m kstore \"$@\"\n")
    script.chmod(0o755)
    return tools


def serve(command: str, cwd: Path, environment: dict[str, str], ready: str) -> subprocess.Popen[bytes]:
    """Starts the broker in a session of its own and waits for the line that the page shows."""
    said = cwd / "broker.out"
    with said.open("wb") as output:
        broker = subprocess.Popen(
            command.split(),
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + kafka.START_TIMEOUT_S
    while ready not in said.read_text(errors="replace"):
        if broker.poll() is not None or time.monotonic() > deadline:
            broker.kill()
            pytest.fail(f"the broker did not say {ready!r}:\n{said.read_text(errors='replace')}")
        time.sleep(0.1)
    return broker
