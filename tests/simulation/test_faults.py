"""Faults end what they began, and nothing else."""

from __future__ import annotations

from kstore.testing.simulation.scene import Scene
from kstore.testing.simulation.schedule import Entry


def stop(scene: Scene, broker: int) -> None:
    """A controlled shutdown; whoever asked for it waits for 21 seconds."""
    scene.faults.do(Entry(0, "stop", (scene.KEY, str(broker), 1_000)))


def test_who_stops_in_time_is_left_alone_in_its_next_life() -> None:
    with Scene((1, 2, 3)) as scene:
        stop(scene, 2)
        scene.until(lambda: bool(scene.lines("stops", 2)), "broker 2 to stop")
        scene.run(30)
        assert not scene.lines("dies: it takes too long to stop", 2)
        assert scene.node(2).running
        scene.finish()


def test_who_does_not_stop_is_killed() -> None:
    with Scene((1, 2, 3)) as scene:
        scene.cut(2, *scene.controllers)
        stop(scene, 2)
        scene.run(30)
        assert not scene.lines("stops", 2)
        assert scene.lines("dies: it takes too long to stop", 2)
        scene.finish()


def test_once_all_is_healed_nobody_is_killed_any_more() -> None:
    with Scene((1, 2, 3)) as scene:
        scene.cut(2, *scene.controllers)
        stop(scene, 2)
        scene.run(20)
        scene.finish()
        scene.run(10)
        assert not scene.lines("dies: it takes too long to stop", 2)
