"""kafka-python as one of the judges."""

from __future__ import annotations

import re
from typing import Any

from judging import OWN_FAILURE, Answer, Command, Member, data, headers, serve, text
from kafka import (
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    TopicPartition,
)
from kafka.admin import AlterConfigOp, ConfigFilterType, ConfigResource, ConfigResourceType, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor,
             "cooperative-sticky": CooperativeStickyAssignor}  # fmt: skip
PRODUCERS: dict[str, KafkaProducer] = {}
READERS: dict[str, KafkaConsumer] = {}
MEMBERS: dict[str, KafkaPython] = {}
ADMINS: dict[str, KafkaAdminClient] = {}


def code_of(error: object) -> int:
    """Of an exception, or of a class of them, as some answers hold."""
    found = getattr(error, "errno", OWN_FAILURE)
    return found if isinstance(found, int) else OWN_FAILURE


def common(c: Command) -> dict[str, Any]:
    return {"bootstrap_servers": c["bootstrap"], "reconnect_backoff_max_ms": 500, "metadata_max_age_ms": 1000}


# -- producing and reading ---------------------------------------------------------------------------------------


def produce(c: Command) -> Answer:
    name, codec, acks = c.get("id"), c.get("codec", "none"), c.get("acks", -1)
    producer = PRODUCERS.get(name or "")
    if producer is None:
        way = {"acks": "all" if acks == -1 else acks, "compression_type": None if codec == "none" else codec,
               "enable_idempotence": c.get("idempotent", False), "linger_ms": 200, "max_request_size": 64 << 20,
               "max_in_flight_requests_per_connection": 1, "delivery_timeout_ms": 60_000}  # fmt: skip
        producer = KafkaProducer(**common(c), **way)
    if name:
        PRODUCERS[name] = producer
    try:
        place = c.get("partition", 0)
        futures = [
            producer.send(c["topic"], data(r["value"]), data(r["key"]), headers(r), place, r["timestamp"])
            for r in c["records"]
        ]
        producer.flush()
        return {"offsets": [future.get(60).offset for future in futures]}
    finally:
        if not name:
            producer.close()


def consumer(c: Command, **more: Any) -> KafkaConsumer:
    config = {"group_id": c.get("group"), "enable_auto_commit": False, "auto_offset_reset": c.get("reset", "earliest"),
              "fetch_max_wait_ms": 100, "isolation_level": c.get("isolation", "read_uncommitted")}  # fmt: skip
    return KafkaConsumer(**common(c), **{**config, **more})


def seek(c: Command) -> Answer:
    reader = READERS[c["id"]] = consumer(c)
    place = TopicPartition(c["topic"], c.get("partition", 0))
    reader.assign([place])
    match c["from"]:
        case "beginning":
            reader.seek_to_beginning(place)
        case "end":
            reader.seek_to_end(place)
        case {"timestamp": time_ms}:
            found = reader.offsets_for_times({place: time_ms})[place]
            if found is None:
                reader.seek_to_end(place)
            else:
                reader.seek(place, found.offset)
        case int(number):
            reader.seek(place, number)
    return {"position": reader.position(place)}


def poll(c: Command) -> Answer:
    found: list[Answer] = []
    left_ms = c.get("wait_ms", 20_000)
    while len(found) < c["count"] and left_ms > 0:
        for records in READERS[c["id"]].poll(100, c["count"] - len(found)).values():
            found += [
                {"partition": r.partition, "offset": r.offset, "timestamp": r.timestamp, "type": r.timestamp_type,
                 "key": text(r.key), "value": text(r.value), "epoch": r.leader_epoch,
                 "headers": [[name, text(value)] for name, value in r.headers]}
                for r in records
            ]  # fmt: skip
        left_ms -= 100
    return {"records": found}


def close(c: Command) -> None:
    for kept in (PRODUCERS, READERS):
        if c["id"] in kept:
            kept.pop(c["id"]).close()


# -- groups ------------------------------------------------------------------------------------------------------


class KafkaPython(Member):
    """One consumer that subscribes."""

    def __init__(self, c: Command) -> None:
        super().__init__(code_of)
        self.client = consumer(
            c, session_timeout_ms=10_000, heartbeat_interval_ms=200, group_instance_id=c.get("instance"),
            partition_assignment_strategy=[ASSIGNORS[c.get("assignor", "range")]],
        )  # fmt: skip
        self.client.subscribe(c["topics"])
        for topic in c["topics"]:  # a leader that knows no partitions yet would assign none, and not look again
            self.client.partitions_for_topic(topic)
        self.start()

    def poll(self) -> None:
        for records in self.client.poll(50).values():
            self.read += [(r.partition, r.offset, text(r.value)) for r in records]
        self.owned = sorted(f"{one.topic}-{one.partition}" for one in self.client.assignment())

    def commit(self) -> None:
        self.client.commit()

    def close(self) -> None:
        self.client.close()


def join(c: Command) -> Answer | None:
    if c.get("protocol") == "consumer":
        return {"unsupported": True}
    MEMBERS[c["id"]] = KafkaPython(c)
    return None


def member(c: Command) -> Answer:
    return MEMBERS[c["id"]].tell()


def commit(c: Command) -> None:
    MEMBERS[c["id"]].ask(MEMBERS[c["id"]].commit)


def leave(c: Command) -> None:
    MEMBERS.pop(c["id"]).ask(None)


# -- admin -------------------------------------------------------------------------------------------------------


def admin(c: Command) -> KafkaAdminClient:
    if c["bootstrap"] not in ADMINS:
        ADMINS[c["bootstrap"]] = KafkaAdminClient(**common(c))
    return ADMINS[c["bootstrap"]]


