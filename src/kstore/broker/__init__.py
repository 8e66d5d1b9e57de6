"""A broker for Kafka's clients over one log directory: sockets, requests, who waits for what.

`node.Broker` is the broker, `service` runs one in a process or a thread. docs/BROKER.md tells how a request travels.
"""
