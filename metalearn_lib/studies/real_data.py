"""Real data: the learned rates on scanned digits and other measurements, clean, noisy and divided."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.registration import Registration
from metalearn_lib.shifts.label_noise import LabelNoise
from metalearn_lib.studies.contest import Contest
from metalearn_lib.studies.shared import failing, layers
from metalearn_lib.tasks.digits import Digits


def noisy_digits(results: Mapping[str, CellResult], registration: Registration) -> dict[str, CellResult]:
    """The digits with right and with wrong labels; of a part without them, all cells."""
    found = {}
    for name, result in results.items():
        *shifts, drawn = layers(registration.cells[name].family)
        if isinstance(drawn, Digits) and all(isinstance(shift, LabelNoise) for shift in shifts):
            found[name] = result
    return found or dict(results)


def times_and_failures(contest: Contest, results: Mapping[str, CellResult]) -> pd.DataFrame:
    """Restricted mean times in epochs, speed-ups over Adam, and failures."""
    sgd, adam, meta, meta_adam = contest.named("sgd", "adam", "meta", "meta-adam")
    rows = {
        name: {
            "cap": result.cap,
            "SGD": f"{result.mean_epochs(sgd):.1f}",
            "meta": f"{result.mean_epochs(meta):.1f}",
            "Adam": f"{result.mean_epochs(adam):.1f}",
            "meta over Adam": str(result.speedup(meta, adam)),
            "meta on Adam over Adam": str(result.speedup(meta_adam, adam)),
            "SGD fails": f"{100 * failing([result], sgd):.0f} %",
            "meta fails": f"{100 * failing([result], meta):.0f} %",
            "on Adam fails": f"{100 * failing([result], meta_adam):.0f} %",
        }
        for name, result in results.items()
    }
    return pd.DataFrame(rows).T
