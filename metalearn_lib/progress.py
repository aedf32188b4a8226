"""The progress bar of everything that takes more than two seconds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import RLock
from typing import Any

from tqdm.auto import tqdm

tqdm.set_lock(RLock())  # its own is of several processes, and a killed one leaves it behind


def progress_bar(
    total: int, label: str, unit: str, show: bool, over: Iterable[Any] | None = None, *, initial: int = 0
) -> tqdm:
    """A bar that is drawn if `show`, unless the environment's `TQDM_DISABLE` forbids it.

    Args:
        total: units in all.
        label: what stands before the bar.
        unit: what is counted, in the singular.
        over: what to iterate over, where the bar does not wait for `update`.
        initial: units that were done before.
    """
    hidden = not show or bool(os.environ.get("TQDM_DISABLE"))  # tqdm's bar for notebooks does not look there
    return tqdm(over, total=total, desc=label, unit=unit, initial=initial, disable=hidden)
