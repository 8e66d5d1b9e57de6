"""Words for the story: assignments, requests and replies in a few characters.

Owns how a value looks in a line of the trace. It must not know who tells it. Called by everything here that tells.
"""

from __future__ import annotations

from kstore.replication import events as ev
from kstore.replication.codes import Code
from kstore.replication.state import NO_LEADER, Assignment


def code_name(code: object) -> str:
    """An error code's name in small letters, `ok` for none."""
    if isinstance(code, Code):
        return "ok" if code is Code.NONE else code.name.lower().replace("_", " ")
    return str(code)


def assignment_text(assignment: Assignment) -> str:
    """Leader, epochs and ISR; what is rare only where it is there."""
    leader = "none" if assignment.leader == NO_LEADER else f"b{assignment.leader}"
    text = f"leader {leader} e{assignment.leader_epoch} v{assignment.partition_epoch} isr {_ids(assignment.isr)}"
    if assignment.elr:
        text += f" elr {_ids(assignment.elr)}"
    if assignment.adding or assignment.removing:
        text += f" of {_ids(assignment.replicas)} +{_ids(assignment.adding)} -{_ids(assignment.removing)}"
    return text + (" recovering" if assignment.recovering else "")


def _ids(members: tuple[int, ...]) -> str:
    return ",".join(map(str, members)) or "-"


def request_text(request: ev.Request) -> str:
    """What a follower asks."""
    if isinstance(request, ev.FetchRequest):
        return f"fetch {request.offset} last e{request.last_fetched_epoch} in e{request.leader_epoch} #{request.number}"
    if isinstance(request, ev.EpochEndRequest):
        return f"end of e{request.epoch} in e{request.leader_epoch} #{request.number}"
    return f"offsets in e{request.leader_epoch} #{request.number}"


def reply_text(reply: ev.Reply, size_bytes: int) -> str:
    """What a leader answers."""
    text = f"#{reply.number} "
    if reply.code is not Code.NONE:
        return text + code_name(reply.code)
    if isinstance(reply, ev.FetchReply):
        if reply.diverging_epoch >= 0:
            return text + f"parted at e{reply.diverging_epoch} end {reply.diverging_end_offset}"
        return text + f"{size_bytes} bytes hw {reply.high_watermark} start {reply.log_start_offset}"
    if isinstance(reply, ev.EpochEndReply):
        return text + f"e{reply.epoch} ends at {reply.end_offset}"
    return text + f"{reply.log_start_offset} to {reply.log_end_offset}"
