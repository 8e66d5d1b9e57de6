"""Agreeing on versions: what a broker answers to ApiVersions, and which version a client takes.

Owns KIP-35 and KIP-511 and the exceptions that real clients need. Must not know which APIs a broker has handlers for:
it is told. Called by the broker's handler of ApiVersions and by clients.

Invariants
1. The answer to an unsupported version of ApiVersions is version 0 with error 35 and the range of ApiVersions, so that
   a client of any age can read it and ask again.
2. A version is chosen from both sides' ranges, or none is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from kstore.wire import error_codes
from kstore.wire.apis import API_VERSIONS, advertised, api
from kstore.wire.codec import RequestHeader, encode_response
from kstore.wire.messages.sessions import ApiVersion, ApiVersionsResponse

if TYPE_CHECKING:
    from typing_extensions import Buffer


def api_versions(keys: Iterable[int]) -> ApiVersionsResponse:
    """The answer of a broker that has handlers for `keys`; features are added with `replace`.

    Produce is advertised from version 0 on, though 3 is the first with a table: librdkafka would take compression
    for missing otherwise (KAFKA-18659).
    """
    ranges = [(key, *advertised(key)) for key in sorted(keys)]
    rows = [ApiVersion(api_key=key, min_version=first, max_version=last) for key, first, last in ranges]
    return ApiVersionsResponse(error_code=error_codes.NONE, api_keys=rows)


def refuse(header: RequestHeader) -> list[Buffer] | None:
    """The frame that answers a request of an unsupported version, or None where there is no such answer: close then.

    Only ApiVersions has one, because no client asks for anything else before it knows the ranges (KIP-511).
    """
    if header.api_key != API_VERSIONS:
        return None
    body = api_versions([API_VERSIONS]).replace(error_code=error_codes.UNSUPPORTED_VERSION)
    return encode_response(body, 0, header.correlation_id)


def offers(key: int, version: int) -> bool:
    """Whether a broker may be asked for this version: it was advertised and has a table."""
    return api(key).has(version) and version <= advertised(key)[1]


def choose(key: int, ranges: Mapping[int, tuple[int, int]]) -> int | None:
    """The highest version of an API that has a table here and lies in the broker's range for it; None without one."""
    if key not in ranges:
        return None
    row = api(key)
    first, last = max(row.first, ranges[key][0]), min(row.last, ranges[key][1])
    return last if first <= last else None


def ranges_of(response: ApiVersionsResponse) -> dict[int, tuple[int, int]]:
    """What a broker advertised, by API key."""
    return {row.api_key: (row.min_version, row.max_version) for row in response.api_keys}
