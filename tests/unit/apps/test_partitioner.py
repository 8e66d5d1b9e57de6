"""The hash of Kafka's Java client. Expected numbers are those of its own UtilsTest."""

import pytest

from kstore.apps.partitioner import murmur2, partition_of_key


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hash_is_the_java_clients(data, signed):
    assert murmur2(data) == signed & 0xFFFFFFFF


def test_sign_bit_is_cleared_before_the_remainder():
    assert partition_of_key(b"21", 7) == (-973932308 & 0x7FFFFFFF) % 7


def test_empty_key_has_a_partition():
    assert 0 <= partition_of_key(b"", 3) < 3
