"""Assignors: complete, fair, sticky, and the same every time."""

from hypothesis import given
from hypothesis import strategies as st

from kstore.groups.assignors import Subscriber, assign_range, assign_uniform


def topic(number: int) -> bytes:
    return bytes([number]) * 16


def subscriber(*topics, target=None, instance=None) -> Subscriber:
    return Subscriber(instance, frozenset(map(topic, topics)), target or {})


members_strategy = st.dictionaries(
    st.sampled_from("abcdefgh"), st.frozensets(st.integers(0, 3)).map(lambda topics: subscriber(*topics)), min_size=1
)
counts_strategy = st.dictionaries(st.integers(0, 3).map(topic), st.integers(0, 7))


def owners(target):
    return [(topic_id, one) for given_ in target.values() for topic_id, numbers in given_.items() for one in numbers]


def check_complete(members, counts, target):
    readable = {topic_id for member in members.values() for topic_id in member.topics} & counts.keys()
    expected = sorted((topic_id, number) for topic_id in readable for number in range(counts[topic_id]))
    assert sorted(owners(target)) == expected
    assert target.keys() == members.keys()
    for member_id, given_ in target.items():
        assert given_.keys() <= members[member_id].topics


@given(members_strategy, counts_strategy)
def test_everything_has_one_owner_who_reads_it(members, counts):
    for assign in (assign_range, assign_uniform):
        check_complete(members, counts, assign(members, counts))


def with_target(members, target):
    return {name: member._replace(target=target.get(name, {})) for name, member in members.items()}


def sizes(target):
    return sorted(sum(map(len, given_.values())) for given_ in target.values())


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 20), st.integers(0, 20))
def test_uniform_is_fair_and_sticky(before, after, count, other):
    counts = {topic(0): count, topic(1): other}
    first = {f"m{number}": subscriber(0, 1) for number in range(before)}
    target = assign_uniform(first, counts)
    assert sizes(target)[-1] - sizes(target)[0] <= 1
    second = with_target({f"m{number}": subscriber(0, 1) for number in range(after)}, target)
    again = assign_uniform(second, counts)
    check_complete(second, counts, again)
    assert sizes(again)[-1] - sizes(again)[0] <= 1
    assert assign_uniform(with_target(second, again), counts) == again
    # Whoever stays keeps what its share allows, so only what must move moves.
    total, quota = count + other, (count + other) // after
    stayed = sum(
        len(set(numbers) & set(again[name].get(topic_id, ())))
        for name, given_ in target.items()
        if name in again
        for topic_id, numbers in given_.items()
    )
    had = [sum(map(len, target[name].values())) for name in target if name in again]
    larger = total % after
    possible = sum(min(size, quota) for size in had) + min(larger, sum(size > quota for size in had))
    assert stayed == possible


@given(members_strategy, counts_strategy, st.randoms())
def test_uniform_with_different_topics_leaves_nobody_two_behind(members, counts, random):
    target = assign_uniform(members, counts)
    shuffled = list(members.items())
    random.shuffle(shuffled)
    assert assign_uniform(dict(shuffled), counts) == target
    for giver, given_ in target.items():
        for topic_id in given_:
            for taker, member in members.items():
                if topic_id in member.topics:
                    assert sum(map(len, given_.values())) - sum(map(len, target[taker].values())) <= 1, (giver, taker)


def test_range_splits_topics_alike_and_static_members_first():
    members = {
        "z": subscriber(0, 1, instance="i0"),
        "a": subscriber(0, 1),
        "y": subscriber(0, 1, instance="i1"),
    }
    target = assign_range(members, {topic(0): 7, topic(1): 7})
    assert target["z"] == {topic(0): (0, 1, 2), topic(1): (0, 1, 2)}
    assert target["y"] == {topic(0): (3, 4), topic(1): (3, 4)}
    assert target["a"] == {topic(0): (5, 6), topic(1): (5, 6)}


def test_range_gives_nothing_to_members_beyond_the_last_partition():
    target = assign_range({"a": subscriber(0), "b": subscriber(0), "c": subscriber(1)}, {topic(0): 1, topic(1): 1})
    assert target == {"a": {topic(0): (0,)}, "b": {}, "c": {topic(1): (0,)}}


def test_nobody_to_assign_to():
    assert assign_uniform({}, {topic(0): 3}) == assign_range({}, {topic(0): 3}) == {}
