"""Topics, brokers and who leads what, behind one interface (`metadata`), and who keeps it.

`embedded` keeps it in the log directory of one node. `local` runs a whole cluster of several brokers and their
controller in one process, on real disks with real threads: for embedding, and as the model for those who build a
broker of their own.
"""
