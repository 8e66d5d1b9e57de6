"""What the benchmarks share: the bench with its rows, peers, records to write, the machine's limits in C."""
