"""`python -m kstore` is the command `kstore`."""

from kstore.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
