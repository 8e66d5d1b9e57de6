"""What tests of kstore, and of programs built on it, stand on: a simulated disk with power loss and faults."""
