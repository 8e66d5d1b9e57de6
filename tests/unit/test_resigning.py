"""Asking for another leader until it is heard."""

from __future__ import annotations

from kstore.replication.effects import Resign
from kstore.resigning import Resigning

ASKED = Resign(4, "its disk is full", lost=False)


def test_it_is_said_again_until_a_newer_term_shows() -> None:
    resigning = Resigning()
    assert (resigning.unheard(10**9, 100), resigning.next_deadline_ms(100)) == (None, None)
    resigning.ask(ASKED, 1_000)
    assert resigning.next_deadline_ms(100) == 1_100
    assert resigning.unheard(1_099, 100) is None
    assert resigning.unheard(1_100, 100) == ASKED
    resigning.ask(ASKED, 1_100)
    assert resigning.unheard(1_199, 100) is None
    for epoch in (3, 4):
        assert not resigning.is_heard(epoch)
        assert resigning.unheard(1_200, 100) == ASKED
    assert resigning.is_heard(5)
    assert (resigning.unheard(10**9, 100), resigning.next_deadline_ms(100)) == (None, None)


def test_where_nothing_is_asked_every_term_is_new() -> None:
    assert Resigning().is_heard(0)
