"""Kafka's own command-line tools: what each prints, line by line, and its exit code.

What no two brokers share (addresses, ids, directories, times, speeds) is replaced by a word before it is noted.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from interop.scenarios import Answer, Stage, until

TOOLS = "org.apache.kafka.tools."
GROUPS = TOOLS + "consumer.group.ConsumerGroupCommand"
WORDS: tuple[tuple[str, str], ...] = (
    (r"127\.0\.0\.1:\d+", "HOST:PORT"),
    (r"(TopicId: )\S+", r"\1ID"),
    (r'"(logDir|path)":"[^"]*"', r'"\1":"DIR"'),
    (r"(?<=-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.:]\d+", "TIME"),
    (r'"size":\d+', '"size":BYTES'),
    (r"[ \t]+", " "),
)


def tools(stage: Stage) -> None:
    """A tour of the tools, in the order in which someone new would use them."""
    if stage.judge.ask("tool", **{"class": TOOLS + "GroupsCommand"}, args=["--version"]).get("unsupported"):
        stage.see("tools", "unsupported")
        return
    topic = stage.name("tour")
    _topics(stage, topic)
    _records(stage, topic)
    _groups(stage, topic)
    _files(stage, topic)
    _speeds(stage, topic)
    run(stage, "topic deleted", "TopicCommand", "--delete", "--topic", topic)
    until(stage, lambda: topic not in stage.judge("list_topics")["names"])
    run(stage, "topic gone", "TopicCommand", "--describe", "--topic", topic)


def run(
    stage: Stage, name: str, tool: str, *args: str, stdin: str = "", keep: bool = True, first: tuple[str, ...] = ()
) -> str:
    """Run a tool of that class, note its exit code and (`keep`) its text; returns the text as it was.

    `args` follow the broker's address, `first` stands before it, for tools that have it so.
    """
    cls = tool if tool.startswith(("org.", "kafka.")) else TOOLS + tool
    words = [*first, "--bootstrap-server", stage.judge.bootstrap, *args]
    answer: Answer = stage.judge("tool", **{"class": cls}, args=words, stdin=stdin)
    text = answer["out"] + answer["err"]
    stage.see(name, {"exit": answer["exit"], **({"text": spoken(text)} if keep else {})})
    return str(text)


def spoken(text: str) -> list[str]:
    """The lines of a tool, without what differs from broker to broker; no stack traces, no empty lines."""
    for pattern, word in WORDS:
        text = re.sub(pattern, word, text)
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("at ", "... "))]


def _topics(stage: Stage, topic: str) -> None:
    here = ("--topic", topic)
    size = ("--partitions", "3", "--config", "retention.ms=9999999")
    run(stage, "topic created", "TopicCommand", "--create", *here, *size)
    stage.await_topic(topic)
    run(stage, "topic created again", "TopicCommand", "--create", *here)
    run(stage, "created if absent", "TopicCommand", "--create", *here, "--if-not-exists")
    run(stage, "topic described", "TopicCommand", "--describe", *here)
    run(stage, "topics listed", "TopicCommand", "--list", *here)
    run(stage, "topic grown", "TopicCommand", "--alter", *here, "--partitions", "4")
    run(stage, "topic shrunk", "TopicCommand", "--alter", *here, "--partitions", "2")
    run(stage, "under-replicated", "TopicCommand", "--describe", *here, "--under-replicated-partitions")
    entity = ("--entity-type", "topics", "--entity-name", topic)
    configs = "kafka.admin.ConfigCommand"
    added = "segment.bytes=1048576,cleanup.policy=delete"
    run(stage, "config added", configs, *entity, "--alter", "--add-config", added)
    until(stage, lambda: stage.judge("describe_config", type="topic", name=topic, keys=["segment.bytes"])
          ["segment.bytes"][0] == "1048576")  # fmt: skip
    run(stage, "config described", configs, *entity, "--describe")
    run(stage, "config refused", configs, *entity, "--alter", "--add-config", "segment.bytes=1")
    run(stage, "config unknown", configs, *entity, "--alter", "--add-config", "segment.bites=1")
    run(stage, "config taken back", configs, *entity, "--alter", "--delete-config", "segment.bytes")
    text = run(stage, "every config", configs, *entity, "--describe", "--all", keep=False)
    stage.see("every key", dict(line.split("=", 1) for line in spoken(text)[1:]))
    run(stage, "broker config", configs, "--entity-type", "brokers", "--entity-name", "1", "--describe")
    run(stage, "election", "LeaderElectionCommand", *here, "--election-type", "preferred", "--partition", "0")
    run(stage, "reassignments", "reassign.ReassignPartitionsCommand", "--list")
    run(stage, "transactions", "TransactionsCommand", "list")


def _records(stage: Stage, topic: str) -> None:
    keyed = ("--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    lines = "".join(f"key{i}:line {i}\n" for i in range(20))
    run(stage, "produced", "ConsoleProducer", "--topic", topic, *keyed, stdin=lines)
    zstd = ("--compression-codec", "zstd")
    run(stage, "produced with zstd", "ConsoleProducer", "--topic", topic, *zstd, *keyed, stdin="one:1\n")
    shown = [word for what in ("key", "offset", "partition") for word in ("--formatter-property", f"print.{what}=true")]
    consumer = "consumer.ConsoleConsumer"
    group = ("--group", f"{topic}-readers")
    whole = ("--topic", topic, "--from-beginning", "--max-messages", "21")
    text = run(stage, "consumed", consumer, *whole, *group, *shown, keep=False)
    found = stage.see("lines consumed", sorted(line for line in text.splitlines() if "\t" in line))
    assert len(found) == 21
    place = ("--partition", "0", "--offset", "1")
    run(stage, "consumed from an offset", consumer, "--topic", topic, *place, "--max-messages", "1", *shown)
    for time in ("latest", "earliest", "max-timestamp"):  # which record was the latest is a matter of milliseconds
        run(stage, f"offsets {time}", "GetOffsetShell", "--topic", topic, "--time", time, keep=time != "max-timestamp")


def _groups(stage: Stage, topic: str) -> None:
    group = ("--group", f"{topic}-readers")
    until(stage, lambda: stage.judge("describe_group", group=group[1]).get("state") == "Empty")
    run(stage, "group described", GROUPS, "--describe", *group)
    run(stage, "group state", GROUPS, "--describe", *group, "--state")
    run(stage, "group members", GROUPS, "--describe", *group, "--members", "--verbose")
    run(stage, "groups listed", GROUPS, "--list", keep=False)
    run(stage, "group absent", GROUPS, "--describe", "--group", f"{topic}-nobody")
    for word in ("--to-earliest", "--to-latest", "--to-current"):
        run(stage, f"reset {word} planned", GROUPS, "--reset-offsets", *group, "--topic", topic, word, "--dry-run")
    reset = ("--reset-offsets", *group, "--execute", "--topic")
    run(stage, "reset by two", GROUPS, *reset, f"{topic}:0", "--shift-by", "-2")
    run(stage, "reset to a day", GROUPS, *reset, topic, "--to-datetime", "2020-01-01T00:00:00.000")
    run(stage, "group described then", GROUPS, "--describe", *group, "--offsets")
    run(stage, "offsets deleted", GROUPS, "--delete-offsets", *group, "--topic", topic)
    run(stage, "group deleted", GROUPS, "--delete", *group)
    run(stage, "group deleted again", GROUPS, "--delete", *group)


def _files(stage: Stage, topic: str) -> None:
    plan: dict[str, Any] = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 2}]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(plan, file)
        file.flush()
        run(stage, "records deleted", "DeleteRecordsCommand", "--offset-json-file", file.name)
    run(stage, "offsets then", "GetOffsetShell", "--topic", topic, "--time", "earliest")
    run(stage, "directories", "LogDirsCommand", "--describe", "--topic-list", topic)
    place = ("--topic", topic, "--partition", "0")
    run(stage, "producers", "TransactionsCommand", "describe-producers", *place, keep=False)
    run(stage, "versions", "BrokerApiVersionsCommand", keep=False)
    run(stage, "cluster id", "ClusterTool", first=("cluster-id",), keep=False)
    run(stage, "client metrics", "ClientMetricsCommand", "--list")
    run(stage, "quorum", "MetadataQuorumCommand", "describe", "--status", keep=False)
    run(stage, "features", "FeatureCommand", "describe", keep=False)
    run(stage, "access rules", "AclCommand", "--list")


def _speeds(stage: Stage, topic: str) -> None:
    """The tools that measure: that they come to an end."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "client.properties"
        config.write_text("acks=all\n")
        load = ("--num-records", "500", "--record-size", "100", "--throughput", "-1", "--command-config", str(config))
        text = run(stage, "producer performance", "ProducerPerformance", "--topic", topic, *load, keep=False)
    assert "500 records sent" in text, text
    text = run(stage, "consumer performance", "ConsumerPerformance", "--topic", topic, "--num-records", "500",
               "--timeout", "20000", keep=False)  # fmt: skip
    text = run(stage, "latency", "EndToEndLatency", "--topic", topic, "--num-records", "20", "--producer-acks", "all",
               "--record-size", "100", keep=False)  # fmt: skip
    assert "Avg latency" in text, text


SCENARIOS = (tools,)
