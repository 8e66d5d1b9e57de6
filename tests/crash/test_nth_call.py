"""Every n-th call of a workload failing, until the workload passes untouched (S14, S15, S17 to S19).

Each call that changes something on the simulated disk fails once with each errno, a failing write whole or after half
of its bytes. What was acknowledged before or after the failure is there when the directory is opened again, nothing is
invented, and only errors of kstore's own tree reach the caller.
"""

from __future__ import annotations

import errno

import pytest

from kstore.errors import KStoreError
from kstore.testing.simdisk import SimDisk
from support.promises import read_all, reopen


@pytest.mark.parametrize("part", [0.0, 0.5])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EINTR], ids=errno.errorcode.get)
def test_every_call_may_fail(number, part):
    nth = 0
    while fails_well(number, nth, part):
        nth += 1
    assert nth > 100


def fails_well(number: int, nth: int, part: float) -> bool:
    """Run the workload with its n-th call failing, then look; False once there was no such call any more."""
    disk = SimDisk()
    store = reopen(disk)
    store.create_topic("t", config={"internal.segment.bytes": 300})
    log = store.partition("t", 0)
    fault = disk.faults.plant(number, nth=nth, part=part)
    sent: list[bytes] = []
    acknowledged = 0
    for i in range(12):
        values = [b"%d" % i] * 2
        try:
            log.append(values, durable=i % 3 == 0)
        except KStoreError:
            if log.log_end_offset != len(sent):  # it is in the log, only its durability failed
                sent += values
            continue
        sent += values
        acknowledged = len(sent)
    try:
        store.close()
    except KStoreError:
        pass
    disk.faults.clear()
    disk.kill()
    found = [value for _, value, _ in read_all(reopen(disk), "t", 0)[1]]
    where = f"call {nth} failing with {errno.errorcode[number]}"
    assert len(found) >= acknowledged, where
    assert found == sent[: len(found)], where
    return fault.fired > 0
