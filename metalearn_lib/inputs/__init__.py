"""Inputs: what a meta-optimizer sees of training, one number of each task to an input."""

from collections.abc import Iterable

from metalearn_lib.inputs.base import Input
from metalearn_lib.registry import Registry

INPUTS: Registry[type[Input]] = Registry(
    "metalearn_lib.inputs.base:Input",
    "log_lr log_loss log_grad_norm log_weight_norm loss_trend_fast loss_trend_slow grad_trend loss_noise alignment"
    " relative_step relative_sign_step elasticity log_steps loss_trend_slowest",
)
"""The inputs by name."""


def make_inputs(names: Iterable[str] | None = None) -> tuple[Input, ...]:
    """The inputs called `names`, or `module:Name`; where none are named, those that one sees that is not told
    otherwise.

    Raises:
        ValueError: for a name that there is not.
    """
    if names is None:
        return tuple(kind() for kind in INPUTS.values() if kind.default)
    return tuple(INPUTS.find(name)() for name in names)
