"""What a test may do to a broker: its time, its network, its disk."""

from __future__ import annotations

import errno
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kstore
from kstore.errors import UsageError
from kstore.records import decode_batches, encode_batches
from kstore.testing.cluster import Cluster
from kstore.testing.refused_requests import REFUSABLE, refusal
from kstore.wire import apis, error_codes
from kstore.wire.codec import decode_response, encode_response
from kstore.wire.layouts import request_type
from kstore.wire.messages.groups import (
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
)
from kstore.wire.messages.sessions import ApiVersionsRequest
from kstore.wire.messages.topics import CreatableTopic, CreateTopicsRequest
from kstore.wire.schema import Struct
from support.until import until
from support.wire_client import WireClient, fetch_request, produce_request

PRODUCE, FETCH = 0, 1
NOT_LEADER = error_codes.BY_NAME["NOT_LEADER_OR_FOLLOWER"].code
STORAGE_ERROR = error_codes.BY_NAME["KAFKA_STORAGE_ERROR"].code
TIMEOUT_S = 20.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        yield made


@pytest.fixture
def client(cluster: Cluster) -> Iterator[WireClient]:
    with WireClient(cluster.bootstrap) as made:
        make_topic(made, 2)
        yield made


def make_topic(client: WireClient, partitions: int) -> None:
    topic = CreatableTopic(name="t", num_partitions=partitions, replication_factor=1, assignments=[], configs=[])
    assert client.ask(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 5).topics[0].error_code == 0


def values(client: WireClient, offset: int) -> list[bytes | None]:
    records = client.fetch("t", offset).records
    return [one.value for one in decode_batches(records or b"").records()]


# -- requests ------------------------------------------------------------------------------------------------------


def test_an_error_is_answered_once_and_nothing_is_done(cluster: Cluster, client: WireClient) -> None:
    assert client.produce("t", [b"a"]).error_code == 0
    rule = cluster.answer_error("Produce", "NOT_LEADER_OR_FOLLOWER")
    assert client.produce("t", [b"b"]).error_code == NOT_LEADER
    assert client.produce("t", [b"c"]).base_offset == 1
    assert rule.hits == 1


def test_errors_until_the_rule_ends(cluster: Cluster, client: WireClient) -> None:
    for _ in range(3):
        client.produce("t", [b"a"])  # so often that the broker knows the request by heart
    with cluster.answer_error("Produce", "NOT_LEADER_OR_FOLLOWER", times=None) as rule:
        assert [client.produce("t", [b"b"]).error_code for _ in range(4)] == [NOT_LEADER] * 4
    assert client.produce("t", [b"c"]).base_offset == 3
    rule.end()
    assert rule.hits == 4


def test_a_rule_for_one_client(cluster: Cluster, client: WireClient) -> None:
    cluster.answer_error("Produce", "NOT_LEADER_OR_FOLLOWER", client_id="other", times=None)
    with WireClient(cluster.bootstrap, "other") as other:
        assert other.produce("t", [b"a"]).error_code == NOT_LEADER
        assert client.produce("t", [b"a"]).error_code == 0


def test_a_lost_request_is_not_done_and_a_lost_answer_is(cluster: Cluster, client: WireClient) -> None:
    cluster.lose_requests("Produce")
    with pytest.raises(ConnectionError):
        client.produce("t", [b"a"])
    cluster.lose_answers("Produce")
    with WireClient(cluster.bootstrap) as second, pytest.raises(ConnectionError):
        second.produce("t", [b"b"])
    with WireClient(cluster.bootstrap) as third:
        assert third.produce("t", [b"c"]).base_offset == 1
        assert values(third, 0) == [b"b", b"c"]


def test_late_answers_come_in_order_and_by_the_clock_of_the_broker(cluster: Cluster, client: WireClient) -> None:
    rule = cluster.delay_answers("Produce", 3600.0, times=1)
    first = client.post(produce_request("t", encode_batches([b"a"]), acks=1), 9)
    second = client.post(ApiVersionsRequest(), 0)
    until(lambda: cluster.broker.partition("t", 0).log_end_offset == 1)  # it was carried out at once
    assert rule.hits == 1
    cluster.advance(3601)
    assert client.receive_with_id(PRODUCE, 9)[0] == first
    assert client.receive_with_id(18, 0)[0] == second


