from collections.abc import Sequence
from typing import NamedTuple

from typing_extensions import Buffer

from kstore._native.index import Indexes

class ProducerBatch(NamedTuple):
    base_offset: int
    last_offset: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    last_sequence: int
    transactional: bool
    control_type: str | None
    coordinator_epoch: int
    timestamp_ms: int

class Range(NamedTuple):
    position: int
    end_position: int
    first_offset: int
    next_offset: int
    reason: str = ""

class Recovered(NamedTuple):
    position: int
    end_position: int
    file_size_bytes: int
    next_offset: int
    status: int
    reason: str
    batches: int
    records: int
    max_timestamp_ms: int
    max_timestamp_offset: int
    last_leader_epoch: int
    header_digest: int | None
    epochs: list[tuple[int, int]]
    producer_batches: list[ProducerBatch]

class Scan(NamedTuple):
    good: list[Range]
    bad: list[Range]
    size_bytes: int
    next_offset: int
    batches: int
    records: int
    header_digest: int

def recover(
    source: Buffer,
    position: int,
    next_offset: int,
    indexes: Indexes,
    *,
    leader_epoch: int = -1,
    dense: bool = False,
    header_digest: int | None = None,
    quarantine: Sequence[Range] = (),
    source_position: int = 0,
) -> Recovered: ...
def examine(source: Buffer, base_offset: int, *, end_offset: int = -1, dense: bool = False) -> Scan: ...
def producer_batch(batch: Buffer, base_offset: int = -1) -> ProducerBatch | None: ...
