"""The SCRAM credentials of one node: a table that a change replaces, on the medium first.

Owns the sidecar `kstore-scram-credentials` in the root of the log directory (docs/FORMAT.md), which only its owner may
read. Must not know who asks. Called by `embedded`, and by commands on a directory that no broker serves. Kafka keeps
the same in its metadata log (UserScramCredentialRecord).

Invariants
1. What `change` says is done is on the medium; a crash leaves the old table or the new one.
2. A file that is damaged counts as a table without users: nobody gets in by it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kstore.log.sidecars import read_optional, seal, unseal
from kstore.security import credentials
from kstore.security.credentials import SECRET_BYTES, Deletion, ScramCredentials, Upsertion

if TYPE_CHECKING:
    from kstore.errors import ScramCredentialRefused
    from kstore.log.disk import Disk

FILE_NAME = "kstore-scram-credentials"
KIND = b"scrm"
VERSION = 1

_log = logging.getLogger(__name__)


class ScramFile:
    """The table and its file; one writer at a time."""

    def __init__(self, disk: Disk, root: str) -> None:
        """Reads the file, if there is one. Raises `OSError`."""
        self._disk = disk
        self._path = f"{root}/{FILE_NAME}"
        self.table = self._read()
        """The table of this moment: may be read from any thread."""

    def change(
        self, deletions: Iterable[Deletion], upsertions: Iterable[Upsertion]
    ) -> dict[str, ScramCredentialRefused | None]:
        """Change the table and return what became of each user, see `ScramCredentials.change`. Raises `OSError`."""
        table, outcome = self.table.change(deletions, upsertions, secrets.token_bytes(SECRET_BYTES))
        if table != self.table:
            data = seal(KIND, VERSION, credentials.encode(table))
            self._disk.write_file_atomic(self._path, data, private=True)
            self.table = table
        return outcome

    def _read(self) -> ScramCredentials:
        data = read_optional(self._disk, self._path)
        if data is None:
            return ScramCredentials()
        payload = unseal(KIND, VERSION, data)
        table = None if payload is None else credentials.decode(payload)
        if table is None:
            _log.error("%s is damaged: no user of SCRAM can log in until their passwords are set again", self._path)
            return ScramCredentials()
        return table