def test_what_is_held_back_goes_out_when_the_broker_stops() -> None:
    with Cluster() as cluster, WireClient(cluster.bootstrap) as client:
        make_topic(client, 1)
        cluster.delay_answers("Produce", 3600.0)
        client.post(produce_request("t", encode_batches([b"a"])), 9)
        until(lambda: cluster.broker.partition("t", 0).log_end_offset == 1)
        cluster.stop()
        assert client.receive(PRODUCE, 9).responses[0].partition_responses[0].error_code == 0


def test_what_is_not_there_yet_when_the_broker_stops_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with Cluster() as cluster, WireClient(cluster.bootstrap) as client:
        make_topic(client, 1)
        broker, go = cluster.broker, threading.Event()
        partition = broker.partition("t", 0)
        sync = partition.sync

        def wait_and_sync() -> int:
            go.wait(TIMEOUT_S)
            return sync()

        monkeypatch.setattr(partition, "sync", wait_and_sync)
        cluster.delay_answers("Produce", 3600.0)
        client.post(produce_request("t", encode_batches([b"a"])), 9)
        until(lambda: partition.log_end_offset == 1)
        stopping = threading.Thread(target=cluster.stop)
        stopping.start()
        until(lambda: broker.is_stopping)
        go.set()
        assert client.receive(PRODUCE, 9).responses[0].partition_responses[0].error_code == 0
        stopping.join()


def test_dropped_connections(cluster: Cluster, client: WireClient) -> None:
    with WireClient(cluster.bootstrap) as other:
        other.ask(ApiVersionsRequest(), 0)
        assert cluster.drop_connections() == 2
        assert client.is_closed_by_broker()
        assert other.is_closed_by_broker()


def test_wrong_words(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match="did you mean Produce"):
        cluster.lose_requests("Produc")
    with pytest.raises(UsageError, match="did you mean NOT_LEADER_OR_FOLLOWER"):
        cluster.answer_error("Produce", "NOT_LEADER_FOR_PARTITION")
    with pytest.raises(UsageError, match="no error"):
        cluster.answer_error("Produce", "NONE")
    with pytest.raises(UsageError, match="cannot be refused"):
        cluster.answer_error("ApiVersions", "NOT_CONTROLLER")
    with pytest.raises(UsageError, match="times"):
        cluster.lose_requests("Produce", times=0)
    with pytest.raises(UsageError, match="no call sinc"):
        cluster.fail_disk(calls=("sinc",))
    with pytest.raises(UsageError, match="forward"):
        cluster.advance(-1)
    cluster.stop()
    for use in (cluster.drop_connections, lambda: cluster.lose_answers("Fetch"), lambda: cluster.advance(1)):
        with pytest.raises(UsageError, match="does not run"):
            use()


@pytest.mark.parametrize("name", REFUSABLE)
def test_every_refusal_can_be_sent_in_every_version(name: str) -> None:
    row = apis.BY_NAME[name]
    for version in range(row.first, row.last + 1):
        answer = refusal(example(request_type(row.key), version), version, NOT_LEADER)
        assert answer is not None
        encoded = b"".join(bytes(one) for one in encode_response(answer, version, 1))
        _, found = decode_response(row.key, version, encoded[4:])
        assert str(NOT_LEADER) in repr(found), f"{name} {version} tells no error"


def example(cls: type[Struct], version: int) -> Any:
    """A request of a version, with one element in each array."""
    plain = {"String": "x", "Bytes": b"", "Uuid": bytes(15) + b"x", "Bool": False, "Records": None}
    values: dict[str, Any] = {}
    for line in cls.TABLE:
        if not line.is_in(version):
            continue
        inner = vars(sys.modules[cls.__module__]).get(line.type)
        is_struct = isinstance(inner, type) and issubclass(inner, Struct)
        one = example(inner, version) if is_struct else plain.get(line.type, 1)
        values[line.name] = (one,) if line.is_array else one
    return cls(**values)


# -- time ----------------------------------------------------------------------------------------------------------


