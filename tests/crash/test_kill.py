"""A real process killed with SIGKILL at random moments: what it had acknowledged is there, and nothing it never wrote.

The child appends numbered records, durable and not, over many small segments, and writes each acknowledged number to
a pipe. The killed process' page cache outlives it, so every acknowledged append counts, durable or not.
"""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys

import kstore

KILLS = int(os.environ.get("KSTORE_KILLS", "60"))

CHILD = """
import sys, kstore
store = kstore.open(sys.argv[1])
if "t" not in store.topics():
    store.create_topic("t", config={"internal.segment.bytes": 1000})
log = store.partition("t", 0)
while True:
    number = log.log_end_offset
    log.append([b"%d" % number], durable=number % 5 == 0)
    sys.stdout.write("%d\\n" % number)
    sys.stdout.flush()
"""


def test_what_a_killed_process_acknowledged_is_there(tmp_path, seed):
    dice = random.Random(seed)
    root = str(tmp_path / "data")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    acknowledged = -1
    for _ in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", CHILD, root], stdout=subprocess.PIPE, env=env)
        assert child.stdout is not None
        lines = dice.randrange(0, 40)
        seen = b""
        while seen.count(b"\n") < lines:
            select.select([child.stdout], [], [])
            seen += os.read(child.stdout.fileno(), 4096)
        child.kill()
        seen += child.communicate()[0]
        whole = seen[: seen.rfind(b"\n") + 1].split()
        acknowledged = max([acknowledged, *map(int, whole)])
    with kstore.open(root) as store:
        log = store.partition("t", 0)
        found, offset = [], 0
        while offset < log.log_end_offset:
            batches = log.read(offset)
            found += [record.value for record in batches]
            offset = batches.next_offset
    assert len(found) > acknowledged
    assert found == [b"%d" % number for number in range(len(found))]
