"""SCRAM: the examples of the RFCs byte for byte, and clients that lie at each step."""

from __future__ import annotations

import base64

import pytest

from kstore.errors import AuthenticationFailed
from kstore.security import scram
from kstore.security.scram import SCRAM_SHA_256, SCRAM_SHA_512, ScramMechanism, ScramServer
from support.scram_client import ScramClient

SHA_1 = ScramMechanism("SCRAM-SHA-1", 0, "sha1", 4096)
"""Not offered; RFC 5802 gives its example with it."""
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"


def server_for(mechanism: ScramMechanism, user: str, password: str, salt: bytes, nonce: str = NONCE) -> ScramServer:
    salted = scram.salted_password(mechanism, password, salt, 4096)
    kept = scram.credential(mechanism, salted, salt, 4096)
    return ScramServer(mechanism, lambda name: (kept, name == user), nonce)


def test_the_example_of_rfc_7677() -> None:
    server = server_for(SCRAM_SHA_256, "user", "pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert server.respond(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert server.user is None
    final = (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert server.respond(final) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert server.user == "user"


def test_the_example_of_rfc_5802() -> None:
    server = server_for(SHA_1, "user", "pencil", base64.b64decode("QSXCR+Q6sek8bf92"), "3rfcNHYJY1ZVvWVs7j")
    assert server.respond(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL") == (
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    )
    final = b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    assert server.respond(final) == b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="


@pytest.mark.parametrize("mechanism", [SCRAM_SHA_256, SCRAM_SHA_512], ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["alice", "a,b=c", "=2C", "jürgen", "x" * 500])
@pytest.mark.parametrize("gs2", ["n,,", "y,,"])
def test_an_independent_client_is_let_in(mechanism: ScramMechanism, name: str, gs2: str) -> None:
    server = server_for(mechanism, name, "pässword", b"salt of some bytes")
    client = ScramClient(name, "pässword", hash_name=mechanism.hash_name)
    client.gs2 = gs2
    client.extensions = ",x=unknown"
    signature = server.respond(client.final(server.respond(client.first())))
    assert signature == b"v=" + base64.b64encode(client.server_signature)
    assert server.user == name


def test_an_authorization_id_may_repeat_the_user() -> None:
    server = server_for(SCRAM_SHA_256, "a,b", "p", b"salt")
    client = ScramClient("a,b", "p")
    client.gs2 = "n,a=a=2Cb,"
    server.respond(client.final(server.respond(client.first())))
    assert server.user == "a,b"


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"", "no client-first-message"),
        (b"\xff", "not UTF-8"),
        (b"n=user,r=abc", "no client-first-message"),
        (b"n,,r=abc,n=user", "no client-first-message"),
        (b"n,,n=,r=abc", "no client-first-message"),
        (b"n,,n=user,r=", "no client-first-message"),
        (b"n,,n=user,r=a b", "no client-first-message"),
        (b"n,,n=us\0er,r=abc", "no client-first-message"),
        (b"n,,m=ext,n=user,r=abc", "no client-first-message"),
        (b"n,,n=user,r=abc,tokenauth=true", "no client-first-message"),
        (b"n,,n=user,r=abc,", "no client-first-message"),
        (b"n,,n=us=er,r=abc", "bare equals sign"),
        (b"n,,n=us=2cer,r=abc", "bare equals sign"),
        (b"n,a=root,n=user,r=abc", "authorization id"),
        (b"p=tls-unique,,n=user,r=abc", "channel binding"),
        (b"n,,n=user,r=" + b"a" * 1025, "1025 characters"),
        (b"n,,n=" + b"u" * 1025 + b",r=abc", "name of 1025 characters"),
        (b"n,,n=user,r=abc" + b",x=y" * 100_000 + b"\0", "no client-first-message"),
    ],
)
def test_first_messages_that_are_none(first: bytes, reason: str) -> None:
    server = server_for(SCRAM_SHA_256, "user", "pencil", b"salt")
    with pytest.raises(AuthenticationFailed, match=reason):
        server.respond(first)
    assert server.user is None


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (lambda final: b"", "no client-final-message"),
        (lambda final: final.split(b",p=")[0], "no client-final-message"),
        (lambda final: final.replace(b"r=", b"r=x"), "another nonce"),
        (lambda final: final.replace(NONCE.encode(), b""), "another nonce"),
        (lambda final: final.replace(b"c=biws", b"c=eSws"), "another header"),
        (lambda final: final.replace(b"c=biws", b"c=biwsYQ"), "base64"),
        (lambda final: final[:-4] + b"AAA=", "wrong password"),
        (lambda final: final[: final.index(b",p=")] + b",p=AAAA", "wrong password"),
        (lambda final: final.replace(b",p=", b",x=more,p="), "wrong password"),
    ],
)
def test_final_messages_that_lie(lie, reason: str) -> None:
    server = server_for(SCRAM_SHA_256, "user", "pencil", b"salt")
    client = ScramClient("user", "pencil")
    final = client.final(server.respond(client.first()))
    with pytest.raises(AuthenticationFailed, match=reason):
        server.respond(lie(final))
    assert server.user is None


def test_a_proof_is_good_once() -> None:
    """The nonce of the server is in it."""
    client = ScramClient("user", "pencil")
    server = server_for(SCRAM_SHA_256, "user", "pencil", b"salt")
    final = client.final(server.respond(client.first()))
    other = server_for(SCRAM_SHA_256, "user", "pencil", b"salt", nonce="another")
    other.respond(client.first())
    with pytest.raises(AuthenticationFailed):
        other.respond(final)


def test_a_decoy_fails_at_the_last_step_even_with_its_own_password() -> None:
    kept = scram.credential(SCRAM_SHA_256, scram.salted_password(SCRAM_SHA_256, "p", b"salt", 4096), b"salt", 4096)
    server = ScramServer(SCRAM_SHA_256, lambda _: (kept, False), NONCE)
    client = ScramClient("stranger", "p")
    final = client.final(server.respond(client.first()))
    with pytest.raises(AuthenticationFailed, match="no user 'stranger'"):
        server.respond(final)
    assert server.user is None


def test_no_third_message() -> None:
    server = server_for(SCRAM_SHA_256, "user", "pencil", b"salt")
    client = ScramClient("user", "pencil")
    final = client.final(server.respond(client.first()))
    server.respond(final)
    with pytest.raises(AuthenticationFailed, match="third"):
        server.respond(final)


def test_what_is_kept_shows_no_secret() -> None:
    kept = scram.credential(SCRAM_SHA_256, b"x" * 32, b"salt", 4096)
    assert repr(kept) == "ScramCredential(iterations=4096)"
