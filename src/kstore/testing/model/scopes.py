"""The scopes that the shipped rules are explored in; docs/MODEL.md says what each came to.

Owns the list. It must not know how they are explored. Called by the command and by tests.
"""

from __future__ import annotations

from kstore.replication.state import Sync
from kstore.testing.model.scope import Scope

QUICK: tuple[Scope, ...] = (
    Scope(
        "two-replicas",
        "two replicas, one change of leader, followers that are found too slow",
        replicas=2,
        records=2,
        epochs=2,
        changes=2,
        fences=1,
        lags=1,
    ),
    Scope(
        "power",
        "two replicas, slow fsyncs, and the power fails twice; checkpoints are old",
        replicas=2,
        records=1,
        changes=3,
        crashes=2,
        slow_fsync=True,
        power_loss=True,
        stale_checkpoint=True,
    ),
    Scope(
        "late",
        "two replicas, requests that come late and twice",
        replicas=2,
        records=1,
        epochs=2,
        changes=1,
        fences=1,
        stale=1,
        repeats=True,
    ),
    Scope(
        "three-replicas",
        "three replicas, one change of leader",
        records=1,
        epochs=2,
        changes=2,
        fences=1,
    ),
)
"""Exhausted in less than a minute together."""

FULL: tuple[Scope, ...] = (
    Scope(
        "asking-first",
        "two replicas, three epochs; where epochs end is asked before the fetch (KIP-279)",
        replicas=2,
        records=2,
        changes=3,
        fences=2,
        truncate_on_fetch=False,
    ),
    Scope(
        "three-by-three",
        "three replicas, three records, one change of leader of which all hear at once",
        epochs=2,
        changes=2,
        fences=1,
        swift=True,
        prompt=3,
    ),
    Scope(
        "two-by-three",
        "two replicas, three records, three epochs",
        replicas=2,
        changes=3,
        fences=2,
    ),
    Scope(
        "elections",
        "three replicas, three records, three epochs: the leader changes twice",
        changes=3,
        fences=2,
        swift=True,
    ),
    Scope(
        "kafka-defaults",
        "three replicas that do not wait for fsyncs, and restart",
        records=2,
        changes=4,
        crashes=1,
        fences=1,
        swift=True,
        sync=Sync.NONE,
        stale_checkpoint=True,
    ),
    Scope(
        "proposals",
        "two replicas, three records, three epochs, lags and repeated proposals",
        replicas=2,
        changes=5,
        fences=2,
        lags=1,
        retries=1,
    ),
    Scope(
        "disks",
        "two replicas that lose power and disks",
        replicas=2,
        records=2,
        changes=5,
        crashes=2,
        wipes=1,
        slow_fsync=True,
        power_loss=True,
        stale_checkpoint=True,
    ),
)
"""What `make model` explores besides, each up to a limit of states where it is larger."""

SCOPES = {scope.name: scope for scope in (*QUICK, *FULL)}
