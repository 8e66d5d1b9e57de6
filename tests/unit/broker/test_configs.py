"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kstore.broker import config_entries
from kstore.config import TopicConfig
from kstore.testing.cluster import Cluster
from kstore.wire.messages.configs import (
    AlterConfigsRequest,
    AlterConfigsRequestAlterableConfig,
    AlterConfigsRequestResource,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsRequestAlterConfigsResource,
    ListConfigResourcesRequest,
)
from kstore.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from support.wire_client import WireClient

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


@pytest.fixture
def topic(client: WireClient) -> str:
    client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    return "t"


def describe(client: WireClient, kind: int, name: str, keys: Any = None, version: int = 4, **options: bool) -> Any:
    resource = DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=keys)
    return client.ask(DescribeConfigsRequest(resources=[resource], **options), version).results[0]


def values(client: WireClient, name: str = "t", kind: int = TOPIC) -> dict[str, tuple[str, int]]:
    return {one.name: (one.value, one.config_source) for one in describe(client, kind, name).configs}


def alter(
    client: WireClient, name: str, *changes: tuple[str, int, str | None], kind: int = TOPIC, **options: bool
) -> Any:
    configs = [
        IncrementalAlterConfigsRequestAlterableConfig(name=key, config_operation=operation, value=value)
        for key, operation, value in changes
    ]
    resource = IncrementalAlterConfigsRequestAlterConfigsResource(
        resource_type=kind, resource_name=name, configs=configs
    )
    request = IncrementalAlterConfigsRequest(resources=[resource], **{"validate_only": False, **options})
    return client.ask(request, 1).responses[0]


def replace(client: WireClient, name: str, kind: int = TOPIC, validate_only: bool = False, **config: str | None) -> Any:
    configs = [AlterConfigsRequestAlterableConfig(name=k.replace("_", "."), value=v) for k, v in config.items()]
    resource = AlterConfigsRequestResource(resource_type=kind, resource_name=name, configs=configs)
    return client.ask(AlterConfigsRequest(resources=[resource], validate_only=validate_only), 2).responses[0]


# -- reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 5))
def test_a_topics_configuration(client: WireClient, topic: str, version: int) -> None:
    alter(client, topic, ("retention.ms", SET, "1000"))
    found = describe(client, TOPIC, topic, version=version)
    assert (found.error_code, found.resource_type, found.resource_name) == (0, TOPIC, "t")
    by_name = {one.name: one for one in found.configs}
    assert set(by_name) == set(TopicConfig.keys()) - {"internal.segment.bytes"}
    assert (by_name["retention.ms"].value, by_name["retention.ms"].config_source) == ("1000", 1)
    assert (by_name["segment.bytes"].value, by_name["segment.bytes"].config_source) == (str(1 << 30), 5)
    assert not any(one.read_only or one.is_sensitive or list(one.synonyms) for one in found.configs)
    if version >= 3:
        types = {key: by_name[key].config_type for key in by_name}
        assert types["retention.ms"] == 5
        assert types["segment.bytes"] == 3
        assert types["cleanup.policy"] == 7
        assert types["preallocate"] == 1
        assert types["min.cleanable.dirty.ratio"] == 6
        assert types["compression.type"] == 2
        assert by_name["retention.ms"].documentation is None


def test_only_the_keys_that_were_asked_for(client: WireClient, topic: str) -> None:
    found = describe(client, TOPIC, topic, ["segment.ms", "retention.ms", "no.such"])
    assert sorted(one.name for one in found.configs) == ["retention.ms", "segment.ms"]


def test_synonyms_and_where_values_come_from(tmp_path: Path) -> None:
    config = {"log.retention.ms": "5000"}
    with Cluster(directory=str(tmp_path / "d"), config=config) as own, WireClient(own.bootstrap) as client:
        client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)

        def look() -> tuple[int, list[tuple[str, str, int]]]:
            (one,) = describe(client, TOPIC, "t", ["retention.ms"], include_synonyms=True).configs
            return one.config_source, [(s.name, s.value, s.source) for s in one.synonyms]

        brokers = [("log.retention.ms", "5000", 4), ("log.retention.hours", "168", 5)]
        assert look() == (4, brokers)
        alter(client, "t", ("retention.ms", SET, "7"))
        assert look() == (1, [("retention.ms", "7", 1), *brokers])


