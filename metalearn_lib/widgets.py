"""Live controls: a slider moves, SGD and the meta-optimizer train again, the figure is redrawn."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import ipywidgets
import torch

from metalearn_lib import plots
from metalearn_lib.cards import load_theta
from metalearn_lib.cores import one_thread
from metalearn_lib.evaluate import Cell
from metalearn_lib.inner_loop import CHUNK, InnerLoop
from metalearn_lib.learners import Batch
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.shifts import SHIFTS, make_shift
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.trees import stack, take
from metalearn_lib.types import Info, Seeds


class Duel(NamedTuple):
    """One instance under SGD and under the meta-optimizer."""

    runs: dict[str, Info]
    steps: dict[str, int | None]
    """step at which the held-out loss first stayed below the threshold for two steps; None if it never did"""
    threshold: float


@dataclass(frozen=True)
class Setting:
    """What the sliders say.

    Args:
        shift_family: a name in `SHIFTS`.
        severity: its severity, in the shift's own unit.
        base_lr: base learning rate of both methods.
        seed: the instance.
        num_steps: steps to train.
    """

    shift_family: str = "scale"
    severity: float = 1.0
    base_lr: float = 1.0
    seed: int = 0
    num_steps: int = 200


def duel(setting: Setting, theta: torch.Tensor, family: TaskFamily | None = None) -> Duel:
    """Train SGD and the meta-optimizer on the same instance. This computes; `plots.TrainingPicture` draws.

    The threshold here is a tenth of the way from the better run's best held-out loss to the first loss' prior: quick to
    compute, and good for a picture. The evaluation's own needs a reference run.
    """
    cell = Cell("slider", make_shift(setting.shift_family, family or GaussianMixture(), setting.severity))
    learner = cell.learner
    with one_thread(), torch.inference_mode():
        instances = cell.draw(Seeds("demo", 1, setting.seed), setting.num_steps)
        # SGD is the meta-optimizer that says nothing; so the two are a pair of arms, which share their minibatches
        rate = LearnedRate(setting.base_lr, torch.stack([torch.zeros_like(theta), theta]))
        loop = InnerLoop(learner, rate)
        infos, weights = [], []
        for state, info in loop.iterate(instances, loop.init(instances.params.repeat(2, 1))):
            infos.append(info)
            weights.append(state.params)
        both = stack(infos, 1)
        runs = {name: take(both, torch.tensor([arm])) for arm, name in enumerate(("SGD", "meta-optimizer"))}
        # a look at many weights at once costs less than many looks
        looks = [
            learner.loss(some, Batch(*(each.expand(len(some), -1, -1) for each in instances.test)))
            for some in torch.cat(weights).split(CHUNK)
        ]
        held_out = dict(zip(runs, torch.cat(looks).view(-1, 2).T.nan_to_num(nan=torch.inf), strict=True))
        frequency = instances.test.target.mean(1)
        prior = float(-torch.special.xlogy(frequency, frequency).sum())
        best = min(float(losses.min()) for losses in held_out.values())
    threshold = best + cell.delta * (prior - best)
    return Duel(runs, {name: _first_pair(losses < threshold) for name, losses in held_out.items()}, threshold)


def tell(result: Duel) -> str:
    """A sentence on who crossed when."""

    def became(name: str) -> str:
        if step := result.steps[name]:
            return f"crosses at step {step}"
        return "never crosses" if result.runs[name].loss.isfinite().all() else "diverges"

    return "   ".join(f"{name}: {became(name)}" for name in result.steps)


_ON_THE_PLANE = ("translate", "scale", "anisotropy", "axis_anisotropy")
"""shifts whose severities the one slider fits"""


def shift_sliders(theta: torch.Tensor | None = None) -> ipywidgets.VBox:
    """Sliders for shift family, severity, base rate and instance; each release trains both methods again."""
    theta = load_theta("sgd")[0] if theta is None else theta
    look: dict[str, Any] = {"style": {"description_width": "11em"}, "layout": {"width": "30em"}}
    slider = look | {"continuous_update": False}
    family = ipywidgets.Dropdown(options=_ON_THE_PLANE, value="scale", description="shift", **look)
    severity = ipywidgets.FloatLogSlider(
        value=1, base=2, min=-3, max=6, step=0.25, description="severity", **slider
    )
    base_lr = ipywidgets.FloatLogSlider(
        value=1, min=-2, max=2, step=0.25, description="base learning rate", **slider
    )
    seed = ipywidgets.IntSlider(value=0, min=0, max=31, description="instance", **slider)
    picture = ipywidgets.Image(format="svg+xml", width=760)
    drawing = plots.TrainingPicture()

    def redraw() -> None:
        name = str(family.value)
        within = min(max(severity.value, SHIFTS[name].lowest), SHIFTS[name].highest)
        result = duel(Setting(name, within, base_lr.value, seed.value), theta)
        picture.value = drawing.svg(result.runs, result.threshold, tell(result))

    changed = latest(redraw)
    for control in (family, severity, base_lr, seed):
        control.observe(changed, names="value")
    redraw()
    return ipywidgets.VBox([family, severity, base_lr, seed, picture])


def latest(work: Callable[[], None], pause: float = 0.03) -> Callable[[Any], None]:
    """An observer that works at once, and then once, `pause` seconds after the first of many more changes, so that work
    never queues up.

    What a fast hand sends while the kernel is busy is heard when it no longer is, and done once. Outside of an event
    loop there is nobody to wait for, and it always works at once.
    """
    waiting, done = False, -math.inf

    def now() -> None:
        nonlocal waiting, done
        waiting = False
        work()
        done = time.monotonic()

    def heard(_: Any = None) -> None:
        nonlocal waiting
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            work()
            return
        if waiting:
            return
        if time.monotonic() - done > pause:
            now()
        else:
            waiting = True
            loop.call_later(pause, now)

    return heard


def _first_pair(below: torch.Tensor) -> int | None:
    """The first step, from 1, after which two evaluations in a row were below."""
    both = (below[1:] & below[:-1]).nonzero()
    return int(both[0]) + 1 if len(both) else None
