"""Directories of partitions: opening, topics, background work. The one layer of the library that reads a clock."""

from kstore.store.catalog import Topic
from kstore.store.store import Store
from kstore.store.store import open_store as open

__all__ = ["Store", "Topic", "open"]