def test_a_key_that_was_set_to_its_default_was_set(tmp_path: Path) -> None:
    config = {"log.retention.hours": "168", "num.partitions": "1"}
    with Cluster(directory=str(tmp_path / "d"), config=config) as own, WireClient(own.bootstrap) as client:
        client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
        (one,) = describe(client, TOPIC, "t", ["retention.ms"]).configs
        assert (one.value, one.config_source) == ("604800000", 4)
        found = {one.name: one for one in describe(client, BROKER, str(own.broker.node.node_id)).configs}
        assert found["num.partitions"].config_source == 4
        assert found["message.max.bytes"].config_source == 5


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("segment.bytes", [("log.segment.bytes", "1073741824", 5)]),
        ("delete.retention.ms", [("log.cleaner.delete.retention.ms", "86400000", 5)]),
        ("segment.ms", []),
        ("flush.ms", []),
    ],
)
def test_defaults_stand_where_kafka_shows_them(
    client: WireClient, topic: str, key: str, shown: list[tuple[str, str, int]]
) -> None:
    (one,) = describe(client, TOPIC, topic, [key], include_synonyms=True).configs
    assert [(s.name, s.value, s.source) for s in one.synonyms] == shown


def test_what_has_no_effect_says_so(client: WireClient, topic: str) -> None:
    found = describe(client, TOPIC, topic, include_documentation=True)
    notes = {one.name for one in found.configs if config_entries.INERT_NOTE in one.documentation}
    assert notes == config_entries.INERT
    assert all(one.documentation for one in found.configs)


def test_every_inert_key_is_a_key() -> None:
    assert set(TopicConfig.keys()) > config_entries.INERT


def test_the_brokers_configuration(cluster: Cluster, client: WireClient) -> None:
    found = {one.name: one for one in describe(client, BROKER, str(cluster.broker.node.node_id)).configs}
    assert all(one.read_only for one in found.values())
    given = found["group.initial.rebalance.delay.ms"]
    assert (given.value, given.config_source) == ("0", 4)
    assert (found["log.segment.bytes"].value, found["log.segment.bytes"].config_source) == (str(1 << 30), 5)
    assert found["num.partitions"].value == "1"
    assert values(client, "", BROKER) == {}
    assert describe(client, BROKER, "77").error_code == 42
    assert describe(client, BROKER, "me").error_code == 42


def test_a_groups_configuration(client: WireClient) -> None:
    assert values(client, "g", GROUP) == {
        "consumer.heartbeat.interval.ms": ("5000", 5),
        "consumer.session.timeout.ms": ("45000", 5),
    }
    assert describe(client, GROUP, "").error_code == 42


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [(TOPIC, "absent", 3), (TOPIC, "no pe", 17), (LOGGER, "1", 42), (METRICS, "m", 42), (3, "x", 42)],
)
def test_what_cannot_be_described(client: WireClient, kind: int, name: str, code: int) -> None:
    found = describe(client, kind, name)
    assert (found.error_code, list(found.configs)) == (code, [])
    assert found.error_message


# -- changing --------------------------------------------------------------------------------------------


def test_single_keys_change(cluster: Cluster, client: WireClient, topic: str) -> None:
    assert alter(client, topic, ("retention.ms", SET, "1000"), ("segment.ms", SET, "9")).error_code == 0
    assert alter(client, topic, ("retention.ms", DELETE, None)).error_code == 0
    assert alter(client, topic, ("cleanup.policy", APPEND, "compact,delete")).error_code == 0
    assert values(client)["cleanup.policy"] == ("delete,compact", 1)
    assert alter(client, topic, ("cleanup.policy", SUBTRACT, "delete")).error_code == 0
    expected = {"retention.ms": ("604800000", 5), "segment.ms": ("9", 1), "cleanup.policy": ("compact", 1)}
    assert expected.items() <= values(client).items()
    cluster.restart()
    with WireClient(cluster.bootstrap) as again:
        assert expected.items() <= values(again).items()


