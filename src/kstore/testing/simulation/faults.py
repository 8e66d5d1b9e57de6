"""Doing what a schedule says: processes, disks, clocks, the network and the controller going wrong, and right again.

Owns the meaning of every kind of entry, and healing all of it. It must not draw anything. Called by `run` and by
scenarios.

Invariant: `heal` undoes every fault, whatever was done: afterwards only what was lost is missing.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kstore.errors import CorruptionError, KStoreError
from kstore.replication.controller import commands as cmd
from kstore.testing.simdisk import SimDisk
from kstore.testing.simulation.network import Weather
from kstore.testing.simulation.schedule import Entry

if TYPE_CHECKING:
    from kstore.testing.simulation.cluster import SimCluster
    from kstore.testing.simulation.copies import Copy
    from kstore.testing.simulation.node import Node

CRC_COVERS_FROM = 21
"""The byte of a batch from which its checksum covers everything (docs/FORMAT.md)."""
DISK_CALLS = {
    "sync": frozenset({"sync", "sync_dir"}),
    "write": frozenset({"write", "create", "rename"}),
    "read": frozenset({"read", "map", "open"}),
}


class Faults:
    """Does the entries of a schedule to a cluster."""

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.healed = False
        self._do: dict[str, Callable[..., None]] = {
            "produce": self._produce,
            "kill": self._kill,
            "power": self._power,
            "power all": self._power_all,
            "pause": self._pause,
            "stop": self._stop,
            "cut": self._cut,
            "storm": self._storm,
            "clog": self._clog,
            "elect": self._elect,
            "reassign": self._reassign,
            "controller": self._controller,
            "disk error": self._disk_error,
            "disk full": self._disk_full,
            "disk slow": self._disk_slow,
            "clock": self._clock,
            "flip": self._flip,
            "wipe": self._wipe,
            "delete records": self._delete_records,
        }

    def arrange(self, entries: list[Entry]) -> None:
        """Have every entry done at its time, counted from now."""
        start_us = self.world.now_us
        for entry in entries:
            self.world.at(start_us + entry.at_ms * 1000, self._due, entry)

    def _due(self, entry: Entry) -> None:
        if self.healed:
            return
        if not entry.trigger:
            self.do(entry)
            return
        key = entry.args[0] if entry.args and isinstance(entry.args[0], str) else ""

        def heard(where: str, detail: str) -> bool:
            if self.healed or (key in self.cluster.topic_ids and key not in detail):
                return self.healed
            self.world.after(1, self._do_late, entry)
            return True

        self.world.await_told(entry.trigger, heard)

    def _do_late(self, entry: Entry) -> None:
        if not self.healed:
            self.do(entry)

    def do(self, entry: Entry) -> None:
        """Do one entry now."""
        self.world.tell("!", entry.kind, " ".join(map(str, entry.args)))
        self._do[entry.kind](*entry.args)

    def _until(self, duration_ms: int, undo: Callable[[], object]) -> None:
        self.world.after(duration_ms * 1000, undo)

    # -- who -----------------------------------------------------------------------------------------------------

    def who(self, key: str, role: str) -> Node | None:
        """Whoever has a role now."""
        cluster = self.cluster
        if role.isdigit():
            return cluster.nodes.get(int(role))
        assignment = cluster.assignment(key)
        if assignment is None:
            return None
        if role == "leader":
            return cluster.nodes.get(assignment.leader)
        others = {
            "follower": [r for r in assignment.replicas if r != assignment.leader],
            "member": [r for r in assignment.isr if r != assignment.leader],
            "outsider": [r for r in assignment.replicas if r not in assignment.isr],
        }[role]
        return cluster.nodes[others[0]] if others else None

    # -- clients -------------------------------------------------------------------------------------------------

    def _produce(self, producer: int, count: int, gap_ms: int) -> None:
        names = sorted(self.cluster.producers)
        if names:
            self.cluster.producers[names[producer % len(names)]].produce(count, gap_ms * 1000)

    # -- processes -----------------------------------------------------------------------------------------------

    def _kill(self, key: str, role: str, down_ms: int) -> None:
        node = self.who(key, role)
        if node is not None and node.running:
            node.die("kill -9")
            node.restart_only_at(self.world.now_us + down_ms * 1000)

    def _power(self, key: str, role: str, down_ms: int) -> None:
        node = self.who(key, role)
        if node is not None:
            node.lose_power()
            node.restart_only_at(self.world.now_us + down_ms * 1000)

    def _power_all(self, down_ms: int, spread_ms: int) -> None:
        for number, node in self.cluster.nodes.items():
            node.lose_power()
            node.restart_only_at(self.world.now_us + (down_ms + number * spread_ms) * 1000)

    def _pause(self, key: str, role: str, duration_ms: int) -> None:
        node = self.who(key, role)
        if node is not None and node.running and not node.paused:
            node.pause()
            life = node.life
            self._until(duration_ms, lambda: node.resume() if node.life == life else None)

    def _stop(self, key: str, role: str, down_ms: int) -> None:
        node = self.who(key, role)
        if node is not None and node.running:
            node.stop()
            self._until(20_000 + down_ms, partial(self._lose_patience, node, node.life))

    def _lose_patience(self, node: Node, life: int) -> None:
        if node.stopping and node.life == life and not self.healed:
            node.die("it takes too long to stop")

    # -- the network ---------------------------------------------------------------------------------------------

    def _cut(self, key: str, role: str, shape: str, number: int, duration_ms: int) -> None:
        node = self.who(key, role)
        if node is None:
            return
        pairs = self._pairs(node.name, shape, number)
        cut = self.cluster.network.cut(pairs)
        if shape == "flap":
            self._flap(cut, pairs, duration_ms)
        else:
            self._until(duration_ms, lambda: self.cluster.network.heal(cut))

    def _pairs(self, name: str, shape: str, number: int) -> frozenset[tuple[str, str]]:
        cluster = self.cluster
        brokers = [node.name for node in cluster.nodes.values()]
        places = brokers + list(cluster.control.places)
        others = [place for place in places if place != name]
        if shape == "one way in":
            return frozenset((other, name) for other in others)
        if shape == "one way out":
            return frozenset((name, other) for other in others)
        if shape == "no controller":
            controllers = cluster.control.places
            return frozenset(pair for c in controllers for pair in ((name, c), (c, name)))
        if shape == "pair":
            other = others[number % len(others)]
            return frozenset({(name, other), (other, name)})
        if shape == "ring":
            size = len(brokers)
            linked = {(brokers[i], brokers[(i + 1) % size]) for i in range(size)}
            return frozenset(
                (a, b) for a in brokers for b in brokers if a != b and (a, b) not in linked and (b, a) not in linked
            )
        side = {name} if shape in ("alone", "flap") else {
            place for i, place in enumerate(places) if number >> i & 1 or place == name
        }
        clients = [*cluster.producers, *cluster.consumers]
        side |= {client for i, client in enumerate(clients) if number >> (15 - i % 16) & 1}
        rest = [place for place in (*places, *clients) if place not in side]
        return frozenset(pair for a in side for b in rest for pair in ((a, b), (b, a)))

    def _flap(self, cut: int, pairs: frozenset[tuple[str, str]], left_ms: int) -> None:
        """On and off, each for a part of what is left."""
        network = self.cluster.network
        network.heal(cut)
        if left_ms > 50 and not self.healed:
            part = max(25, left_ms // 6)
            self._until(part, lambda: self._flap_back(pairs, left_ms - part))

    def _flap_back(self, pairs: frozenset[tuple[str, str]], left_ms: int) -> None:
        if not self.healed:
            cut = self.cluster.network.cut(pairs)
            part = max(25, left_ms // 6)
            self._until(part, lambda: self._flap(cut, pairs, left_ms - part))

    def _storm(
        self, duration_ms: int, drop: float, duplicate: float, replay: float, delay_ms: float, corrupt: float
    ) -> None:
        weather = Weather(100, int(delay_ms * 1000), drop, duplicate, replay, corrupt)
        network = self.cluster.network
        network.weather = weather

        def calm() -> None:
            if network.weather is weather:
                network.weather = Weather()

        self._until(duration_ms, calm)

    def _clog(self, key: str, role: str, direction: str, duration_ms: int) -> None:
        node = self.who(key, role)
        if node is None:
            return
        for other in self.cluster.nodes.values():
            if other is not node:
                pair = (other.name, node.name) if direction == "in" else (node.name, other.name)
                self.cluster.network.clog(*pair, duration_ms * 1000)

    # -- the controller ------------------------------------------------------------------------------------------

    def _controller(self, how: str, pause_ms: int) -> None:
        control = self.cluster.control
        if how == "before answer":
            control.dies_before_answer = True
        elif how == "before persisting":
            control.dies_before_persisting = True
        else:
            control.fail_over(pause_ms * 1000)

    def _elect(self, key: str, how: str) -> None:
        if how == "balance":
            self.cluster.control.order(cmd.BalanceLeaders())
        else:
            self.cluster.control.order(cmd.ElectLeader(key, 0, cmd.Election(how)))

    def _reassign(self, key: str, target: tuple[int, ...] | None) -> None:
        self.cluster.control.order(cmd.Reassign(key, 0, target))

    def _delete_records(self, key: str, share: float) -> None:
        node = self.cluster.leader(key)
        if node is not None and node.running and not node.paused and key in node.replicas:
            node.receive(self._delete, node, key, share)

    def _delete(self, node: Node, key: str, share: float) -> None:
        replica = node.replicas[key]
        local = replica.state.local
        offset = local.log_start_offset + int((local.high_watermark - local.log_start_offset) * share)
        try:
            node.step(key, replica.delete_records, offset, node.now_ms)
        except KStoreError as error:
            self.world.tell(node.name, "does not delete", f"{key}: {type(error).__name__}")

    # -- disks and clocks ----------------------------------------------------------------------------------------

    def _disk_error(self, key: str, role: str, kind: str, nth: int, times: int, duration_ms: int) -> None:
        node = self.who(key, role)
        if node is None:
            return
        kinds = DISK_CALLS.get(kind, frozenset().union(*DISK_CALLS.values()))
        disk = node.disk
        plant = disk.faults.plant(errno.EIO, nth=nth, kinds=kinds, times=times or None, part=0.5)

        def mend() -> None:
            if plant in disk.faults.planted:
                disk.faults.planted.remove(plant)

        self._until(duration_ms, mend)

    def _disk_full(self, key: str, role: str, room_bytes: int, duration_ms: int) -> None:
        node = self.who(key, role)
        if node is not None:
            node.disk.capacity_bytes = node.disk.used_bytes + room_bytes
            self._until(duration_ms, lambda: self._make_room(node))

    def _make_room(self, node: Node) -> None:
        node.disk.capacity_bytes = 0

    def _disk_slow(self, key: str, role: str, latency_ms: int, duration_ms: int) -> None:
        node = self.who(key, role)
        if node is not None:
            node.sync_latency_us = latency_ms * 1000
            self._until(duration_ms, lambda: self._speed_up(node))

    def _speed_up(self, node: Node) -> None:
        node.sync_latency_us = self.cluster.options.sync_latency_us

    def _clock(self, number: int, jump_ms: int) -> None:
        self.cluster.nodes[number].clock.wall_offset_ms += jump_ms

    def _flip(self, key: str, role: str, where: str, number: int) -> None:
        node = self.who(key, role)
        if node is None:
            return
        copy = self.cluster.judge.copy(node.id, key)
        dice = random.Random(number)
        spot = _spot(node, key, copy, dice, where)
        if spot is not None:
            path, bit = spot
            copy.is_damaged = True
            node.disk.flip_bit(path, bit)
            self.world.tell(node.name, "rots", f"{key}: bit {bit % 8} of byte {bit // 8} of {path}")

    def _wipe(self, key: str, role: str, down_ms: int) -> None:
        """The machine comes back with an empty disk."""
        node = self.who(key, role)
        if node is None:
            return
        node.die("its machine burns")
        node.disk = SimDisk(medium=True)
        for topic in self.cluster.options.keys:
            self.cluster.judge.copy(node.id, topic).is_known = False
        node.restart_only_at(self.world.now_us + down_ms * 1000)

    # -- healing -------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """End every fault: the network whole, disks healthy, every process up and running."""
        self.healed = True
        self.world.tell("!", "heal")
        cluster = self.cluster
        cluster.network.heal_all()
        control = cluster.control
        control.dies_before_answer = control.dies_before_persisting = False
        for node in cluster.nodes.values():
            node.disk.faults.clear()
            node.disk.capacity_bytes = 0
            node.sync_latency_us = cluster.options.sync_latency_us
            node.stopping = False
            node.resume()
            if not node.running:
                node.start()




def _spot(node: Node, key: str, copy: Copy, dice: random.Random, where: str) -> tuple[str, int] | None:
    """A bit in a stored batch, as (file, bit), among those that its checksum covers.

    Below, it lies under the recovery point that the disk knows of: between that and the log end, a broken batch cannot
    be told from one that a crash has torn (docs/DURABILITY.md), and is cut. Above, it lies over the high watermark.
    """
    replica = node.replicas.get(key)
    if replica is None or not copy.batches:
        return None
    limit = node.checkpointed.get(key, 0)
    if where == "below":
        held = [b for b in copy.batches if copy.log_start_offset <= b.base_offset and b.next_offset <= limit]
    else:
        held = [b for b in copy.batches if b.base_offset >= copy.high_watermark]
    if not held:
        return None
    batch = dice.choice(held)
    segment = replica.partition.log.view.segment_at(batch.base_offset)
    try:
        start = segment.locate(batch.base_offset)
        end = segment.size_bytes if batch.next_offset >= segment.next_offset else segment.locate(batch.next_offset)
    except CorruptionError:  # an earlier flip hides the place
        return None
    if start + CRC_COVERS_FROM >= end:
        return None
    return segment.path, dice.randrange((start + CRC_COVERS_FROM) * 8, end * 8)
