"""One partition on one disk: files, recovery, producers, transactions. No socket, clock or replica role."""
