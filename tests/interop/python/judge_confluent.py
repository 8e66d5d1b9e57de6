"""librdkafka, by confluent-kafka, as one of the judges."""

from __future__ import annotations

from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)
from judging import OWN_FAILURE, Answer, Command, Member, data, headers, serve, text

TIMEOUT_S = 30
PRODUCERS: dict[str, Producer] = {}
READERS: dict[str, Consumer] = {}
MEMBERS: dict[str, Librdkafka] = {}
ADMINS: dict[str, AdminClient] = {}


def code_of(error: BaseException) -> int:
    if isinstance(error, KafkaException) and isinstance(error.args[0], KafkaError):
        return int(error.args[0].code())
    return OWN_FAILURE


def common(c: Command) -> dict[str, Any]:
    return {"bootstrap.servers": c["bootstrap"], "log_level": 0, "topic.metadata.refresh.interval.ms": 1000,
            "reconnect.backoff.max.ms": 500}  # fmt: skip


# -- producing and reading ---------------------------------------------------------------------------------------


def produce(c: Command) -> Answer:
    name = c.get("id")
    way = {"acks": c.get("acks", -1), "compression.type": c.get("codec", "none"), "linger.ms": 500,
           "enable.idempotence": c.get("idempotent", False), "message.max.bytes": 64 << 20,
           "message.timeout.ms": 60_000}  # fmt: skip
    producer = PRODUCERS.get(name or "") or Producer({**common(c), **way})
    if name:
        PRODUCERS[name] = producer
    # Records that wait for their topic's metadata are handed over one by one, and could leave as two batches.
    producer.list_topics(c["topic"], TIMEOUT_S)
    offsets: list[int] = []
    failures: list[KafkaError] = []

    def told(error: KafkaError | None, message: Any) -> None:
        if error is None:
            offsets.append(message.offset())
        else:
            failures.append(error)

    for r in c["records"]:
        producer.produce(c["topic"], data(r["value"]), data(r["key"]), c.get("partition", 0), on_delivery=told,
                         timestamp=r["timestamp"], headers=headers(r))  # fmt: skip
    producer.flush(TIMEOUT_S * 2)
    if failures:
        raise KafkaException(failures[0])
    return {"offsets": offsets}


def consumer(c: Command, **more: Any) -> Consumer:
    config = {**common(c), "group.id": c.get("group", "unused"), "enable.auto.commit": False, "check.crcs": True,
              "auto.offset.reset": c.get("reset", "earliest"), "fetch.wait.max.ms": 100,
              "isolation.level": c.get("isolation", "read_uncommitted")}  # fmt: skip
    return Consumer({**config, **more})


def seek(c: Command) -> Answer:
    reader = READERS[c["id"]] = consumer(c)
    place = TopicPartition(c["topic"], c.get("partition", 0))
    match c["from"]:
        case "beginning":
            at = reader.get_watermark_offsets(place, TIMEOUT_S)[0]
        case "end":
            at = reader.get_watermark_offsets(place, TIMEOUT_S)[1]
        case "stored":
            at = reader.committed([place], TIMEOUT_S)[0].offset
        case {"timestamp": time_ms}:
            found = reader.offsets_for_times([TopicPartition(place.topic, place.partition, time_ms)], TIMEOUT_S)
            at = found[0].offset if found[0].offset >= 0 else reader.get_watermark_offsets(place, TIMEOUT_S)[1]
        case number:
            at = number
    reader.assign([TopicPartition(place.topic, place.partition, at)])
    return {"position": at}


def poll(c: Command) -> Answer:
    found: list[Answer] = []
    left_s = c.get("wait_ms", 20_000) / 1000
    while len(found) < c["count"] and left_s > 0:
        for message in READERS[c["id"]].consume(c["count"] - len(found), 0.1):
            if message.error():
                raise KafkaException(message.error())
            kind, time_ms = message.timestamp()
            found.append({
                "partition": message.partition(), "offset": message.offset(), "timestamp": time_ms, "type": kind,
                "key": text(message.key()), "value": text(message.value()), "epoch": message.leader_epoch(),
                "headers": [[name, text(value)] for name, value in message.headers() or ()],
            })  # fmt: skip
        left_s -= 0.1
    return {"records": found}


def close(c: Command) -> None:
    PRODUCERS.pop(c["id"], None)
    if c["id"] in READERS:
        READERS.pop(c["id"]).close()


# -- groups ------------------------------------------------------------------------------------------------------


class Librdkafka(Member):
    """One consumer that subscribes."""

    def __init__(self, c: Command) -> None:
        super().__init__(code_of)
        if c.get("protocol") == "consumer":
            way = {"group.protocol": "consumer", "group.remote.assignor": c.get("assignor")}
        else:
            way = {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 200,
                   "partition.assignment.strategy": c.get("assignor", "range")}  # fmt: skip
        if "instance" in c:
            way["group.instance.id"] = c["instance"]
        self.client = consumer(c, **way)
        self.client.subscribe(c["topics"])
        self.start()

    def poll(self) -> None:
        for message in self.client.consume(100, 0.05):
            if message.error():
                if message.error().fatal() or not message.error().retriable():
                    self.failure = KafkaException(message.error())
                continue
            self.read.append((message.partition(), message.offset(), text(message.value())))
        self.owned = sorted(f"{one.topic}-{one.partition}" for one in self.client.assignment())

    def commit(self) -> None:
        try:
            self.client.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                raise

    def close(self) -> None:
        self.client.close()


def join(c: Command) -> None:
    MEMBERS[c["id"]] = Librdkafka(c)


