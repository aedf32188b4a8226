"""Rates: how long a step is, one number per task."""

from metalearn_lib.rates.base import Rate
from metalearn_lib.registry import Registry

RATES: Registry[type[Rate]] = Registry(
    "metalearn_lib.rates.base:Rate",
    "constant cosine step_decay polyak hypergradient schedule learned learned_schedule",
)
"""The rates by name."""
