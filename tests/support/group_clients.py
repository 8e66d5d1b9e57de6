"""Clients of a group coordinator that keep to their protocol, for models and simulations: steps instead of threads.

A client takes one step at a time: it reads the answer that it waits for, or sends what comes next; so an answer is
always on its way for a while. It stops stepping to be a paused process, and is told of a coordinator's crash as a
client is: by a lost connection.
"""

from __future__ import annotations

from kstore.groups.codes import Code
from support.groups import Broker, beat, chb, commit, join, sync, topic_id

PARTITIONS = 5


class ClassicClient:
    """A consumer of the classic protocol; as leader it shares out the partitions in turns."""

    def __init__(self, broker: Broker, name: str, instance: str | None = None) -> None:
        self.broker, self.name, self.instance = broker, name, instance
        self.member, self.generation = "", -1
        self.doing, self.token = "join", None
        self.owned: frozenset[int] | None = None
        self.shares: dict[str, bytes] = {}
        self.is_fenced = False

    @property
    def who(self) -> str:
        return self.instance or self.member

    def lose_connection(self) -> None:
        """The coordinator is gone, and with it every answer that was on its way."""
        self.token = None
        if self.doing == "sync":
            self.doing = "join"

    def step(self) -> tuple[int, frozenset[int]] | None:
        """Send or read; returns generation and partitions when an assignment came."""
        if self.is_fenced:
            return None
        if self.token is None:
            self.token = self.broker.send(self._request())
            return None
        if self.token not in self.broker.replies:
            return None
        answer, self.token = self.broker.replies[self.token], None
        return self._read(answer)

    def _request(self):
        if self.doing == "join":
            self.owned = None
            return join(self.member, instance=self.instance)
        if self.doing == "sync":
            return sync(self.member, self.generation, self.shares, instance=self.instance)
        return beat(self.member, self.generation, instance=self.instance)

    def _read(self, answer) -> tuple[int, frozenset[int]] | None:
        code = answer.error_code
        if code is Code.NONE:
            return self._go_on(answer)
        if code is Code.MEMBER_ID_REQUIRED:
            self.member = answer.member_id
        elif code is Code.FENCED_INSTANCE_ID:
            self.is_fenced, self.owned = True, None
        elif code in (Code.UNKNOWN_MEMBER_ID, Code.ILLEGAL_GENERATION):
            self.member, self.doing, self.owned = "", "join", None
        else:
            self.doing = "join"
        return None

    def _go_on(self, answer) -> tuple[int, frozenset[int]] | None:
        if self.doing == "join":
            self.member, self.generation, self.doing = answer.member_id, answer.generation_id, "sync"
            members = sorted(member.member_id for member in answer.members)
            self.shares = {}
            if members and not answer.skip_assignment:
                self.shares = {
                    one: bytes(range(PARTITIONS))[index :: len(members)] for index, one in enumerate(members)
                }
        elif self.doing == "sync":
            self.doing, self.owned = "beat", frozenset(answer.assignment)
            return self.generation, self.owned
        return None

    def commit(self, partition: int, offset: int) -> object:
        request = commit(offset, member=self.member, epoch=self.generation, partition=partition, instance=self.instance)
        return self.broker.send(request)


class ConsumerClient:
    """A consumer of KIP-848; it gives up at once what it is asked to."""

    def __init__(self, broker: Broker, name: str, instance: str | None = None) -> None:
        self.broker, self.instance = broker, instance
        self.member, self.epoch = name, 0
        self.owned: frozenset[int] = frozenset()
        self.token = None
        self.is_fenced = False
        self.says_all = False
        """After a lost answer a client repeats all it has to say, and is told its whole assignment in turn."""

    @property
    def who(self) -> str:
        return self.instance or self.member

    def lose_connection(self) -> None:
        self.token, self.says_all = None, True

    def step(self) -> tuple[int, frozenset[int]] | None:
        """Send or read; returns epoch and partitions when a heartbeat was answered."""
        if self.is_fenced:
            return None
        if self.token is None:
            owns = {"t": self.owned} if self.owned else {}
            more = {} if self.instance is None else {"instance_id": self.instance}
            if self.says_all and self.epoch > 0:
                more |= {"reads": ("t",), "rebalance_timeout_ms": 60_000}
            self.token = self.broker.send(chb(self.member, self.epoch, owns=owns, **more))
            return None
        if self.token not in self.broker.replies:
            return None
        answer, self.token = self.broker.replies[self.token], None
        self.says_all = answer.error_code is not Code.NONE
        if answer.error_code is Code.NONE:
            self.epoch = answer.member_epoch
            if answer.assignment is not None:
                found = {one.topic_id: one.partitions for one in answer.assignment}
                self.owned = frozenset(found.get(topic_id("t"), ()))
            return self.epoch, self.owned
        if answer.error_code is Code.FENCED_INSTANCE_ID:
            self.is_fenced, self.owned = True, frozenset()
        elif answer.error_code in (Code.UNKNOWN_MEMBER_ID, Code.FENCED_MEMBER_EPOCH, Code.GROUP_ID_NOT_FOUND):
            self.epoch, self.owned = 0, frozenset()
        return None

    def commit(self, partition: int, offset: int) -> object:
        return self.broker.send(commit(offset, member=self.member, epoch=self.epoch, partition=partition))
