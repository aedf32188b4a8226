"""One command line for the library: `python -m metalearn_lib <command>`, or `metalearn <command>`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

COMMANDS = "train evaluate audit prune notebooks sweep pdf"
"""The modules of this package that hold a command each: `add(subparsers)` says how it is called, and what runs it."""


class CommandError(Exception):
    """What ends a command with one message on standard error and no traceback of ours."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 (it failed), 2 (it was asked wrongly), 130 (it was interrupted)."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # where a user's own module lies, which `module:Name` names
    parser = argparse.ArgumentParser(
        prog="metalearn", description="A neural network that learns to set the learning rate of another."
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS.split():
        import_module(f"{__name__}.{name}").add(subparsers)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except CommandError as error:
        print(f"metalearn: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt as stop:
        print(f"\nmetalearn: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
