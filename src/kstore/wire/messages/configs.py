"""Reading and changing configurations.

Owns the field tables of DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources; must not know
what anyone does with them. Compiled by `kstore.wire.layouts` when a version is first used. docs/WIRE.md tells how a
table reads.
"""

from __future__ import annotations

from kstore.wire.schema import Array, Bool, Int8, Int16, Int32, Request, Response, String, Struct, field


class DescribeConfigsResource(Struct):
    resource_type: Int8
    resource_name: String
    configuration_keys: Array[String] | None


class DescribeConfigsRequest(Request, api=32):
    """Asks for configurations of topics, brokers or groups."""

    resources: Array[DescribeConfigsResource]
    include_synonyms: Bool = field(default=False)
    include_documentation: Bool = field(3, default=False)


class DescribeConfigsSynonym(Struct):
    name: String
    value: String | None
    source: Int8


class DescribeConfigsResourceResult(Struct):
    name: String
    value: String | None
    read_only: Bool
    config_source: Int8 = field(default=-1)
    is_sensitive: Bool
    synonyms: Array[DescribeConfigsSynonym]
    config_type: Int8 = field(3, default=0, ignorable=True)
    documentation: String | None = field(3, default="", ignorable=True)


class DescribeConfigsResult(Struct):
    error_code: Int16
    error_message: String | None
    resource_type: Int8
    resource_name: String
    configs: Array[DescribeConfigsResourceResult]


class DescribeConfigsResponse(Response, api=32):
    """The values, where they come from, and what else could have set them."""

    throttle_time_ms: Int32 = field(default=0)
    results: Array[DescribeConfigsResult]


class AlterConfigsRequestAlterableConfig(Struct):
    name: String
    value: String | None


class AlterConfigsRequestResource(Struct):
    resource_type: Int8
    resource_name: String
    configs: Array[AlterConfigsRequestAlterableConfig]


class AlterConfigsRequest(Request, api=33):
    """Replaces all configurations of a resource."""

    resources: Array[AlterConfigsRequestResource]
    validate_only: Bool


class AlterConfigsResponseResourceResponse(Struct):
    error_code: Int16
    error_message: String | None
    resource_type: Int8
    resource_name: String


class AlterConfigsResponse(Response, api=33):
    """An error code for each resource."""

    throttle_time_ms: Int32 = field(default=0)
    responses: Array[AlterConfigsResponseResourceResponse]


class IncrementalAlterConfigsRequestAlterableConfig(Struct):
    name: String
    config_operation: Int8
    value: String | None


class IncrementalAlterConfigsRequestAlterConfigsResource(Struct):
    resource_type: Int8
    resource_name: String
    configs: Array[IncrementalAlterConfigsRequestAlterableConfig]


class IncrementalAlterConfigsRequest(Request, api=44):
    """Changes single configurations of a resource (KIP-339)."""

    resources: Array[IncrementalAlterConfigsRequestAlterConfigsResource]
    validate_only: Bool


class IncrementalAlterConfigsResponseAlterConfigsResourceResponse(Struct):
    error_code: Int16
    error_message: String | None
    resource_type: Int8
    resource_name: String


class IncrementalAlterConfigsResponse(Response, api=44):
    """An error code for each resource."""

    throttle_time_ms: Int32 = field(default=0)
    responses: Array[IncrementalAlterConfigsResponseAlterConfigsResourceResponse]


class ListConfigResourcesRequest(Request, api=74):
    """Asks for the resources that have configurations; version 0 for client metrics only (KIP-1142)."""

    resource_types: Array[Int8] = field(1, default=())


class ConfigResource(Struct):
    resource_name: String
    resource_type: Int8 = field(1, default=16, ignorable=True)


class ListConfigResourcesResponse(Response, api=74):
    """The names and types of the resources."""

    throttle_time_ms: Int32 = field(default=0)
    error_code: Int16
    config_resources: Array[ConfigResource]
