"""The scenarios of admin clients: topics, partitions, configurations, the cluster, and the codes of what is refused."""

from __future__ import annotations

from interop.scenarios import T0_MS, Stage, until

TOPIC_KEYS = [
    "cleanup.policy", "compression.type", "delete.retention.ms", "flush.messages", "flush.ms", "index.interval.bytes",
    "max.message.bytes", "message.timestamp.type", "min.insync.replicas", "preallocate", "retention.bytes",
    "retention.ms", "segment.bytes", "segment.index.bytes", "segment.jitter.ms", "segment.ms",
    "unclean.leader.election.enable",
]  # fmt: skip
BROKER_KEYS = ["num.partitions", "log.retention.ms", "message.max.bytes", "group.initial.rebalance.delay.ms"]


def topics(stage: Stage) -> None:
    """The life of a topic, and every way to ask for an impossible one."""
    name = stage.name("life")
    one = {"name": name, "partitions": 3, "replicas": 1}
    stage.try_("only look", "create_topics", topics=[one], validate=True)
    stage.see("looked", name in stage.judge("list_topics")["names"])
    stage.try_("create", "create_topics", topics=[one])
    stage.try_("create again", "create_topics", topics=[one])
    stage.try_("look again", "create_topics", topics=[one], validate=True)
    bad = {
        "no partitions": {"name": stage.name("zero"), "partitions": 0, "replicas": 1},
        "many replicas": {"name": stage.name("wide"), "partitions": 1, "replicas": 3},
        "a bad name": {"name": "no such name", "partitions": 1, "replicas": 1},
        "two dots": {"name": "..", "partitions": 1, "replicas": 1},
        "a long name": {"name": "x" * 250, "partitions": 1, "replicas": 1},
        "an unknown key": {"name": stage.name("key"), "partitions": 1, "replicas": 1, "config": {"retention.mss": "1"}},
        "a bad value": {"name": stage.name("bad"), "partitions": 1, "replicas": 1, "config": {"retention.ms": "soon"}},
        "out of range": {"name": stage.name("rng"), "partitions": 1, "replicas": 1, "config": {"segment.bytes": "1"}},
    }
    for word, wanted in bad.items():
        stage.try_(word, "create_topics", topics=[wanted])
    default = {"name": stage.name("default"), "partitions": -1, "replicas": -1}
    by_default = stage.try_("by default", "create_topics", topics=[default])
    stage.await_topic(name)
    if by_default == {stage.name("default"): 0}:  # some clients will not leave it to the broker
        stage.await_topic(stage.name("default"))
    stage.try_("described", "describe_topic", name=name)
    stage.try_("default described", "describe_topic", name=stage.name("default"))
    stage.try_("absent described", "describe_topic", name=stage.name("absent"))
    stage.try_("internal described", "describe_topic", name="__consumer_offsets")
    for word, count in (("grow", 5), ("shrink", 2), ("stay", 5), ("none", 0)):
        stage.try_(word, "create_partitions", name=name, count=count)
    stage.try_("grow the absent", "create_partitions", name=stage.name("absent"), count=5)
    until(stage, lambda: len(stage.judge("describe_topic", name=name)["partitions"]) == 5)
    stage.try_("described then", "describe_topic", name=name)
    stage.try_("delete", "delete_topics", names=[name, stage.name("default")])
    stage.try_("delete again", "delete_topics", names=[name])
    until(stage, lambda: name not in stage.judge("list_topics")["names"])
    until(stage, lambda: "partitions" not in stage.judge.ask("describe_topic", name=name))
    stage.try_("described at last", "describe_topic", name=name)
    stage.see("names", [n for n in sorted(stage.judge("list_topics")["names"]) if n.startswith(stage.name(""))])


def configs(stage: Stage) -> None:
    """Configurations of topics and of the broker."""
    name = stage.topic("set", retention_ms=60_000)
    look = {"type": "topic", "name": name}
    stage.try_("at first", "describe_config", keys=TOPIC_KEYS, **look)
    stage.try_("set", "alter_config", set={"retention.ms": "1234", "compression.type": "zstd"}, **look)
    until(stage, lambda: _value(stage, name, "retention.ms") == "1234")
    stage.try_("then", "describe_config", keys=TOPIC_KEYS, **look)
    stage.try_("unset", "alter_config", unset=["retention.ms"], **look)
    until(stage, lambda: _value(stage, name, "retention.ms") == "-1")
    stage.try_("at last", "describe_config", keys=TOPIC_KEYS, **look)
    stage.try_("a bad value", "alter_config", set={"retention.ms": "soon"}, **look)
    stage.try_("an unknown key", "alter_config", set={"retention.mss": "1"}, **look)
    stage.try_("out of range", "alter_config", set={"min.insync.replicas": "0"}, **look)
    stage.try_("unchanged", "describe_config", keys=TOPIC_KEYS, **look)
    absent = {"type": "topic", "name": stage.name("absent")}
    stage.try_("of an absent topic", "describe_config", keys=TOPIC_KEYS, **absent)
    stage.try_("alter an absent topic", "alter_config", set={"retention.ms": "1"}, **absent)
    stage.try_("of the broker", "describe_config", type="broker", name="1", keys=BROKER_KEYS)
    stage.judge("produce", topic=name, partition=0, records=stage.rows(20), codec="gzip")
    stage.judge("seek", id="r", topic=name, partition=0, **{"from": "beginning"})
    stage.see("records recompressed", stage.judge("poll", id="r", count=20)["records"])
    stage.judge("close", id="r")
    clock = stage.topic("clock", message_timestamp_type="LogAppendTime")
    stage.judge("produce", topic=clock, partition=0, records=stage.rows(3))
    stage.judge("seek", id="r", topic=clock, partition=0, **{"from": "beginning"})
    found = stage.judge("poll", id="r", count=3)["records"]
    if "log append time" not in stage.judge.lacks:
        assert all(record["timestamp"] > T0_MS + 10**9 for record in found)
    stage.see("with the broker's clock", [record.get("type") for record in found])
    stage.judge("close", id="r")


def _value(stage: Stage, topic: str, key: str) -> object:
    """The value in force; a change reaches Kafka's broker a moment after its controller said yes."""
    found = stage.judge.ask("describe_config", type="topic", name=topic, keys=[key])
    return found[key][0]


def cluster(stage: Stage) -> None:
    """Who is there, and which groups."""
    stage.try_("cluster", "describe_cluster")
    group = stage.name("group")
    topic = stage.topic("one")
    stage.try_("commit without members", "alter_committed", group=group, topic=topic, partition=0, offset=3)
    found = stage.judge("list_groups")
    stage.see("groups", {key: value for key, value in found.items() if key == group or key == "unsupported"})
    stage.try_("described", "describe_group", group=group)
    stage.try_("committed", "committed", group=group)
    stage.try_("absent described", "describe_group", group=stage.name("absent"))
    stage.try_("absent deleted", "delete_groups", groups=[stage.name("absent")])
    stage.try_("deleted", "delete_groups", groups=[group])


SCENARIOS = (topics, configs, cluster)
