"""The command line: flags in, calls of `app`, results out (data to stdout, talk to stderr)."""

from twofold.cli.root import main

__all__ = ["main"]
