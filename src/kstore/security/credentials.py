"""The SCRAM credentials of a cluster: who may log in, decoys for those who may not, and the bytes they are kept in.

Owns the table, its rules (KIP-554, ScramControlManager) and its encoding. Must not know files nor who asks. Called by
`cluster`, which keeps the bytes, and by `login`.

Invariants
1. A table never changes; a change makes another one, or raises and makes none.
2. No name can be told from an unknown one: a decoy has the salt's size and the iterations of a real credential, and is
   the same for the same name as long as the table's secret is.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kstore.errors import ScramCredentialRefused
from kstore.security import scram
from kstore.security.scram import BY_NUMBER, ITERATIONS_MAX, MECHANISMS, NAME_CHARS_MAX, ScramCredential, ScramMechanism

UNSUPPORTED_SASL_MECHANISM = 33
RESOURCE_NOT_FOUND = 91
DUPLICATE_RESOURCE = 92
UNACCEPTABLE_CREDENTIAL = 93
USERS_MAX = 10_000
"""The whole table is written anew at each change."""
SALT_BYTES_MAX = 1024
SECRET_BYTES = 32


class Deletion(NamedTuple):
    """A credential to remove."""

    user: str
    mechanism: int


class Upsertion(NamedTuple):
    """A credential to set: the salted password is not kept."""

    user: str
    mechanism: int
    iterations: int
    salt: bytes
    salted_password: bytes


@dataclass(frozen=True)
class ScramCredentials:
    """One moment of the table."""

    users: Mapping[str, Mapping[str, ScramCredential]] = field(default_factory=dict)
    """By user, then by the name of the mechanism."""
    secret: bytes = field(default=b"", repr=False)
    """What decoys are derived from; empty in a table that never had a user."""

    def find(self, mechanism: ScramMechanism, user: str) -> tuple[ScramCredential, bool] | None:
        """The user's credential and True, or a decoy and False; None where nobody has one of that mechanism."""
        found = self.users.get(user, {}).get(mechanism.name)
        if found is not None:
            return found, True
        models = [one[mechanism.name] for _, one in sorted(self.users.items()) if mechanism.name in one]
        if not models:
            return None
        seed = hmac.digest(self.secret, f"{mechanism.name} {user}".encode(), "sha512")
        model = models[int.from_bytes(seed[:8], "big") % len(models)]
        salt = _like(model.salt, seed)
        keys = [hmac.digest(seed, name, mechanism.hash_name) for name in (b"stored", b"server")]
        return ScramCredential(salt, keys[0], keys[1], model.iterations), False

    def change(
        self, deletions: Iterable[Deletion], upsertions: Iterable[Upsertion], fresh_secret: bytes
    ) -> tuple[ScramCredentials, dict[str, ScramCredentialRefused | None]]:
        """The table after a request, and what became of each user in it: None, or why nothing did.

        A user whose part of the request contradicts itself or the rules keeps what it has. `fresh_secret` is random
        and taken where the table has none.
        """
        removed, added = list(deletions), list(upsertions)
        changes: list[Deletion | Upsertion] = [*removed, *added]
        times = Counter((one.user, one.mechanism) for one in changes)
        outcome: dict[str, ScramCredentialRefused | None] = {
            user: ScramCredentialRefused(
                DUPLICATE_RESOURCE, "A user credential cannot be altered twice in the same request"
            )
            for (user, _), count in times.items()
            if count > 1
        }
        for one in changes:
            if outcome.get(one.user) is None:
                outcome[one.user] = self._refusal(one)
        users = {user: dict(kept) for user, kept in self.users.items()}
        for gone in removed:
            if outcome[gone.user] is None:
                del users[gone.user][BY_NUMBER[gone.mechanism].name]
        for new in added:
            if outcome[new.user] is None:
                mechanism = BY_NUMBER[new.mechanism]
                made = scram.credential(mechanism, new.salted_password, new.salt, new.iterations)
                users.setdefault(new.user, {})[mechanism.name] = made
        left = {user: kept for user, kept in users.items() if kept}
        return ScramCredentials(left, self.secret or fresh_secret), outcome

    def _refusal(self, one: Deletion | Upsertion) -> ScramCredentialRefused | None:
        mechanism = BY_NUMBER.get(one.mechanism)
        if not one.user:
            return ScramCredentialRefused(UNACCEPTABLE_CREDENTIAL, "Username must not be empty")
        if mechanism is None:
            return ScramCredentialRefused(UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism")
        if isinstance(one, Deletion):
            if mechanism.name in self.users.get(one.user, {}):
                return None
            return ScramCredentialRefused(
                RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist"
            )
        if one.iterations < mechanism.iterations_min:
            return ScramCredentialRefused(UNACCEPTABLE_CREDENTIAL, "Too few iterations")
        if one.iterations > ITERATIONS_MAX:
            return ScramCredentialRefused(UNACCEPTABLE_CREDENTIAL, "Too many iterations")
        if not 0 < len(one.salt) <= SALT_BYTES_MAX or len(one.salted_password) != mechanism.size_bytes:
            return ScramCredentialRefused(UNACCEPTABLE_CREDENTIAL, "A salt or a salted password of an impossible size")
        if one.user not in self.users and len(self.users) >= USERS_MAX:
            return ScramCredentialRefused(UNACCEPTABLE_CREDENTIAL, f"There are {USERS_MAX} users already")
        if len(one.user) > NAME_CHARS_MAX:
            return ScramCredentialRefused(UNACCEPTABLE_CREDENTIAL, f"Username is longer than {NAME_CHARS_MAX}")
        return None


def _like(salt: bytes, seed: bytes) -> bytes:
    """Bytes made of `seed` that could have come from where `salt` came from: Kafka's tools write salts in base 36."""
    alphabet = b"0123456789abcdefghijklmnopqrstuvwxyz" if salt.isalnum() and salt.islower() else bytes(range(256))
    stream = b"".join(hmac.digest(seed, b"salt %d" % block, "sha256") for block in range(len(salt) // 32 + 1))
    return bytes(alphabet[byte % len(alphabet)] for byte in stream[: len(salt)])


# -- as bytes ---------------------------------------------------------------------------------------------------


def encode(table: ScramCredentials) -> bytes:
    """The table as JSON; the same table gives the same bytes."""
    users = {
        user: {
            name: [_text(one.salt), _text(one.stored_key), _text(one.server_key), one.iterations]
            for name, one in sorted(kept.items())
        }
        for user, kept in sorted(table.users.items())
    }
    return json.dumps({"secret": _text(table.secret), "users": users}, ensure_ascii=False).encode()


def decode(data: bytes) -> ScramCredentials | None:
    """The table, or None for bytes that are none; credentials that break a rule are none either."""
    try:
        found = json.loads(data)
        users = {str(user): _credentials(kept) for user, kept in found["users"].items()}
        return ScramCredentials(users, base64.b64decode(found["secret"], validate=True))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _credentials(kept: Any) -> dict[str, ScramCredential]:
    made = {}
    for name, (salt, stored_key, server_key, iterations) in kept.items():
        parts = [base64.b64decode(part, validate=True) for part in (salt, stored_key, server_key)]
        made[name] = ScramCredential(parts[0], parts[1], parts[2], int(iterations))
        if not made[name].is_valid(MECHANISMS[name]):
            raise ValueError(name)
    return made


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
