"""All that decides the trained theta."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import torch
from torch import Generator, Tensor

from metalearn_lib.architectures import ARCHITECTURES, LOSSES
from metalearn_lib.cards import learned_directions, learned_on, rule_of
from metalearn_lib.cores import available_memory
from metalearn_lib.directions.learned_update import PARTS, UpdateNetwork
from metalearn_lib.gradient_estimators import ESTIMATORS, Estimator
from metalearn_lib.gradient_estimators.base import check_divides
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.inputs import make_inputs
from metalearn_lib.learners import Learner
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.meta_train.set_ups import (
    MLP_NAME,
    horizons,
)
from metalearn_lib.shifts.random_family import random_family
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

CONTROLLERS = ("network", "schedule", "constant")

MAX_INDEX = 2**26
"""Tasks that `Seeds` can number."""
LARGEST = 1e6
"""Of what is a step of theta or of its perturbations: beyond it float32 ends soon."""


@dataclass(frozen=True)
class MetaTrainConfig:
    """All that decides the trained theta; the card keeps it, and training from it gives theta again.

    Tasks are trained in chunks of one set-up. With `vary_setup` a chunk draws its own: one to three hidden
    layers of 16 to 64 units, minibatches of 32 to 256, half, once or twice the horizon; with `vary_widely` one to four
    of 4 to 128 units, and minibatches of 16 to 256; with `vary_horizon` only the horizon. Where runs go on from
    one outer step to the next, a chunk keeps its set-up for good.

    Args:
        direction: which direction's rate is learned, a name in `cards.learned_on`; `"all"` gives chunks in turn to
            each.
        base_lr: centre of the base rates; `None` is the direction's constant rate tuned on task A.
        base_lr_decades: base rates are log-uniform within this many powers of ten of the centre.
        architectures: what networks are drawn from with equal chances, `"mlp"` and names in
            `architectures.ARCHITECTURES`; those that take their features as a sequence have tasks of `motifs`.
        losses: what losses are drawn from with equal chances, names in `architectures.LOSSES`.
        families: what tasks are drawn from with equal chances, names in `shifts.random_family.families`; where one has
            another shape than task A, a whole chunk is of it.
        validation_families: those whose tasks choose among meta-seeds; `None` is those that are trained on.
        vary_setup: whether chunks differ in network, minibatch and horizon.
        vary_horizon: whether they differ in horizon alone.
        vary_widely: whether networks and minibatches that vary do so in the wider range.
        longest_horizon: where the horizon varies, it is `horizon` doubled any number of times up to this, each doubling
            half as likely as the one before, so that all cost alike; `None` is half, once or twice the horizon.
        fresh_set_ups: where runs go on from one outer step to the next, whether a chunk's all end together and the next
            are of another set-up; otherwise a chunk keeps its set-up for good.
        rescale_decades: initial matrices of every other task are multiplied by powers of ten, with exponents drawn
            within this and then shifted so that the product is 1 and the network computes what it did; 0 is none.
        estimator: of the meta-loss's gradient, a name in `gradient_estimators.ESTIMATORS` or `module:Name`.
        truncation_length: inner steps of a truncation, for an estimator that truncates; `None` is the whole horizon.
        num_tasks: tasks per outer step; evolution strategies run each twice.
        tasks_per_chunk: tasks that share a set-up and are trained side by side; 16, in antithetic pairs, fit
            a cache, and with `compile_step` it matters little.
        horizon: inner steps of an unroll.
        batch_size: points in a minibatch.
        outer_steps: updates of theta.
        outer_lr: Adam's rate on theta at the start; it falls to a twentieth along a cosine.
        sigma: width of the perturbations, or of REINFORCE's exploration.
        hidden: units of the meta-optimizer.
        inputs: what the meta-optimizer sees, names in `inputs.INPUTS` or `module:Name`; `None` is what a new one sees.
        controller: `"network"`, the meta-optimizer; `"schedule"`, its open-loop rival of three numbers; or
            `"constant"`, the base rate itself, where all that is learned is a direction.
        learned_direction: what is learned beside the rate, a name in `cards.learned_directions`, in the place of the
            plain direction that it begins as; `None` is nothing.
        without: parts of a learned update that stay as they begin, names in `learned_update.PARTS`, for `"es"` and
            `"pes"`: to see what each is worth.
        held_out_every: inner steps between two looks at the held-out loss, whose improvement is then the reward, for
            `"es"` and `"pes"`; 0 looks evenly in log time; `None` rewards the improvement of the minibatches' own,
            which a rule that learns the training points by heart improves as well. A look costs a forward pass on 128
            points, which is not counted.
        compile_step: whether to train in the fastest loop that a C++ compiler makes of these settings (see `problem`),
            for an estimator that differentiates nothing. Answers agree to rounding, which a long training magnifies;
            where there is no compiler it changes nothing.
        max_nonfinite: training stops when more than this share of an outer step's runs stop being numbers.
        seed: the meta-seed, 0 or more.

    Raises:
        ValueError: for a setting out of its range.
    """

    direction: str = "sgd"
    base_lr: float | None = None
    base_lr_decades: float = 2.0
    architectures: tuple[str, ...] = ("mlp",)
    losses: tuple[str, ...] = ("cross_entropy",)
    families: tuple[str, ...] = ("home",)
    validation_families: tuple[str, ...] | None = None
    vary_setup: bool = False
    vary_horizon: bool = False
    vary_widely: bool = False
    longest_horizon: int | None = None
    fresh_set_ups: bool = False
    rescale_decades: float = 0.0
    estimator: str = "es"
    truncation_length: int | None = None
    num_tasks: int = 64
    tasks_per_chunk: int = 16
    horizon: int = 96
    batch_size: int = 128
    outer_steps: int = 400
    outer_lr: float = 0.1
    sigma: float = 0.1
    hidden: int = 16
    inputs: tuple[str, ...] | None = None
    controller: str = "network"
    learned_direction: str | None = None
    without: tuple[str, ...] = ()
    held_out_every: int | None = None
    compile_step: bool = False
    max_nonfinite: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("architectures", "losses", "families", "without"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a card holds a list
        if self.validation_families is not None:
            object.__setattr__(self, "validation_families", tuple(self.validation_families))
        if self.inputs is not None:
            object.__setattr__(self, "inputs", tuple(self.inputs))
        if self.controller not in CONTROLLERS:
            raise ValueError(
                f"controller={self.controller!r} is unknown; use one of {', '.join(CONTROLLERS)}."
            )
        kind = ESTIMATORS.find(self.estimator)
        if self.controller != "network" and (kind.explores or self.inputs is not None):
            raise ValueError(
                f"controller={self.controller!r} sees nothing and has no policy to explore with; leave inputs None, "
                f"and use {_those(explores=False)}."
            )
        if self.learned_direction not in (None, *learned_directions()):
            raise ValueError(
                f"learned_direction={self.learned_direction!r} is unknown; use one of "
                f"{', '.join(learned_directions())}, or None."
            )
        if self.controller == "constant" and not self.learned_direction:
            raise ValueError(
                "controller='constant' leaves nothing to learn without a learned_direction; name one of "
                f"{', '.join(learned_directions())}."
            )
        if self.learned_direction:
            begins_as = learned_directions()[self.learned_direction].begins_as
            if self.direction != begins_as or kind.explores:
                raise ValueError(
                    f"learned_direction={self.learned_direction!r} begins as {begins_as!r} and has no policy to "
                    f"explore with; use direction={begins_as!r} and not {self.direction!r}, and "
                    f"{_those(explores=False)} and not {self.estimator}."
                )
        if self.direction not in (*learned_on(), "all"):
            raise ValueError(
                f"direction={self.direction!r} is unknown; use one of {', '.join(learned_on())}, all."
            )
        if self.direction == "all" and self.base_lr is not None:
            raise ValueError(
                f"base_lr={self.base_lr} cannot be the centre of every direction; leave it None."
            )
        positive = (
            "num_tasks",
            "tasks_per_chunk",
            "batch_size",
            "outer_steps",
            "outer_lr",
            "sigma",
            "hidden",
        )
        for name in positive + (("base_lr",) if self.base_lr is not None else ()):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)!r} must be a positive number.")
        for name in ("outer_lr", "sigma"):
            if getattr(self, name) > LARGEST:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at most {LARGEST:g}; 0.1 is usual.")
        if self.horizon < 2:
            raise ValueError(f"horizon={self.horizon} leaves no improvement to reward; use 2 or more.")
        if not 0 <= self.base_lr_decades <= 4:
            raise ValueError(
                f"base_lr_decades={self.base_lr_decades} must lie in [0, 4]; 2 is a factor of 100 each way."
            )
        if not 0 <= self.rescale_decades <= 4:
            raise ValueError(f"rescale_decades={self.rescale_decades} must lie in [0, 4].")
        if self.vary_widely and not self.vary_setup:
            raise ValueError(
                "vary_widely=True says how set-ups vary, and vary_setup is off; turn it on, too."
            )
        if self.longest_horizon is not None and not (self.vary_setup or self.vary_horizon):
            raise ValueError(
                f"longest_horizon={self.longest_horizon} says how horizons vary, and they do not; turn vary_horizon or "
                "vary_setup on, too."
            )
        if self.longest_horizon is not None and self.longest_horizon < self.horizon:
            raise ValueError(
                f"longest_horizon={self.longest_horizon} lies below horizon={self.horizon}, where horizons start; use "
                "None, or a greater one."
            )
        for name, known in (("architectures", (MLP_NAME, *ARCHITECTURES)), ("losses", LOSSES)):
            chosen = getattr(self, name)
            if not chosen or not set(chosen) <= set(known):
                raise ValueError(f"{name}={list(chosen)} must name one or more of {', '.join(known)}.")
        if not self.only_mlp and (kind.differentiates or self.learned_direction):
            raise ValueError(
                f"architectures={list(self.architectures)}, losses={list(self.losses)} are for a learned rate and for "
                f"{_those(differentiates=False)}; leave them to the MLP and cross_entropy."
            )
        if self.fresh_set_ups and not (kind.persistent and kind.truncates):
            raise ValueError(
                f"fresh_set_ups=True means nothing to estimator={self.estimator!r}, whose runs do not go on; use pes."
            )
        if not 0 <= self.max_nonfinite <= 1:
            raise ValueError(f"max_nonfinite={self.max_nonfinite} must be a share, 0 to 1.")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must be 0 or more.")
        if self.truncation_length is not None:
            if not kind.truncates:
                raise ValueError(
                    f"truncation_length={self.truncation_length} means nothing to "
                    f"estimator={self.estimator!r}, which takes whole unrolls; use {_those(truncates=True)}."
                )
            for horizon in self._horizons():
                check_divides(self.truncation_length, horizon)
        if unknown := set(self.without) - set(PARTS):
            raise ValueError(f"without={sorted(unknown)} names no part of an update; use {', '.join(PARTS)}.")
        if self.without and (self.learned_direction != "update" or not kind.looks_ahead):
            raise ValueError(
                f"without={list(self.without)} leaves out parts of a learned update; use learned_direction='update', "
                f"and {_those(looks_ahead=True)}."
            )
        if self.held_out_every is not None:
            if not kind.looks_ahead:
                raise ValueError(
                    f"held_out_every={self.held_out_every} means nothing to estimator={self.estimator!r}, which is "
                    f"rewarded at every step; use {_those(looks_ahead=True)}."
                )
            if not self.held_out_every and self.truncation_length:
                raise ValueError(
                    f"held_out_every=0 looks evenly in log time at whole unrolls, and truncation_length="
                    f"{self.truncation_length} cuts them; name a number of steps."
                )
            cut = [self.truncation_length] if self.truncation_length else self._horizons()
            for length in cut if self.held_out_every else []:
                check_divides(self.held_out_every, length, "held_out_every")
        if self.compile_step and kind.differentiates:
            raise ValueError(
                f"compile_step=True needs {_those(differentiates=False)}, which differentiate nothing, and not "
                f"{self.estimator}."
            )
        seeds = MAX_INDEX // ((self.outer_steps + 1) * self.num_tasks)
        if not seeds:
            raise ValueError(
                f"outer_steps={self.outer_steps} of num_tasks={self.num_tasks} are more tasks than can be numbered, "
                f"{MAX_INDEX:,}; lower one of them."
            )
        if self.seed >= seeds:
            raise ValueError(
                f"seed={self.seed} must be below {seeds}: outer_steps={self.outer_steps} of "
                f"num_tasks={self.num_tasks} leave numbers for no more meta-seeds."
            )
        _ = self.meta_optimizer  # refuses unknown inputs
        random_family(GaussianMixture(), self.families)  # refuses unknown families
        if self.validation_families is not None:
            random_family(GaussianMixture(), self.validation_families)

    @property
    def only_mlp(self) -> bool:
        """Whether all that is trained on is the MLP with cross-entropy."""
        return self.architectures == (MLP_NAME,) and self.losses == ("cross_entropy",)

    @property
    def directions(self) -> tuple[str, ...]:
        return tuple(learned_on()) if self.direction == "all" else (self.direction,)

    @property
    def chunks(self) -> list[int]:
        """Tasks in each chunk."""
        return [len(chunk) for chunk in torch.arange(self.num_tasks).split(self.tasks_per_chunk)]

    def centre(self, direction: str) -> float:
        """The centre of a direction's base rates."""
        centre = learned_on()[direction].base_lr if self.base_lr is None else self.base_lr
        assert centre is not None
        return centre

    @property
    def meta_optimizer(self) -> MetaOptimizer:
        return MetaOptimizer(self.hidden, inputs=make_inputs(self.inputs))

    def loop(
        self,
        direction: str,
        learner: Learner,
        base_lr: float | Tensor,
        theta: Tensor,
        kind: type[InnerLoop] = InnerLoop,
    ) -> InnerLoop:
        """The inner loop that is trained, along one of its directions."""
        points, rate = rule_of(asdict(self) | {"direction": direction}, theta, base_lr, learner)
        return kind(learner, rate, points)

    def make_estimator(self) -> Estimator:
        return ESTIMATORS.find(self.estimator).make(self)

    def init_theta(self) -> Tensor:
        """Meta-parameters before the first outer step; they depend on the meta-seed alone."""
        generator = self.generator(0, 0)
        plain = {"schedule": torch.zeros(3), "constant": torch.zeros(0)}.get(self.controller)
        theta = self.meta_optimizer.init_theta(generator) if plain is None else plain
        if self.learned_direction is None:
            return theta
        own = learned_directions()[self.learned_direction].network(self.hidden)
        start = torch.cat([theta, own.init_theta(generator)])
        return start if self.trained is None else start * self.trained

    @property
    def trained(self) -> Tensor | None:
        """1 for each meta-parameter that moves, and 0 for those that `without` holds, `(theta,)`; None if all move."""
        if not self.without:
            return None
        own = UpdateNetwork(self.hidden).trained(self.without)
        of_rate = {"constant": 0, "schedule": 3}.get(self.controller, self.meta_optimizer.num_theta)
        return torch.cat([torch.ones(of_rate), own])

    def generator(self, outer_step: int, chunk: int) -> Generator:
        """Everything random of a chunk's outer step but its tasks, from a seed of its own."""
        index = (self.seed * (self.outer_steps + 1) + outer_step) * (len(self.chunks) + 1) + chunk
        return Seeds("meta_train", 1, index).generator(index, "perturbation")

    def check_memory(self) -> None:
        """Refuse what does not fit, before it is begun.

        Raises:
            ValueError: when a chunk's minibatches, or a theta for each of its runs, take more memory than there is.
        """
        runs, longest = 2 * min(self.num_tasks, self.tasks_per_chunk), max(self._horizons())
        needed = {
            f"horizon={longest}, batch_size={self.batch_size}": 8 * runs * longest * self.batch_size,
            f"hidden={self.hidden}": 4 * runs * self.meta_optimizer.num_theta,
        }
        there = available_memory()
        for told, size in needed.items():
            if size > there:
                raise ValueError(
                    f"{told} for {runs} runs side by side (tasks_per_chunk={self.tasks_per_chunk}) take "
                    f"{size / 1e9:,.1f} GB of memory, and there are {there / 1e9:,.1f}; lower one of them."
                )

    def differences(self, other: dict) -> str:
        """Where the settings of another run differ from these, as `name=theirs, not name=ours`."""
        ours = {field.name: getattr(self, field.name) for field in fields(self)}
        theirs = {name: tuple(value) if isinstance(value, list) else value for name, value in other.items()}
        names = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
        return ", ".join(f"{name}={theirs.get(name)!r} and not {ours.get(name)!r}" for name in names)

    def _horizons(self) -> list[int]:
        varies = self.vary_setup or self.vary_horizon
        return horizons(self.horizon, self.longest_horizon) if varies else [self.horizon]


def _those(**can: bool) -> str:
    """The estimators that can do this, in words."""
    names = [
        name
        for name, kind in ESTIMATORS.items()
        if all(getattr(kind, each) == value for each, value in can.items())
    ]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
