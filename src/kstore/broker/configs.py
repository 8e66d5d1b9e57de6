"""Configurations read and changed by clients.

Owns the handlers of DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources. Must not know what
a key means: `config_entries` and `kstore.config` do. Called by `dispatch`; changes run off the loop.

Invariants
1. A change is whole or not at all for a resource, and on the medium before it is answered.
2. Codes and messages are Kafka's: ConfigHelper, ConfigAdminManager and ConfigurationControlManager of 4.3.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kstore.broker import config_entries
from kstore.broker.config_entries import Entry
from kstore.config import TopicConfig
from kstore.errors import InvalidConfig, KStoreError
from kstore.log import names
from kstore.wire.error_codes import UNSUPPORTED_VERSION, code_of
from kstore.wire.messages.configs import (
    AlterConfigsRequest,
    AlterConfigsResponse,
    AlterConfigsResponseResourceResponse,
    ConfigResource,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    IncrementalAlterConfigsResponseAlterConfigsResourceResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.cluster.metadata import TopicInfo

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
_VERBS = {APPEND: "APPEND", SUBTRACT: "SUBTRACT"}
UNKNOWN_TOPIC = 3
INVALID_REQUEST = 42
TYPES_SINCE_VERSION = 1

_log = logging.getLogger(__name__)


class _Refusal(KStoreError):
    def __init__(self, error_code: int, message: str) -> None:
        self.error_code = error_code
        super().__init__(message)


# -- reading ---------------------------------------------------------------------------------------------


def describe_configs(broker: Broker, call: Call) -> None:
    """The keys that were asked for, or all, of each resource."""
    request: DescribeConfigsRequest = call.body
    results = []
    for resource in request.resources:
        code, message, entries = 0, None, []
        try:
            entries = _entries(broker, resource)
        except KStoreError as error:
            code, message = code_of(error), str(error)
        rows = [_row(entry, request.include_synonyms, request.include_documentation) for entry in entries]
        results.append(
            DescribeConfigsResult(
                error_code=code,
                error_message=message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
                configs=rows,
            )
        )
    call.answer(DescribeConfigsResponse(results=results))


def _entries(broker: Broker, resource: DescribeConfigsResource) -> list[Entry]:
    kind, name = resource.resource_type, resource.resource_name
    if kind == TOPIC:
        names.validate_topic_name(name)
        entries = config_entries.topic_entries(broker, _topic(broker, name))
    elif kind == BROKER:
        entries = config_entries.broker_entries(broker.config) if _is_this_broker(broker, name) else []
    elif kind == GROUP:
        _require_group(name)
        entries = config_entries.group_entries(broker.config)
    else:
        raise _Refusal(INVALID_REQUEST, f"Unsupported resource type: {kind}")
    wanted = set(resource.configuration_keys or ())
    return [entry for entry in entries if not wanted or entry.name in wanted]



def _topic(broker: Broker, name: str) -> TopicInfo:
    found = broker.cluster.metadata.topics.get(name)
    if found is None:
        raise _Refusal(UNKNOWN_TOPIC, f"The topic '{name}' does not exist.")
    return found


def _is_this_broker(broker: Broker, name: str) -> bool:
    """False for the cluster's dynamic defaults, of which there are none here. Raises for another broker."""
    if name == "":
        return False
    if not name.lstrip("-").isdecimal():
        raise _Refusal(INVALID_REQUEST, f"Broker id must be an integer, but it is: {name}")
    if int(name) != broker.node.node_id:
        raise _Refusal(
            INVALID_REQUEST,
            f"Unexpected broker id, expected {broker.node.node_id} or empty string, but received {name}",
        )
    return True


def _require_group(name: str) -> None:
    if not name:
        raise _Refusal(INVALID_REQUEST, "Group name must not be empty")


def _row(entry: Entry, with_synonyms: bool, with_documentation: bool) -> DescribeConfigsResourceResult:
    synonyms = [DescribeConfigsSynonym(name=one.name, value=one.value, source=one.source) for one in entry.synonyms]
    return DescribeConfigsResourceResult(
        name=entry.name,
        value=entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        is_sensitive=entry.is_sensitive,
        synonyms=synonyms if with_synonyms else [],
        config_type=entry.type,
        documentation=entry.documentation if with_documentation else None,
    )


# -- changing --------------------------------------------------------------------------------------------


def alter_configs(broker: Broker, call: Call) -> None:
    """Replace all of a resource's own configuration: keys that are left out go back to their defaults."""
    request: AlterConfigsRequest = call.body
    asked = [
        (one.resource_type, one.resource_name, [(config.name, SET, config.value) for config in one.configs])
        for one in request.resources
    ]

    def answer(results: list[tuple[int, str | None]]) -> None:
        responses = [
            AlterConfigsResponseResourceResponse(
                error_code=code, error_message=message, resource_type=kind, resource_name=name
            )
            for (kind, name, _), (code, message) in zip(asked, results, strict=True)
        ]
        call.answer(AlterConfigsResponse(responses=responses))

    _alter_all(broker, asked, answer, validate_only=request.validate_only, replaces=True)


def incremental_alter_configs(broker: Broker, call: Call) -> None:
    """Set, take back, append to and subtract from single keys (KIP-339)."""
    request: IncrementalAlterConfigsRequest = call.body
    asked = [
        (one.resource_type, one.resource_name, [(c.name, c.config_operation, c.value) for c in one.configs])
        for one in request.resources
    ]

    def answer(results: list[tuple[int, str | None]]) -> None:
        responses = [
            IncrementalAlterConfigsResponseAlterConfigsResourceResponse(
                error_code=code, error_message=message, resource_type=kind, resource_name=name
            )
            for (kind, name, _), (code, message) in zip(asked, results, strict=True)
        ]
        call.answer(IncrementalAlterConfigsResponse(responses=responses))

    _alter_all(broker, asked, answer, validate_only=request.validate_only, replaces=False)


