"""The distribution of problems that a config names: what set-ups, lives and tasks are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor

from metalearn_lib.architectures import ARCHITECTURES
from metalearn_lib.fused.learner import fuse
from metalearn_lib.fused.loop import FusedLoop
from metalearn_lib.gradient_estimators import Problem
from metalearn_lib.inner_loop import CompiledLoop, InnerLoop, InnerState, Instances, draw_instances
from metalearn_lib.learners import MLP, Learner
from metalearn_lib.meta_train.config import MetaTrainConfig
from metalearn_lib.meta_train.set_ups import (
    MLP_NAME,
    Life,
    SetUp,
    horizon_at,
    network_at,
    rescaled,
    wide_network_at,
)
from metalearn_lib.shifts.random_family import HOME, kind_of, random_family, reshapes
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.tasks.motifs import Motifs
from metalearn_lib.types import Seeds

_GOLDEN = 0.6180339887498949


def even_place(number: Any) -> Any:
    """The place in [0, 1) of a number in the golden ratio's sequence, which is even over any run of numbers."""
    return number * _GOLDEN % 1


@dataclass(frozen=True)
class Problems:
    """What a config's chunks of tasks are drawn from; each draw depends on the config and its number alone."""

    config: MetaTrainConfig

    @property
    def shapes(self) -> list[tuple[float, TaskFamily]]:
        """What tasks are drawn from, one family for each shape of task, with its share; severities of structures in the
        middle of their range.
        """
        config = self.config
        home, share = GaussianMixture(), 1 / len(config.families)
        structures = [kind_of(name) for name in config.families if name not in self._plain]
        made: list[tuple[float, TaskFamily]] = [(share, kind.drawn(home, 0.5)) for kind in structures if kind]
        if self._plain:
            plain = home if self._plain == (HOME,) else random_family(home, self._plain)
            made.insert(0, (share * len(self._plain), plain))
        return made

    @property
    def usual_set_ups(self) -> list[tuple[float, SetUp]]:
        """What judges a trained rule, with the share of each: every family with the MLP, or with another architecture
        that takes it, at the size that does not vary.
        """
        config = self.config
        made = []
        for name in config.architectures:
            sequences = name != MLP_NAME and ARCHITECTURES[name].sequences
            for share, family in [(1.0, Motifs())] if sequences else self.shapes:
                usual = SetUp(config.direction, (32, 32), config.batch_size, config.horizon, family, name)
                made.append((share / len(config.architectures), usual))
        return made

    @cached_property
    def _plain(self) -> tuple[str, ...]:
        """The families that leave the shape of a task as it is."""
        return tuple(name for name in self.config.families if not reshapes(kind_of(name)))

    def fast(self, learner: Learner) -> tuple[Learner, type[InnerLoop]]:
        """The learner, and its loop, in C++ with `compile_step`."""
        if self.config.compile_step and isinstance(learner, MLP):
            return fuse(learner), FusedLoop
        return learner, InnerLoop

    def set_up(self, outer_step: int, chunk: int, generator: Generator) -> SetUp:
        """The set-up of a chunk, drawn from `generator` where it varies."""
        config = self.config
        set_up = SetUp(
            config.directions[(chunk + outer_step) % len(config.directions)],
            (32, 32),
            config.batch_size,
            config.horizon,
            self.shapes[0][1],
        )
        if config.vary_setup:
            drawn = wide_network_at if config.vary_widely else network_at
            *places, last = torch.rand(4 if config.vary_widely else 3, generator=generator).tolist()
            hidden, batch_size = drawn(places)
            horizon = horizon_at(last, config.horizon, config.longest_horizon)
            set_up = set_up._replace(hidden=hidden, batch_size=batch_size, horizon=horizon)
        elif config.vary_horizon:
            place = float(torch.rand((), generator=generator))
            set_up = set_up._replace(horizon=horizon_at(place, config.horizon, config.longest_horizon))
        if len(self._plain) < len(config.families):
            place, severity = torch.rand(2, generator=generator).tolist()
            name = config.families[int(place * len(config.families))]
            kind = kind_of(name)
            if kind is not None and reshapes(kind):
                set_up = set_up._replace(family=kind.drawn(GaussianMixture(), severity))
        if config.only_mlp:
            return set_up
        places = torch.rand(2, generator=generator).tolist()
        name, loss = (
            each[int(place * len(each))]
            for each, place in zip((config.architectures, config.losses), places, strict=True)
        )
        if name != MLP_NAME and ARCHITECTURES[name].sequences:
            set_up = set_up._replace(family=Motifs())
        seed = int(torch.randint(2**31, (), generator=generator))
        return set_up._replace(architecture=name, loss=loss, scales_seed=seed)

    def life(self, chunk: int, outer_step: int, since: Life | None = None) -> Life:
        """What a chunk's runs are in at an outer step, where they go on from one to the next.

        Args:
            since: one that it was in before, or is in still; the search begins there.
        """
        config = self.config
        if not config.fresh_set_ups:
            return since or Life(0, 0, None, self.set_up(0, chunk, config.generator(0, chunk + 1)))
        life = since or self._life(chunk, 0, 0)
        while (ends := life.ends(config.truncation_length)) <= outer_step:
            life = self._life(chunk, life.number + 1, ends)
        return life

    def _life(self, chunk: int, number: int, began: int) -> Life:
        config = self.config
        seeds = torch.randint(
            2**31,
            (len(config.chunks),),
            generator=config.generator(number, len(config.chunks)),
        )
        set_up = self.set_up(number, chunk, Generator().manual_seed(int(seeds[chunk])))
        length = config.truncation_length or set_up.horizon
        first = int(even_place(chunk) * (set_up.horizon // length)) * length
        return Life(number, began, 0 if number else first, set_up)

    def problem(self, chunk: int, set_up: SetUp, number: int = 0, start: int | None = None) -> Problem:
        """The tasks of a chunk, numbered from 0 in the order in which they are drawn; in a `Life` of it, of that number
        and start.

        With `compile_step` the loop is one C++ function; where that does not hold all that is trained, only the
        gradient is, and torch.compile makes one of the rest where all chunks have one shape.

        Base rates follow the golden ratio's sequence, which is even over any run of tasks.
        """
        config = self.config
        size = config.chunks[chunk]
        # numbers of their own for each chunk: it draws at most its size at every outer step, and once before them
        block = (config.outer_steps + 1) * config.num_tasks
        origin = config.seed * block + (config.outer_steps + 1) * sum(config.chunks[:chunk]) + number * size
        family = set_up.family
        learner = set_up.learner(config.rescale_decades)
        fast, fastest = self.fast(learner)
        untrained = torch.zeros_like(config.init_theta())

        def made(kind: type[InnerLoop], decades: Tensor | float = 0.0) -> InnerLoop:
            return config.loop(
                set_up.direction, fast, config.centre(set_up.direction) * 10**decades, untrained, kind
            )

        kind = fastest
        loop = made(kind)
        one_shape = not config.vary_setup and self._plain == config.families and config.only_mlp
        if isinstance(loop, FusedLoop) and not loop.holds and one_shape:
            kind = CompiledLoop  # for many shapes not: torch.compile takes tens of seconds over each

        def draw(first: int, count: int) -> tuple[Instances, InnerState]:
            seeds = Seeds("meta_train", count, origin + first)
            instances = draw_instances(family, learner, seeds, set_up.horizon, set_up.batch_size)
            even = torch.tensor([even_place(index) for index in seeds])
            if config.rescale_decades and isinstance(learner, MLP):
                params = rescaled(instances.params, learner, seeds, config.rescale_decades)
                instances = instances._replace(params=params)
            return instances, made(kind, config.base_lr_decades * (2 * even - 1)).init(instances.params)

        return Problem(made(kind), size, draw, config.held_out_every, config.trained, start)
