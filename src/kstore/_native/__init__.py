"""Bytes, files and one segment: the native modules. They know no policy, only arguments."""