def test_a_session_runs_out_without_waiting(cluster: Cluster, client: WireClient) -> None:
    client.ask(FindCoordinatorRequest(key="g", key_type=0), 3)
    protocol = JoinGroupRequestProtocol(name="range", metadata=b"")

    def join(member_id: str) -> Any:
        return client.ask(
            JoinGroupRequest(
                group_id="g", session_timeout_ms=45_000, rebalance_timeout_ms=60_000, member_id=member_id,
                protocol_type="consumer", protocols=[protocol],
            ),
            5,
        )  # fmt: skip

    joined = join(join("").member_id)
    beat = HeartbeatRequest(group_id="g", generation_id=joined.generation_id, member_id=joined.member_id)
    known = client.ask(beat, 3).error_code
    assert known in (0, error_codes.BY_NAME["REBALANCE_IN_PROGRESS"].code)
    cluster.advance(44)
    assert client.ask(beat, 3).error_code == known
    cluster.advance(46)
    assert client.ask(beat, 3).error_code == error_codes.BY_NAME["UNKNOWN_MEMBER_ID"].code


def test_a_parked_fetch_is_answered(cluster: Cluster, client: WireClient) -> None:
    client.produce("t", [b"a"])
    client.post(fetch_request("t", 1, max_wait_ms=600_000), 12)
    until(lambda: bool(cluster.broker.waiting))
    cluster.advance(601)
    assert client.receive(FETCH, 12).responses[0].partitions[0].error_code == 0


def test_retention_deletes_what_has_grown_old() -> None:
    config = {
        "log.retention.ms": 3_600_000,
        "log.retention.check.interval.ms": 60_000,
        "log.roll.ms": 60_000,
        "log.message.timestamp.type": "LogAppendTime",
        "connections.max.idle.ms": -1,
    }
    with Cluster(config=config) as cluster, WireClient(cluster.bootstrap) as client:
        make_topic(client, 1)
        client.produce("t", [b"old"])
        cluster.advance(7200)
        client.produce("t", [b"new"])
        partition = cluster.broker.partition("t", 0)

        def kept() -> int:
            cluster.advance(61)
            return partition.log_start_offset

        until(lambda: kept() == 1)
        assert values(client, 1) == [b"new"]


# -- disk ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_heals(cluster: Cluster, client: WireClient) -> None:
    fault = cluster.fail_disk(errno.ENOSPC, calls=("write",))
    assert client.produce("t", [b"a"]).error_code == STORAGE_ERROR
    assert fault.fired
    cluster.heal_disk()
    assert client.produce("t", [b"b"]).base_offset == 0
    assert values(client, 0) == [b"b"]


def test_a_failed_fsync_is_final_until_the_restart_and_reads_go_on(tmp_path: Path) -> None:
    with Cluster(directory=str(tmp_path / "d")) as cluster:
        with WireClient(cluster.bootstrap) as client:
            make_topic(client, 2)
            assert client.produce("t", [b"a"]).error_code == 0
            assert client.produce("t", [b"kept"], partition=1).error_code == 0
            cluster.fail_disk(calls=("sync",), partition="t-1", times=1)
            assert client.produce("t", [b"lost"], partition=1).error_code == STORAGE_ERROR
            cluster.heal_disk()
            assert client.produce("t", [b"b"]).error_code == STORAGE_ERROR, "what the kernel dropped nobody knows"
            assert values(client, 0) == [b"a"], "the rest goes on"
            assert client.ask(ApiVersionsRequest(), 0).error_code == 0
        cluster.restart()
        with WireClient(cluster.bootstrap) as client:
            assert client.produce("t", [b"b"]).base_offset == 1
            assert client.produce("t", [b"c"], partition=1).base_offset in (1, 2), "unacknowledged may be there"


# -- what is left --------------------------------------------------------------------------------------------------


def test_the_directory_of_a_failed_test_is_kept() -> None:
    def failing_test() -> None:
        with Cluster() as cluster, WireClient(cluster.bootstrap) as client:
            make_topic(client, 1)
            client.produce("t", [b"seen"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        failing_test()
    (note,) = caught.value.__notes__
    directory = Path(note.rpartition(": ")[2])
    with kstore.open(directory, read_only=True) as store:
        assert [one.value for one in store.partition("t", 0).read(0)] == [b"seen"]
    shutil.rmtree(directory)
