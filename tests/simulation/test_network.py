"""The network: what each fault does to messages, and that nothing is lost where nothing is wrong."""

from __future__ import annotations

import pytest

from kstore.testing.simulation.network import Network, Weather
from kstore.testing.simulation.world import World

MANY = 2_000


@pytest.fixture
def world(seed: int) -> World:
    return World(seed)


@pytest.fixture
def network(world: World) -> Network:
    return Network(world)


def sent(network: Network, count: int = MANY, source: str = "a", target: str = "b", once: bool = False) -> list[int]:
    """Send numbers a millisecond apart; returns what arrived within an hour, in order."""
    world, arrived = network.world, []
    for number in range(count):
        network.send(source, target, arrived.append, number, once=once)
        world.run_until(world.now_us + 1_000)
    world.run_until(world.now_us + 3_600_000_000)
    return arrived


def test_in_fair_weather_everything_arrives_once(network: Network) -> None:
    assert sorted(sent(network)) == list(range(MANY))


def test_messages_overtake_one_another(network: Network) -> None:
    network.weather = Weather(delay_mean_us=5_000)
    arrived = sent(network)
    assert sorted(arrived) == list(range(MANY))
    assert arrived != list(range(MANY))


def test_some_are_lost(network: Network) -> None:
    network.weather = Weather(drop=0.3)
    arrived = sent(network)
    assert 0.6 * MANY < len(arrived) < 0.8 * MANY
    assert len(set(arrived)) == len(arrived)


def test_some_come_twice_but_not_what_a_connection_never_repeats(network: Network) -> None:
    network.weather = Weather(duplicate=0.5)
    arrived = sent(network)
    assert set(arrived) == set(range(MANY))
    assert 1.4 * MANY < len(arrived) < 1.6 * MANY
    assert sorted(sent(network, once=True)) == list(range(MANY))


def test_old_ones_come_again_much_later(network: Network) -> None:
    network.weather = Weather(replay=0.5)
    arrived = sent(network)
    assert 1.4 * MANY < len(arrived) < 1.6 * MANY
    latest, oldest_again = 0, 0
    for number in arrived:
        oldest_again = max(oldest_again, latest - number)
        latest = max(latest, number)
    assert oldest_again > 20, "from well before"


def test_a_cut_is_one_way_until_it_is_healed(network: Network) -> None:
    number = network.cut(frozenset({("a", "b")}))
    assert sent(network, 20) == []
    assert len(sent(network, 20, "b", "a")) == 20
    assert len(sent(network, 20, "a", "c")) == 20
    other = network.cut(frozenset({("a", "b"), ("a", "c")}))
    network.heal(number)
    assert sent(network, 20) == [], "the other cut still holds"
    network.heal(other)
    network.heal(other)
    assert len(sent(network, 20)) == 20


def test_what_is_under_way_when_a_cut_begins_arrives(network: Network, world: World) -> None:
    arrived: list[int] = []
    network.send("a", "b", arrived.append, 1)
    network.cut(frozenset({("a", "b")}))
    world.run_until(1_000_000)
    assert arrived == [1]


def test_a_clogged_link_holds_back_and_then_delivers(network: Network, world: World) -> None:
    times: list[int] = []
    network.clog("a", "b", 5_000_000)
    for _ in range(20):
        network.send("a", "b", lambda: times.append(world.now_us))
    network.send("b", "a", lambda: times.append(-world.now_us))
    world.run_until(60_000_000)
    assert len(times) == 21
    assert -100_000 < times[0] < 0, "the other direction is free"
    assert min(times[1:]) >= 5_000_000


def test_bytes_are_damaged_but_never_in_fair_weather(network: Network) -> None:
    data, nothing = bytes(range(200)), frozenset[int]()
    assert network.damaged("a", "b", data, nothing) is data
    network.weather = Weather(corrupt=1.0)
    damaged = [network.damaged("a", "b", data, nothing) for _ in range(100)]
    assert all(one != data for one in damaged)
    assert any(len(one) == len(data) for one in damaged), "a bit flipped"
    assert any(data.startswith(one) for one in damaged), "cut short"
    assert any(data.endswith(one) for one in damaged), "its beginning gone"
    assert network.damaged("a", "b", b"", nothing) == b""


def test_bytes_without_a_checksum_are_spared(network: Network) -> None:
    data, spared = bytes(range(200)), frozenset(range(8))
    network.weather = Weather(corrupt=1.0)
    whole = [one for one in (network.damaged("a", "b", data, spared) for _ in range(500)) if len(one) == len(data)]
    assert all(one[:8] == data[:8] for one in whole)
    assert any(one != data for one in whole)


def test_healing_ends_all_of_it(network: Network) -> None:
    network.weather = Weather(drop=1.0, corrupt=1.0, replay=1.0)
    network.cut(frozenset({("a", "b")}))
    network.clog("a", "b", 10**12)
    network.heal_all()
    assert sorted(sent(network, 50)) == list(range(50))
    assert network.damaged("a", "b", b"data", frozenset()) == b"data"


def test_a_message_more_on_one_link_changes_no_other(seed: int) -> None:
    def delays(more: int) -> list[int]:
        world = World(seed)
        network = Network(world)
        network.weather = Weather(drop=0.3, duplicate=0.3)
        times: list[int] = []
        for _ in range(more):
            network.send("x", "b", lambda: None)
        for _ in range(100):
            network.send("a", "b", lambda: times.append(world.now_us))
        world.run_until(10**9)
        return times

    assert delays(0) == delays(7)
