"""The table of SCRAM credentials: changes by KIP-554's rules, decoys, and bytes that are none."""

from __future__ import annotations

import pytest

from kstore.security import credentials, scram
from kstore.security.credentials import Deletion, ScramCredentials, Upsertion
from kstore.security.scram import SCRAM_SHA_256, SCRAM_SHA_512

EMPTY = ScramCredentials()
SECRET = bytes(range(32))


def upsertion(user: str = "alice", mechanism: int = 1, iterations: int = 4096, salt: bytes = b"1xsalt") -> Upsertion:
    return Upsertion(user, mechanism, iterations, salt, bytes(64 if mechanism == 2 else 32))


def table_of(*users: str) -> ScramCredentials:
    return EMPTY.change([], [upsertion(user) for user in users], SECRET)[0]


def test_set_change_and_remove() -> None:
    table, outcome = EMPTY.change([], [upsertion(), upsertion(mechanism=2), upsertion("bob")], SECRET)
    assert outcome == {"alice": None, "bob": None}
    assert {user: sorted(kept) for user, kept in table.users.items()} == {
        "alice": ["SCRAM-SHA-256", "SCRAM-SHA-512"],
        "bob": ["SCRAM-SHA-256"],
    }
    assert table.users["alice"]["SCRAM-SHA-256"] == scram.credential(SCRAM_SHA_256, bytes(32), b"1xsalt", 4096)
    table, outcome = table.change([Deletion("alice", 1), Deletion("bob", 1)], [upsertion("alice", 2, 8192)], b"other")
    assert outcome == {"alice": None, "bob": None}
    assert list(table.users) == ["alice"]
    assert table.users["alice"]["SCRAM-SHA-512"].iterations == 8192
    assert table.secret == SECRET


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (upsertion(iterations=4095), 93),
        (upsertion(iterations=1), 93),
        (upsertion(iterations=16_385), 93),
        (upsertion(iterations=2**31 - 1), 93),
        (upsertion(user=""), 93),
        (upsertion(user="x" * 1025), 93),
        (upsertion(salt=b""), 93),
        (upsertion(salt=bytes(1025)), 93),
        (upsertion()._replace(salted_password=b"short"), 93),
        (upsertion(mechanism=0), 33),
        (upsertion(mechanism=3), 33),
    ],
)
def test_credentials_that_are_refused(change: Upsertion, code: int) -> None:
    before = table_of("bob")
    table, outcome = before.change([], [change, upsertion("carol")], SECRET)
    refusal = outcome[change.user]
    assert refusal is not None
    assert refusal.error_code == code
    assert outcome["carol"] is None
    assert sorted(table.users) == ["bob", "carol"]


def test_removals_that_are_refused() -> None:
    _, outcome = table_of("bob").change([Deletion("bob", 2), Deletion("who", 1), Deletion("", 1)], [], SECRET)
    assert {user: one and one.error_code for user, one in outcome.items()} == {"bob": 91, "who": 91, "": 93}


def test_one_user_twice_is_refused_whole() -> None:
    before = table_of("bob")
    table, outcome = before.change([Deletion("bob", 1)], [upsertion("bob"), upsertion("bob", 2)], SECRET)
    assert outcome["bob"] is not None
    assert outcome["bob"].error_code == 92
    assert table.users == before.users


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "USERS_MAX", 2)
    table = table_of("a", "b")
    _, outcome = table.change([], [upsertion("c"), upsertion("a", 2)], SECRET)
    assert outcome["c"] is not None
    assert outcome["a"] is None


def test_decoys_look_like_the_others_and_stay() -> None:
    real = [upsertion("a"), upsertion("b", iterations=8192, salt=bytes(16))]
    table = EMPTY.change([], real, SECRET)[0]
    shapes = set()
    for number in range(50):
        found = table.find(SCRAM_SHA_256, f"stranger {number}")
        assert found is not None
        decoy, is_real = found
        assert not is_real
        assert found == table.find(SCRAM_SHA_256, f"stranger {number}")
        shapes.add((decoy.iterations, len(decoy.salt), decoy.salt.isalnum()))
        assert decoy.is_valid(SCRAM_SHA_256)
    assert shapes == {(4096, 6, True), (8192, 16, False)}
    assert table.find(SCRAM_SHA_256, "a") == (table.users["a"]["SCRAM-SHA-256"], True)
    assert table.find(SCRAM_SHA_512, "a") is None
    assert EMPTY.find(SCRAM_SHA_256, "a") is None


def test_as_bytes_and_back() -> None:
    table = EMPTY.change([], [upsertion("jürgen, =\n"), upsertion("b", 2)], SECRET)[0]
    data = credentials.encode(table)
    assert credentials.decode(data) == table
    assert credentials.encode(table_of()) == credentials.encode(ScramCredentials({}, SECRET))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"[]", b"{}", b'{"secret": "", "users": []}', b'{"secret": "?", "users": {}}',
     b'{"secret": "", "users": {"a": {"SCRAM-SHA-256": ["YQ==", "YQ==", "YQ==", 4096]}}}',
     b'{"secret": "", "users": {"a": {"MD5": []}}}', b'{"secret": "", "users": {"a": 1}}'],
)  # fmt: skip
def test_bytes_that_are_no_table(data: bytes) -> None:
    assert credentials.decode(data) is None


def test_weak_credentials_are_not_read_back() -> None:
    data = credentials.encode(table_of("a")).replace(b"4096", b"1")
    assert credentials.decode(data) is None
