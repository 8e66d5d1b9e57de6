"""SCRAM users, described and altered by clients (KIP-554).

Owns the handlers of DescribeUserScramCredentials and AlterUserScramCredentials. Must not know what is kept of a
password. Called by `dispatch`; changes run off the loop.

Invariants
1. No answer holds a salt or a key.
2. A change that is answered is on the medium and counts from the next login on.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kstore.security.credentials import DUPLICATE_RESOURCE, RESOURCE_NOT_FOUND, Deletion, Upsertion
from kstore.security.scram import MECHANISMS
from kstore.wire.error_codes import code_of
from kstore.wire.messages.quotas import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult,
    CredentialInfo,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
)

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.errors import KStoreError, ScramCredentialRefused


def describe(broker: Broker, call: Call) -> None:
    """Mechanisms and iterations of the users asked for, or of all (ScramImage.describe)."""
    request: DescribeUserScramCredentialsRequest = call.body
    users = broker.cluster.scram_credentials.users
    asked = [one.name for one in request.users or ()] or sorted(users)
    times = Counter(asked)
    results = []
    for name in times:
        code, message = 0, None
        if times[name] > 1:
            code = DUPLICATE_RESOURCE
            message = f"Cannot describe SCRAM credentials for the same user twice in a single request: {name}"
        elif name not in users:
            code = RESOURCE_NOT_FOUND
            message = f"Attempt to describe a user credential that does not exist: {name}"
        infos = [] if code else [
            CredentialInfo(mechanism=MECHANISMS[mechanism].number, iterations=kept.iterations)
            for mechanism, kept in sorted(users[name].items())
        ]  # fmt: skip
        results.append(
            DescribeUserScramCredentialsResult(
                user=name, error_code=code, error_message=message, credential_infos=infos
            )
        )
    call.answer(DescribeUserScramCredentialsResponse(error_code=0, error_message=None, results=results))


def alter(broker: Broker, call: Call) -> None:
    """Each user's part of the request is done whole or not at all."""
    request: AlterUserScramCredentialsRequest = call.body
    deletions = [Deletion(one.name, one.mechanism) for one in request.deletions]
    upsertions = [
        Upsertion(one.name, one.mechanism, one.iterations, bytes(one.salt), bytes(one.salted_password))
        for one in request.upsertions
    ]

    def then(outcome: dict[str, ScramCredentialRefused | None] | None, error: KStoreError | None) -> None:
        names = [*(one.user for one in deletions), *(one.user for one in upsertions)]
        outcome_of: dict[str, KStoreError | None] = {**outcome} if outcome is not None else dict.fromkeys(names, error)
        results = [
            AlterUserScramCredentialsResult(
                user=user,
                error_code=0 if refusal is None else code_of(refusal),
                error_message=None if refusal is None else str(refusal),
            )
            for user, refusal in outcome_of.items()
        ]
        call.answer(AlterUserScramCredentialsResponse(results=results))

    broker.off_loop(lambda: broker.cluster.alter_scram_credentials(deletions, upsertions), then)
