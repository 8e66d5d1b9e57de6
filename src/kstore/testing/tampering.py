"""What a test may do to a running broker: turn its time ahead, and let its network and its disk fail.

Owns the methods of `Cluster` for that, which may be called from any thread but the broker's. Must not know how a broker
starts or stops. How it is done is in `turned_clock`, `interference` and `faulty_disk`.
"""

from __future__ import annotations

import errno
import functools
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from kstore.errors import UsageError
from kstore.nearest import nearest
from kstore.testing.faults import CHANGING, READING, Fault
from kstore.testing.faulty_disk import FaultyDisk
from kstore.testing.interference import Deed, Interference, Rule, answer_lost, error, late, lost
from kstore.testing.refused_requests import REFUSABLE
from kstore.testing.turned_clock import TurnedClock
from kstore.wire import apis, error_codes

if TYPE_CHECKING:
    from kstore.broker.node import Broker

T = TypeVar("T")

NO_ERROR = "NONE"


class Tampering:
    """Methods of a `Cluster`, each for the broker that runs now; raise `UsageError` where none does."""

    def __init__(self) -> None:
        self._clock = TurnedClock()
        self._disk = FaultyDisk()
        self._interference: Interference | None = None

    @property
    def broker(self) -> Broker:
        """The broker that runs."""
        raise UsageError("the cluster does not run")

    # -- time -----------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Turn the broker's time ahead, wall clock and timers: what falls due meanwhile happens now.

        Sessions and rebalances time out, parked fetches are answered, idle connections are closed, and with the next
        look (`log.retention.check.interval.ms`) old segments are deleted. Clients have clocks of their own: to them
        nothing has passed. When this returns, timers have run; what they had started on other threads, as retention
        is, may still be under way. Time stays ahead after a restart.
        """

        def turn() -> None:
            self._clock.turn(seconds)

        self._on_loop(turn)
        for _ in range(2):  # timers that are due run before the second of these
            self._on_loop(lambda: None)

    # -- clients and their requests --------------------------------------------------------------------------

    def drop_connections(self) -> int:
        """Close all connections at once, in the middle of whatever they do; returns how many there were."""

        def drop() -> int:
            connected = list(self.broker.connections.open)
            for one in connected:
                one.close("dropped by the test")
            return len(connected)

        return self._on_loop(drop)

    def answer_error(
        self, api: str, error_name: str, *, times: int | None = 1, client_id: str | None = None
    ) -> Rule:
        """Answer the next requests of an API (`"Produce"`) with an error (`"NOT_LEADER_OR_FOLLOWER"`), undone.

        `times` requests are met, None for all until the rule is ended; with `client_id` only those of that client.
        Raises `UsageError` for an API that cannot be refused and for names that Kafka does not have.
        """
        if api in apis.BY_NAME and api not in REFUSABLE:
            raise UsageError(f"{api} cannot be refused here; these can: {', '.join(REFUSABLE)}")
        row = error_codes.BY_NAME.get(error_name)
        if row is None or row.name == NO_ERROR:
            raise UsageError(f"{error_name} is no error of Kafka's{nearest(error_name, error_codes.BY_NAME)}")
        return self._lay(api, error(row.code), times, client_id)

    def delay_answers(
        self, api: str, seconds: float, *, times: int | None = None, client_id: str | None = None
    ) -> Rule:
        """Carry requests out at once and hold their answers back, by the broker's clock; later ones wait behind."""
        return self._lay(api, late(seconds), times, client_id)

    def lose_requests(self, api: str, *, times: int | None = 1, client_id: str | None = None) -> Rule:
        """Close the connection instead of taking a request: nothing is done."""
        return self._lay(api, lost, times, client_id)

    def lose_answers(self, api: str, *, times: int | None = 1, client_id: str | None = None) -> Rule:
        """Carry requests out and close the connection instead of answering: the client cannot know that it was done."""
        return self._lay(api, answer_lost, times, client_id)

    # -- disk -------------------------------------------------------------------------------------------------

    def fail_disk(
        self,
        number: int = errno.EIO,
        *,
        calls: Iterable[str] = ("write", "sync"),
        partition: str = "",
        times: int | None = None,
    ) -> Fault:
        """Let calls to the disk fail with an errno: ENOSPC passes when there is room again, EIO of an fsync is final.

        `calls` are of `kstore.testing.faults.CHANGING` and `READING`, `partition` (`"orders-0"`) limits it to the files
        of one partition, `times` to that many calls. The fault's `fired` counts. Raises `UsageError`.
        """
        kinds = frozenset(calls)
        if unknown := kinds - CHANGING - READING:
            raise UsageError(f"a disk has no call {sorted(unknown)[0]}; it has {', '.join(sorted(CHANGING | READING))}")
        return self._disk.fail(number, calls=kinds, inside=partition, times=times)

    def heal_disk(self) -> None:
        """Let the disk work again. A directory whose fsync failed takes writes again after `restart`."""
        self._disk.heal()

    # -- how ------------------------------------------------------------------------------------------------------

    def _lay(self, api: str, deed: Deed, times: int | None, client_id: str | None) -> Rule:
        row = apis.BY_NAME.get(api)
        if row is None:
            raise UsageError(f"{api} is no API of Kafka's{nearest(api, apis.BY_NAME)}")
        if times is not None and times < 1:
            raise UsageError(f"times is {times}; 1 or more, or None for all")
        between = self._interference
        if between is None:
            raise UsageError("the cluster does not run")
        rule = Rule(row.key, client_id, times, deed, lambda: None)
        rule.end = functools.partial(self._lift, between, rule)
        self._on_loop(lambda: between.lay(rule))
        return rule

    def _lift(self, between: Interference, rule: Rule) -> None:
        if self._interference is between:
            self._on_loop(lambda: between.lift(rule))

    def _on_loop(self, work: Callable[[], T]) -> T:
        """Run something on the broker's thread, and wait for it."""
        done = threading.Event()
        results: list[T] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as failure:
                failures.append(failure)
            finally:
                done.set()

        self.broker.loop.call_soon_threadsafe(run)
        done.wait()
        if failures:
            raise failures[0]
        return results[0]
