"""Who a client is: the mechanisms of SASL as state machines, and what is kept of passwords.

Owns messages, proofs and their order. Must not know sockets, frames, files, clocks or where random numbers come from:
all of it is handed in. Called by `cluster` (what is stored), `broker` (logging in) and the command line.
"""
