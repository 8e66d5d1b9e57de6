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


class MissingClient(UsageError):
    """The package that speaks to brokers is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "--bootstrap-server needs the package confluent-kafka: install it with  pip install 'kstore[client]', or "
            "name a log directory with --dir"
        )


class MissingPackage(UsageError):
    """Something was asked for that needs a package which is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs the package {package}: install it with  pip install 'kstore[{extra}]'")


class UnencodableMessage(UsageError):
    """A message of the wire protocol with a value that its version cannot carry; nothing was sent.

    `message` and `version` name the table, `field` is the path to the value (`topics[3].name`).
    """

    def __init__(self, message: str, version: int, field: str, reason: str) -> None:
        self.message = message
        self.version = version
        self.field = field
        self.reason = reason
        super().__init__(f"{message} version {version}, {field or 'the whole'}: {reason}")


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


class InvalidPartitions(RejectedError):
    """A topic cannot have that many partitions: fewer than it has, fewer than one, or too many."""

    error_code = 37


class InvalidReplicationFactor(RejectedError):
    """Partitions cannot have that many replicas on the brokers that there are."""

    error_code = 38

    def __init__(self, replication_factor: int, reason: str) -> None:
        self.replication_factor = replication_factor
        self.reason = reason
        super().__init__(f"a replication factor of {replication_factor} cannot be had: {reason}")


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


class MalformedMessage(RejectedError):
    """Bytes from a peer that are no such message of the wire protocol; nothing was made of them.

    `message` and `version` name the table, `field` is the path to where it failed (`topics[3].name`) and `position`
    the byte in the frame. A broker closes the connection: what follows cannot be trusted either.
    """

    error_code = 42

    def __init__(self, message: str, version: int, field: str, position: int, reason: str) -> None:
        self.message = message
        self.version = version
        self.field = field
        self.position = position
        self.reason = reason
        super().__init__(f"{message} version {version}, {field or 'the whole'}, byte {position}: {reason}")


class InvalidFrame(RejectedError):
    """A size before a message that no message can have; a broker closes the connection."""

    error_code = 42

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(
            f"a frame of {size_bytes} bytes, here it has 1 to {limit_bytes}; "
            "a peer that speaks TLS or HTTP to this port looks like that too"
        )


class UnsupportedVersion(RejectedError):
    """A request of an API, or in a version of it, that has no table here."""

    error_code = 35

    def __init__(self, api_key: int, version: int, supported: str) -> None:
        self.api_key = api_key
        self.version = version
        super().__init__(f"API {api_key} version {version}: {supported}")


class NotEnoughReplicasAfterAppend(NotEnoughReplicas):
    """The batch is in the leader's log, but the ISR shrank below `min.insync.replicas` before it was committed."""

    error_code = 20


class RequestTimedOut(RejectedError):
    """No answer in time: whether the request took effect is not known."""

    error_code = 7
    retriable = True


class AuthenticationFailed(RejectedError):
    """The client is not who it claims to be, or did not say so in a way that can be checked.

    `reason` is for the broker's own log: a client is not told whether the name or the password was wrong.
    """

    error_code = 58

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"authentication failed: {reason}")


class IllegalSaslState(RejectedError):
    """A message of an authentication that is not its turn: without a handshake, behind the end, or in between."""

    error_code = 34


class UnsupportedSaslMechanism(RejectedError):
    """A mechanism that a listener does not offer, or that has no credentials."""

    error_code = 33


class ScramCredentialRefused(RejectedError):
    """SCRAM credentials that cannot be set or removed; `error_code` says why (KIP-554)."""

    def __init__(self, error_code: int, reason: str) -> None:
        self.error_code = error_code
        super().__init__(reason)


class BrokerFailed(RejectedError):
    """A broker refused what a command asked of it, or none answered; `error_code` is its code, or librdkafka's."""

    def __init__(self, bootstrap: str, error_code: int, reason: str) -> None:
        self.bootstrap = bootstrap
        self.error_code = error_code
        self.reason = reason
        super().__init__(f"broker {bootstrap}: {reason}")


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
        if final:
            then = "the directory takes no more writes; check the disk, then reopen it (recovery runs)"
        elif action in ("read", "open"):
            then = "nothing was changed; check the file's owner and mode and the disk, then try again"
        else:
            then = "nothing of this call was stored; it may be repeated once the cause is gone"
        super().__init__(f"{action} {file}: {reason} (errno {errno}); {then}")


class InvariantError(KStoreError):
    """kstore's own code is wrong: the partition stops, the process lives. Please report it."""
