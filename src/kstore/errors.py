"""Every exception that kstore raises, on one screen.

The kinds follow what the caller does next: fix the program (`UsageError`), tell the peer (`RejectedError`), repair
or refetch (`CorruptionError`), page someone (`StorageError`), report a bug in kstore (`InvariantError`). Attributes
come first and the message is built from them, so that programs never parse text. `error_code` is the number of the
same condition in Kafka's wire protocol (org.apache.kafka.common.protocol.Errors).
"""

from __future__ import annotations


class KStoreError(Exception):
    """Base of everything that kstore raises on purpose."""

    retriable: bool = False
    error_code: int = -1


# -- our caller broke the contract: fix the program --------------------------------------------------------------


class UsageError(KStoreError):
    """The call, the argument or the state it was made in is wrong."""


class ClosedError(UsageError):
    """A store or partition was used after `close()`."""


class InvalidConfig(UsageError):
    """A configuration key is unknown or its value does not fit; the message suggests the nearest right key."""

    error_code = 40


class InvalidTopicName(UsageError):
    """A topic name that Kafka refuses: empty, `.`, `..`, over 249 characters or outside `[a-zA-Z0-9._-]`."""

    error_code = 17


class TopicExists(UsageError):
    """A topic of that name is there already."""

    error_code = 36


class UnknownTopicOrPartition(UsageError):
    """No such topic, or no such partition of it."""

    error_code = 3


class NotALogDirectory(UsageError):
    """The path is missing, is not a directory, or holds no log and must not be made into one."""


class StoreLocked(UsageError):
    """Another process, or another `Store` of this one, has the directory open for writing."""

    retriable = True

    def __init__(self, path: str, holder: str) -> None:
        self.path = path
        self.holder = holder
        super().__init__(
            f"{path} is locked by {holder}; close it there first, or open the directory with read_only=True"
        )


class MissingCodec(UsageError):
    """A compression codec whose package is not installed."""

    error_code = 76

    def __init__(self, codec: str) -> None:
        self.codec = codec
        super().__init__(
            f"{codec} needs the package cramjam: install it with  pip install 'kstore[compression]'"
        )


# -- a well-formed request refused: tell the peer ----------------------------------------------------------------


class RejectedError(KStoreError):
    """A request that was understood and refused; `error_code` is what a broker answers."""


class OffsetOutOfRange(RejectedError):
    """The offset lies outside `[log_start_offset, end_offset]` of the partition."""

    error_code = 1

    def __init__(self, offset: int, log_start_offset: int, end_offset: int, where: str = "partition") -> None:
        self.offset = offset
        self.log_start_offset = log_start_offset
        self.end_offset = end_offset
        super().__init__(
            f"offset {offset} is outside {where}: it holds {log_start_offset} up to {end_offset} (exclusive)"
        )


class InvalidBatch(RejectedError):
    """Record batches from a caller that fail validation; nothing of them was stored.

    `position` is the byte in the caller's buffer at which the offending batch starts.
    """

    error_code = 87

    def __init__(self, reason: str, position: int = 0, error_code: int = 87) -> None:
        self.reason = reason
        self.position = position
        self.error_code = error_code
        super().__init__(f"record batch at byte {position}: {reason}")


class BatchTooLarge(RejectedError):
    """A batch above `max.message.bytes` or above the segment size."""

    error_code = 10

    def __init__(self, size_bytes: int, limit_bytes: int, key: str) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        self.key = key
        super().__init__(f"a batch of {size_bytes} bytes is above {key}={limit_bytes}")


class OutOfOrderSequence(RejectedError):
    """A producer's sequence leaves a gap (KIP-98): the batch before it is missing."""

    error_code = 45


class InvalidProducerEpoch(RejectedError):
    """A batch with an older epoch than the partition has seen of that producer: it is fenced."""

    error_code = 47


class InvalidTxnState(RejectedError):
    """A transactional record, or a marker, that does not fit the state of its transaction."""

    error_code = 48


class TransactionCoordinatorFenced(RejectedError):
    """A marker from a transaction coordinator that a newer one has replaced."""

    error_code = 52


class DuplicateSequence(RejectedError):
    """A batch older than the five remembered ones; it was stored before, its offsets are forgotten."""

    error_code = 46


class NotLeader(RejectedError):
    """This replica does not lead the partition."""

    error_code = 6
    retriable = True


class StaleEpoch(RejectedError):
    """The request carries an older leader epoch than this replica's."""

    error_code = 74
    retriable = True


class UnknownEpoch(RejectedError):
    """The request carries a newer leader epoch than this replica's."""

    error_code = 75
    retriable = True


class NotEnoughReplicas(RejectedError):
    """Fewer in-sync replicas than `min.insync.replicas`."""

    error_code = 19
    retriable = True


# -- stored bytes fail their check: repair or refetch ------------------------------------------------------------


class CorruptionError(KStoreError):
    """Stored bytes that fail their check.

    `offset` is the first record number affected and `next_offset` the first readable one behind the damage; both
    are -1 where the file has no offsets.
    """

    error_code = 2

    def __init__(
        self, file: str, position: int, reason: str, *, offset: int = -1, next_offset: int = -1
    ) -> None:
        self.file = file
        self.position = position
        self.reason = reason
        self.offset = offset
        self.next_offset = next_offset
        where = f"{file} at byte {position}"
        what = f" (offsets {offset} up to {next_offset})" if offset >= 0 else ""
        then = f"; read on from offset {next_offset}, or see `kstore log verify`" if next_offset >= 0 else ""
        super().__init__(f"{where}: {reason}{what}{then}")


# -- the disk failed: the directory goes offline -----------------------------------------------------------------


class StorageError(KStoreError):
    """An operation of the operating system failed; `final` says whether the directory is offline for good."""

    error_code = 56

    def __init__(self, errno: int, file: str, action: str, reason: str, *, final: bool = True) -> None:
        self.errno = errno
        self.file = file
        self.action = action
        self.reason = reason
        self.final = final
        self.retriable = not final
        then = (
            "the directory takes no more writes; check the disk, then reopen it (recovery runs)"
            if final
            else "nothing of this call was stored; it may be repeated once the cause is gone"
        )
        super().__init__(f"{action} {file}: {reason} (errno {errno}); {then}")


class InvariantError(KStoreError):
    """kstore's own code is wrong: the partition stops, the process lives. Please report it."""
