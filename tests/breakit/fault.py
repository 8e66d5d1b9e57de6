"""A bug to plant, and the tests that must notice it.

`origin` names the bug of Apache Kafka (or a peer) that a fault plants again, or is "own" for one that could happen
here. `text` stands exactly once in `file`; the plant replaces it by `by`. `run.py` does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One planted bug."""

    name: str
    origin: str
    file: str
    text: str
    by: str
    tests: tuple[str, ...]
    modules: tuple[str, ...] = ()
    """Native modules that must be built again; none for Python."""
