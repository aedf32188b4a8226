"""Answers the explorer's front end with torch, in a live notebook; engine.js answers the same messages in a page."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from metalearn_lib.cores import one_thread
from metalearn_lib.directions.adam import Adam
from metalearn_lib.evaluate import Cell, Target, set_target, steps_to_threshold
from metalearn_lib.gradient_estimators import Problem
from metalearn_lib.gradient_estimators.base import meta_loss, unroll, with_theta
from metalearn_lib.inner_loop import InnerLoop, InnerState, Instances
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.meta_train.outer_loop import OUTER_BETAS, outer_lr
from metalearn_lib.meta_train.problems import even_place
from metalearn_lib.trees import cat, stack
from metalearn_lib.types import Info, Seeds
from metalearn_lib.web.experiment import Experiment, coloured


class TorchRun:
    """One rule on one instance, step by step."""

    def __init__(self, experiment: Experiment, loop: InnerLoop, instances: Instances) -> None:
        self.instances, self.step, self.diverged = instances, 0, False
        self.loop, self._told = experiment.overheard(loop)
        self.state: InnerState = loop.init(instances.params)

    def advance(self) -> Info:
        self.state, info = self.loop.step(self.state, self.instances.batch(self.step))
        self.step += 1
        return info

    def unroll(self, steps: int) -> Info:
        return stack([self.advance() for _ in range(steps)], dim=1)

    def held_out(self) -> Tensor:
        return self.loop.learner.loss(self.state.params, self.instances.test)

    @property
    def beside(self) -> list[float]:
        """What the last step told beside its info; see `Experiment.overheard`."""
        return self._told(self.state)[0].tolist()


class TorchEngine:
    """Answers the front end's messages with torch; engine.js answers the same ones in a page."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.runs: dict[str, TorchRun] = {}
        self._outer: Any = None

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        arguments = {name: value for name, value in message.items() if name not in ("id", "kind")}
        kinds = {each.__name__: each for each in (self.open, self.advance, self.judge)}
        kinds |= {each.__name__: each for each in (self.estimate, self.validate, self.update)}
        with one_thread(), torch.no_grad():
            content, buffers = kinds[message["kind"]](**arguments)
        return content | {"id": message["id"], "kind": message["kind"]}, buffers

    def _cell(self, settings: dict[str, Any]) -> Cell:
        named = {name: settings[name] for name in ("noise", "data", "points") if name in settings}
        return self.experiment.cell(settings["shift"], settings["severity"], **named)

    def _loop(self, key: str, lr: float, mine: list[float] | None) -> InnerLoop:
        """The rule's loop; `mine` is what was learned in the page, by the network of `meta`."""
        return self.experiment.loop(
            "meta" if key == "mine" else key, lr, torch.tensor(mine) if key == "mine" else None
        )

    def open(
        self, settings: dict[str, Any], bases: dict[str, float], mine: list[float] | None = None
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Draw an instance and put rules at its start."""
        instances = self._cell(settings).draw(Seeds("demo", 1, settings["seed"]), self.experiment.limit)
        self.runs = {
            key: TorchRun(self.experiment, self._loop(key, lr, mine), instances) for key, lr in bases.items()
        }
        return {"table": 0}, [instances.table.float().numpy().tobytes()]

    def advance(self, steps: int, box: list[float] | None = None) -> tuple[dict[str, Any], list[bytes]]:
        """Up to `steps` steps of every rule, and how they then divide the plane."""
        told: dict[str, Any] = {}
        buffers: list[bytes] = []
        for key, run in self.runs.items():
            rows = []
            while len(rows) < steps and not run.diverged:
                row = [float(value) for value in (*run.advance(), run.held_out())]
                run.diverged = not all(map(math.isfinite, row))
                rows.append([value if math.isfinite(value) else None for value in (*row, *run.beside)])
            told[key] = {"rows": rows, "map": None, "flat": False}
            if box and not run.diverged:
                seen = self.experiment.look(run.state.params, torch.tensor(box, dtype=run.state.params.dtype))
                picture, flat = coloured(seen[0])
                told[key] |= {"map": len(buffers), "flat": flat}
                buffers.append(picture.numpy().tobytes())
        return {"told": told}, buffers

    def judge(
        self,
        settings: dict[str, Any],
        bases: dict[str, float],
        limit: int,
        mine: list[float] | None = None,
        **known: float | None,
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The target loss of an instance, None where the reference learns nothing, and the step at which each rule
        reaches it, None where it does not.

        Args:
            known: the `target`, where it was found before.
        """
        cell, seeds = self._cell(settings), Seeds("demo", 1, settings["seed"])
        nothing = torch.zeros(1)
        if "target" in known:
            found = known["target"]
        else:
            try:
                found = float(set_target(cell, seeds).threshold)
            except RuntimeError:  # the reference learns nothing here, so there is nothing to reach
                found = None
        reached: dict[str, int | None] = {}
        if found is not None:
            instances = cell.draw(seeds, limit)
            target = Target(nothing, nothing, torch.tensor([found]), limit)
            for key, lr in bases.items():
                outcome = steps_to_threshold(self._loop(key, lr, mine), instances, target)
                reached[key] = int(outcome.steps[0]) if outcome.crossed[0] else None
        return {"target": found, "reached": reached}, []

    # meta-training: the library's own, a message to each part

    @property
    def _config(self) -> MetaTrainConfig:
        config = self.experiment.learning
        assert config is not None, "the front end asks only where there is something to learn"
        return config

    def _problem(self, tasks: list[int], seed: int) -> Problem:
        """The tasks of these numbers, as they are before any shift."""
        config, cell = self._config, self.experiment.home

        def draw(_: int, __: int) -> tuple[Instances, InnerState]:
            instances = cat([cell.draw(Seeds("demo", 1, seed + number), config.horizon) for number in tasks])
            places = torch.arange(len(tasks)).view(-1, 1, 1)
            instances = instances._replace(order=instances.order + places * self.experiment.family.num_points)
            decades = [config.base_lr_decades * (2 * even_place(number) - 1) for number in tasks]
            rates = self.experiment.rules["meta"].base_lr * 10 ** torch.tensor(decades)
            loop = self.experiment.loop("meta", rates)
            return instances, loop.init(instances.params)

        return Problem(self.experiment.loop("meta", 1.0), len(tasks), draw)

    def estimate(self, theta: list[float], tasks: list[int], seed: int) -> tuple[dict[str, Any], list[bytes]]:
        """Each task's estimate of the gradient of the meta-loss, and the meta-loss there."""
        answers = []
        for number in tasks:
            generator = torch.Generator().manual_seed(seed + number)
            one, _ = self._config.make_estimator()(
                torch.zeros(()), torch.tensor(theta), self._problem([number], seed), generator
            )
            answers.append({"gradient": one.gradient.tolist(), "loss": float(one.meta_loss)})
        return {"answers": answers}, []

    def validate(
        self, theta: list[float] | None, tasks: list[int], seed: int
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The meta-loss of tasks that are not trained on, of the shipped rate where there is no theta."""
        problem = self._problem(tasks, seed)
        instances, start = problem.draw(0, len(tasks))
        if theta is not None:
            start = with_theta(start, torch.tensor(theta).expand(len(tasks), -1))
        _, info = unroll(problem.loop, instances, start)
        return {"losses": meta_loss(info).tolist()}, []

    def update(
        self, theta: list[float], gradients: list[list[float]], step: int
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Meta-parameters after an outer step along the mean of gradients."""
        before = torch.tensor([theta])
        direction = Adam(*OUTER_BETAS)
        if step == 0:
            self._outer = direction.init(before)
        ahead, self._outer = direction(self._outer, torch.tensor(gradients).mean(0, keepdim=True), before)
        return {"theta": (before - outer_lr(self._config, step) * ahead)[0].tolist()}, []
