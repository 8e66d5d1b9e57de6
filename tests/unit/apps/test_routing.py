"""Where the file producer sends a line: by its bytes and its place alone."""

import pytest

from kstore.apps.partitioner import partition_of_key
from kstore.apps.routing import BLOCK_BYTES, Routing


def test_one_partition_takes_all():
    assert Routing(1).split([b"a", b"", b"b"], 10**9) == {0: [b"a", b"", b"b"]}


def test_fixed_partition():
    assert Routing(3, fixed_partition=2).split([b"a", b"b"], 0) == {2: [b"a", b"b"]}


def test_blocks_of_the_file_go_round():
    line = b"x" * (BLOCK_BYTES // 2 - 2)
    spread = Routing(3).split([line + b"%d" % n for n in range(8)], 0)
    assert sorted(spread) == [0, 1, 2]
    assert [v[-1:] for v in spread[0]] == [b"0", b"1", b"6", b"7"]


@pytest.mark.parametrize("routing", [Routing(3), Routing(5, key_field=2), Routing(4, key_field=1, separator=b",")])
def test_how_a_file_is_cut_into_reads_changes_nothing(routing):
    lines = [b"%d\tkey-%d,%s" % (n, n % 17, b"v" * (n * 37 % 900)) for n in range(500)]
    whole = routing.split(lines, 0)
    pieces: dict[int, list] = {}
    position = 0
    for cut in range(0, 500, 7):
        part = lines[cut : cut + 7]
        for partition, records in routing.split(part, position).items():
            pieces.setdefault(partition, []).extend(records)
        position += sum(len(line) + 1 for line in part)
    assert pieces == whole


def test_key_is_the_chosen_field_and_the_value_the_whole_line():
    spread = Routing(4, key_field=2, separator=b",").split([b"a,bob,c"], 0)
    assert spread == {partition_of_key(b"bob", 4): [(b"bob", b"a,bob,c")]}


def test_last_field_loses_the_carriage_return_the_value_keeps_it():
    routing = Routing(1, key_field=2, separator=b",")
    assert routing.split([b"a,bob\r"], 0) == {0: [(b"bob", b"a,bob\r")]}


def test_a_line_without_the_field_has_no_key():
    assert Routing(1, key_field=3, separator=b",").split([b"a,b", b""], 0) == {0: [(None, b"a,b"), (None, b"")]}


def test_descriptions_tell_routings_apart():
    routings = [Routing(3), Routing(4), Routing(3, fixed_partition=1), Routing(3, 2), Routing(3, 2, b",")]
    assert len({routing.describe() for routing in routings}) == len(routings)
