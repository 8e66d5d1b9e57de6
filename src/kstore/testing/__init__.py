"""What tests of kstore, and of programs built on it, stand on: a broker in-process, a simulated disk with faults.

`kstore.testing.Cluster` is loaded when it is first used, so that the other modules cost no more than they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kstore.testing.cluster import Cluster as Cluster

__all__ = ["Cluster"]


def __getattr__(name: str) -> Any:
    if name == "Cluster":
        from kstore.testing.cluster import Cluster

        return Cluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
