"""The cluster simulator: brokers, a controller, clients, a network and disks in one process, driven by one seed.

It runs the shipped code (`Store`, `Partition`, `Replica`, the machines of leader, follower and controller) on simulated
disks, under faults that are drawn before the run, and judges everything that happens. `run.simulate` is the way in for
programs, `python -m kstore.testing.simulation` for people; docs/SIMULATOR.md shows how to read what it tells.
"""
