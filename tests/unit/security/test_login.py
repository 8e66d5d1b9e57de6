"""The order of a login, PLAIN, and that nothing leads around it."""

from __future__ import annotations

import pytest

from kstore.errors import AuthenticationFailed, IllegalSaslState, UnsupportedSaslMechanism
from kstore.security import scram
from kstore.security.credentials import ScramCredentials
from kstore.security.login import Login, conversations
from kstore.security.scram import SCRAM_SHA_512
from support.scram_client import ScramClient

PASSWORDS = {"alice": "secret", "empty": ""}


def login(*enabled: str) -> Login:
    salted = scram.salted_password(SCRAM_SHA_512, "s", b"salt", 4096)
    kept = scram.credential(SCRAM_SHA_512, salted, b"salt", 4096)
    table = ScramCredentials({"bob": {"SCRAM-SHA-512": kept}}, b"secret")
    return Login(conversations(enabled or ("PLAIN", "SCRAM-SHA-512"), PASSWORDS, lambda: table, lambda: "nonce"))


def test_plain() -> None:
    one = login()
    one.handshake("PLAIN")
    assert one.user is None
    assert one.authenticate(b"\0alice\0secret") == b""
    assert one.user == "alice"
    again = login()
    again.handshake("PLAIN")
    assert again.authenticate(b"alice\0alice\0secret") == b""
    assert again.user == "alice"


@pytest.mark.parametrize(
    "token",
    [b"", b"\0\0", b"\0alice\0wrong", b"\0alice\0secre", b"\0alice\0secrets", b"\0alice\0", b"\0\0secret",
     b"\0bob\0secret", b"\0empty\0", b"root\0alice\0secret", b"alice\0secret", b"\0alice\0secret\0", b"\0alice\0\xff",
     b"\0ALICE\0secret"],
)  # fmt: skip
def test_plain_that_fails(token: bytes) -> None:
    one = login()
    one.handshake("PLAIN")
    with pytest.raises(AuthenticationFailed):
        one.authenticate(token)
    assert one.user is None
    assert one.refusal == "Authentication failed: Invalid username or password"
    with pytest.raises(IllegalSaslState):
        one.authenticate(b"\0alice\0secret")
    assert one.user is None


def test_scram() -> None:
    one, client = login(), ScramClient("bob", "s", hash_name="sha512")
    one.handshake("SCRAM-SHA-512")
    one.authenticate(client.final(one.authenticate(client.first())))
    assert one.user == "bob"


def test_the_refusal_of_scram_tells_no_name_from_another() -> None:
    refusals = []
    for name in ("bob", "stranger"):
        one, client = login(), ScramClient(name, "wrong", hash_name="sha512")
        one.handshake("SCRAM-SHA-512")
        final = client.final(one.authenticate(client.first()))
        with pytest.raises(AuthenticationFailed):
            one.authenticate(final)
        refusals.append(one.refusal)
    assert refusals[0] == refusals[1]
    assert refusals[0].endswith("due to invalid credentials with SASL mechanism SCRAM-SHA-512")


def test_no_token_without_a_handshake() -> None:
    one = login()
    with pytest.raises(IllegalSaslState):
        one.authenticate(b"\0alice\0secret")
    with pytest.raises(IllegalSaslState):
        one.handshake("PLAIN")
    assert one.user is None


def test_no_second_handshake_and_no_message_behind_the_end() -> None:
    one = login()
    one.handshake("PLAIN")
    with pytest.raises(IllegalSaslState):
        one.handshake("PLAIN")
    with pytest.raises(IllegalSaslState):
        one.authenticate(b"\0alice\0secret")
    assert one.user is None
    done = login()
    done.handshake("PLAIN")
    done.authenticate(b"\0alice\0secret")
    with pytest.raises(IllegalSaslState):
        done.authenticate(b"\0alice\0secret")
    assert done.user is None


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "GSSAPI", "", "plain", "x" * 30_000])
def test_mechanisms_that_are_not_enabled(mechanism: str) -> None:
    one = login()
    with pytest.raises(UnsupportedSaslMechanism) as caught:
        one.handshake(mechanism)
    assert len(str(caught.value)) < 200
    with pytest.raises(IllegalSaslState):
        one.handshake("PLAIN")
