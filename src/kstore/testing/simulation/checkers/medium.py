"""What is really on the medium when something is promised: I21 and I22.

Verified at every acknowledgement of acks=all: with `Sync.ALL` each running member of the true ISR, and with `Sync.ACKS`
the leader, has the bytes and the names of their files on its medium, looked up in the simulated medium itself. A disk
that has failed for good acknowledges nothing, but what was on its medium before: an append may have waited for others
while the failure came, perhaps of another partition. Not verified here: members that are down, which `agreement` checks
when they come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore.replication.state import Sync
from kstore.testing.medium import PAGE_BYTES
from kstore.testing.operations import ROOT
from kstore.testing.simulation.checkers.base import Checker

if TYPE_CHECKING:
    from kstore._native.view import View
    from kstore.log.appended import Appended
    from kstore.replica import Replica
    from kstore.testing.simdisk import SimDisk
    from kstore.testing.simulation.node import Node


class OnMedium(Checker):
    """See the module."""

    def on_acknowledged(self, node: Node, key: str, replica: Replica, appended: Appended, acks: int) -> None:
        """A leader answered an append with success."""
        store, sync = node.store, self.judge.cluster.options.rules.sync
        if store is not None and store.health.failure is not None:
            waited = acks == -1 and (
                sync is Sync.NONE
                or not missing_on_medium(
                    node.disk, replica.partition.log.view, appended.base_offset, appended.next_offset
                )
            )
            if not waited:
                self.broken("I22", f"b{node.id} acknowledged {key} {appended} after {store.health.failure}")
        if acks != -1 or sync is Sync.NONE:
            return
        assignment = self.judge.cluster.assignment(key)
        epoch = replica.state.assignment.leader_epoch
        if assignment is None or epoch < assignment.leader_epoch:
            return
        members = assignment.isr if sync is Sync.ALL else (node.id,)
        for member in members:
            holder = self.judge.cluster.nodes[member]
            held = holder.replicas.get(key)
            if held is None or self.judge.copy(member, key).is_damaged:
                continue
            view = held.partition.log.view
            missing = missing_on_medium(holder.disk, view, appended.base_offset, appended.next_offset)
            if missing:
                self.broken("I21", f"b{node.id} acknowledged {key} {appended}, but on b{member}: {missing}")


def missing_on_medium(disk: SimDisk, view: View, base_offset: int, next_offset: int) -> str:
    """Why a power loss might take records of `[base_offset, next_offset)`; empty where it cannot."""
    medium = disk.medium
    assert medium is not None
    if view.log_end_offset < next_offset:
        return f"the log ends at {view.log_end_offset}"
    offset = max(base_offset, view.log_start_offset)
    while offset < next_offset:
        segment = view.segment_at(offset)
        later = [other.base_offset for other in view.segments if other.base_offset > offset]
        end = min([next_offset, *later])
        number = _safe_number(medium.names.safe, segment.path)
        if number is None:
            return f"the name of {segment.path} is not safe"
        content = medium.contents[number]
        if not content.is_safe:
            last = segment.size_bytes if end >= segment.next_offset else segment.locate(end)
            first = segment.locate(offset)
            if min(content.sizes) < last:
                return f"{segment.path} may end at byte {min(content.sizes)}, before {last}"
            for page in range(first // PAGE_BYTES, (last - 1) // PAGE_BYTES + 1):
                start, stop = max(first - page * PAGE_BYTES, 0), min(last - page * PAGE_BYTES, PAGE_BYTES)
                versions = {version[start:stop] for version in content.pages.get(page, ())}
                if len(versions) > 1:
                    return f"page {page} of {segment.path} may be an older one"
        offset = end
    return ""


def _safe_number(safe: dict[int, dict[str, int]], path: str) -> int | None:
    number: int | None = ROOT
    for name in path.strip("/").split("/"):
        if number is None:
            return None
        number = safe.get(number, {}).get(name)
    return number
