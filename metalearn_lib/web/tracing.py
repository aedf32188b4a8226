"""What the page runs, traced from the library: drawing an instance, starting a rule, one inner step, what is looked at.

Randomness is an input. `draw_instances` itself is traced, with every call to a generator replaced by an input; the
page fills these inputs from a counter-based generator of its own (engine.js), so it draws data, shift, initial weights
and minibatch order from a seed, and no line of the task families or of the shifts is written twice. Putting
the page's numbers in place of the generator's calls in torch (`Replay`) gives the same instance there, which is how the
two are compared. The same seed therefore gives the same instance in every browser, but another one than
`Seeds("demo", 1, seed)` gives in torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metalearn_lib.directions.adam import Adam, AdamState
from metalearn_lib.evaluate import REFERENCE_CADENCE, REFERENCE_RATES, Cell, draw_line
from metalearn_lib.gradient_estimators.base import meta_loss
from metalearn_lib.gradient_estimators.es import AntitheticES
from metalearn_lib.inner_loop import Instances, draw_instances
from metalearn_lib.learners import Batch
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.meta_train.outer_loop import OUTER_BETAS, outer_lr
from metalearn_lib.meta_train.problems import even_place
from metalearn_lib.shifts.base import Shift
from metalearn_lib.shifts.label_noise import LabelNoise
from metalearn_lib.types import Info, Seeds
from metalearn_lib.web.experiment import (
    CLASSES,
    FLAT,
    GRID,
    HOME,
    MOST_PLACES,
    OWN,
    REFERENCE,
    Experiment,
    Setting,
    digits,
)
from metalearn_lib.web.generator import Program, javascript


class Draw(NamedTuple):
    """One call to a random generator: what the page must draw in its place."""

    kind: str
    """`randn`, `rand`, `randint` or `randperm`"""
    shape: tuple[int, ...]
    high: int
    """integers are drawn from `[0, high)`"""
    stream: tuple[int, int]
    """which generator was called, and how many calls it had before: a longer draw of one shifts no other"""


class Record(TorchFunctionMode):
    """Write down every call to a random generator."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Draw] = []
        self.examples: list[Tensor] = []
        self.calls: dict[int, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if (generator := kwargs.get("generator")) is not None:
            if func.__name__ not in ("randn", "rand", "randint", "randperm"):
                raise NotImplementedError(
                    f"the page cannot draw torch.{func.__name__}; use randn, rand, randint or randperm."
                )
            seed = generator.initial_seed()
            count = self.calls[seed] = self.calls.get(seed, -1) + 1
            high = args[0] if func.__name__ == "randint" else 0
            stream = (list(self.calls).index(seed), count)
            self.draws.append(Draw(func.__name__, tuple(result.shape), high, stream))
            self.examples.append(result)
        return result


class Replay(TorchFunctionMode):
    """Answer every call to a random generator with the next of `numbers`."""

    def __init__(self, numbers: Sequence[Tensor]) -> None:
        super().__init__()
        self.numbers = iter(numbers)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return func(*args, **kwargs) if kwargs.get("generator") is None else next(self.numbers)


@contextmanager
def float64() -> Iterator[None]:
    """Draw and compute in float64 inside the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def instance(
    experiment: Experiment,
    settings: Mapping[str, Any],
    numbers: Sequence[Tensor],
    points: Any = (),
    num_steps: int = 0,
) -> Instances:
    """The instance that `numbers` give in place of the generators' calls.

    Args:
        settings: shift, severity, noise and data; a severity or a noise may be a tensor.
        points: a reader's own; or their table and how many of its rows there are, as tensors.
        num_steps: to draw minibatches for; the experiment's by default.
    """
    shift, severity, noise = settings["shift"], settings["severity"], settings.get("noise", 0.0)
    traced = isinstance(severity, Tensor)
    data = settings.get("data", HOME)
    # the range of a severity is checked on a number, which a traced severity does not have
    cell = experiment.cell(
        shift,
        experiment.shifts[shift].identity if traced else severity,
        0.0 if traced else noise,
        data,
        () if traced else points,
    )
    assert isinstance(cell.family, LabelNoise)
    shifted = cell.family.family
    object.__setattr__(shifted, "severity", severity)
    object.__setattr__(cell.family, "severity", noise)
    if traced and data == OWN:
        assert isinstance(shifted, Shift)
        object.__setattr__(shifted.family, "table", lambda: points)
    with float64(), Replay(numbers):
        return _draw(experiment, cell, num_steps)


def _draw(experiment: Experiment, cell: Cell, num_steps: int = 0) -> Instances:
    steps, batch_size = num_steps or experiment.num_steps, experiment.batch_size
    return draw_instances(cell.family, cell.learner, Seeds("demo", 1), steps, batch_size, torch.float64)


class Drawing(NamedTuple):
    """What draws a part of an instance, the calls to generators in it, and an example of the whole."""

    program: Program
    draws: list[Draw]
    example: Instances


@lru_cache
def drawing_points(kind: type[Shift], data: str, setting: Setting) -> Drawing:
    """What draws the points after a shift; setting and a reader's own points are its first inputs."""
    family, hidden, batch_size, limit = setting
    experiment = Experiment(family, hidden=hidden, batch_size=batch_size, limit=limit, more=(kind,))
    own = [torch.zeros(MOST_PLACES, 3), torch.ones(1)] if data == OWN else []
    given = [each.double() for each in (torch.ones(2), *own)]
    cell = experiment.cell(kind.name, kind.identity, data=data)
    with float64(), Record() as record:
        example = _draw(experiment, cell, 1)
    draws = [
        draw for draw in record.draws if draw.stream[0] == 0
    ]  # they come first, before those of the weights

    def draw(setting: Tensor, *numbers: Tensor) -> list[Tensor]:
        settings = {"shift": kind.name, "severity": setting[0], "noise": setting[1], "data": data}
        points, numbers = numbers[: len(own)], numbers[len(own) :]
        drawn = instance(experiment, settings, numbers, points, 1)
        return [drawn.table, *drawn.test]

    reads = range(len(given) + len(draws))
    program = Program(draw, [*given, *record.examples], tracing_mode="fake", reads=reads)
    return Drawing(program, draws, example)


@lru_cache
def drawing_start(setting: Setting) -> Drawing:
    """What draws weights and minibatch order, which neither data nor shift touches."""
    family, hidden, batch_size, limit = setting
    experiment = Experiment(family, hidden=hidden, batch_size=batch_size, limit=limit)
    with float64(), Record() as record:
        example = _draw(experiment, experiment.home)
    first = [draw.stream[0] == 0 for draw in record.draws].index(False)

    def draw(*numbers: Tensor) -> list[Tensor]:
        with float64(), Replay(numbers):
            drawn = _draw(experiment, experiment.home)
        return [drawn.order, drawn.params]

    reads = range(first, len(record.draws))
    program = Program(draw, record.examples, tracing_mode="fake", reads=reads)
    return Drawing(program, record.draws[first:], example)


def why_not_in_a_page(experiment: Experiment) -> dict[str, str]:
    """By name, why a page without a kernel does not offer a shift: also where a severity cannot be traced."""
    faults = {name: _untraced(kind, HOME, experiment.setting) for name, kind in experiment.shifts.items()}
    return experiment.why_not | {name: why for name, why in faults.items() if why}


@lru_cache
def _untraced(kind: type[Shift], data: str, setting: Setting) -> str:
    """Why a page cannot draw a shift; empty where it can."""
    try:
        javascript({"draw": drawing_points(kind, data, setting).program})
    except NotImplementedError as fault:
        return str(fault)
    except (TypeError, ValueError, RuntimeError):  # as Python's own arithmetic raises on a traced severity
        return "its severity is used outside of torch's operations, so that it cannot be traced"
    return ""


def programs(experiment: Experiment) -> tuple[dict[str, Program], dict[str, Any]]:
    """The programs of the page by name, and what its engine must know about them."""
    cell = experiment.home
    learner = cell.learner
    made: dict[str, Program] = {}
    draws: dict[str, list[Draw]] = {}
    one = torch.ones(1, dtype=torch.float64)

    faults = why_not_in_a_page(experiment)
    if not (shown := [name for name in experiment.shifts if name not in faults]):
        raise NotImplementedError(next(iter(faults.values())))
    made["start"], draws["start"], example = drawing_start(experiment.setting)
    for name in shown:
        for data in experiment.data:
            points = drawing_points(experiment.shifts[name], data, experiment.setting)
            made[f"draw_{data}_{name}"], draws[f"{data}_{name}"] = points[:2]

    rules = dict(experiment.rules)
    reference = next(
        (key for key, rule in rules.items() if rule.direction == Adam() and rule.theta is None), None
    )
    if reference is None:
        reference, rules["reference"] = "reference", REFERENCE
    told: dict[str, int] = {}
    for key, rule in rules.items():
        theta = None if rule.theta is None else rule.theta.double()
        state = experiment.loop(key, one, theta).init(example.params)
        leaves, structure = pytree.tree_flatten(state)

        def start(params: Tensor, lr: Tensor, *theta: Tensor, key: str = key) -> list[Tensor]:
            return pytree.tree_leaves(experiment.loop(key, lr, *theta).init(params))

        def step(
            table: Tensor, rows: Tensor, *leaves: Tensor, key: str = key, structure: Any = structure
        ) -> list[Tensor]:
            batch = example._replace(table=table, order=rows).batch(0)
            loop, tell = experiment.overheard(experiment.loop(key, one))
            state, info = loop.step(pytree.tree_unflatten(list(leaves), structure), batch)
            beside = tell(state)
            told[key] = beside.shape[1]
            return [*pytree.tree_leaves(state), *info, *([beside] if told[key] else [])]

        made[f"start_{key}"] = Program(start, [example.params, one, *([] if theta is None else [theta])])
        carry = {place: place + 2 for place in range(len(leaves))}
        made[f"step_{key}"] = Program(step, [example.table, example.order[:, :1], *leaves], carry)

    def held_out(params: Tensor, *test: Tensor) -> list[Tensor]:
        # as many points at a time as a minibatch has: rows of 512 numbers share a few places of the processor's cache
        parts = list(zip(*(part.split(experiment.batch_size, 1) for part in test), strict=True))
        sums = [learner.loss(params, Batch(*part)) * part[0].shape[1] for part in parts]
        return [torch.stack(sums).sum(0) / test[0].shape[1]]

    def line(curves: Tensor, target: Tensor) -> list[Tensor]:
        return list(draw_line(curves, target, cell.delta))

    made["held_out"] = Program(held_out, [example.params, *example.test])
    made["look"] = Program(
        lambda params, box: [experiment.look(params, box)], [example.params, one.expand(3)]
    )
    num_evaluations = 4 * cell.horizon // REFERENCE_CADENCE
    curves = torch.ones(len(REFERENCE_RATES), 1, num_evaluations, dtype=torch.float64)
    made["line"] = Program(line, [curves, example.test.target])
    if experiment.learning is not None:
        made |= learning_programs(experiment.learning)
    facts = {
        "draws": {name: _runs(each) for name, each in draws.items()},
        "batch": experiment.batch_size,
        "grid": GRID,
        "classes": experiment.family.num_classes,
        "colours": [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in CLASSES],
        "flat": FLAT,
        "theta": {
            key: digits(rule.theta) for key, rule in experiment.rules.items() if rule.theta is not None
        },
        "reference": {
            "rule": reference,
            "rates": REFERENCE_RATES,
            "steps": 4 * cell.horizon,
            "cadence": REFERENCE_CADENCE,
        },
        "learning": experiment.learning
        and learning_facts(experiment.learning) | {"home": _home(experiment, shown)},
    }
    return made, facts


def _home(experiment: Experiment, shown: Sequence[str]) -> dict[str, Any]:
    """A setting at which tasks are as they are before any shift."""
    return {"shift": shown[0], "severity": experiment.shifts[shown[0]].identity}


def learning_programs(config: MetaTrainConfig) -> dict[str, Program]:
    """What meta-trains in a page, a task at a time: the estimator's own parts, and the outer optimizer."""
    estimator = config.make_estimator()
    assert isinstance(estimator, AntitheticES)
    theta = config.init_theta().double()
    one, row = torch.ones(1, dtype=torch.float64), theta.unsqueeze(0)
    losses = torch.ones(1, config.horizon, dtype=torch.float64)
    outer = Adam(*OUTER_BETAS)

    def value(losses: Tensor) -> Tensor:
        return meta_loss(Info(losses, losses, losses, losses))

    def gradient(losses: Tensor, noise: Tensor) -> list[Tensor]:
        slope, middle = estimator.slopes(value(losses))
        return [slope @ noise, middle]

    def update(theta: Tensor, gradient: Tensor, lr: Tensor, *moments: Tensor) -> list[Tensor]:
        direction, state = outer(AdamState(*moments), gradient, theta)
        return [theta - lr * direction, *state]

    return {
        "learn_rate": Program(
            lambda number, base: [base * 10 ** (config.base_lr_decades * (2 * even_place(number) - 1))],
            [one, one],
        ),
        "learn_arms": Program(lambda theta, noise: [estimator.arms(theta, noise)], [theta, row]),
        "learn_value": Program(lambda losses: [value(losses)], [losses]),
        "learn_gradient": Program(gradient, [torch.cat([losses, losses]), row]),
        "learn_update": Program(update, [row, row, one, *outer.init(row)]),
    }


def learning_facts(config: MetaTrainConfig) -> dict[str, Any]:
    return {
        "horizon": config.horizon,
        "rates": [outer_lr(config, step) for step in range(config.outer_steps)],
        "base": config.base_lr,
    }


def _runs(draws: list[Draw]) -> list[list[Any]]:
    """`[kind, high, generator, first call, calls]`, with like calls of one generator in a row as one entry."""
    runs: list[list[Any]] = []
    for draw in draws:
        generator, call = draw.stream
        if runs and runs[-1][:3] == [draw.kind, draw.high, generator]:
            runs[-1][4] += 1
        else:
            runs.append([draw.kind, draw.high, generator, call, 1])
    return runs
