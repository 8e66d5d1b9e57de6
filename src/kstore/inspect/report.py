"""What a verification found: `Finding` and `Report`. Plain data, made by `verify`, shown by the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one file."""

    file: str
    """Path of the file."""
    position: int
    """Byte at which it is wrong; 0 where the whole file is meant."""
    kind: str
    """A stable word: batch, gap, tail, digest, index, timeindex, txnindex, snapshot, epochs, checkpoint, metadata."""
    reason: str
    """What is wrong, for a reader."""
    repair: str
    """What `kstore log repair` would do about it."""
    end_position: int = -1
    """Where the damage ends (exclusive), -1 where it has no extent."""
    first_offset: int = -1
    """First offset affected, -1 where none is."""
    next_offset: int = -1
    """First readable offset behind the damage, -1 where none is affected."""

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        offsets = f", offsets {self.first_offset} up to {self.next_offset}" if self.first_offset >= 0 else ""
        return f"{self.file} at byte {self.position}: {self.kind}: {self.reason}{offsets}"


@dataclass
class Report:
    """The outcome of `verify`: everything was read, nothing was changed."""

    path: str
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    partitions: int = 0
    segments: int = 0
    batches: int = 0
    records: int = 0
    size_bytes: int = 0
    """Bytes of all segments."""
    clean_stop: bool = False
    """Whether the directory's last stop was clean; an unclean one is not a finding."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self) | {"ok": self.ok}

    def __str__(self) -> str:
        size = f"{self.segments} segments, {self.batches} batches, {self.size_bytes} bytes"
        findings = f"{len(self.findings) or 'no'} finding{'' if len(self.findings) == 1 else 's'}"
        return f"{self.path}: {self.partitions} partitions, {size}; {findings}"
