"""Every n-th call of a workload failing, until the workload passes untouched (S14 to S19).

Each call that changes something on the simulated disk fails once with each errno, a failing write whole or after half
of its bytes, and each call that only looks, too. What was acknowledged before or after the failure is there when the
directory is opened again, nothing is invented, only errors of kstore's own tree reach the caller, and what was not
final passes: `support.nth_call` says how each case is judged.

`make test` plays a sample of a new seed, and one small workload whole that goes on after each failure; `make slow` all
of one seed; `nth_calls.py` all of any.
"""

from __future__ import annotations

import errno
import itertools

import pytest

from kstore.errors import KStoreError
from kstore.testing.simdisk import SimDisk
from support.nth_call import cases, play
from support.promises import read_all, reopen

SEED = 1
EVERY = 60
PARTS = 8
"""All cases in so many tests, so that they spread over the processes of pytest-xdist."""
CASES_AT_LEAST = 20_000


def test_a_sample_of_the_failing_calls_breaks_no_promise(seed):
    done = 0
    for case in itertools.islice(cases(seed), seed % EVERY, None, EVERY):
        play(case, seed)
        done += 1
    assert done > CASES_AT_LEAST // EVERY // 2


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_no_failing_call_breaks_a_promise(part):
    done = 0
    for case in itertools.islice(cases(SEED), part, None, PARTS):
        play(case, SEED)
        done += 1
    assert done >= CASES_AT_LEAST // PARTS


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