def create_topics(c: Command) -> Answer:
    answer: Answer = {}
    for t in c["topics"]:
        wanted = {t["name"]: {"num_partitions": t["partitions"], "replication_factor": t["replicas"],
                              "configs": t.get("config", {})}}  # fmt: skip
        found = admin(c).create_topics(wanted, validate_only=c.get("validate", False), raise_errors=False)
        answer |= {one["name"]: one["error_code"] for one in found["topics"]}
    return answer


def delete_topics(c: Command) -> Answer:
    found = admin(c).delete_topics(c["names"], raise_errors=False)
    return {one["name"]: one["error_code"] for one in found["topics"]}


def create_partitions(c: Command) -> Answer:
    found = admin(c).create_partitions({c["name"]: c["count"]}, raise_errors=False)
    return {one.name: one.error_code for one in found.results}


def list_topics(c: Command) -> Answer:
    return {"names": list(admin(c).list_topics())}


def describe_topic(c: Command) -> Answer:
    (found,) = admin(c).describe_topics([c["name"]])
    partitions = [
        {"partition": p["partition_index"], "leader": p["leader_id"], "replicas": p["replica_nodes"],
         "isr": p["isr_nodes"], "code": p["error_code"]}
        for p in found["partitions"]
    ]  # fmt: skip
    if found["error_code"]:
        return {"code": found["error_code"], "error": "the topic's error code"}
    return {"internal": found["is_internal"], "partitions": sorted(partitions, key=lambda p: int(p["partition"]))}


def describe_config(c: Command) -> Answer:
    kind = ConfigResourceType[c["type"].upper()]
    resource = ConfigResource(kind, c["name"], dict.fromkeys(c["keys"]))
    found = admin(c).describe_configs([resource], config_filter=ConfigFilterType.ALL)[c["type"]][c["name"]]
    return {key: [e["value"], str(e["config_source"]), e["read_only"], e["is_sensitive"]] for key, e in found.items()}


def alter_config(c: Command) -> Answer:
    changes: dict[str, Any] = {key: (AlterConfigOp.SET, value) for key, value in c.get("set", {}).items()}
    changes |= dict.fromkeys(c.get("unset", []), (AlterConfigOp.DELETE, None))
    resource = ConfigResource(ConfigResourceType[c["type"].upper()], c["name"], changes)
    found = admin(c).alter_configs([resource], raise_on_unknown=False)[c["type"]][c["name"]]
    code = re.match(r"\[Error (\d+)\]", str(found))
    return {c["name"]: int(code[1]) if code else str(found)}


def list_offsets(c: Command) -> Answer:
    place = TopicPartition(c["topic"], c["partition"])
    specs = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST, "max_timestamp": OffsetSpec.MAX_TIMESTAMP}
    found = admin(c).list_partition_offsets({place: specs.get(c["at"], c["at"])})[place]
    return {"offset": found.offset, "timestamp": found.timestamp, "epoch": found.leader_epoch}


def delete_records(c: Command) -> Answer:
    place = TopicPartition(c["topic"], c["partition"])
    return {"low": admin(c).delete_records({place: c["before"]})[place]["low_watermark"]}


def describe_cluster(c: Command) -> Answer:
    found = admin(c).describe_cluster()
    return {"nodes": [node["broker_id"] for node in found["brokers"]], "controller": found["controller_id"]}


def describe_producers(c: Command) -> Answer:
    place = TopicPartition(c["topic"], c["partition"])
    found = admin(c).describe_producers([place])[place]
    return {"producers": [{"epoch": one.producer_epoch, "last_sequence": one.last_sequence}
                          for one in found.active_producers]}  # fmt: skip


def list_groups(c: Command) -> Answer:
    return {one["group_id"]: f"{one['group_state']} {one['group_type']} {one['protocol_type']}"
            for one in admin(c).list_groups()}  # fmt: skip


def describe_group(c: Command) -> Answer:
    found = admin(c).describe_groups([c["group"]])[c["group"]]
    if found["error"]:
        return {"code": OWN_FAILURE, "error": found["error"]}
    members = []
    for m in found["members"]:
        topics = m["member_assignment"]["assigned_partitions"] if m["member_assignment"] else []
        members.append(sorted(f"{t['topic']}-{p}" for t in topics for p in t["partitions"]))
    return {"state": found["group_state"], "type": found["protocol_type"], "assignor": found["protocol_data"],
            "members": sorted(members)}  # fmt: skip


def delete_groups(c: Command) -> Answer:
    return {group: str(result) for group, result in admin(c).delete_groups(c["groups"]).items()}


def committed(c: Command) -> Answer:
    found = admin(c).list_group_offsets([c["group"]])[c["group"]]
    return {f"{place.topic}-{place.partition}": one.offset for place, one in found.items()}


def alter_committed(c: Command) -> Answer:
    place = TopicPartition(c["topic"], c["partition"])
    found = admin(c).alter_group_offsets(c["group"], {place: OffsetAndMetadata(c["offset"], "", -1)})
    return {c["topic"]: code_of(found[place])}


def delete_committed(c: Command) -> Answer:
    place = TopicPartition(c["topic"], c["partition"])
    return {c["topic"]: code_of(admin(c).delete_group_offsets(c["group"], [place])[place])}


OPS = {
    call.__name__: call
    for call in (
        produce, seek, poll, close, join, member, commit, leave, create_topics, delete_topics, create_partitions,
        list_topics, describe_topic, describe_config, alter_config, list_offsets, delete_records, describe_cluster,
        describe_producers, list_groups, describe_group, delete_groups, committed, alter_committed, delete_committed,
    )
}  # fmt: skip

if __name__ == "__main__":
    serve(OPS.get, code_of)
