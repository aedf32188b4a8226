"""Live controls: a slider moves, SGD and the meta-optimizer train again, the figure is redrawn."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import ipywidgets
import torch

from metalearn_lib import plots
from metalearn_lib.cards import load_theta, rule_of
from metalearn_lib.cores import one_thread
from metalearn_lib.evaluate import Cell, set_target
from metalearn_lib.inner_loop import CHUNK, InnerLoop
from metalearn_lib.learners import Batch
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.shifts import SHIFTS, make_shift
from metalearn_lib.studies import own_loop
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
    """nan where there is none, or it is not known yet"""


@dataclass(frozen=True)
class Setting:
    """What the sliders say.

    Args:
        shift_family: a name in `SHIFTS`, or `module:Name`.
        severity: its severity, in the shift's own unit.
        base_lr: base learning rate of both methods.
        seed: the instance.
        num_steps: steps to train.
        family: what is shifted.
    """

    shift_family: str = "scale"
    severity: float = 1.0
    base_lr: float = 1.0
    seed: int = 0
    num_steps: int = 200
    family: TaskFamily = field(default_factory=GaussianMixture)

    @property
    def cell(self) -> Cell:
        return Cell("slider", make_shift(self.shift_family, self.family, self.severity))

    @property
    def seeds(self) -> Seeds:
        return Seeds("demo", 1, self.seed)


_thresholds: dict[tuple[Cell, Seeds], float] = {}


def threshold(setting: Setting) -> float:
    """The evaluation's own threshold, kept once it is known; nan where its reference learns nothing."""
    asked = setting.cell, setting.seeds
    if asked not in _thresholds:
        try:
            _thresholds[asked] = float(set_target(*asked).threshold)
        except RuntimeError:
            _thresholds[asked] = math.nan
    return _thresholds[asked]


def duel(setting: Setting, rate: LearnedRate, to_reach: float | None = None) -> Duel:
    """Train SGD and the meta-optimizer on the same instance. This computes; `plots.TrainingPicture` draws.

    Args:
        rate: the meta-optimizer's.
        to_reach: the threshold; None is the evaluation's.
    """
    cell = setting.cell
    learner = cell.learner
    with one_thread(), torch.inference_mode():
        instances = cell.draw(setting.seeds, setting.num_steps)
        # SGD is the meta-optimizer that says nothing; so the two are a pair of arms, which share their minibatches
        arms = torch.stack([torch.zeros_like(rate.theta), rate.theta])
        loop = InnerLoop(learner, replace(rate, base_lr=setting.base_lr, theta=arms))
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
        held_out = dict(zip(runs, torch.cat(looks).view(-1, 2).T, strict=True))
    to_reach = threshold(setting) if to_reach is None else to_reach
    return Duel(runs, {name: _first_pair(losses < to_reach) for name, losses in held_out.items()}, to_reach)


def tell(setting: Setting, result: Duel) -> str:
    """A sentence on who crossed when, at which severity."""

    def became(name: str) -> str:
        if not result.runs[name].loss.isfinite().all():
            return "diverges"
        if math.isnan(result.threshold):
            return "trains"
        return f"crosses at step {result.steps[name]}" if result.steps[name] else "never crosses"

    shift = SHIFTS.find(setting.shift_family)
    return "   ".join(
        [
            f"{shift.label} {shift.told(setting.severity)}",
            *(f"{name}: {became(name)}" for name in result.steps),
        ]
    )


