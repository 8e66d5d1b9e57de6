"""What the handlers of group APIs share: who asks, topics by id or name, and answers that come in pieces.

Called by `groups`, `commits`, `consumer_groups` and `group_admin`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from kstore.groups.requests import Context

if TYPE_CHECKING:
    from kstore.broker.call import Call

T = TypeVar("T")


def context_of(call: Call) -> Context:
    """Who asks, with an id for whoever needs one."""
    return Context(call.client_id or "", f"/{call.connection.peer}", call.version, fresh_id())


def gather(
    starts: Sequence[Callable[[Callable[[T], None]], None]], then: Callable[[list[T]], None]
) -> None:
    """Start everything, and call `then` with all results, in order, when the last one is there."""
    if not starts:
        then([])
        return
    results: dict[int, T] = {}

    def keep(number: int, result: T) -> None:
        results[number] = result
        if len(results) == len(starts):
            then([results[index] for index in range(len(starts))])

    for number, start in enumerate(starts):
        start(lambda result, number=number: keep(number, result))  # type: ignore[misc]


def fresh_id() -> str:
    """A random id for a member, as Kafka makes them."""
    return str(uuid.uuid4())