def member(c: Command) -> Answer:
    return MEMBERS[c["id"]].tell()


def commit(c: Command) -> None:
    MEMBERS[c["id"]].ask(MEMBERS[c["id"]].commit)


def leave(c: Command) -> None:
    MEMBERS.pop(c["id"]).ask(None)


# -- admin -------------------------------------------------------------------------------------------------------


def admin(c: Command) -> AdminClient:
    return ADMINS.setdefault(c["bootstrap"], AdminClient(common(c)))


def codes(futures: dict[Any, Any]) -> Answer:
    answer: Answer = {}
    for name, future in futures.items():
        error = future.exception(TIMEOUT_S)
        answer[str(name)] = 0 if error is None else code_of(error)
    return answer


def create_topics(c: Command) -> Answer:
    topics = [NewTopic(t["name"], t["partitions"], t["replicas"], config=t.get("config", {})) for t in c["topics"]]
    return codes(admin(c).create_topics(topics, validate_only=c.get("validate", False)))


def delete_topics(c: Command) -> Answer:
    return codes(admin(c).delete_topics(c["names"]))


def create_partitions(c: Command) -> Answer:
    return codes(admin(c).create_partitions([NewPartitions(c["name"], c["count"])]))


def list_topics(c: Command) -> Answer:
    return {"names": list(admin(c).list_topics(timeout=TIMEOUT_S).topics)}


def describe_topic(c: Command) -> Answer:
    (future,) = admin(c).describe_topics(TopicCollection([c["name"]])).values()
    found = future.result(TIMEOUT_S)
    return {"internal": found.is_internal, "partitions": [
        {"partition": p.id, "leader": p.leader.id, "replicas": [n.id for n in p.replicas], "isr": [n.id for n in p.isr]}
        for p in found.partitions
    ]}  # fmt: skip


def describe_config(c: Command) -> Answer:
    (future,) = admin(c).describe_configs([ConfigResource(c["type"], c["name"])]).values()
    return {key: [e.value, e.source, e.is_read_only, e.is_sensitive]
            for key, e in future.result(TIMEOUT_S).items() if key in c["keys"]}  # fmt: skip


def alter_config(c: Command) -> Answer:
    changes = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
               for key, value in c.get("set", {}).items()]  # fmt: skip
    changes += [ConfigEntry(key, None, incremental_operation=AlterConfigOpType.DELETE) for key in c.get("unset", [])]
    resource = ConfigResource(c["type"], c["name"], incremental_configs=changes)
    return {c["name"]: next(iter(codes(admin(c).incremental_alter_configs([resource])).values()))}


def list_offsets(c: Command) -> Answer:
    specs = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest, "max_timestamp": OffsetSpec.max_timestamp}
    spec = OffsetSpec.for_timestamp(c["at"]) if isinstance(c["at"], int) else specs[c["at"]]()
    (future,) = admin(c).list_offsets({TopicPartition(c["topic"], c["partition"]): spec}).values()
    found = future.result(TIMEOUT_S)
    return {"offset": found.offset, "timestamp": found.timestamp, "epoch": found.leader_epoch}


def delete_records(c: Command) -> Answer:
    (future,) = admin(c).delete_records([TopicPartition(c["topic"], c["partition"], c["before"])]).values()
    return {"low": future.result(TIMEOUT_S).low_watermark}


def describe_cluster(c: Command) -> Answer:
    found = admin(c).describe_cluster().result(TIMEOUT_S)
    return {"nodes": [node.id for node in found.nodes], "controller": found.controller and found.controller.id}


def list_groups(c: Command) -> Answer:
    found = admin(c).list_consumer_groups().result(TIMEOUT_S)
    return {one.group_id: f"{one.state.name} {one.type.name}" for one in found.valid}


def describe_group(c: Command) -> Answer:
    (future,) = admin(c).describe_consumer_groups([c["group"]]).values()
    found = future.result(TIMEOUT_S)
    members = [sorted(f"{p.topic}-{p.partition}" for p in m.assignment.topic_partitions) if m.assignment else []
               for m in found.members]  # fmt: skip
    state = "".join(word.capitalize() for word in found.state.name.split("_"))
    return {"state": state, "type": found.type.name, "assignor": found.partition_assignor, "members": sorted(members)}


def delete_groups(c: Command) -> Answer:
    return codes(admin(c).delete_consumer_groups(c["groups"]))


def committed(c: Command) -> Answer:
    wanted = [ConsumerGroupTopicPartitions(c["group"])]
    # Soon asked again: whoever has just restarted may not answer the first time.
    (future,) = admin(c).list_consumer_group_offsets(wanted, request_timeout=5).values()
    found = future.result(TIMEOUT_S).topic_partitions
    return {f"{one.topic}-{one.partition}": one.offset for one in found if one.offset != OFFSET_INVALID}


def alter_committed(c: Command) -> Answer:
    place = TopicPartition(c["topic"], c["partition"], c["offset"])
    wanted = ConsumerGroupTopicPartitions(c["group"], [place])
    (future,) = admin(c).alter_consumer_group_offsets([wanted]).values()
    (found,) = future.result(TIMEOUT_S).topic_partitions
    return {c["topic"]: 0 if found.error is None else found.error.code()}


OPS = {
    call.__name__: call
    for call in (
        produce, seek, poll, close, join, member, commit, leave, create_topics, delete_topics, create_partitions,
        list_topics, describe_topic, describe_config, alter_config, list_offsets, delete_records, describe_cluster,
        list_groups, describe_group, delete_groups, committed, alter_committed,
    )
}  # fmt: skip

if __name__ == "__main__":
    serve(OPS.get, code_of)
