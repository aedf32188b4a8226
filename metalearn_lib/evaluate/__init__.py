"""Evaluation under shift: gradient evaluations to a threshold, on instances that all methods share."""

from metalearn_lib.evaluate.cells import Cell, family_cell, home_cell, shifted_cell, standard_cells
from metalearn_lib.evaluate.contest import CellResult, by_cell, evaluate
from metalearn_lib.evaluate.contestants import ORACLE
from metalearn_lib.evaluate.methods import Learn, Method, Recipe, Rival, Tune, constant
from metalearn_lib.evaluate.store import COLUMNS, Store, StoreError
from metalearn_lib.evaluate.threshold import (
    REFERENCE_CADENCE,
    REFERENCE_RATES,
    Outcome,
    Target,
    draw_line,
    held_out_curve,
    set_target,
    steps_to_threshold,
)
from metalearn_lib.evaluate.tuning import search, tune

__all__ = [
    "COLUMNS",
    "ORACLE",
    "REFERENCE_CADENCE",
    "REFERENCE_RATES",
    "Cell",
    "CellResult",
    "Learn",
    "Method",
    "Outcome",
    "Recipe",
    "Rival",
    "Store",
    "StoreError",
    "Target",
    "Tune",
    "by_cell",
    "constant",
    "draw_line",
    "evaluate",
    "family_cell",
    "held_out_curve",
    "home_cell",
    "search",
    "set_target",
    "shifted_cell",
    "standard_cells",
    "steps_to_threshold",
    "tune",
]
