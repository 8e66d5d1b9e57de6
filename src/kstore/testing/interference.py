"""Between a broker and its clients: requests that are refused, answers that come late or never.

Owns the rules that tests lay on requests. Must not know what a request means; how a refusal looks is for
`refused_requests`. Lives on the broker's loop: `cluster` calls everything here there.

Invariants
1. Without a rule a request goes the way that it always goes.
2. Answers leave a connection in the order of its requests, late ones included.
3. A rule that has run out, or was ended, touches nothing any more; `let_go` sends what is held back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from kstore.broker.call import Call
from kstore.broker.connection import Connection
from kstore.broker.dispatch import dispatch
from kstore.errors import MalformedMessage, UnsupportedVersion
from kstore.testing.refused_requests import refusal
from kstore.wire.codec import decode_header, decode_request

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore.broker.loop import Timer
    from kstore.broker.node import Broker

Deed = Callable[["Interference", Connection, memoryview], None]
Finish = Callable[[Call, Sequence["Buffer"]], None]
"""Takes an encoded answer."""


@dataclass(eq=False)
class Rule:
    """What happens to some requests. `hits` counts those that it met; `end` stops it."""

    api_key: int
    client_id: str | None
    """Only requests of this client; None: of anybody."""
    times: int | None
    """How many requests it meets; None: until it is ended."""
    deed: Deed = field(repr=False)
    end: Callable[[], None] = field(repr=False)
    """Let requests of the kind go their way again; a second time is no harm. May be called from any thread."""
    hits: int = 0

    def __enter__(self) -> Rule:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Interference:
    """The rules of one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._rules: list[Rule] = []
        self._late: dict[Timer, Callable[[], None]] = {}
        self.let_goes = 0
        """How often everything was let go."""
        self._usual = broker.dispatch
        broker.dispatch = self._take

    def lay(self, rule: Rule) -> None:
        """Let a rule hold from the next request on."""
        self._rules.append(rule)
        # Requests that a connection has learned by heart would pass by here.
        for one in self._broker.connections.open:
            if isinstance(one, Connection):
                one.repeats = None

    def lift(self, rule: Rule) -> None:
        """End a rule."""
        if rule in self._rules:
            self._rules.remove(rule)

    def let_go(self) -> None:
        """No rule holds any more, and what was held back goes out now."""
        self._rules.clear()
        self.let_goes += 1
        late, self._late = self._late, {}
        for timer, act in late.items():
            timer.cancel()
            act()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` by the broker's clock, or when everything is let go."""

        def due() -> None:
            self._late.pop(timer, None)
            act()

        timer = self._broker.loop.call_later(seconds, due)
        self._late[timer] = act

    def carry_out(self, connection: Connection, frame: memoryview, finish: Finish) -> None:
        """Handle the request; its answer goes to `finish` instead of to the client."""
        dispatch(self._broker, cast(Connection, _Between(connection, finish)), frame)

    def refuse(self, connection: Connection, frame: memoryview, code: int) -> None:
        """Answer with an error; nothing is carried out."""
        try:
            header, request = decode_request(frame)
        except (MalformedMessage, UnsupportedVersion):
            self._usual(connection, frame)
            return
        call = Call(connection, header.api_key, header.api_version, header.correlation_id, header.client_id, request)
        connection.accept(call, len(frame))
        answer = refusal(request, header.api_version, code)
        if answer is None:
            call.answer_nothing()
            connection.close("refused by the test; the client waits for no answer")
        else:
            call.answer(answer)

    def _take(self, connection: Connection, frame: memoryview) -> None:
        rule = self._meets(frame) if self._rules else None
        if rule is None:
            self._usual(connection, frame)
        else:
            rule.hits += 1
            if rule.hits == rule.times:
                self._rules.remove(rule)
            rule.deed(self, connection, frame)
        if self._rules:
            connection.repeats = None

    def _meets(self, frame: memoryview) -> Rule | None:
        try:
            header, _ = decode_header(frame)
        except (MalformedMessage, UnsupportedVersion):
            return None
        for rule in self._rules:
            if rule.api_key == header.api_key and rule.client_id in (None, header.client_id):
                return rule
        return None


class _Between:
    """A connection as a handler sees it, whose answers go elsewhere."""

    def __init__(self, connection: Connection, finish: Finish) -> None:
        self._connection = connection
        self.finish = finish
        self.repeats = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


# -- what a rule does ----------------------------------------------------------------------------------------------


def error(code: int) -> Deed:
    """Refuse the request with an error."""
    return lambda between, connection, frame: between.refuse(connection, frame, code)


def late(seconds: float) -> Deed:
    """Carry the request out, and hold its answer back."""

    def do(between: Interference, connection: Connection, frame: memoryview) -> None:
        before = between.let_goes

        def finish(call: Call, buffers: Sequence[Buffer]) -> None:
            own = [bytes(one) for one in buffers]
            call.on_lost = None
            if between.let_goes == before:
                between.later(seconds, lambda: connection.finish(call, own))
            else:  # it was not there yet when everything was let go
                connection.finish(call, own)

        between.carry_out(connection, frame, finish)

    return do


def lost(between: Interference, connection: Connection, frame: memoryview) -> None:
    """Close the connection instead of taking the request."""
    connection.close("the test lost a request")


def answer_lost(between: Interference, connection: Connection, frame: memoryview) -> None:
    """Carry the request out, and close the connection instead of answering."""
    between.carry_out(connection, frame, lambda call, buffers: connection.close("the test lost an answer"))
