"""Brokers: their registration and lives, their sessions, and how they leave.

Owns the rules of Kafka's ClusterControlManager and BrokerHeartbeatManager. What their coming and going does to
partitions is `change`'s. It must not know AlterPartition, which relies on what is kept here. Called by `machine.step`.

Invariants
1. Broker epochs rise strictly over all registrations of new lives; the same incarnation keeps its epoch.
2. A new life is fenced and in no ISR; one that may have lost records is in no ELR either, before it is unfenced.
3. No broker is unfenced before it has seen its own registration.
"""

from __future__ import annotations

from kstore.replication.codes import Code
from kstore.replication.controller.change import arrivals, departures
from kstore.replication.controller.cluster import (
    Broker,
    BrokerChanged,
    BrokerRegistered,
    BrokerUnregistered,
    Changes,
    Cluster,
    apply,
)
from kstore.replication.controller.commands import (
    Answer,
    ExpireSessions,
    Heartbeat,
    HeartbeatAnswer,
    RegisterBroker,
    RegistrationAnswer,
    UnregisterBroker,
)
from kstore.replication.controller.controller import Controller
from kstore.replication.values import replace

WHOLE_MAX = 32
"""How many lives that died before they were unfenced a broker may have: of those in the middle none is known later."""

# -- registration ------------------------------------------------------------------------------------------------


def on_register(
    state: Controller, command: RegisterBroker, now_ms: int
) -> tuple[Controller, RegistrationAnswer, Changes]:
    """Give a broker its epoch (ClusterControlManager.registerBroker).

    DUPLICATE_BROKER_REGISTRATION while another incarnation has a session; one in controlled shutdown is as good as gone
    (KAFKA-19047).
    """
    known = state.cluster.brokers.get(command.broker_id)
    if known is not None and known.incarnation == command.incarnation:
        return _amended(state, command, known, now_ms)
    if known is not None and state.has_session(known.id, now_ms) and not known.shutting_down:
        return state, RegistrationAnswer(Code.DUPLICATE_BROKER_REGISTRATION), ()
    epoch = state.cluster.next_broker_epoch
    whole = _whole(known, command.previous_epoch, epoch)
    broker = Broker(command.broker_id, epoch, command.incarnation, command.rack, whole=whole)
    changes: Changes = (*departures(state.cluster, broker.id, lost=False), BrokerRegistered(broker))
    state = state.after(changes).heard_of(broker.id, now_ms)
    return state, RegistrationAnswer(Code.NONE, broker.epoch), changes


def _whole(known: Broker | None, previous_epoch: int, epoch: int) -> tuple[int, ...]:
    """`Broker.whole` of a new life, with its own `epoch` where it has all that life `previous_epoch` had.

    Kafka asks whether that was the last life, and takes one that is not whole out of the ELR at once. But the last one
    may be of a process that died before it had its answer, or of one long dead, whose registration came late: the life
    after it knows of neither, and may be the only one that holds everything.
    """
    if known is None:
        return ()
    if previous_epoch not in known.whole:
        return known.whole
    return (*known.whole[:1], *known.whole[1:][1 - WHOLE_MAX :], epoch)


def _amended(
    state: Controller, command: RegisterBroker, known: Broker, now_ms: int
) -> tuple[Controller, RegistrationAnswer, Changes]:
    """The same life registers again, its answer having been lost: it keeps its epoch and how it stands."""
    broker = replace(known, rack=command.rack)
    changes: Changes = () if broker == known else (BrokerRegistered(broker),)
    state = state.after(changes).heard_of(broker.id, now_ms)
    return state, RegistrationAnswer(Code.NONE, broker.epoch), changes


def on_unregister(state: Controller, command: UnregisterBroker, now_ms: int) -> tuple[Controller, Answer, Changes]:
    """Forget a broker. Should it come back, it is as a stranger: in no ISR and no ELR (handleBrokerUnregistered)."""
    if command.broker_id not in state.cluster.brokers:
        return state, Answer(Code.BROKER_ID_NOT_REGISTERED, f"broker {command.broker_id} is not registered"), ()
    changes: Changes = (
        *departures(state.cluster, command.broker_id, lost=True),
        BrokerUnregistered(command.broker_id),
    )
    return state.after(changes).heard_of(command.broker_id, now_ms), Answer(), changes


# -- heartbeats --------------------------------------------------------------------------------------------------


def on_heartbeat(state: Controller, command: Heartbeat, now_ms: int) -> tuple[Controller, HeartbeatAnswer, Changes]:
    """Note that a broker lives and move it on (BrokerHeartbeatManager.calculateNextBrokerState)."""
    cluster = state.cluster
    if not cluster.is_current(command.broker_id, command.broker_epoch):
        return state, HeartbeatAnswer(Code.STALE_BROKER_EPOCH), ()
    broker = cluster.brokers[command.broker_id]
    changes: Changes = ()
    stops = False
    if broker.fenced:
        stops = command.want_shut_down
        if command.caught_up and not command.want_fence and not stops:
            changes = unfenced(cluster, broker)
    elif command.want_shut_down or broker.shutting_down:
        stops = command.want_fence or not _leads(cluster, broker.id)
        changes = fenced(cluster, broker) if stops else shut_down(cluster, broker)
    elif command.want_fence:
        changes = fenced(cluster, broker)
    state = state.after(changes).heard_of(broker.id, now_ms)
    return state, HeartbeatAnswer(Code.NONE, state.cluster.brokers[broker.id].fenced, stops), changes


def on_expire(state: Controller, command: ExpireSessions, now_ms: int) -> tuple[Controller, Answer, Changes]:
    """Fence who was not heard of, the longest silent first; each sees what the one before has done."""
    silent = [(last_ms, broker_id) for broker_id, last_ms in state.contacts.items()]
    all_changes: Changes = ()
    for _, broker_id in sorted(silent):
        if not state.has_session(broker_id, now_ms):
            changes = fenced(state.cluster, state.cluster.brokers[broker_id])
            state = state.after(changes).heard_of(broker_id, now_ms)
            all_changes += changes
    return state, Answer(), all_changes


def _leads(cluster: Cluster, broker_id: int) -> bool:
    return any(assignment.leader == broker_id for assignment in cluster.partitions.values())


def fenced(cluster: Cluster, broker: Broker) -> Changes:
    """A broker leaves every ISR, then is fenced (handleBrokerFenced). It also leaves controlled shutdown."""
    gone = departures(cluster, broker.id, lost=False)
    return (*gone, BrokerChanged(broker.id, broker.epoch, fenced=True, shutting_down=False))


def unfenced(cluster: Cluster, broker: Broker) -> Changes:
    """A broker may lead and be in sync again; partitions that waited for it have a leader now.

    One that may have lost records leaves every ELR first. Not when it registers: nobody may be behind that any more.
    """
    gone: Changes = () if broker.epoch in broker.whole else departures(cluster, broker.id, lost=True)
    return (
        *gone,
        BrokerChanged(broker.id, broker.epoch, fenced=False, shutting_down=False),
        *arrivals(apply(cluster, gone), broker.id),
    )


def shut_down(cluster: Cluster, broker: Broker) -> Changes:
    """Controlled shutdown: a broker leaves every ISR and hands on what it leads, while it still serves."""
    return (
        BrokerChanged(broker.id, broker.epoch, fenced=False, shutting_down=True),
        *departures(cluster, broker.id, lost=False),
    )