def test_a_change_is_in_force_at_once(client: WireClient, topic: str) -> None:
    assert client.produce(topic, [b"x" * 1000]).error_code == 0
    alter(client, topic, ("max.message.bytes", SET, "500"))
    assert client.produce(topic, [b"x" * 1000]).error_code == 10


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("retention.ms", SET, "soon"), 40),
        (("retention.mss", SET, "1"), 40),
        (("retention.mss", DELETE, None), 40),
        (("retention.ms", SET, None), 42),
        (("retention.ms", APPEND, "1"), 40),
        (("retention.ms", 9, "1"), 42),
        (("cleanup.policy", APPEND, "shred"), 40),
    ],
)
def test_changes_that_are_refused_change_nothing(
    client: WireClient, topic: str, change: tuple[str, int, str | None], code: int
) -> None:
    before = values(client)
    refused = alter(client, topic, ("segment.ms", SET, "9"), change)
    assert refused.error_code == code
    assert refused.error_message
    assert values(client) == before


def test_requests_that_name_things_twice(client: WireClient, topic: str) -> None:
    assert alter(client, topic, ("segment.ms", SET, "9"), ("segment.ms", SET, "8")).error_code == 42
    resource = IncrementalAlterConfigsRequestAlterConfigsResource(resource_type=TOPIC, resource_name=topic, configs=[])
    request = IncrementalAlterConfigsRequest(resources=[resource, resource], validate_only=False)
    assert [one.error_code for one in client.ask(request, 1).responses] == [42, 42]


def test_validating_changes_nothing(client: WireClient, topic: str) -> None:
    assert alter(client, topic, ("segment.ms", SET, "9"), validate_only=True).error_code == 0
    assert alter(client, topic, ("segment.ms", SET, "x"), validate_only=True).error_code == 40
    assert replace(client, topic, validate_only=True, segment_ms="9").error_code == 0
    assert values(client)["segment.ms"] == ("604800000", 5)


def test_replacing_takes_back_what_is_left_out(client: WireClient, topic: str) -> None:
    alter(client, topic, ("retention.ms", SET, "1000"), ("segment.ms", SET, "9"))
    assert replace(client, topic, retention_ms="2000").error_code == 0
    assert {"retention.ms": ("2000", 1), "segment.ms": ("604800000", 5)}.items() <= values(client).items()
    assert replace(client, topic, retention_ms=None).error_code == 42
    assert replace(client, topic, retention_mss="1").error_code == 40


@pytest.mark.parametrize(
    ("kind", "name", "key", "code"),
    [
        (TOPIC, "absent", "segment.ms", 3),
        (BROKER, "1", "num.partitions", 42),
        (BROKER, "", "log.retention.ms", 42),
        (BROKER, "9", "num.partitions", 42),
        (GROUP, "g", "consumer.session.timeout.ms", 40),
        (GROUP, "g", "no.such.key", 40),
        (GROUP, "", "consumer.session.timeout.ms", 42),
        (LOGGER, "1", "root", 42),
    ],
)
def test_what_cannot_be_altered(client: WireClient, topic: str, kind: int, name: str, key: str, code: int) -> None:
    refused = alter(client, name, (key, SET, "5"), kind=kind)
    assert refused.error_code == code
    assert refused.error_message
    assert replace(client, name, kind, **{key: "5"}).error_code == code


# -- which resources there are ---------------------------------------------------------------------------


def test_the_resources_that_there_are(client: WireClient, topic: str) -> None:
    def ask(*kinds: int, version: int = 1) -> Any:
        return client.ask(ListConfigResourcesRequest(resource_types=list(kinds)), version)

    assert [(one.resource_name, one.resource_type) for one in ask().config_resources] == [
        ("t", TOPIC), ("1", BROKER), ("1", LOGGER),
    ]  # fmt: skip
    assert [one.resource_name for one in ask(TOPIC).config_resources] == ["t"]
    assert list(ask(version=0).config_resources) == []
    assert ask(77).error_code == 35
