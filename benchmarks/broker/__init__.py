"""The broker beside a real Kafka: same run, same clients, same cores (`make bench-broker`).

Raw frames show what a broker can do when no client library is in the way, librdkafka what its users get; limits of the
machine and of the client are measured between the two. Needs Java and, the first time, Maven for Kafka; without them
the table has no column for it.
"""
