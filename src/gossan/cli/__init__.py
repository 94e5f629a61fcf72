"""The command line: one thin command per verb."""

from gossan.cli.commands import app, main

__all__ = ["app", "main"]
