"""Bytes, files and one segment: the native modules. They know no policy, only arguments."""

import os

if os.environ.get("KSTORE_CPU"):  # a rung that this processor lacks is refused here, whichever module comes first
    from kstore._native import crc32c as crc32c
