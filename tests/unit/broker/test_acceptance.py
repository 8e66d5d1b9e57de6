"""What a topic refuses of a client's batch: keys, timestamps, transactions; and how the answer names the records."""

from __future__ import annotations

import pytest

import kstore
from kstore.broker.acceptance import INVALID_RECORD, INVALID_TIMESTAMP, Refusal, require_acceptable
from kstore.config import TopicConfig
from kstore.errors import CorruptionError, InvalidBatch, KStoreError
from kstore.testing.cluster import Cluster
from support.wire_client import WireClient, produce_request

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
COMPACTED = TopicConfig.parse({"cleanup.policy": "compact"})
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def batch(*records: kstore.Record | bytes | tuple[bytes | None, bytes], codec: str = "none") -> memoryview:
    return memoryview(kstore.encode_batches(list(records), timestamp_ms=NOW_MS, compression=codec))


def at(*times_ms: int, codec: str = "none") -> memoryview:
    return batch(*(kstore.Record(value=b"v", timestamp_ms=time_ms) for time_ms in times_ms), codec=codec)


def refused(records: memoryview, config: TopicConfig, version: int = 9) -> Refusal:
    with pytest.raises(Refusal) as caught:
        require_acceptable(records, version, config, NOW_MS)
    return caught.value


@pytest.mark.parametrize("codec", CODECS)
def test_a_compacted_topic_wants_keys(codec: str) -> None:
    require_acceptable(batch((b"k", b"v"), (b"", b"v"), codec=codec), 9, COMPACTED, NOW_MS)
    found = refused(batch((b"k", b"v"), b"v", (b"k", b"v"), b"w", codec=codec), COMPACTED)
    assert (found.error_code, sorted(found.records)) == (INVALID_RECORD, [1, 3])
    require_acceptable(batch(b"v", codec=codec), 9, TopicConfig(), NOW_MS)


@pytest.mark.parametrize("codec", CODECS)
def test_timestamps_too_far_ahead(codec: str) -> None:
    require_acceptable(at(NOW_MS + HOUR_MS, 0, -1, codec=codec), 9, TopicConfig(), NOW_MS)
    found = refused(at(NOW_MS, NOW_MS + HOUR_MS + 1, codec=codec), TopicConfig())
    assert (found.error_code, list(found.records)) == (INVALID_TIMESTAMP, [1])


def test_timestamps_too_old_where_that_is_limited() -> None:
    config = TopicConfig.parse({"message.timestamp.before.max.ms": 10})
    require_acceptable(at(NOW_MS - 10, NOW_MS), 9, config, NOW_MS)
    found = refused(at(NOW_MS - 11, NOW_MS, 0), config)
    assert (found.error_code, list(found.records)) == (INVALID_TIMESTAMP, [0, 2])


def test_the_brokers_own_clock_has_no_limits() -> None:
    config = TopicConfig(message_timestamp_type="LogAppendTime", message_timestamp_before_max_ms=1)
    require_acceptable(at(0, NOW_MS + 10 * HOUR_MS), 9, config, NOW_MS)


def test_bytes_that_fail_their_checksum_are_not_decoded() -> None:
    harmed = bytearray(batch((b"k", b"v")))
    harmed[-1] ^= 1
    with pytest.raises((InvalidBatch, CorruptionError)) as caught:
        require_acceptable(memoryview(harmed), 9, COMPACTED, NOW_MS)
    assert isinstance(caught.value, KStoreError)
    assert caught.value.error_code == 2


def test_the_answer_names_the_records(cluster: Cluster, client: WireClient) -> None:
    cluster.broker.cluster.create_topic("c", 1, 1, {"cleanup.policy": "compact"}, validate_only=False)
    one = client.ask(produce_request("c", batch((b"k", b"v"), b"v")), 9).responses[0].partition_responses[0]
    assert (one.error_code, one.base_offset) == (INVALID_RECORD, -1)
    assert [(e.batch_index, "key" in e.batch_index_error_message) for e in one.record_errors] == [(1, True)]
    assert client.ask(produce_request("c", batch((b"k", b"v"))), 9).responses[0].partition_responses[0].base_offset == 0
