"""Batches whose checksum fits and whose records do not: nobody else would ever notice before the consumers do."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from kstore import compression, crc32c
from kstore.errors import MissingCodec
from kstore.records import encode_batches
from kstore.testing.cluster import Cluster
from support.wire_client import WireClient, produce_request

INVALID_RECORD = 87
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
LARGE = [b"%04d" % number * 50 for number in range(60)]
"""More than the log looks at by itself."""
Edit = Callable[[bytearray], None]


@pytest.fixture(scope="module")
def client() -> Iterator[WireClient]:
    with Cluster() as cluster, WireClient(cluster.bootstrap) as made:
        made.make_topic("t")
        yield made


def edited(codec: str, edit: Edit) -> bytes:
    """A batch of `LARGE`, changed, with a checksum that fits."""
    batch = bytearray(encode_batches(LARGE, compression=codec))
    edit(batch)
    struct.pack_into(">I", batch, 17, crc32c(bytes(batch[21:])))
    return bytes(batch)


def counting(count: int) -> Edit:
    def edit(batch: bytearray) -> None:
        struct.pack_into(">i", batch, 23, count - 1)
        struct.pack_into(">i", batch, 57, count)

    return edit


def garbled(batch: bytearray) -> None:
    batch[61:75] = b"\xff" * 14


def cut(batch: bytearray) -> None:
    del batch[-30:]
    struct.pack_into(">i", batch, 8, len(batch) - 12)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "edit",
    [counting(len(LARGE) + 1), counting(len(LARGE) - 1), counting(1), garbled, cut],
    ids=["one more", "one less", "one", "garbled", "cut"],
)
def test_records_that_contradict_their_batch_are_refused(client: WireClient, codec: str, edit: Edit) -> None:
    before = client.produce("t", [b"before"]).base_offset
    answer = client.ask(produce_request("t", edited(codec, edit)), 9).responses[0].partition_responses[0]
    assert answer.error_code == INVALID_RECORD
    assert answer.error_message
    assert client.produce("t", [b"after"]).base_offset == before + 1, "nothing was stored, and the next one is taken"


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_for_requests_that_the_broker_knows_by_heart(client: WireClient, codec: str) -> None:
    good = edited(codec, lambda batch: None)
    bad = edited(codec, counting(len(LARGE) - 1))
    for _ in range(3):
        end = client.ask(produce_request("t", good), 9).responses[0].partition_responses[0].base_offset + len(LARGE)
    numbers = [client.post(produce_request("t", batch), 9) for batch in (good, bad, good)]
    answers = [client.receive_with_id(0, 9) for _ in numbers]
    assert [number for number, _ in answers] == numbers
    found = [answer.responses[0].partition_responses[0] for _, answer in answers]
    assert [one.error_code for one in found] == [0, INVALID_RECORD, 0]
    assert [one.base_offset for one in found] == [end, -1, end + len(LARGE)]


def test_a_bomb_is_not_set_off(client: WireClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kstore.limits.DECOMPRESSED_BYTES_MAX", 1 << 20)
    bomb = encode_batches([bytes(2 << 20)], compression="gzip")
    assert len(bomb) < 4096
    answer = client.ask(produce_request("t", bomb), 9).responses[0].partition_responses[0]
    assert answer.error_code == INVALID_RECORD


def test_a_codec_that_is_not_installed_is_stored_as_it_came(
    client: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = encode_batches(LARGE, compression="zstd")

    def missing(name: str) -> None:
        raise MissingCodec(name)

    monkeypatch.setattr(compression, "_cramjam", missing)
    assert client.ask(produce_request("t", batch), 9).responses[0].partition_responses[0].error_code == 0
