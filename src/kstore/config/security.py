"""Configuration of who may come in: TLS and SASL, by Kafka's keys, for all listeners or for one.

Owns the keys. `listeners` gives each listener its own; the broker opens the files. Knows no socket and no file.
Sources: SslConfigs, SaslConfigs and BrokerSecurityConfigs of Apache Kafka 4.3.

Invariants
1. A key that would make a listener safer in Kafka is honoured, or refused with the reason; none is passed over.
2. No message and no `repr` shows a password.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kstore.config.jaas import parse_jaas
from kstore.config.keys import Config, one_of, secret, setting, text, whole
from kstore.errors import InvalidConfig
from kstore.limits import FRAME_BYTES_MAX_BEFORE_LOGIN, INT32_MAX
from kstore.nearest import nearest

PLAIN: Final = "PLAIN"
MECHANISMS: Final = (PLAIN, "SCRAM-SHA-256", "SCRAM-SHA-512")
PLAIN_MODULE: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"
_USER: Final = "user_"

REFUSED: Final = {
    "authorizer.class.name": "there are no ACLs: whoever is let in may do everything",
    "super.users": "there are no ACLs: whoever is let in may do everything",
    "principal.builder.class": "principals are Kafka's default ones",
    "sasl.jaas.config": "a broker's goes by listener and mechanism: listener.name.NAME.plain.sasl.jaas.config",
    "sasl.server.callback.handler.class": "there is no Java here",
    "ssl.cipher.suites": "the suites are those of OpenSSL's policy",
    "ssl.engine.factory.class": "there is no Java here",
    "ssl.keystore.certificate.chain": "name a PEM file in ssl.keystore.location",
    "ssl.keystore.key": "name a PEM file in ssl.keystore.location",
    "ssl.keystore.password": "PEM files have none; ssl.key.password opens their key",
    "ssl.principal.mapping.rules": "principals are the whole names of certificates",
    "ssl.truststore.password": "PEM files have none",
}
"""Keys of Kafka's that would change who gets in, and cannot be honoured; why."""


def words(*choices: str) -> Callable[[str, Any], tuple[str, ...]]:
    """A reader of comma-separated words out of `choices`, at least one."""

    def read(key: str, value: Any) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else list(value)
        found = tuple(dict.fromkeys(item.strip() for item in items if item.strip()))
        for word in found:
            if word not in choices:
                hint = nearest(word, choices)
                raise InvalidConfig(f"{key} takes some of {', '.join(choices)}, not {word!r}{hint}")
        if not found:
            raise InvalidConfig(f"{key} takes some of {', '.join(choices)}")
        return found

    return read


def _jaas_of_plain(key: str, value: Any) -> str:
    plain_users(key, str(value))
    return str(value)


def _no_reauthentication(key: str, value: Any) -> int:
    if whole(0)(key, value) != 0:
        raise InvalidConfig(f"{key}={value}: sessions last as long as their connection (no KIP-368); leave it 0")
    return 0


class SecurityConfig(Config):
    """What a listener asks of its clients. Where a default is not Kafka's, the line says so."""

    sasl_enabled_mechanisms: tuple[str, ...] = setting(
        ("SCRAM-SHA-256", "SCRAM-SHA-512"), words(*MECHANISMS), "mechanisms of SASL listeners; Kafka: GSSAPI"
    )
    plain_sasl_jaas_config: str = secret(
        "", _jaas_of_plain, 'users of PLAIN: `...PlainLoginModule required user_NAME="PASSWORD" ...;`'
    )
    sasl_server_max_receive_size: int = setting(
        FRAME_BYTES_MAX_BEFORE_LOGIN, whole(1024, INT32_MAX), "largest request before the login"
    )
    connections_max_reauth_ms: int = setting(
        0, _no_reauthentication, "sessions last as long as their connection: 0 is the only choice"
    )

    ssl_keystore_type: str = setting("PEM", one_of("PEM"), "PEM is the only one; Kafka: JKS")
    ssl_keystore_location: str = setting("", text, "PEM file with the private key and the chain of certificates")
    ssl_key_password: str = secret("", text, "what the private key is encrypted with")
    ssl_truststore_type: str = setting("PEM", one_of("PEM"), "PEM is the only one; Kafka: JKS")
    ssl_truststore_location: str = setting("", text, "PEM file with the authorities that clients' certificates are of")
    ssl_truststore_certificates: str = setting("", text, "the same as text")
    ssl_client_auth: str = setting("none", one_of("none", "requested", "required"), "certificates of clients")
    ssl_enabled_protocols: tuple[str, ...] = setting(
        ("TLSv1.2", "TLSv1.3"), words("TLSv1.2", "TLSv1.3"), "versions of TLS"
    )

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if self.ssl_truststore_location and self.ssl_truststore_certificates:
            raise InvalidConfig("ssl.truststore.location and ssl.truststore.certificates are one too many")

    @property
    def users_of_plain(self) -> dict[str, str]:
        """Passwords by user."""
        return plain_users("plain.sasl.jaas.config", self.plain_sasl_jaas_config)


def plain_users(key: str, jaas: str) -> dict[str, str]:
    """The users in a JAAS configuration of PLAIN, as PlainServerCallbackHandler finds them; `InvalidConfig`."""
    modules = parse_jaas(key, jaas)
    if not modules:
        return {}
    if len(modules) > 1:
        raise InvalidConfig(f"{key}: one login module, not {len(modules)}")
    if modules[0].name != PLAIN_MODULE:
        raise InvalidConfig(f"{key}: the login module is {PLAIN_MODULE}, not {modules[0].name}")
    options = modules[0].options
    return {name.removeprefix(_USER): value for name, value in options.items() if name.startswith(_USER)}
