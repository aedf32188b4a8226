"""One command line for the library: `python -m metalearn_lib <command>`, or `metalearn <command>`."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metalearn_lib.cluster import Cluster

COMMANDS = "train evaluate audit prune notebooks sweep pdf"
"""The modules of this package that hold a command each: `add(subparsers)` says how it is called, and what runs it."""


_UNWRITABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
)


class CommandError(Exception):
    """What ends a command with one message on standard error and no traceback of ours."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """The flags that name a cluster, in the place of this machine's processes."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="let the workers of a Dask scheduler do it, which listens at tls://HOST:PORT, or at tcp://127.0.0.1:PORT",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="let --cluster be plain tcp to another machine, where everyone in the network may run code on it",
    )


def cluster_of(arguments: argparse.Namespace, processes: str) -> Cluster | None:
    """The cluster that is named, if one is.

    Args:
        processes: the flag that says how many of this machine's processes are to do it.

    Raises:
        CommandError: for a cluster that cannot be used so.
    """
    if arguments.cluster is None:
        if arguments.insecure:
            raise CommandError("--insecure says something of a --cluster, and there is none.", status=2)
        return None
    if getattr(arguments, processes) is not None:
        raise CommandError(f"--{processes} is of this machine, and --cluster of others; name one.", status=2)
    from metalearn_lib.cluster import Cluster

    try:
        return Cluster(arguments.cluster, arguments.insecure)
    except ValueError as error:
        raise CommandError(str(error), status=2) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 (it failed), 2 (it was asked wrongly), 130 (it was interrupted)."""
    try:
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # where a user's own module lies, which `module:Name` names
        parser = argparse.ArgumentParser(
            prog="metalearn", description="A neural network that learns to set the learning rate of another."
        )
        subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
        for name in COMMANDS.split():
            import_module(f"{__name__}.{name}").add(subparsers)
        arguments = parser.parse_args(argv)
        return arguments.run(arguments)
    except CommandError as error:
        print(f"metalearn: {error}", file=sys.stderr)
        return error.status
    except OSError as fault:
        if fault.errno not in _UNWRITABLE:
            raise
        where = f"{fault.filename} cannot be written" if fault.filename else "something cannot be written"
        print(
            f"metalearn: {where} ({fault.strerror}); make room, or name another place. What was kept stays.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as stop:
        print(f"\nmetalearn: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
