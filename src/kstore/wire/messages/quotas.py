"""Quotas of clients, and the passwords of SCRAM.

Owns the field tables of DescribeClientQuotas, AlterClientQuotas (KIP-546) and of the SCRAM credentials (KIP-554);
must not know what anyone does with them. Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md
tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import (
    Array,
    Bool,
    Bytes,
    Float64,
    Int8,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Struct,
    field,
)


class ComponentData(Struct):
    entity_type: String
    match_type: Int8
    match: String | None


class DescribeClientQuotasRequest(Request, api=48):
    """Asks for the quotas of users, clients and addresses."""

    components: Array[ComponentData]
    strict: Bool


class DescribeClientQuotasResponseEntityData(Struct):
    entity_type: String
    entity_name: String | None


class ValueData(Struct):
    key: String
    value: Float64


class DescribeClientQuotasResponseEntryData(Struct):
    entity: Array[DescribeClientQuotasResponseEntityData]
    values: Array[ValueData]


class DescribeClientQuotasResponse(Response, api=48):
    """The quotas, by entity."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    error_message: String | None
    entries: Array[DescribeClientQuotasResponseEntryData] | None


class AlterClientQuotasRequestEntityData(Struct):
    entity_type: String
    entity_name: String | None


class OpData(Struct):
    key: String
    value: Float64
    remove: Bool


class AlterClientQuotasRequestEntryData(Struct):
    entity: Array[AlterClientQuotasRequestEntityData]
    ops: Array[OpData]


class AlterClientQuotasRequest(Request, api=49):
    """Sets and removes quotas."""

    entries: Array[AlterClientQuotasRequestEntryData]
    validate_only: Bool


class AlterClientQuotasResponseEntityData(Struct):
    entity_type: String
    entity_name: String | None


class AlterClientQuotasResponseEntryData(Struct):
    error_code: Int16
    error_message: String | None
    entity: Array[AlterClientQuotasResponseEntityData]


class AlterClientQuotasResponse(Response, api=49):
    """An error code for each entity."""

    throttle_time_ms: Int32 = field(default=0)
    entries: Array[AlterClientQuotasResponseEntryData]


class UserName(Struct):
    name: String


class DescribeUserScramCredentialsRequest(Request, api=50):
    """Asks which SCRAM credentials users have; null asks for all."""

    users: Array[UserName] | None


class CredentialInfo(Struct):
    mechanism: Int8
    iterations: Int32


class DescribeUserScramCredentialsResult(Struct):
    user: String
    error_code: Int16
    error_message: String | None
    credential_infos: Array[CredentialInfo]


class DescribeUserScramCredentialsResponse(Response, api=50):
    """Mechanisms and iterations, never a secret."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    error_message: String | None
    results: Array[DescribeUserScramCredentialsResult]


class ScramCredentialDeletion(Struct):
    name: String
    mechanism: Int8


class ScramCredentialUpsertion(Struct):
    name: String
    mechanism: Int8
    iterations: Int32
    salt: Bytes
    salted_password: Bytes


class AlterUserScramCredentialsRequest(Request, api=51):
    """Sets and removes SCRAM credentials."""

    deletions: Array[ScramCredentialDeletion]
    upsertions: Array[ScramCredentialUpsertion]


class AlterUserScramCredentialsResult(Struct):
    user: String
    error_code: Int16
    error_message: String | None


class AlterUserScramCredentialsResponse(Response, api=51):
    """An error code for each user."""

    throttle_time_ms: Int32 = field(default=0)
    results: Array[AlterUserScramCredentialsResult]
