"""What the file applications ask of a file before anything is made for it.

Owns the refusals of files that cannot be read or written. Called by `file_producer`, `file_consumer` and
`remote_files`.
"""

from __future__ import annotations

import errno
import os
import stat


def require_readable(path: str, position_file: str) -> None:
    """Refuse a file that cannot be read before a directory or a topic is made for it."""
    from kstore.errors import UsageError

    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.exists(position_file):
            return
        raise
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is not a regular file; to send a pipe's lines use `kstore produce`")
    with open(path, "rb"):
        pass


def require_writable(path: str) -> None:
    """Refuse an impossible output before anything is made for it."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.path.isdir(folder):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
    by_effective_user = os.access in os.supports_effective_ids
    if not os.access(path if os.path.exists(path) else folder, os.W_OK, effective_ids=by_effective_user):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
