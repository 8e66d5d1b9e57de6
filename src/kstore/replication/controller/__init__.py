"""The controller's decisions: who is in the cluster, who leads, who is in sync, and where replicas lie.

Pure like the rest of `kstore.replication`: a state, a command and the time give the next state, a reply, and a list of
changes that any store can keep. `machine.step` is the way in, `cluster.apply` the way back after a failover;
docs/replication/controller.md has the rules in tables.
"""
