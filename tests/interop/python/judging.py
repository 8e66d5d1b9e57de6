"""What the Python judges share: the loop of commands, and a member of a group on a thread of its own.

A JSON command a line on stdin, a JSON answer a line on stdout; tests/interop/judges.py says what commands there are.
Knows no client library.
"""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

Command = dict[str, Any]
Answer = dict[str, Any]
UNSUPPORTED = {"unsupported": True}
OWN_FAILURE = -1


def text(data: bytes | None) -> str | None:
    return None if data is None else data.decode()


def data(word: str | None) -> bytes | None:
    return None if word is None else word.encode()


def headers(record: Answer) -> list[tuple[str, bytes | None]]:
    return [(name, data(value)) for name, value in record["headers"]]


def serve(ops: Callable[[str], Callable[[Command], Any] | None], code_of: Callable[[BaseException], int]) -> None:
    """Answer until stdin ends; `ops` finds the function of a command, `code_of` the error code in an exception."""
    for line in sys.stdin:
        command: Command = json.loads(line)
        call = ops(command["op"])
        try:
            answer = UNSUPPORTED if call is None else call(command) or {}
        except Exception as error:
            traceback.print_exc()
            answer = {"code": code_of(error), "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


class Member:
    """A member of a group: a thread that polls, and does in between what it is asked to."""

    def __init__(self, code_of: Callable[[BaseException], int]) -> None:
        """`start` once the client is there; the methods below it are the client's."""
        self.read: list[tuple[int, int, str | None]] = []
        self.owned: list[str] = []
        self.failure: BaseException | None = None
        self._code_of = code_of
        self._wish: Callable[[], object] | None = None
        self._asked, self._done = threading.Event(), threading.Event()
        self._wish_failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def poll(self) -> None:
        """Wait a moment for records and take them into `read`; note what is `owned`."""

    def close(self) -> None:
        """Leave the group."""

    def commit(self) -> None:
        """Commit what was read, and wait for the answer."""

    def _run(self) -> None:
        try:
            while True:
                if self._asked.is_set():
                    self._asked.clear()
                    if self._wish is None:
                        break
                    try:
                        self._wish()
                    except Exception as error:
                        self._wish_failed = error
                    self._done.set()
                self.poll()
        except Exception as error:
            traceback.print_exc()
            self.failure = error
        finally:
            self.close()
            self._done.set()

    def ask(self, wish: Callable[[], object] | None) -> None:
        """Have the thread do something, or end for None, and wait for that."""
        self._wish, self._wish_failed = wish, None
        self._done.clear()
        self._asked.set()
        if self._thread.is_alive():
            self._done.wait(60)
        if self._wish_failed is not None:
            raise self._wish_failed

    def tell(self) -> Answer:
        answer: Answer = {"assignment": self.owned, "read": list(self.read)}
        if self.failure is not None:
            answer |= {"code": self._code_of(self.failure), "error": str(self.failure)}
        return answer
