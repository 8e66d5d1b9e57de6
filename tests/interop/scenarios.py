"""What every client is asked to do, against kstore and against Kafka: the same list, the same order.

A scenario drives one judge and notes what it sees: `stage.see(name, value)`. What it sees at the two brokers is
compared by the test; what must be so at either is asserted here, so that two brokers that fail alike do not pass. What
no two brokers share (member ids, topic ids, ports) is not noted. Knows no client and no broker by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from interop.brokers import Broker
from interop.judges import Judge

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
ACKS = (0, 1, -1)
T0_MS = 1_700_000_000_000
WAIT_S = 40.0
"""How long a group may take to settle, or a broker to be found again."""
PAUSE_S = 0.03
"""Between two looks at something that has no other way to tell."""

Answer = dict[str, Any]
Scenario = Callable[["Stage"], None]


class Stage:
    """One client at one broker, and what it has seen."""

    def __init__(self, judge: Judge, broker: Broker) -> None:
        self.judge, self.broker = judge, broker
        self.seen: dict[str, Any] = {}
        self.scenario = ""

    def see(self, name: str, value: Any) -> Any:
        """Note something observable under a name of its own; the value is handed on."""
        key = f"{self.scenario}: {name}"
        assert key not in self.seen, f"{key} was noted before"
        self.seen[key] = value
        return value

    def try_(self, name: str, op: str, /, **arguments: Any) -> Answer:
        """Ask, and note the answer: its error code alone where it is an error."""
        answer = self.judge.ask(op, **arguments)
        if "code" in answer and "error" in answer:
            answer = {"code": answer["code"]}
        self.see(name, answer)
        return answer

    def name(self, word: str) -> str:
        """A topic or group of this client's own."""
        return f"{self.judge.name}-{self.scenario}-{word}"

    def topic(self, word: str, partitions: int = 1, **config: object) -> str:
        """A new topic, once the broker knows of it: Kafka's brokers hear of it from their controller."""
        name = self.name(word)
        keys = {key.replace("_", "."): str(value) for key, value in config.items()}
        wanted = {"name": name, "partitions": partitions, "replicas": 1, "config": keys}
        assert self.judge("create_topics", topics=[wanted]) == {name: 0}
        self.await_topic(name)
        return name

    def rows(self, count: int, start: int = 0) -> list[Answer]:
        """Records with every shape of key, value and header that the client can send."""
        headers: list[list[str | None]] = [["h", "0"], ["empty", ""]]
        if "null headers" not in self.judge.lacks:
            headers.append(["none", None])
        may_be_empty = "records without key and value" not in self.judge.lacks
        return [
            {
                "key": None if i % 3 == 0 and (may_be_empty or i % 11 != 10) else f"key-{i % 7}",
                "value": None if i % 11 == 10 else f"value-{i}-" + "x" * (i * 37 % 200),
                "timestamp": T0_MS + i * 1000,
                "headers": [] if i % 4 else headers,
            }
            for i in range(start, start + count)
        ]

    def await_topic(self, name: str) -> None:
        until(self, lambda: name in self.judge("list_topics")["names"])


def plain(found: Iterable[Answer]) -> list[Answer]:
    """Records as they were sent."""
    keys = ("key", "value", "timestamp", "headers")
    return [{key: record[key] for key in keys} for record in found]


def read_all(stage: Stage, topic: str, count: int, partition: int = 0, from_: Any = "beginning") -> list[Answer]:
    """`count` records of a partition."""
    stage.judge("seek", id="reader", topic=topic, partition=partition, **{"from": from_})
    found: list[Answer] = stage.judge("poll", id="reader", count=count)["records"]
    stage.judge("close", id="reader")
    return found


# -- producing ---------------------------------------------------------------------------------------------------


