"""The flag that ends a following command."""

import signal
import threading
import time

from kstore.apps.stopping import StopFlag


def test_waits_until_raised_or_over():
    flag = StopFlag()
    assert not flag.wait(0.001)
    threading.Timer(0.01, flag.set).start()
    begun = time.monotonic()
    assert flag.wait(30)
    assert time.monotonic() - begun < 10
    assert flag.is_set()
    assert flag.wait(30)


def test_a_signal_handler_may_raise_it_at_any_moment():
    flag = StopFlag()
    old = signal.signal(signal.SIGALRM, lambda *_: flag.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        assert flag.wait(30)
    finally:
        signal.signal(signal.SIGALRM, old)
