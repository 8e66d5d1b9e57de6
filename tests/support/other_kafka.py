"""A Kafka that ran in a directory in between, as far as its files tell: compaction, marker, metadata log.

What it leaves is what a broker leaves (`tests/fixtures/compacted` is one): the batches that stayed as they were,
indexes of the new bytes, an own clean marker or none.
"""

from __future__ import annotations

import kstore
from kstore._native import batch as native
from kstore._native.segment import Segment
from kstore.inspect.repairs import empty_batch
from kstore.log import names
from kstore.log.checkpoints import format_offsets

METADATA = f"/data/{names.METADATA_TOPIC}-0"


def compact(disk, directory, keep, *, empty=False):
    """Take the batches out of a partition's sealed segments whose base offset `keep` refuses.

    With `empty` their headers stay, as that of a producer's last batch does.
    """
    for name in sorted(name for name in disk.list(directory) if name.endswith(".log"))[:-1]:
        data = disk.read_file(f"{directory}/{name}")
        parts = []
        for header in native.headers(data):
            if keep(header.base_offset):
                parts.append(data[header.position : header.position + header.size_bytes])
            elif empty:
                parts.append(empty_batch(header.base_offset, header.last_offset_delta, header.leader_epoch))
        replace_segment(disk, directory, name, b"".join(parts))


def replace_segment(disk, directory, name, data):
    """Another segment under the same name, its indexes made anew."""
    base = int(name.removesuffix(".log"))
    for kind in ("index", "timeindex"):
        if disk.exists(f"{directory}/{names.file_name(base, kind)}"):
            disk.unlink(f"{directory}/{names.file_name(base, kind)}")
    disk.write_file_atomic(f"{directory}/{name}", data)
    segment = Segment(disk, directory, base, index_interval_bytes=0, writable=True)
    segment.recover()
    segment.close()


def leave(disk, *, how, cleaned=()):
    """What the broker leaves beside the logs when it stops: `clean`, or `killed`."""
    marker = f"/data/{names.CLEAN_SHUTDOWN_FILE}"
    if disk.exists(marker):
        disk.unlink(marker)
    if how == "clean":
        for path in [p for p in disk.files() if p.startswith("/data/") and names.parse_file_name(p.rpartition("/")[2])]:
            file = disk.open_file(path)
            file.sync()
            file.close()
        disk.write_file_atomic(marker, b'{"version":0,"brokerEpoch":31}')
    if not disk.exists(METADATA):
        disk.make_dir(METADATA)
        for kind in ("index", "timeindex"):
            disk.write_file(f"{METADATA}/{names.file_name(0, kind)}", b"")
    disk.write_file_atomic(f"{METADATA}/quorum-state", b'{"leaderEpoch":1,"data_version":0}')
    log = f"{METADATA}/{names.log_name(0)}"
    known = disk.read_file(log) if disk.exists(log) else b""
    disk.write_file_atomic(log, known + kstore.encode_batches([b"\1"], base_offset=len(list(native.headers(known)))))
    if cleaned:
        disk.write_file_atomic(f"/data/{names.CLEANER_OFFSETS_FILE}", format_offsets(dict.fromkeys(cleaned, 1)))
