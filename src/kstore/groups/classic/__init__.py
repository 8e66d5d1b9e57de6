"""Classic consumer groups: the members assign among themselves, the coordinator keeps order. Pure, layer 2."""
