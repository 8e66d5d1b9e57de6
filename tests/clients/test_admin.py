"""The admin clients of confluent-kafka and kafka-python: topics, partitions, configurations, records, the cluster."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kstore.testing.cluster import Cluster

pytestmark = pytest.mark.clients

TIMEOUT_S = 20.0


class TestConfluent:
    """librdkafka's admin client."""

    @pytest.fixture
    def admin(self, clients_cluster: Cluster) -> Any:
        module = pytest.importorskip("confluent_kafka.admin")
        return module.AdminClient({"bootstrap.servers": clients_cluster.bootstrap})

    def outcome(self, futures: dict[Any, Any]) -> dict[Any, Any]:
        """Results, or codes of failures."""
        kafka = pytest.importorskip("confluent_kafka")
        found: dict[Any, Any] = {}
        for name, future in futures.items():
            try:
                found[name] = future.result(TIMEOUT_S)
            except kafka.KafkaException as error:
                found[name] = error.args[0].code()
        return found

    def test_the_life_of_a_topic(self, admin: Any) -> None:
        from confluent_kafka.admin import NewPartitions, NewTopic

        made = self.outcome(admin.create_topics([NewTopic("c-life", 3, config={"retention.ms": "60000"})]))
        assert made == {"c-life": None}
        again = self.outcome(admin.create_topics([NewTopic("c-life", 3), NewTopic("c-wide", 1, 3), NewTopic("c b", 1)]))
        assert again == {"c-life": 36, "c-wide": 38, "c b": 17}
        assert self.outcome(admin.create_partitions([NewPartitions("c-life", 5)])) == {"c-life": None}
        assert self.outcome(admin.create_partitions([NewPartitions("c-life", 2)])) == {"c-life": 37}
        assert len(admin.list_topics("c-life", TIMEOUT_S).topics["c-life"].partitions) == 5
        assert self.outcome(admin.delete_topics(["c-life", "c-absent"])) == {"c-life": None, "c-absent": 3}
        assert "c-life" not in admin.list_topics(timeout=TIMEOUT_S).topics

    def test_configurations(self, admin: Any) -> None:
        from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

        self.outcome(admin.create_topics([NewTopic("c-config", 1)]))

        def change(key: str, value: str) -> Any:
            entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource("topic", "c-config", incremental_configs=[entry])
            return list(self.outcome(admin.incremental_alter_configs([resource])).values())

        assert change("retention.ms", "1234") == [None]
        assert change("retention.ms", "soon") == [40]
        (found,) = self.outcome(admin.describe_configs([ConfigResource("topic", "c-config")])).values()
        assert (found["retention.ms"].value, found["retention.ms"].source) == ("1234", 1)
        assert [(s.name, s.value) for s in found["retention.ms"].synonyms.values()][:1] == [("retention.ms", "1234")]
        (broker,) = self.outcome(admin.describe_configs([ConfigResource("broker", "1")])).values()
        assert broker["num.partitions"].value == "1"
        assert broker["num.partitions"].is_read_only

    def test_the_cluster_and_its_records(self, admin: Any, clients_cluster: Cluster) -> None:
        from confluent_kafka import Producer, TopicCollection, TopicPartition
        from confluent_kafka.admin import OffsetSpec

        cluster = admin.describe_cluster(include_authorized_operations=True).result(TIMEOUT_S)
        assert [f"{node.host}:{node.port}" for node in cluster.nodes] == [clients_cluster.bootstrap]
        assert len(cluster.authorized_operations) == 7
        producer = Producer({"bootstrap.servers": clients_cluster.bootstrap})
        for _ in range(10):
            producer.produce("c-records", b"x")
        assert producer.flush(TIMEOUT_S) == 0
        place = TopicPartition("c-records", 0, 4)
        deleted = self.outcome(admin.delete_records([place]))
        assert [one.low_watermark for one in deleted.values()] == [4]
        offsets = self.outcome(admin.list_offsets({TopicPartition("c-records", 0): OffsetSpec.earliest()}))
        assert [one.offset for one in offsets.values()] == [4]
        found = self.outcome(admin.describe_topics(TopicCollection(["c-records"])))
        assert [len(one.partitions) for one in found.values()] == [1]

    def test_a_transactional_producer_is_told_why_at_once(self, clients_cluster: Cluster) -> None:
        kafka = pytest.importorskip("confluent_kafka")
        producer = kafka.Producer({"bootstrap.servers": clients_cluster.bootstrap, "transactional.id": "t"})
        begun_s = time.monotonic()
        with pytest.raises(kafka.KafkaException, match="keeps no transactions"):
            producer.init_transactions(TIMEOUT_S)
        assert time.monotonic() - begun_s < TIMEOUT_S / 2


class TestKafkaPython:
    """kafka-python's admin client."""

    @pytest.fixture
    def admin(self, clients_cluster: Cluster) -> Any:
        kafka = pytest.importorskip("kafka")
        client = kafka.KafkaAdminClient(bootstrap_servers=clients_cluster.bootstrap)
        yield client
        client.close()

    def test_the_life_of_a_topic(self, admin: Any) -> None:
        from kafka.admin import NewPartitions, NewTopic
        from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

        admin.create_topics([NewTopic("p-life", 2, 1)])
        with pytest.raises(TopicAlreadyExistsError):
            admin.create_topics([NewTopic("p-life", 2, 1)])
        admin.create_partitions({"p-life": NewPartitions(4)})
        (found,) = admin.describe_topics(["p-life"])
        assert len(found["partitions"]) == 4
        assert "p-life" in admin.list_topics()
        admin.delete_topics(["p-life"])
        with pytest.raises(UnknownTopicOrPartitionError):
            admin.delete_topics(["p-life"])

    def test_the_cluster(self, admin: Any) -> None:
        found = admin.describe_cluster()
        assert len(found["brokers"]) == 1
        assert found["cluster_id"]
