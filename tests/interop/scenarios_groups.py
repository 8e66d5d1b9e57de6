"""The scenarios of groups: three members that join and leave, commits, resuming, both protocols, what is refused."""

from __future__ import annotations

from typing import Any

from interop.scenarios import Answer, Stage, until

PARTITIONS = 6
EACH = 5
"""Records in each partition."""


def classic(stage: Stage) -> None:
    """Kafka's first protocol, with the range assignor that every client has."""
    _life(stage, "classic", "range")


def consumer(stage: Stage) -> None:
    """KIP-848."""
    _life(stage, "consumer", "range")


def assignors(stage: Stage) -> None:
    """Round robin and cooperative sticky: who has how many."""
    topic = stage.topic("shared", PARTITIONS)
    for assignor in ("roundrobin", "cooperative-sticky"):
        group = stage.name(assignor)
        members = ["a", "b", "c"]
        for count, member in enumerate(members, 1):
            answer = stage.judge.ask("join", id=member, group=group, topics=[topic], assignor=assignor)
            if answer.get("unsupported"):
                stage.see(assignor, answer)
                return
            settled(stage, members[:count], PARTITIONS)
        stage.see(f"{assignor} of three", sorted(len(owned(stage, member)) for member in members))
        about = described(stage, group)
        stage.see(f"{assignor} described", {key: about.get(key) for key in ("state", "assignor", "type")})
        for member in members:
            stage.judge("leave", id=member)


def _life(stage: Stage, protocol: str, assignor: str) -> None:
    topic, group = stage.topic("shared", PARTITIONS), stage.name("group")
    for partition in range(PARTITIONS):
        stage.judge("produce", topic=topic, partition=partition, records=stage.rows(EACH))
    members = ["a", "b", "c"]
    for count, member in enumerate(members, 1):
        answer = stage.judge.ask("join", id=member, group=group, topics=[topic], protocol=protocol, assignor=assignor)
        if answer.get("unsupported"):
            stage.see(protocol, answer)
            return
        settled(stage, members[:count], PARTITIONS)
        stage.see(f"shares of {count}", shares(stage, members[:count]))
        stage.see(f"described with {count}", described(stage, group))
    everything = [(partition, offset) for partition in range(PARTITIONS) for offset in range(EACH)]
    until(stage, lambda: sorted({(row[0], row[1]) for m in members for row in read(stage, m)}) == everything)
    # Whoever got a partition late reads it from the beginning again, and has no position in it before that.
    until(stage, lambda: _all_committed(stage, topic, group, members))
    stage.see("committed", stage.judge("committed", group=group))
    _refused_while_active(stage, topic, group)
    stage.judge("leave", id="b")
    settled(stage, ["a", "c"], PARTITIONS)
    stage.see("shares when one left", shares(stage, ["a", "c"]))
    for member in ("a", "c"):
        stage.judge("leave", id=member)
    until(stage, lambda: stage.judge("describe_group", group=group).get("state", "Empty") == "Empty")
    stage.see("described when all left", described(stage, group))
    _resume(stage, topic, group, protocol, assignor)


def _all_committed(stage: Stage, topic: str, group: str, members: list[str]) -> bool:
    for member in members:
        stage.judge("commit", id=member)
    wanted = {f"{topic}-{partition}": EACH for partition in range(PARTITIONS)}
    found: Answer = stage.judge("committed", group=group)
    return found == wanted


def _refused_while_active(stage: Stage, topic: str, group: str) -> None:
    stage.try_("delete an active group", "delete_groups", groups=[group])
    stage.try_("alter offsets of an active group", "alter_committed", group=group, topic=topic, partition=0, offset=1)
    stage.try_("delete offsets of an active group", "delete_committed", group=group, topic=topic, partition=0)
    stage.see("committed all the same", stage.judge("committed", group=group))


