"""Every bound with its unit and its reason. Relations between them are checked at import.

Nothing here is an option: what a user may choose stands in `config`.
"""

from __future__ import annotations

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

# -- record batches (docs/FORMAT.md, "Record batch") --
BATCH_OVERHEAD_BYTES = 12
"""Base offset and length: the bytes that the batch's own length field does not count."""
BATCH_HEADER_BYTES = 61
"""The whole header of a batch of magic 2."""
BATCH_BYTES_MAX = INT32_MAX
"""The length field is a signed int32."""
RECORD_BYTES_MIN = 7
"""length, attributes, timestamp delta, offset delta, key length, value length, header count: a byte each."""
PRODUCER_BATCHES_REMEMBERED = 5
"""ProducerStateEntry.NUM_BATCHES_TO_RETAIN: a client has at most five requests in flight."""

# -- decompression --
DECOMPRESSED_BYTES_MAX = 256 * 1024 * 1024
"""The largest records section that a reader unpacks, whatever a batch claims: 256 times max.message.bytes, above the
ratio that text reaches and below what would hurt a process."""

# What decoding may take, whatever the bytes are (KS_UNPACKED_BYTES_MAX in batch.h is the same number):
# - columns: 48 bytes a record of at least 7, so under 7 times the unpacked bytes;
# - iteration: one record and one unpacked batch at a time;
# - unpacking: what the blocks of the input can hold at most, never what they claim, and about twice
#   DECOMPRESSED_BYTES_MAX at the very most; the same for all batches of one `columns()` together.

# -- segments and indexes --
SEGMENT_BYTES_MAX = INT32_MAX
"""Index positions are signed int32 in Kafka's files, so no segment may pass it."""
OFFSET_INDEX_ENTRY_BYTES = 8
TIME_INDEX_ENTRY_BYTES = 12
TXN_INDEX_ENTRY_BYTES = 34
STAGING_BYTES = 256 * 1024
"""Appends are gathered here: the smallest size at which one pwrite costs no more per byte than a large one."""

# -- files --
OPEN_SEGMENTS_MAX = 512
"""Sealed segments that keep their file or mapping open per store; the oldest unused one is closed first."""

# -- the wire protocol --
FRAME_BYTES_MAX = 100 * 1024 * 1024
"""Kafka's default of socket.request.max.bytes."""
FRAME_BYTES_MAX_BEFORE_LOGIN = 512 * 1024
"""BrokerSecurityConfigs.SASL_SERVER_MAX_RECEIVE_SIZE: a peer that is not known yet gets no more."""
REQUEST_ELEMENTS_MAX = 1_000_000
"""Elements of all arrays of one request: five times the partitions that a large cluster has. Walking them takes some
milliseconds, so one frame cannot hold a broker up."""
RESPONSE_ELEMENTS_MAX = 20_000_000
"""Elements of all arrays of one response: Metadata names each partition, each of its replicas twice, and more."""

# -- names --
TOPIC_NAME_CHARS_MAX = 249
"""Topic.MAX_NAME_LENGTH: 255, the usual limit of a file name, less room for `-` and a partition number."""
GROUP_METADATA_BYTES_MAX = 4096

if not (BATCH_HEADER_BYTES > BATCH_OVERHEAD_BYTES and STAGING_BYTES % 4096 == 0):
    raise AssertionError("limits contradict each other")
