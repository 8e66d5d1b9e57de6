"""Benchmarks: one file for each idea, a peer and the machine's limit in the same run, and floors for their ratios.

`make bench` (or `python -m benchmarks`) prints the table, writes it as JSON and draws it. `pytest benchmarks` runs the
same functions under pytest-benchmark, whose own files can be compared over time. Nothing here fails on timing.
"""
