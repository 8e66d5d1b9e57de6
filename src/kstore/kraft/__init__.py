"""The metadata of a KRaft cluster: its records, its log and its checkpoints, read and written without a controller.

Layer 2: knows bytes and, through a `disk`, the metadata directory of one log directory. Called by the store (topic
configs and broker epochs of a directory that Kafka wrote), by `graduation` and by `log dump`.
"""

from kstore.kraft.metadata import KraftMetadata, KraftPartition, KraftTopic, read_metadata

__all__ = ["KraftMetadata", "KraftPartition", "KraftTopic", "read_metadata"]
