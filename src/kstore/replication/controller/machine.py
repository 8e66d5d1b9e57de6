"""The controller: one step function over every command.

Owns nothing but the order of things: decide, check, return. What is decided is the handlers' in the other modules. It
must not know where changes are stored. Called by the store of a cluster's metadata, the simulator and the model
checker, all alike: they persist the changes first, then take the state and give the reply. A controller whose changes
were not stored drops the state and takes over again with `activate`.

Invariants
1. The cluster of the state returned is that of the state before with the changes applied, exactly: replaying them on
   another copy gives the same.
2. A refused command changes nothing.
3. A step that breaks an invariant of `cluster` raises, and its state is never seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kstore.replication.controller import alter, invariants, leadership, reassignment, registration, topics
from kstore.replication.controller import commands as cmd
from kstore.replication.controller.cluster import Changes
from kstore.replication.controller.controller import Controller

Step = tuple[Controller, cmd.Reply, Changes]

HANDLERS: dict[type, Callable[[Controller, Any, int], Step]] = {
    cmd.RegisterBroker: registration.on_register,
    cmd.UnregisterBroker: registration.on_unregister,
    cmd.Heartbeat: registration.on_heartbeat,
    cmd.ExpireSessions: registration.on_expire,
    cmd.AlterPartition: alter.on_alter,
    cmd.ResignLeader: alter.on_resign,
    cmd.ElectLeader: leadership.on_elect,
    cmd.BalanceLeaders: leadership.on_balance,
    cmd.CreateTopic: topics.on_create,
    cmd.CreatePartitions: topics.on_create_partitions,
    cmd.DeleteTopic: topics.on_delete,
    cmd.SetTopicRules: topics.on_set_rules,
    cmd.Reassign: reassignment.on_reassign,
}
"""What the controller does at each command."""


def step(state: Controller, command: cmd.Command, now_ms: int) -> Step:
    """What the controller decides: its next state, the reply, and the changes to persist before either is seen.

    `now_ms` is any clock that does not go back, the same for all steps. Raises `InvariantError` where going on would
    break a promise.
    """
    after, reply, changes = HANDLERS[type(command)](state, command, now_ms)
    if changes:
        invariants.check(state.cluster, after.cluster, changes)
    return after, reply, changes
