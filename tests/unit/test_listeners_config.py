"""Listeners: their names, protocols and keys, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest

from kstore.config import BrokerConfig
from kstore.config.jaas import parse_jaas
from kstore.errors import InvalidConfig

MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
ALICE = f'{MODULE} required user_alice="a";'


def parse(**values: Any) -> BrokerConfig:
    return BrokerConfig.parse({key.replace("__", "-").replace("_", "."): value for key, value in values.items()})


def test_one_by_default() -> None:
    (one,) = BrokerConfig().listener_configs()
    assert (one.name, one.host, one.port, one.protocol, one.advertised) == (
        "PLAINTEXT", "127.0.0.1", 9092, (False, False), None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("listeners", "places"),
    [
        ("127.0.0.1:0", [("PLAINTEXT", "127.0.0.1", 0)]),
        (":9092", [("PLAINTEXT", "", 9092)]),
        ("PLAINTEXT://[::1]:9092", [("PLAINTEXT", "::1", 9092)]),
        (
            "INTERNAL://10.0.0.1:9092, EXTERNAL://0.0.0.0:9093",
            [("INTERNAL", "10.0.0.1", 9092), ("EXTERNAL", "0.0.0.0", 9093)],
        ),
        ("INTERNAL://10.0.0.1:9092,EXTERNAL://10.0.0.2:9092", None),
        ("INTERNAL://h:0,EXTERNAL://h:0", None),
    ],
)
def test_places(listeners: str, places: list[tuple[str, str, int]] | None) -> None:
    config = parse(
        listeners=listeners,
        listener_security_protocol_map="PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,external:PLAINTEXT",
    )
    if places is not None:
        assert [(one.name, one.host, one.port) for one in config.listener_configs()] == places


def test_what_clients_are_told() -> None:
    config = parse(
        listeners="PLAINTEXT://0.0.0.0:9092,SASL_PLAINTEXT://0.0.0.0:9093",
        advertised_listeners="SASL_PLAINTEXT://kafka.example.org:19093",
    )
    assert [one.advertised for one in config.listener_configs()] == [None, ("kafka.example.org", 19093)]


def test_keys_of_one_listener_come_before_those_of_all() -> None:
    config = BrokerConfig.parse(
        {
            "listeners": "A://h:1,B.C://h:2",
            "listener.security.protocol.map": "A:SASL_PLAINTEXT,B.C:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.b.c.sasl.enabled.mechanisms": ["PLAIN", "SCRAM-SHA-256"],
            "listener.name.b.c.plain.sasl.jaas.config": ALICE,
            "listener.name.a.scram-sha-512.sasl.jaas.config": "ScramLoginModule required;",
        }
    )
    first, second = config.listener_configs()
    assert first.security.sasl_enabled_mechanisms == ("SCRAM-SHA-512",)
    assert first.security.users_of_plain == {}
    assert second.security.sasl_enabled_mechanisms == ("PLAIN", "SCRAM-SHA-256")
    assert second.security.users_of_plain == {"alice": "a"}
    assert config.ignored == ("listener.name.a.scram-sha-512.sasl.jaas.config",)
    assert config.security_for_all().sasl_enabled_mechanisms == ("SCRAM-SHA-512",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"listeners": ""}, "HOST:PORT"),
        ({"listeners": "PLAINTEXT://h"}, "HOST:PORT"),
        ({"listeners": "PLAINTEXT://h:65536"}, "HOST:PORT"),
        ({"listeners": "PLAINTEXT://h:x"}, "HOST:PORT"),
        ({"listeners": "A B://h:1"}, "HOST:PORT"),
        ({"listeners": "PLAINTEXT://h:1,"}, "twice"),
        ({"listeners": "PLAINTEXT://h:1,plaintext://h:2"}, "twice"),
        ({"listeners": "PLAINTEXT://h:1,SASL_PLAINTEXT://h:1"}, "an address of its own"),
        ({"listeners": "PLAINTXT://h:1"}, "did you mean PLAINTEXT"),
        ({"listener.security.protocol.map": "PLAINTEXT:PLAIN"}, "did you mean PLAINTEXT"),
        ({"listener.security.protocol.map": "PLAINTEXT"}, "not NAME:PROTOCOL"),
        ({"listener.security.protocol.map": "A:SSL,a:SSL"}, "twice"),
        ({"advertised.listeners": "OTHER://h:1"}, "no listener is named OTHER"),
        ({"listener.name.other.ssl.client.auth": "none"}, "no listener has that name"),
        ({"listener.name.plaintext.max.connections": "1"}, "is no key of a listener"),
        ({"listener.name.plaintext.ssl.cipher.suites": "X"}, "cannot be honoured"),
        ({"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer"}, "no ACLs"),
        ({"sasl.jaas.config": ALICE}, "listener.name.NAME.plain.sasl.jaas.config"),
        ({"sasl.enabled.mechanisms": "GSSAPI"}, "takes some of PLAIN"),
        ({"sasl.enabled.mechanisms": ""}, "takes some of PLAIN"),
        ({"sasl.enabled.mechanism": "PLAIN"}, "did you mean sasl.enabled.mechanisms"),
        ({"connections.max.reauth.ms": "1000"}, "leave it 0"),
        ({"ssl.keystore.type": "JKS"}, "not one of PEM"),
        ({"ssl.client.auth": "maybe"}, "not one of none"),
        ({"ssl.enabled.protocols": "TLSv1.1"}, "takes some of TLSv1.2"),
        ({"listeners": "SASL_PLAINTEXT://h:1", "sasl.enabled.mechanisms": "PLAIN"}, "PLAIN has no users"),
        ({"listeners": "SSL://h:1"}, "ssl.keystore.location"),
        ({"listeners": "SSL://h:1", "ssl.keystore.location": "x", "ssl.client.auth": "required"}, "truststore"),
        ({"ssl.truststore.location": "x", "ssl.truststore.certificates": "y"}, "one too many"),
    ],
)
def test_what_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        BrokerConfig.parse(values)


# -- JAAS --------------------------------------------------------------------------------------------------------


def test_jaas() -> None:
    text = """
      // who may come in
      a.b.Module required /* two
      of them */ user_x="1;2=\\"3\\"" other=word
      user-y='it\\'s';
    """
    assert parse_jaas("k", text) == [("a.b.Module", {"user_x": '1;2="3"', "other": "word", "user-y": "it's"})]
    assert parse_jaas("k", "") == []
    assert len(parse_jaas("k", "A required; B optional x=1;")) == 2


@pytest.mark.parametrize(
    "text",
    ["M", "M required", "M needed;", "M required x", "M required x=;", "M required x=1", "M required =1;",
     'M required x="1;', "; ", "M required x=1; y", "M required x=a@b;", "M required x==1;"],
)  # fmt: skip
def test_jaas_that_is_none(text: str) -> None:
    with pytest.raises(InvalidConfig, match=r"^k: "):
        parse_jaas("k", text)


def test_no_message_shows_a_password() -> None:
    for rest in ('user_a="hidden" user_b', 'user_a="hidden" @;', 'user_a="hidden"; X required y="hidden";'):
        jaas = f"{MODULE} required {rest}"
        with pytest.raises(InvalidConfig) as caught:
            BrokerConfig.parse({"listener.name.plaintext.plain.sasl.jaas.config": jaas})
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("jaas", "users"),
    [
        (f'{MODULE} required username="a" password="b" user_a="b" user_c="d";', {"a": "b", "c": "d"}),
        (f"{MODULE} required;", {}),
    ],
)
def test_users_of_plain(jaas: str, users: dict[str, str]) -> None:
    config = BrokerConfig.parse({"plain.sasl.jaas.config": jaas})
    assert config.security_for_all().users_of_plain == users
    assert "[hidden]" in repr(config.security_for_all())


@pytest.mark.parametrize("jaas", [f"{MODULE} required; {MODULE} required;", "other.Module required user_a=b;"])
def test_modules_that_are_not_plains(jaas: str) -> None:
    with pytest.raises(InvalidConfig, match="login module"):
        BrokerConfig.parse({"plain.sasl.jaas.config": jaas})