def shift_sliders(rate: LearnedRate | None = None, shifts: Sequence[str] = ()) -> ipywidgets.VBox:
    """Sliders for shift family, severity, base rate and instance; each release trains both methods again.

    Severities are the shift's own stops. The curves come at once; where the threshold of the instance is not known yet,
    whose reference trains six times as long, it comes when the sliders rest.

    Args:
        rate: the meta-optimizer's; the shipped one by default.
        shifts: names in `SHIFTS`, or `module:Name`; by default every one with stops.
    """
    if rate is None:
        theta, card = load_theta("sgd")
        learned = rule_of(card["config"], theta)[1]
        assert isinstance(learned, LearnedRate)
        rate = learned
    kinds = {name: SHIFTS.find(name) for name in shifts or SHIFTS}
    offered = {name: kind for name, kind in kinds.items() if kind.stops}
    look: dict[str, Any] = {"style": {"description_width": "11em"}, "layout": {"width": "30em"}}
    slider = look | {"continuous_update": False}

    def stops(name: str) -> tuple[dict[str, float], float]:
        """The stops by what stands beside the slider, and where it starts."""
        kind = offered[name]
        start = min(kind.stops, key=lambda stop: abs(stop - kind.identity))
        return {kind.told(stop): stop for stop in kind.stops}, start

    first = "scale" if "scale" in offered else next(iter(offered))
    family = ipywidgets.Dropdown(
        options=[(kind.label, name) for name, kind in offered.items()],
        value=first,
        description="shift",
        **look,
    )
    options, start = stops(first)
    severity = ipywidgets.SelectionSlider(
        options=list(options.items()), value=start, description="severity", **slider
    )
    base_lr = ipywidgets.FloatLogSlider(
        value=1, min=-2, max=2, step=0.25, description="base learning rate", **slider
    )
    seed = ipywidgets.IntSlider(value=0, min=0, max=31, description="instance", **slider)
    picture = ipywidgets.Image(format="svg+xml", width=760)
    drawing = plots.TrainingPicture()

    finish: asyncio.TimerHandle | None = None

    def draw(at_once: bool = False) -> None:
        nonlocal finish
        if finish is not None:
            finish.cancel()
        setting = Setting(family.value, severity.value, base_lr.value, seed.value)  # type: ignore[arg-type]
        loop = _running_loop() if at_once and (setting.cell, setting.seeds) not in _thresholds else None
        result = duel(setting, rate, None if loop is None else math.nan)
        picture.value = drawing.svg(result.runs, result.threshold, tell(setting, result))
        finish = loop and loop.call_later(0.3, draw)

    changed = latest(lambda: draw(at_once=True))

    def offer(_: Any) -> None:
        severity.unobserve(changed, names="value")
        options, start = stops(str(family.value))
        severity.options = list(options.items())
        severity.value = start
        severity.observe(changed, names="value")

    family.observe(offer, names="value")
    for control in (family, severity, base_lr, seed):
        control.observe(changed, names="value")
    draw()
    return ipywidgets.VBox([family, severity, base_lr, seed, picture])


def own_loop_sliders(optimizer: str = "SGD", lr: float = 0.1, num_steps: int = 200) -> ipywidgets.VBox:
    """A training loop of one's own, live: each release of a slider trains a small network on the digits twice, bare and
    with `LearnedLR`, at that base rate and that authority.
    """
    look: dict[str, Any] = {"style": {"description_width": "11em"}, "layout": {"width": "30em"}}
    slider = look | {"continuous_update": False}
    chosen = ipywidgets.Dropdown(
        options=list(own_loop.OPTIMIZERS), value=optimizer, description="optimizer", **look
    )
    rate = ipywidgets.FloatLogSlider(
        value=lr, min=-4, max=2, step=0.25, description="base learning rate", **slider
    )
    authority = ipywidgets.FloatSlider(value=1, min=0, max=1, step=0.1, description="authority", **slider)
    said, picture = ipywidgets.Label(), ipywidgets.Image(format="svg+xml", width=760)

    def draw() -> None:
        runs = own_loop.train(str(chosen.value), float(rate.value), float(authority.value), num_steps)
        said.value = own_loop.told(runs)
        picture.value = plots.own_loop_svg(runs)

    changed = latest(draw)
    for control in (chosen, rate, authority):
        control.observe(changed, names="value")
    draw()
    return ipywidgets.VBox([chosen, rate, authority, said, picture])


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
        if waiting:
            return
        if (loop := _running_loop()) is None:
            work()
        elif time.monotonic() - done > pause:
            now()
        else:
            waiting = True
            loop.call_later(pause, now)

    return heard


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _first_pair(below: torch.Tensor) -> int | None:
    """The first step, from 1, after which two evaluations in a row were below."""
    both = (below[1:] & below[:-1]).nonzero()
    return int(both[0]) + 1 if len(both) else None
