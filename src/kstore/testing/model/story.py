"""A path through the model as a story: who did what, and the logs after each step.

Owns words and drawing. It must not decide anything: it plays the actions again, in the world that they were found in.
Called by the command and by tests, under the same planted variant as the exploration that found the path.

A replica is drawn as its role and epoch, then the epoch of each record; `|` stands at its high watermark, `~` before
what is not fsynced yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from kstore.errors import InvariantError
from kstore.replication import events as ev
from kstore.replication.codes import Code
from kstore.replication.controller.commands import AlterPartition
from kstore.replication.leading import Leader
from kstore.replication.state import NO_LEADER, Assignment
from kstore.testing.model.nodes import Answered, Asked, Called, Node, Returned
from kstore.testing.model.ruling import Standing
from kstore.testing.model.world import Action, Records, State, World


def story(world: World, actions: Sequence[Action], problem: str = "") -> str:
    """The actions from the first state on, one after the other, and what is wrong at the end.

    `world` is the one that the path was found in.
    """
    state = world.first()
    lines = [f"{'':4}{drawing(world, state)}", ""]
    for number, action in enumerate(actions, 1):
        after, acked = _taken(world, state, action)
        lines.append(f"{number:2}. {told(world, state, action)}{_acknowledged(acked)}")
        lines.append(f"{'':4}{drawing(world, after)}")
        lines.append("")
        state = after
    if problem:
        lines.append(problem)
    return "\n".join(lines)


def _taken(world: World, state: State, action: Action) -> tuple[State, Records]:
    for taken, after, _, acked in world.successors(state):
        if taken == action:
            return after, acked
    raise InvariantError(f"{action} cannot happen here: the story is told in another world than it was found in")


def _acknowledged(records: Records) -> str:
    return "".join(f"; record {offset} of epoch {epoch} is acknowledged" for offset, epoch in records)


# -- drawing -----------------------------------------------------------------------------------------------------


def drawing(world: World, state: State) -> str:
    """The state on a line: the controller's view, then every replica."""
    standing = world.controllers.standing(state[world.at_controller])
    assignment = world.controllers.states.values[state[world.at_controller]].cluster.partitions["t", 0]
    parts = [f"{_isr(standing)} epoch {assignment.leader_epoch}".ljust(42)]
    for i in range(world.size):
        parts.append(drawn(world.nodes.nodes.values[state[i]]).ljust(22))
    return "".join(parts).rstrip()


def _isr(standing: Standing) -> str:
    leader = "nobody leads" if standing.leader < 0 else f"{standing.leader + 1} leads"
    names = ["isr " + _names(standing.isr)]
    if standing.elr:
        names.append("elr " + _names(standing.elr))
    return f"[{leader}, {', '.join(names)}]"


def _names(indexes: tuple[int, ...]) -> str:
    return "{" + ",".join(str(i + 1) for i in indexes) + "}"


def drawn(node: Node) -> str:
    """One replica: `2 leads 1: 0 0|1`."""
    state, log = node
    local, known = state.local, state.assignment
    role = "leads" if isinstance(state, Leader) else "follows"
    if known.partition_epoch < 0:
        who = f"{state.id} starts"
    elif known.leader == NO_LEADER:
        who = f"{state.id} waits {known.leader_epoch}"
    else:
        who = f"{state.id} {role} {known.leader_epoch}"
    cells = []
    for offset in range(len(log) + 1):
        mark = "|" if offset == local.high_watermark else " "
        unsynced = "~" if offset == local.durable_offset < len(log) else ""
        cells.append(mark + unsynced + (str(log[offset]) if offset < len(log) else ""))
    return f"{who}:{''.join(cells).rstrip()}"


# -- telling -----------------------------------------------------------------------------------------------------


_THEN = {
    "ask": "",
    "ask twice": ", and stays under way",
    "fetch": " and is answered",
    "unanswered": "; no answer comes",
}


