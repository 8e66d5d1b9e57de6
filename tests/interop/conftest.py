"""Shared by the live tests: one driver JVM, and helpers that compare what three readers see."""

from __future__ import annotations

import pytest

from support import kafka


@pytest.fixture(scope="session")
def driver():
    """The Java driver; each test points its `bootstrap` at its own broker."""
    if reason := kafka.why_not():
        pytest.skip(reason)
    driver = kafka.Driver()
    yield driver
    driver.close()
