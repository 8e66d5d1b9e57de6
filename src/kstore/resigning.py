"""A term that a replica cannot serve, and the asking for another leader until somebody has heard.

Owns what was asked, and when to ask again: a resignation that gets lost, or whose controller dies, would leave the
partition with a leader that serves nobody. It must not know why a term is given up, nor how anything is sent. Called by
`replica`, under its lock. A leader whose machine goes on (damage) does the same by `leading.Resignation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kstore.replication.effects import Resign


class Resigning:
    """Of one replica; idle until a term is given up."""

    def __init__(self) -> None:
        self._asked: Resign | None = None
        self._sent_ms = 0

    def ask(self, resignation: Resign, now_ms: int) -> None:
        """A resignation is sent, for the first time or once more."""
        self._asked, self._sent_ms = resignation, now_ms

    def unheard(self, now_ms: int, timeout_ms: int) -> Resign | None:
        """What to send once more, where it was not heard for `timeout_ms`; None for nothing."""
        return self._asked if self._asked is not None and self._sent_ms + timeout_ms <= now_ms else None

    def next_deadline_ms(self, timeout_ms: int) -> int | None:
        """When `unheard` has something; None for never."""
        return None if self._asked is None else self._sent_ms + timeout_ms

    def is_heard(self, leader_epoch: int) -> bool:
        """The controller's metadata shows `leader_epoch`: whether no older term is still to be given up.

        From a later term on the older one is forgotten.
        """
        if self._asked is not None and leader_epoch <= self._asked.leader_epoch:
            return False
        self._asked = None
        return True