_Changes = list[tuple[str, int, str | None]]


def _alter_all(
    broker: Broker,
    asked: list[tuple[int, str, _Changes]],
    answer: Callable[[list[tuple[int, str | None]]], None],
    *,
    validate_only: bool,
    replaces: bool,
) -> None:
    counts = Counter((kind, name) for kind, name, _ in asked)

    def alter() -> list[tuple[int, str | None]]:
        results: list[tuple[int, str | None]] = []
        for kind, name, changes in asked:
            try:
                if counts[kind, name] > 1:
                    raise _Refusal(INVALID_REQUEST, "Each resource must appear at most once.")
                _require_sound(changes)
                _alter(broker, kind, name, changes, validate_only=validate_only, replaces=replaces)
            except KStoreError as error:
                results.append((code_of(error), str(error)))
            else:
                results.append((0, None))
        return results

    def then(results: list[tuple[int, str | None]] | None, error: KStoreError | None) -> None:
        failure = error or KStoreError()
        answer(results if results is not None else [(code_of(failure), str(failure))] * len(asked))

    broker.off_loop(alter, then)


def _require_sound(changes: _Changes) -> None:
    """ConfigAdminManager.validateResourceNameIsCurrentNodeId and its siblings: what contradicts itself."""
    if twice := sorted(key for key, count in Counter(key for key, _, _ in changes).items() if count > 1):
        raise _Refusal(INVALID_REQUEST, f"Error due to duplicate config keys : {','.join(twice)}")
    if nulls := sorted(key for key, operation, value in changes if operation != DELETE and value is None):
        raise _Refusal(INVALID_REQUEST, f"Null value not supported for : {','.join(nulls)}")
    for _, operation, _ in changes:
        if operation not in (SET, DELETE, APPEND, SUBTRACT):
            raise _Refusal(INVALID_REQUEST, f"Unknown operation type {operation}")


def _alter(
    broker: Broker, kind: int, name: str, changes: _Changes, *, validate_only: bool, replaces: bool
) -> None:
    if kind == TOPIC:
        if not name:
            raise _Refusal(INVALID_REQUEST, "There is no topic without a name.")
        names.validate_topic_name(name)
        topic = _topic(broker, name)
        wanted: dict[str, Any] = dict.fromkeys(topic.overrides) if replaces else {}
        for key, operation, value in changes:
            wanted[key] = _changed(topic, key, operation, value)
        broker.cluster.alter_topic(name, wanted, validate_only=validate_only)
        if idle := config_entries.inert_keys(key for key, value in wanted.items() if value is not None):
            _log.warning("topic %s: kept without effect here: %s", name, ", ".join(idle))
    elif kind == BROKER:
        _is_this_broker(broker, name)
        if changes:
            keys = ", ".join(sorted(key for key, _, _ in changes))
            raise _Refusal(
                INVALID_REQUEST,
                f"Cannot update these configs dynamically: Set({keys}); start the broker with --set KEY=VALUE",
            )
    elif kind == GROUP:
        _require_group(name)
        for key, _, _ in changes:
            if key not in config_entries.GROUP_KEYS:
                raise InvalidConfig(f"Unknown group config name: {key}")
            raise InvalidConfig(
                f"{key} is one for all groups of this broker; start it with --set {config_entries.GROUP_KEYS[key]}=MS"
            )
    else:
        raise _Refusal(INVALID_REQUEST, f"Unsupported resource type: {kind}")


def _changed(topic: TopicInfo, key: str, operation: int, value: str | None) -> str | None:
    """The key's new value; None takes it back. Raises `InvalidConfig`."""
    if operation in (SET, DELETE):
        if TopicConfig.keys().get(key) is None:
            raise InvalidConfig(f"Unknown topic config name: {key}")
        return value if operation == SET else None
    field = TopicConfig.keys().get(key)
    if field is None or config_entries.type_of(key, field) != config_entries.LIST:
        raise InvalidConfig(f"Can't {_VERBS[operation]} to key {key} because its type is not LIST.")
    items = list(getattr(topic.config, field.name))
    named = [item.strip() for item in (value or "").split(",") if item.strip()]
    if operation == APPEND:
        return ",".join([*items, *(item for item in named if item not in items)])
    return ",".join(item for item in items if item not in named)


# -- which resources there are ---------------------------------------------------------------------------


def list_config_resources(broker: Broker, call: Call) -> None:
    """The resources that may have a configuration; client metrics, all that version 0 asks for, there are none."""
    request: ListConfigResourcesRequest = call.body
    known = (TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP)
    asked = list(request.resource_types)
    if call.version < TYPES_SINCE_VERSION:
        asked = [CLIENT_METRICS]
    if any(kind not in known for kind in asked):
        call.answer(ListConfigResourcesResponse(error_code=UNSUPPORTED_VERSION, config_resources=[]))
        return
    wanted = set(asked or known)
    found = []
    if TOPIC in wanted:
        found += [(name, TOPIC) for name in sorted(broker.cluster.metadata.topics)]
    for kind in (BROKER, BROKER_LOGGER):
        if kind in wanted:
            found += [(str(node.node_id), kind) for node in broker.cluster.metadata.nodes]
    resources = [ConfigResource(resource_name=name, resource_type=kind) for name, kind in found]
    call.answer(ListConfigResourcesResponse(error_code=0, config_resources=resources))