def produce(stage: Stage) -> None:
    """Every codec with every acks, and idempotent; what comes back is what was sent, in order, without holes."""
    topic = stage.topic("all")
    sent: list[Answer] = []
    ways = [(codec, acks, False) for codec in CODECS for acks in ACKS] + [(codec, -1, True) for codec in CODECS]
    for codec, acks, idempotent in ways:
        records = stage.rows(12, len(sent))
        answer = stage.judge("produce", topic=topic, partition=0, records=records, codec=codec, acks=acks,
                             idempotent=idempotent)  # fmt: skip
        told = answer.get("offsets", [])
        stage.see(f"offsets of {codec} acks={acks}{' idempotent' * idempotent}", told)
        assert not told or acks == 0 or told[0] == len(sent)
        sent += records
        if acks == 0:  # nobody was told that it arrived
            assert read_all(stage, topic, 1, from_=len(sent) - 1)
    found = stage.see("records", read_all(stage, topic, len(sent)))
    assert [record["offset"] for record in found] == list(range(len(sent)))
    assert plain(found) == sent
    stage.try_("producers", "describe_producers", topic=topic, partition=0)


def refused(stage: Stage) -> None:
    """What a broker does not take."""
    small = stage.topic("small", max_message_bytes=1000)
    large = [{"key": None, "value": "x" * 5000, "timestamp": T0_MS, "headers": []}]
    for acks in (1, -1):
        stage.try_(f"too large with acks={acks}", "produce", topic=small, partition=0, records=large, acks=acks)
    compacted = stage.topic("compacted", cleanup_policy="compact")
    keyed = {"key": "k", "value": "v", "timestamp": T0_MS, "headers": []}
    keyless = {**keyed, "key": None}
    for name, records in {"no key": [keyless], "one without": [keyed, keyless], "a key": [keyed]}.items():
        stage.try_(f"{name} where it is compacted", "produce", topic=compacted, partition=0, records=records)
    now_ms = time.time_ns() // 1_000_000
    recent = stage.topic("recent", message_timestamp_before_max_ms=3_600_000)
    for name, shift in {"two hours ahead": 7_200_000, "two hours old": -7_200_000, "a moment old": -1000}.items():
        records = [{**keyed, "timestamp": now_ms}, {**keyed, "timestamp": now_ms + shift}]
        stage.try_(f"a record {name}", "produce", topic=recent, partition=0, records=records)
    stage.try_("nothing got in", "list_offsets", topic=small, partition=0, at="latest")
    many = stage.rows(3000)
    told = stage.judge("produce", topic=stage.topic("many"), partition=0, records=many, codec="lz4")["offsets"]
    stage.see("many", told[0])
    assert plain(read_all(stage, stage.name("many"), len(many))) == many


# -- reading -----------------------------------------------------------------------------------------------------


def consume(stage: Stage) -> None:
    """From the beginning, the end, an offset, a timestamp, and a stored offset."""
    topic = stage.topic("read", 2)
    records = stage.rows(30)
    stage.judge("produce", topic=topic, partition=1, records=records, codec="gzip")
    places = {
        "beginning": "beginning", "offset": 7, "a timestamp": {"timestamp": T0_MS + 9000},
        "between timestamps": {"timestamp": T0_MS + 9001}, "before all": {"timestamp": 1},
    }  # fmt: skip
    for name, place in places.items():
        at = stage.judge("seek", id=name, topic=topic, partition=1, **{"from": place})
        stage.see(f"position of {name}", at)
        found = stage.judge("poll", id=name, count=30 - at["position"])["records"]
        assert plain(found) == records[at["position"] :]
        stage.see(f"records from {name}", found)
        stage.judge("close", id=name)
    for name, place in (("the end", "end"), ("after all", {"timestamp": T0_MS + 10**9})):
        at = stage.judge("seek", id="tail", topic=topic, partition=1, **{"from": place})
        stage.see(f"position of {name}", at)
        stage.judge("produce", topic=topic, partition=1, records=stage.rows(1, 30))
        found = stage.judge("poll", id="tail", count=1)["records"]
        stage.see(f"records after {name}", found)
        assert plain(found) == stage.rows(1, 30), [at, found]
        stage.judge("close", id="tail")
    stored(stage, topic, records)
    for reset in ("earliest", "latest"):
        at = stage.judge.ask("seek", id="out", topic=topic, partition=1, reset=reset, **{"from": 5000})
        found = stage.judge.ask("poll", id="out", count=1, wait_ms=20_000 if reset == "earliest" else 500)
        stage.see(f"out of range, reset {reset}", [at.get("code"), found.get("code"), found.get("records")])
        stage.judge("close", id="out")


