"""The world: order of events, chance by concern, the trace, and clocks that drift."""

from __future__ import annotations

from kstore.testing.simulation.world import LocalClock, World


def test_events_happen_by_time_and_then_in_the_order_of_their_making() -> None:
    world, seen = World(1), []
    for name, time_us in (("late", 300), ("first", 100), ("second", 100), ("middle", 200)):
        world.at(time_us, lambda name=name: seen.append((world.now_us, name)))
    assert not world.run_until(1_000)
    assert seen == [(100, "first"), (100, "second"), (200, "middle"), (300, "late")]
    assert world.now_us == 1_000
    assert world.happened == 4


def test_nothing_happens_in_the_past() -> None:
    world, seen = World(1), []
    world.at(500, lambda: world.at(100, lambda: seen.append(world.now_us)))
    world.at(600, lambda: world.after(-50, lambda: seen.append(world.now_us)))
    world.run_until(1_000)
    assert seen == [500, 600]


def test_a_run_ends_when_it_is_told_to() -> None:
    world, seen = World(1), []
    for time_us in (100, 200, 300):
        world.at(time_us, seen.append, time_us)
    assert world.run_until(1_000, lambda: len(seen) == 2)
    assert (seen, world.now_us) == ([100, 200], 200)
    assert not world.run_until(250)
    assert (seen, world.now_us) == ([100, 200], 250)
    world.run_until(300)
    assert seen == [100, 200, 300]


def test_chance_comes_from_seed_and_concern_alone() -> None:
    def drawn(seed: int, concern: str, others: int = 0) -> list[int]:
        world = World(seed)
        for number in range(others):
            world.dice(f"other {number}").random()
        return [world.dice(concern).randrange(10**9) for _ in range(3)]

    assert drawn(1, "link") == drawn(1, "link", others=5)
    assert drawn(1, "link") != drawn(1, "clock")
    assert drawn(1, "link") != drawn(2, "link")


def told(record: bool, *lines: str) -> World:
    world = World(1, record=record)
    for number, line in enumerate(lines):
        world.at(number, world.tell, "b1", "says", line)
    world.run_until(10_000)
    return world


def test_the_hash_covers_every_line_in_order_with_its_time() -> None:
    lines = [f"line {number}" for number in range(1_000)]
    whole = told(False, *lines)
    assert whole.trace_hash() == told(True, *lines).trace_hash()
    assert whole.trace_hash() != told(False, *lines[:-1]).trace_hash()
    assert whole.trace_hash() != told(False, lines[1], lines[0], *lines[2:]).trace_hash()
    assert not whole.story
    story = told(True, *lines).story
    assert (len(story), story[3].time_us, story[3].detail) == (1_000, 3, "line 3")


def test_whoever_awaits_a_line_hears_it_until_satisfied() -> None:
    world, heard = World(1), []

    def hear(where: str, detail: str) -> bool:
        heard.append((where, detail))
        return detail == "enough"

    world.await_told("decides", hear)
    for what, detail in (("acked", "no"), ("decides", "more"), ("decides", "enough"), ("decides", "late")):
        world.tell("c1", what, detail)
    assert heard == [("c1", "more"), ("c1", "enough")]


def test_a_clock_drifts_and_reaches_its_deadlines_by_its_own_time() -> None:
    for drift_ppm in (-20_000, 0, 333, 20_000):
        world = World(1)
        clock = LocalClock(world, drift_ppm, start_ms=12_345)
        due_ms = clock.elapsed_ms() + 5_000
        due_us = clock.world_us(due_ms)
        assert abs(due_us - 5_000_000) <= 110_000, "two per cent"
        world.run_until(due_us - 1)
        assert clock.elapsed_ms() == due_ms - 1
        world.run_until(due_us)
        assert clock.elapsed_ms() == due_ms


def test_a_jump_moves_the_wall_and_not_the_elapsed_time() -> None:
    world = World(1)
    clock = LocalClock(world)
    wall_ms, elapsed_ms = clock.wall_ms(), clock.elapsed_ms()
    clock.wall_offset_ms -= 3_600_000
    assert clock.elapsed_ms() == elapsed_ms
    assert clock.wall_ms() == wall_ms - 3_600_000
