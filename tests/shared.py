"""What is dear to make, made once for all the test processes."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills, once: whoever asks later waits for it, and fails as it failed."""
    base = factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root, outcome = folder / name, folder / f"{name}.outcome"
    with FileLock(folder / f"{name}.lock"):
        if not outcome.exists():
            try:
                make(root)
                outcome.write_text("")
            except Exception:
                outcome.write_text(traceback.format_exc())
                raise
    if fault := outcome.read_text():
        pytest.fail(fault, pytrace=False)
    return root
