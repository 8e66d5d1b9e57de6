"""Replication as pure state machines: what a leader, a follower and a controller decide, and nothing that they do.

Every function here takes a state, an event and the time, and returns the next state and a list of effects. There is no
disk, socket, clock, thread or randomness below this package, and record batches are opaque: only their offsets and
epochs are seen. `kstore.replica` runs these machines against a log; the simulator and the model checker run the very
same functions. `docs/REPLICATION.md` shows how to use them.
"""
