"""aiokafka as one of the judges: commands run on an event loop of its own thread, members as tasks of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from judging import OWN_FAILURE, UNSUPPORTED, Answer, Command, data, headers, serve, text

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}
ANSWER_S = 80
PRODUCERS: dict[str, AIOKafkaProducer] = {}
READERS: dict[str, AIOKafkaConsumer] = {}
MEMBERS: dict[str, Member] = {}
ADMINS: dict[str, AIOKafkaAdminClient] = {}


def code_of(error: BaseException) -> int:
    found = getattr(error, "errno", OWN_FAILURE)
    return found if isinstance(found, int) else OWN_FAILURE


# -- producing and reading ---------------------------------------------------------------------------------------


async def produce(c: Command) -> Answer:
    name, codec, acks = c.get("id"), c.get("codec", "none"), c.get("acks", -1)
    producer = PRODUCERS.get(name or "")
    if producer is None:
        way = {"acks": "all" if acks == -1 else acks, "compression_type": None if codec == "none" else codec,
               "enable_idempotence": c.get("idempotent", False), "linger_ms": 200,
               "max_request_size": 64 << 20}  # fmt: skip
        producer = AIOKafkaProducer(bootstrap_servers=c["bootstrap"], metadata_max_age_ms=1000, **way)
        await producer.start()
    if name:
        PRODUCERS[name] = producer
    try:
        futures = [
            await producer.send(c["topic"], data(r["value"]), data(r["key"]), c.get("partition", 0), r["timestamp"],
                                headers(r))
            for r in c["records"]
        ]  # fmt: skip
        await producer.flush()
        found = [await future for future in futures]
        return {"offsets": [one.offset for one in found if one is not None]}
    finally:
        if not name:
            await producer.stop()


def consumer(c: Command, *topics: str, **more: Any) -> AIOKafkaConsumer:
    config = {"group_id": c.get("group"), "enable_auto_commit": False, "auto_offset_reset": c.get("reset", "earliest"),
              "fetch_max_wait_ms": 100, "isolation_level": c.get("isolation", "read_uncommitted"),
              "metadata_max_age_ms": 1000}  # fmt: skip
    return AIOKafkaConsumer(*topics, bootstrap_servers=c["bootstrap"], **{**config, **more})


async def seek(c: Command) -> Answer:
    reader = READERS[c["id"]] = consumer(c)
    await reader.start()
    place = TopicPartition(c["topic"], c.get("partition", 0))
    reader.assign([place])
    # Its seek_to_end may lose against the first look for a position, which begins with the assignment.
    match c["from"]:
        case "beginning":
            at = (await reader.beginning_offsets([place]))[place]
        case "end":
            at = (await reader.end_offsets([place]))[place]
        case {"timestamp": time_ms}:
            found = (await reader.offsets_for_times({place: time_ms}))[place]
            at = (await reader.end_offsets([place]))[place] if found is None else found.offset
        case "stored":
            at = await reader.position(place)
        case number:
            at = number
    reader.seek(place, at)
    return {"position": await reader.position(place)}


async def poll(c: Command) -> Answer:
    found: list[Answer] = []
    left_ms = c.get("wait_ms", 20_000)
    while len(found) < c["count"] and left_ms > 0:
        for records in (await READERS[c["id"]].getmany(timeout_ms=100, max_records=c["count"] - len(found))).values():
            found += [
                {"partition": r.partition, "offset": r.offset, "timestamp": r.timestamp, "type": r.timestamp_type,
                 "key": text(r.key), "value": text(r.value),
                 "headers": [[name, text(value)] for name, value in r.headers]}
                for r in records
            ]  # fmt: skip
        left_ms -= 100
    return {"records": found}


async def close(c: Command) -> None:
    for kept in (PRODUCERS, READERS):
        if c["id"] in kept:
            await kept.pop(c["id"]).stop()  # type: ignore[attr-defined]


# -- groups ------------------------------------------------------------------------------------------------------


class Member(ConsumerRebalanceListener):  # type: ignore[misc]
    """A consumer that subscribes, and the task that reads."""

    def __init__(self, c: Command) -> None:
        self.read: list[tuple[int, int, str | None]] = []
        self.owned: list[str] = []
        self.failure: BaseException | None = None
        self.client = consumer(
            c, session_timeout_ms=10_000, heartbeat_interval_ms=200, rebalance_timeout_ms=10_000,
            group_instance_id=c.get("instance"),
            partition_assignment_strategy=[ASSIGNORS[c.get("assignor", "range")]],
        )  # fmt: skip

    async def start(self, topics: list[str]) -> None:
        self.client.subscribe(topics, listener=self)
        await self.client.start()
        self.task = asyncio.create_task(self._read())

    async def on_partitions_revoked(self, revoked: Any) -> None:
        self.owned = []

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self.owned = sorted(f"{one.topic}-{one.partition}" for one in assigned)

    async def _read(self) -> None:
        try:
            async for r in self.client:
                self.read.append((r.partition, r.offset, text(r.value)))
        except Exception as error:
            self.failure = error

    async def leave(self) -> None:
        self.task.cancel()
        await self.client.stop()


async def join(c: Command) -> Answer | None:
    if c.get("protocol") == "consumer" or c.get("assignor") == "cooperative-sticky":
        return UNSUPPORTED
    found = MEMBERS[c["id"]] = Member(c)
    await found.start(c["topics"])
    return None


async def member(c: Command) -> Answer:
    found = MEMBERS[c["id"]]
    answer: Answer = {"assignment": found.owned, "read": found.read}
    if found.failure is not None:
        answer |= {"code": code_of(found.failure), "error": str(found.failure)}
    return answer


async def commit(c: Command) -> None:
    await MEMBERS[c["id"]].client.commit()


async def leave(c: Command) -> None:
    await MEMBERS.pop(c["id"]).leave()


# -- admin -------------------------------------------------------------------------------------------------------


async def admin(c: Command) -> AIOKafkaAdminClient:
    if c["bootstrap"] not in ADMINS:
        ADMINS[c["bootstrap"]] = AIOKafkaAdminClient(bootstrap_servers=c["bootstrap"])
        await ADMINS[c["bootstrap"]].start()
    return ADMINS[c["bootstrap"]]


async def create_topics(c: Command) -> Answer:
    topics = [NewTopic(t["name"], t["partitions"], t["replicas"], topic_configs=t.get("config", {}))
              for t in c["topics"]]  # fmt: skip
    found = await (await admin(c)).create_topics(topics, validate_only=c.get("validate", False))
    return {name: code for name, code, *_ in found.topic_errors}


async def delete_topics(c: Command) -> Answer:
    return dict((await (await admin(c)).delete_topics(c["names"])).topic_error_codes)


async def create_partitions(c: Command) -> Answer:
    found = await (await admin(c)).create_partitions({c["name"]: NewPartitions(c["count"])})
    return {name: code for name, code, *_ in found.topic_errors}


async def list_topics(c: Command) -> Answer:
    return {"names": await (await admin(c)).list_topics()}


async def describe_topic(c: Command) -> Answer:
    every = await (await admin(c)).describe_topics()  # to ask for one that is absent would make it
    found = next((one for one in every if one["topic"] == c["name"]), None)
    if found is None:
        return {"absent": True}
    partitions = [{key: p[key] for key in ("partition", "leader", "replicas", "isr")} for p in found["partitions"]]
    return {"internal": found["is_internal"], "partitions": sorted(partitions, key=lambda p: int(p["partition"]))}


async def describe_config(c: Command) -> Answer:
    resource = ConfigResource(ConfigResourceType[c["type"].upper()], c["name"], dict.fromkeys(c["keys"]))
    (found,) = await (await admin(c)).describe_configs([resource])
    ((code, message, _, _, entries),) = found.resources
    if code:
        return {"code": code, "error": message}
    return {name: [value, source, read_only, sensitive] for name, value, read_only, source, sensitive, *_ in entries}


async def alter_config(c: Command) -> Answer:
    """What is not named goes back to its default: aiokafka knows no other request."""
    resource = ConfigResource(ConfigResourceType[c["type"].upper()], c["name"], c.get("set", {}))
    found = (await (await admin(c)).alter_configs([resource]))[0]
    return {name: code for code, _, _, name in found.resources}


async def list_offsets(c: Command) -> Answer:
    if c["at"] == "max_timestamp":
        return UNSUPPORTED
    place = TopicPartition(c["topic"], c["partition"])
    async with consumer(c) as reader:
        if c["at"] == "earliest":
            return {"offset": (await reader.beginning_offsets([place]))[place]}
        if c["at"] == "latest":
            return {"offset": (await reader.end_offsets([place]))[place]}
        found = (await reader.offsets_for_times({place: c["at"]}))[place]
        return {} if found is None else {"offset": found.offset, "timestamp": found.timestamp}


async def delete_records(c: Command) -> Answer:
    place = TopicPartition(c["topic"], c["partition"])
    return {"low": (await (await admin(c)).delete_records({place: RecordsToDelete(c["before"])}))[place]}


async def describe_cluster(c: Command) -> Answer:
    found = await (await admin(c)).describe_cluster()
    return {"nodes": [node["node_id"] for node in found["brokers"]], "controller": found["controller_id"]}


async def list_groups(c: Command) -> Answer:
    return dict(await (await admin(c)).list_consumer_groups())


async def describe_group(c: Command) -> Answer:
    (found,) = await (await admin(c)).describe_consumer_groups([c["group"]])
    ((code, _, state, kind, assignor, members, *_),) = found.groups
    if code:
        return {"code": code, "error": "the group's error code"}
    # An assignment is its version, and then the topics; of the bytes only the version differs from member to member.
    return {"state": state, "type": kind, "assignor": assignor, "members": sorted(m[4].hex() for m in members)}


async def committed(c: Command) -> Answer:
    found = await (await admin(c)).list_consumer_group_offsets(c["group"])
    return {f"{place.topic}-{place.partition}": one.offset for place, one in found.items()}


async def alter_committed(c: Command) -> Answer:
    """The admin client cannot; a consumer that is no member of the group can."""
    place = TopicPartition(c["topic"], c["partition"])
    async with consumer(c) as outsider:
        outsider.assign([place])
        await outsider.commit({place: c["offset"]})
    return {c["topic"]: 0}


CALLS = {
    call.__name__: call
    for call in (
        produce, seek, poll, close, join, member, commit, leave, create_topics, delete_topics, create_partitions,
        list_topics, describe_topic, describe_config, alter_config, list_offsets, delete_records, describe_cluster,
        list_groups, describe_group, committed, alter_committed,
    )
}  # fmt: skip


def main() -> None:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def ops(name: str) -> Callable[[Command], Any] | None:
        call = CALLS.get(name)
        if call is None:
            return None
        return lambda c: asyncio.run_coroutine_threadsafe(call(c), loop).result(ANSWER_S)

    serve(ops, code_of)


if __name__ == "__main__":
    main()