def told(world: World, state: State, action: Action) -> str:
    """What happens, in words."""
    kind, at, what, more = action
    name = f"replica {at + 1}"
    if kind in ("ask", "ask twice", "fetch", "unanswered"):
        return f"{_request(world, what)} of replica {more + 1} arrives at {name}{_THEN[kind]}"
    if kind == "hear":
        return f"{name} hears {_reply(world, what)}"
    if kind == "learn":
        assignment, eligible = world.nodes.versions.values[what]
        alive = ",".join(str(broker) for broker, _ in eligible)
        return f"{name} learns that {_version(assignment)}, and that {{{alive}}} are alive"
    if kind in ("call", "answer"):
        return _call(world, what, name)
    if kind == "append":
        end = len(world.nodes.nodes.values[state[at]].log)
        return f"{name} appends record {end}"
    if kind == "lag":
        return f"{name} finds that replica {what + 1} was not caught up for too long"
    if kind == "crash":
        return f"{name} crashes and starts again, with {what} records and the checkpointed high watermark {more}"
    return {
        "sync": f"an fsync of {name} ends",
        "wake": f"{name} waits no longer and asks again",
        "retry": f"{name} has no answer from the controller and proposes again",
        "fence": f"the controller takes {name} for dead",
        "unfence": f"a heartbeat brings {name} back",
        "prefer": "the preferred leader is elected",
        "wipe": f"{name} loses its disk and starts again with nothing",
    }[kind]


def _request(world: World, message: int) -> str:
    said = world.nodes.messages.values[message]
    assert isinstance(said, Asked)
    request = said.request
    late = "a late " if request.number else "the "
    if isinstance(request, ev.FetchRequest):
        last = "" if request.last_fetched_epoch < 0 else f", last epoch {request.last_fetched_epoch}"
        return f"{late}fetch from {request.offset} (epoch {request.leader_epoch}{last})"
    if isinstance(request, ev.EpochEndRequest):
        return f"{late}question where epoch {request.epoch} ends (epoch {request.leader_epoch})"
    return f"{late}question where the log lies (epoch {request.leader_epoch})"


def _reply(world: World, message: int) -> str:
    said = world.nodes.messages.values[message]
    assert isinstance(said, Answered)
    reply = said.reply
    late = "a late answer: " if reply.number else ""
    if reply.code is not Code.NONE:
        return f"{late}{reply.code.name}"
    if isinstance(reply, ev.EpochEndReply):
        return f"{late}epoch {reply.epoch} ends at {reply.end_offset}"
    if isinstance(reply, ev.OffsetsReply):
        return f"{late}the log lies from {reply.log_start_offset} to {reply.log_end_offset}"
    if reply.diverging_epoch >= 0:
        return f"{late}the logs part: epoch {reply.diverging_epoch} ends at {reply.diverging_end_offset}"
    records = f"records of epochs {_epochs(said.records)}" if said.records else "nothing new"
    return f"{late}{records}, high watermark {reply.high_watermark}"


def _epochs(records: tuple[int, ...]) -> str:
    return ", ".join(str(epoch) for epoch in records)


def _version(assignment: Assignment) -> str:
    who = "nobody leads" if assignment.leader == NO_LEADER else f"{assignment.leader} leads"
    isr = ",".join(str(r) for r in assignment.isr)
    return f"{who} in epoch {assignment.leader_epoch}, isr {{{isr}}} (partition epoch {assignment.partition_epoch})"


def _call(world: World, call: int, name: str) -> str:
    said = world.nodes.calls.values[call]
    if isinstance(said, Called):
        command = said.command
        if isinstance(command, AlterPartition):
            isr = ",".join(str(member) for member, _ in command.isr)
            return f"the proposal of {name} arrives: isr {{{isr}}} after partition epoch {command.partition_epoch}"
        return f"the resignation of {name} arrives"
    assert isinstance(said, Returned)
    event = said.event
    answer = event.code.name if event.assignment is None else _version(event.assignment)
    return f"the controller's answer arrives at {name}: {answer}"
