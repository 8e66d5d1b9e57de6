"""What a fetch brought or met: bytes, looked at before anything of them is believed.

Owns which bytes count as corrupt, where damage begins, and the doubt about holes. It must not know roles, nor what is
done about either. Called by `replica`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore._native import batch as native
from kstore.errors import InvalidBatch
from kstore.replication.state import BatchInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from kstore.partition import Partition


def parse(data: Buffer) -> tuple[tuple[BatchInfo, ...], bool]:
    """What a leader's bytes hold, every batch checked; nothing, and True, where one fails its check."""
    whole = memoryview(data).cast("B")
    found: list[BatchInfo] = []
    try:
        for header in native.headers(whole):
            piece = whole[header.position : header.position + header.size_bytes]
            info = native.check(piece, client=False)
            found.append(BatchInfo(info.first_offset, info.next_offset, header.leader_epoch))
    except InvalidBatch:
        return (), True
    return tuple(found), False


def first_damaged(partition: Partition, offset: int) -> int:
    """Where damage begins in the segment in which a read at `offset` met some, and puts it aside.

    That is below `offset` where a header claims offsets that are not its own.
    """
    base = partition.log.view.segment_at(offset).base_offset
    found = partition.find_damage(max(base, partition.log_start_offset))
    return found if found >= 0 else offset


class Doubts:
    """Of one replica: which answer with a hole it has seen already.

    No checksum covers a batch's base offset (docs/FORMAT.md): one bit that flips on the way would tear a hole for good.
    A leader whose log does have a hole says the same again.
    """

    def __init__(self) -> None:
        self._seen: Sequence[BatchInfo] = ()

    def about(self, batches: tuple[BatchInfo, ...], end: int) -> bool:
        """Whether an answer to a log that has no hole and ends at `end` leaves out offsets, for the first time."""
        for batch in batches:
            if batch.base_offset > end:
                known, self._seen = self._seen, batches
                return known != batches
            end = batch.next_offset
        return False
