"""What must hold between replicas, after every step.

Owns the invariants of docs/REPLICATION.md that no single replica can see: I1, I3, I4, I5, I21; those of one replica or
of the controller are looked at where it steps. It must not know how a state came about. Called by `explorer`; each pair
of replicas is compared once.
"""

from __future__ import annotations

from kstore.replication.leading import Leader
from kstore.replication.state import Sync
from kstore.testing.model.nodes import Node
from kstore.testing.model.world import World

SHIFT = 32


class Checks:
    """The invariants of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._nodes = world.nodes.nodes.values
        self._replicas = world.scope.replicas
        self._pairs: dict[int, str] = {}
        self._holds: dict[int, str] = {}
        self._kept: dict[int, str] = {}
        self._leads: list[bool] = []

    def broken(self, state: tuple[int, ...]) -> str:
        """Which invariant a state breaks, and how; empty for none."""
        replicas = self._replicas
        pairs = self._pairs
        for i in range(replicas - 1):
            for j in range(i + 1, replicas):
                key = state[i] << SHIFT | state[j]
                found = pairs.get(key)
                if found is None:
                    found = pairs[key] = _differ(self._nodes[state[i]], self._nodes[state[j]])
                if found:
                    return found
        standing = self._world.controllers.standing(state[self._world.at_controller])
        for i in range(replicas):
            if self._is_leader(state[i]):
                for j in standing.isr:
                    if j != i:
                        found = self._lacking(state[i], state[j])
                        if found:
                            return found
        acked = state[self._world.at_acked]
        if acked:
            for j in (*standing.isr, *standing.elr):
                found = self._forgotten(acked, state[j])
                if found:
                    return found
        return ""

    def _is_leader(self, node: int) -> bool:
        leads = self._leads
        while len(leads) <= node:
            leads.append(isinstance(self._nodes[len(leads)].state, Leader))
        return leads[node]

    def _lacking(self, leader: int, member: int) -> str:
        key = leader << SHIFT | member
        found = self._holds.get(key)
        if found is None:
            found = self._holds[key] = _lacks(self._nodes[leader], self._nodes[member])
        return found

    def _forgotten(self, acked: int, node: int) -> str:
        key = acked << SHIFT | node
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = self._forgets(acked, self._nodes[node])
        return found

    def _forgets(self, acked: int, node: Node) -> str:
        for offset, epoch, _ in self._world.acked.values[acked]:
            if node.log[offset : offset + 1] != (epoch,):
                who = "leads or may lead next" if isinstance(node.state, Leader) else "may lead next"
                return f"I1: replica {node.state.id} {who}, and record {offset} of epoch {epoch}, acknowledged, is lost"
        return ""

    def unsynced(self, state: tuple[int, ...], records: tuple[tuple[int, int], ...]) -> str:
        """I21, at the moment of an acknowledgement: every member of the ISR has it on its medium."""
        if self._world.scope.sync is Sync.NONE:
            return ""
        standing = self._world.controllers.standing(state[self._world.at_controller])
        for j in standing.isr:
            local = self._nodes[state[j]].state.local
            for offset, _ in records:
                if local.durable_offset <= offset:
                    return f"I21: record {offset} is acknowledged, and not on the medium of replica {j + 1}"
        return ""


def _differ(a: Node, b: Node) -> str:
    common = min(a.state.local.high_watermark, b.state.local.high_watermark)
    if a.log[:common] != b.log[:common]:
        theirs = f"replica {a.state.id} holds {a.log[:common]}, replica {b.state.id} {b.log[:common]}"
        return f"I5: below high watermark {common}, {theirs}"
    if isinstance(a.state, Leader) and isinstance(b.state, Leader):
        epoch = a.state.assignment.leader_epoch
        if epoch == b.state.assignment.leader_epoch:
            return f"I4: replicas {a.state.id} and {b.state.id} lead in epoch {epoch}"
    return ""


def _lacks(leader: Node, member: Node) -> str:
    mark = leader.state.local.high_watermark
    if leader.log[:mark] != member.log[:mark]:
        return f"I3: replica {member.state.id} is in sync, and lacks what leader {leader.state.id} holds below {mark}"
    return ""
