"""Kafka's wire protocol without a socket: frames, messages by field tables, error codes, versions.

Owns how requests and responses become bytes and back. Must not know what a broker does with them, nor any socket,
clock or thread. Called by the broker and by kstore's own clients. `codec` is the place to start; docs/WIRE.md tells
the rest.
"""
