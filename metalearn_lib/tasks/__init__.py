"""Task families: distributions of small classification problems, synthetic and real."""

from metalearn_lib.registry import Registry
from metalearn_lib.tasks.base import TaskFamily

TASKS: Registry[type[TaskFamily]] = Registry(
    "metalearn_lib.tasks.base:TaskFamily",
    "gaussian_mixture moons spirals checkerboard rings unequal_mixture linear_teacher digits breast_cancer wine mnist"
    " motifs",
)
"""The task families by name."""
