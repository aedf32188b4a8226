"""`metalearn pdf`: print the book."""

from __future__ import annotations

import argparse

from metalearn_lib.cli import CommandError


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "pdf",
        help="print the book",
        description="Build the book as one page, and print it with Chromium, Chrome or Edge. METALEARN_PROFILE "
        "says with which parameters the notebooks run.",
    )
    parser.add_argument(
        "--out", default="book.pdf", metavar="FILE", help="where to write it (default: book.pdf)"
    )
    parser.add_argument("--root", metavar="DIR", help="the repository (default: the one you are in)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from metalearn_lib.report.pdf import PdfError, make_pdf
    from metalearn_lib.report.runs import RunsError

    try:
        make_pdf(Path(arguments.out), arguments.root and Path(arguments.root))
    except RunsError as error:
        raise CommandError(str(error), status=2) from error
    except PdfError as error:
        raise CommandError(str(error)) from error
    print(f"wrote {arguments.out}")
    return 0
