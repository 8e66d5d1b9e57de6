"""A model checker for replication: every order of events in a small cluster, over the shipped step functions.

`python -m kstore.testing.model --help` runs it; docs/MODEL.md says what it covers. Nothing here knows a rule of
replication: leaders, followers and the controller are stepped as a broker steps them, and only what must hold between
them is checked.
"""
