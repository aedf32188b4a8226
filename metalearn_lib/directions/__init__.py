"""Directions: where a step points. An update is `params - lr * direction`; a direction knows no rate."""

from metalearn_lib.directions.base import Direction
from metalearn_lib.registry import Registry

DIRECTIONS: Registry[type[Direction]] = Registry(
    "metalearn_lib.directions.base:Direction",
    "gradient momentum nesterov adam adam_averages adamw rmsprop clipped normalised layer_factors layer_rates"
    " adam_layer_rates learned_momentum learned_update schedule_free prodigy dog dadapt adamg muon soap lion adan",
)
"""The directions by name."""
