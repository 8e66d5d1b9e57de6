"""What a connection begins with: versions and authentication.

Owns the field tables of ApiVersions, SaslHandshake and SaslAuthenticate; must not know what anyone does with them.
Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a table reads.
"""

from __future__ import annotations

from kstore.wire.schema import Array, Bool, Bytes, Int16, Int32, Int64, Request, Response, String, Struct, field


class ApiVersionsRequest(Request, api=18):
    """Asks which versions the broker speaks; the first request of a connection (KIP-35, KIP-511)."""

    client_software_name: String = field(3, default="", ignorable=True)
    client_software_version: String = field(3, default="", ignorable=True)


class ApiVersion(Struct):
    api_key: Int16
    min_version: Int16
    max_version: Int16


class SupportedFeatureKey(Struct):
    name: String
    min_version: Int16
    max_version: Int16


class FinalizedFeatureKey(Struct):
    name: String
    max_version_level: Int16
    min_version_level: Int16


class ApiVersionsResponse(Response, api=18):
    """The range of versions of every API, and the features of the cluster (KIP-584)."""

    error_code: Int16
    api_keys: Array[ApiVersion]
    throttle_time_ms: Int32 = field(1, default=0, ignorable=True)
    supported_features: Array[SupportedFeatureKey] = field(3, tag=0, default=(), ignorable=True)
    finalized_features_epoch: Int64 = field(3, tag=1, default=-1, ignorable=True)
    finalized_features: Array[FinalizedFeatureKey] = field(3, tag=2, default=(), ignorable=True)
    zk_migration_ready: Bool = field(3, tag=3, default=False, ignorable=True)


class SaslHandshakeRequest(Request, api=17):
    """Names the mechanism of the authentication that follows."""

    mechanism: String


class SaslHandshakeResponse(Response, api=17):
    """The mechanisms that the broker has."""

    error_code: Int16
    mechanisms: Array[String]


class SaslAuthenticateRequest(Request, api=36):
    """One message of the mechanism (KIP-152)."""

    auth_bytes: Bytes


class SaslAuthenticateResponse(Response, api=36):
    """The mechanism's answer, and how long the session lasts (KIP-368)."""

    error_code: Int16
    error_message: String | None
    auth_bytes: Bytes
    session_lifetime_ms: Int64 = field(1, default=0, ignorable=True)
