"""What the root's checkpoints say of each partition, open or not.

Owns the choice of numbers; `log.twins` writes them. Called by `store` under its locks, on the tick and at close.

Invariants: a partition that is not open keeps what was written of it last; one that is open says what it is now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kstore.log.twins import RootCheckpoints
    from kstore.partition import Partition


def write(roots: RootCheckpoints, partitions: Iterable[tuple[tuple[str, int], Partition | None]]) -> None:
    """Write recovery points, high watermarks and log start offsets; None stands for one not open. Raises `OSError`."""
    points, marks, starts = {}, {}, {}
    for key, partition in partitions:
        points[key] = partition.recovery_point if partition else roots.recovery_point(*key).durable
        stored = roots.high_watermark(*key)
        marks[key] = partition.high_watermark if partition else points[key] if stored is None else stored
        if partition is None:
            start = roots.log_start(*key)
            if start is not None:
                starts[key] = start
        elif partition.log_start_offset > partition.segments[0].base_offset:
            starts[key] = partition.log_start_offset
    roots.write_recovery_points(points)
    roots.write_high_watermarks(marks)
    roots.write_log_starts(starts)