def _resume(stage: Stage, topic: str, group: str, protocol: str, assignor: str) -> None:
    """A new member reads what is new, and nothing else; then the group goes."""
    for partition in range(PARTITIONS):
        stage.judge("produce", topic=topic, partition=partition, records=stage.rows(1, 100 + partition))
    stage.judge("join", id="d", group=group, topics=[topic], protocol=protocol, assignor=assignor)
    settled(stage, ["d"], PARTITIONS)
    until(stage, lambda: len(read(stage, "d")) >= PARTITIONS)
    found = stage.see("records after resuming", sorted(read(stage, "d")))
    assert [row[:2] for row in found] == [[p, EACH] for p in range(PARTITIONS)], found
    stage.judge("commit", id="d")
    stage.judge("leave", id="d")
    until(stage, lambda: stage.judge("describe_group", group=group).get("state", "Empty") == "Empty")
    stage.try_("alter offsets", "alter_committed", group=group, topic=topic, partition=0, offset=1)
    stage.try_("delete offsets", "delete_committed", group=group, topic=topic, partition=1)
    stage.see("committed then", stage.judge("committed", group=group))
    stage.try_("delete the group", "delete_groups", groups=[group])
    stage.try_("delete it again", "delete_groups", groups=[group])
    stage.try_("describe it", "describe_group", group=group)
    stage.try_("committed of no group", "committed", group=group)


def static(stage: Stage) -> None:
    """Static members: one that comes back has its partitions again; a twin fences it."""
    topic, group = stage.topic("shared", 2), stage.name("group")
    join: dict[str, Any] = {"group": group, "topics": [topic]}
    if stage.judge.ask("join", id="a", instance="one", **join).get("unsupported"):
        stage.see("static", "unsupported")
        return
    settled(stage, ["a"], 2)
    stage.judge("join", id="b", instance="two", **join)
    settled(stage, ["a", "b"], 2)
    before = owned(stage, "b")
    stage.judge("leave", id="b")
    left = stage.see("described when one static left", described(stage, group))
    stage.judge("join", id="b", instance="two", **join)
    settled(stage, ["a", "b"], 2)
    if len(left["members"]) == 2:  # some clients tell the broker that a static member leaves
        until(stage, lambda: owned(stage, "b") == before)
    before = owned(stage, "b")
    if "giving up when fenced" in stage.judge.lacks:  # the two would fence each other for ever
        for member in ("a", "b"):
            stage.judge("leave", id=member)
        return
    stage.judge("join", id="twin", instance="two", **join)
    until(stage, lambda: stage.judge.ask("member", id="b").get("code") is not None)
    stage.see("the fenced twin", stage.judge.ask("member", id="b")["code"])
    until(stage, lambda: owned(stage, "twin") == before)
    for member in ("a", "twin", "b"):
        stage.judge("leave", id=member)


# -- looking -----------------------------------------------------------------------------------------------------


def read(stage: Stage, member: str) -> list[list[Any]]:
    found: list[list[Any]] = stage.judge("member", id=member)["read"]
    return found


def owned(stage: Stage, member: str) -> list[str]:
    answer: Answer = stage.judge("member", id=member)
    found: list[str] = answer["assignment"]
    return found


def shares(stage: Stage, members: list[str]) -> list[list[str]]:
    """What each has, in an order that does not depend on who is who."""
    return sorted(owned(stage, member) for member in members)


def settled(stage: Stage, members: list[str], partitions: int) -> None:
    """Wait until the members have all partitions between them, as evenly as can be, and nobody else's."""

    def even() -> bool:
        found = [owned(stage, member) for member in members]
        counts = [len(one) for one in found]
        together = {name for one in found for name in one}
        return sum(counts) == len(together) == partitions and max(counts) - min(counts) <= 1

    until(stage, even)


def described(stage: Stage, group: str) -> Answer:
    """The group, as the admin client tells once it is at rest."""
    found: Answer = {}

    def at_rest() -> bool:
        found.clear()
        found.update(stage.judge("describe_group", group=group))
        return found.get("state", "Stable") in ("Stable", "Empty")

    until(stage, at_rest)
    return found


SCENARIOS = (classic, consumer, assignors, static)
