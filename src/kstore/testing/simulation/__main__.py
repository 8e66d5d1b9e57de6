"""`python -m kstore.testing.simulation`: see `command`."""

import sys

from kstore.testing.simulation.command import main

if __name__ == "__main__":
    sys.exit(main())
