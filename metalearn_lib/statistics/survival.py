"""Kaplan-Meier curves, for reading and never for deciding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def survival_curve(times: NDArray, crossed: NDArray) -> tuple[NDArray, NDArray]:
    """Times, from 0 on, and the part of runs that have not crossed by each, from 1 on.

    Under one cap the area below the curve is `mean(min(T, cap))`. Needs lifelines, of the `book` extra.

    Args:
        times: restricted times, of any shape.
        crossed: bool, same shape; False stands at the cap.
    """
    from lifelines import KaplanMeierFitter

    fitted = KaplanMeierFitter().fit(np.ravel(times), np.ravel(crossed))
    curve = fitted.survival_function_
    return curve.index.to_numpy(), curve.iloc[:, 0].to_numpy()