def stored(stage: Stage, topic: str, records: list[Answer]) -> None:
    """A consumer that starts where its group stands."""
    group = stage.name("stored")
    stage.judge("alter_committed", group=group, topic=topic, partition=1, offset=11)
    at = stage.judge("seek", id="stored", topic=topic, partition=1, group=group, **{"from": "stored"})
    found = stage.judge("poll", id="stored", count=len(records) - 11)["records"]
    stage.see("position of stored", at)
    assert plain(found[: len(records) - 11]) == records[11:]
    stage.judge("close", id="stored")


def watermarks(stage: Stage) -> None:
    """Ends and special timestamps, records deleted from the front."""
    topic = stage.topic("marks")
    for at in ("earliest", "latest", "max_timestamp", T0_MS):
        stage.try_(f"{at} of nothing", "list_offsets", topic=topic, partition=0, at=at)
    records = [*stage.rows(5), *stage.rows(5, 20), *stage.rows(10, 6)]
    stage.judge("produce", topic=topic, partition=0, records=records, codec="zstd")
    for at in ("earliest", "latest", "max_timestamp", 0, T0_MS + 6500, T0_MS + 24_000, T0_MS + 25_000):
        stage.try_(f"{at}", "list_offsets", topic=topic, partition=0, at=at)
    stage.try_("delete to 4", "delete_records", topic=topic, partition=0, before=4)
    stage.try_("delete backwards", "delete_records", topic=topic, partition=0, before=1)
    stage.try_("delete past the end", "delete_records", topic=topic, partition=0, before=21)
    stage.try_("earliest then", "list_offsets", topic=topic, partition=0, at="earliest")
    stage.see("records then", read_all(stage, topic, 16))
    stage.try_("delete all", "delete_records", topic=topic, partition=0, before=-1)
    stage.try_("earliest at last", "list_offsets", topic=topic, partition=0, at="earliest")


# -- a restart ---------------------------------------------------------------------------------------------------


def restart(stage: Stage) -> None:
    """The broker stops and starts under an open idempotent producer, a consumer and a member of a group."""
    topic, group = stage.topic("again"), stage.name("again")
    sent = stage.rows(10)
    way = {"topic": topic, "partition": 0, "id": "steady", "codec": "lz4", "idempotent": True}
    stage.see("offsets before", stage.judge("produce", records=sent, **way))
    stage.judge("seek", id="steady-reader", topic=topic, partition=0, **{"from": "beginning"})
    assert len(stage.judge("poll", id="steady-reader", count=10)["records"]) == 10
    stage.judge("join", id="m", group=group, topics=[topic])
    until(stage, lambda: len(stage.judge("member", id="m")["read"]) == 10)
    stage.judge("commit", id="m")
    stage.broker.stop()
    stage.broker.start()
    more = stage.rows(10, 10)
    stage.see("offsets after", stage.judge("produce", records=more, **way))
    found = stage.judge("poll", id="steady-reader", count=10, wait_ms=int(WAIT_S * 1000))["records"]
    assert plain(found) == more
    until(stage, lambda: len({row[1] for row in stage.judge("member", id="m")["read"]}) == 20)
    until(stage, lambda: committed(stage, "m", group) == {f"{topic}-0": 20})
    stage.judge("leave", id="m")
    for name in ("steady", "steady-reader"):
        stage.judge("close", id=name)
    found = stage.see("records", read_all(stage, topic, 20))
    assert [record["offset"] for record in found] == list(range(20))


def committed(stage: Stage, member: str, group: str) -> Answer:
    """What the group has, after this member has committed.

    Nothing is committed where the member is just between two assignments; and a client may fail once where its
    connection was closed while it was not looking.
    """
    stage.judge.ask("commit", id=member)
    return stage.judge.ask("committed", group=group)


def until(stage: Stage, condition: Callable[[], bool]) -> None:
    """Wait for something that only looking tells."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            where = f"{stage.scenario} at {stage.broker.name}"
            raise TimeoutError(f"{where}: not within {WAIT_S} s\n{stage.judge.stderr()}")
        time.sleep(PAUSE_S)
