"""What a client begins with: which versions there are, and who coordinates its group.

Owns the handlers of ApiVersions and FindCoordinator, and what a login is told that comes where none is asked for, or
none any more (`entrance` has the others). Called by `dispatch`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstore.wire.messages.groups import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse
from kstore.wire.messages.sessions import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SaslAuthenticateResponse,
    SaslHandshakeResponse,
    SupportedFeatureKey,
)
from kstore.wire.negotiation import api_versions as versions_of

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker

GROUP = 0
TRANSACTION = 1
COORDINATOR_KEYS_LAST_SINGLE_VERSION = 3
NO_NODE = -1
ILLEGAL_SASL_STATE = 34
INVALID_REQUEST = 42
INVALID_GROUP_ID = 24
CLUSTER_AUTHORIZATION_FAILED = 31
NO_TRANSACTIONS = "this broker keeps no transactions yet: produce without transactional.id"

SOFTWARE_SINCE_VERSION = 3
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")

FEATURES = (("group.version", 1), ("metadata.version", 25), ("transaction.version", 0))
"""What the cluster can, as levels (KIP-584): consumer groups of KIP-848; transactions are not kept."""


def api_versions(broker: Broker, call: Call) -> None:
    """The APIs of the dispatch table, in the versions that have field tables.

    From version 3 on a client gives its name and version, which must be words (ApiVersionsRequest.isValid).
    """
    request: ApiVersionsRequest = call.body
    if call.version >= SOFTWARE_SINCE_VERSION and not (
        _SOFTWARE.fullmatch(request.client_software_name) and _SOFTWARE.fullmatch(request.client_software_version)
    ):
        call.answer(ApiVersionsResponse(error_code=INVALID_REQUEST, api_keys=[]))
        return
    supported = [SupportedFeatureKey(name=name, min_version=0, max_version=level) for name, level in FEATURES]
    finalized = [
        FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
        for name, level in FEATURES
        if level
    ]
    call.answer(
        versions_of(broker.advertised).replace(
            supported_features=supported, finalized_features=finalized, finalized_features_epoch=0
        )
    )


def sasl_handshake(broker: Broker, call: Call) -> None:
    """There is no login here, or it is over: KafkaApis.handleSaslHandshakeRequest."""
    call.answer(SaslHandshakeResponse(error_code=ILLEGAL_SASL_STATE, mechanisms=[]))


def sasl_authenticate(broker: Broker, call: Call) -> None:
    """The same."""
    message = "SaslAuthenticate request received after successful authentication"
    call.answer(SaslAuthenticateResponse(error_code=ILLEGAL_SASL_STATE, error_message=message, auth_bytes=b""))


def find_coordinator(broker: Broker, call: Call) -> None:
    """This broker coordinates every group, and no transaction.

    For those the code is CLUSTER_AUTHORIZATION_FAILED: it ends librdkafka's init_transactions() at once, with the
    message, where UNSUPPORTED_VERSION has it ask again for ever; Java's producer shows the message with any code.
    """
    request: FindCoordinatorRequest = call.body
    if request.key_type == GROUP:
        broker.coordination.when_there(lambda _: _answer(broker, call, request))
    else:
        _answer(broker, call, request)


def _answer(broker: Broker, call: Call, request: FindCoordinatorRequest) -> None:
    keys = [request.key] if call.version <= COORDINATOR_KEYS_LAST_SINGLE_VERSION else list(request.coordinator_keys)
    found = [_coordinator(broker, call, request.key_type, key) for key in keys]
    if call.version > COORDINATOR_KEYS_LAST_SINGLE_VERSION:
        call.answer(FindCoordinatorResponse(coordinators=found))
        return
    one = found[0]
    call.answer(
        FindCoordinatorResponse(
            error_code=one.error_code,
            error_message=one.error_message,
            node_id=one.node_id,
            host=one.host,
            port=one.port,
        )
    )


def _coordinator(broker: Broker, call: Call, key_type: int, key: str) -> Coordinator:
    if key_type not in (GROUP, TRANSACTION):
        message = f"there are no coordinators of type {key_type} here"
        return Coordinator(
            key=key, node_id=NO_NODE, host="", port=NO_NODE, error_code=INVALID_REQUEST, error_message=message
        )
    if key_type == TRANSACTION:
        return Coordinator(
            key=key, node_id=NO_NODE, host="", port=NO_NODE, error_code=CLUSTER_AUTHORIZATION_FAILED,
            error_message=NO_TRANSACTIONS,
        )  # fmt: skip
    node = broker.node_for(call)
    return Coordinator(
        key=key, node_id=node.node_id, host=node.host, port=node.port, error_code=0, error_message=None
    )
