"""What the page runs, traced from the library: drawing an instance, starting a rule, one inner step, what is looked at.

Randomness is an input. `draw_instances` itself is traced, with every call to a generator replaced by an input; the
page fills these inputs from a counter-based generator of its own (engine.js), so it draws data, shift, initial weights
and minibatch order from a seed, and no line of the task families or of the shifts is written twice. Putting
the page's numbers in place of the generator's calls in torch (`Replay`) gives the same instance there, which is how the
two are compared. The same seed therefore gives the same instance in every browser, but another one than
`Seeds("demo", 1, seed)` gives in torch.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metalearn_lib.cards import load_theta, rule_of, trained_at
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.base import Direction
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.momentum import Momentum
from metalearn_lib.evaluate import REFERENCE_CADENCE, REFERENCE_RATES, Cell, draw_line
from metalearn_lib.inner_loop import InnerLoop, Instances, draw_instances
from metalearn_lib.learners import Batch, Learner
from metalearn_lib.plots.style import COLOURS
from metalearn_lib.rates.constant import Constant
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.shifts.base import Shift
from metalearn_lib.shifts.label_noise import LabelNoise
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds
from metalearn_lib.web.generator import Program, javascript

GRID = 48
"""The decision boundary is looked at on this many points a side."""


@dataclass(frozen=True)
class Rule:
    """A contestant: how it is called and drawn, its direction, and the rate tuned on task A.

    Args:
        base_lr: the likeliest to win when it is tuned on task A.
        theta: meta-parameters of a learned rule; None is a constant rate.
        config: of the card that `theta` came with; see `rule_of`, which gives its direction, too.
        tuned: decades of all rates that tuning on task A may give, and how likely each is.
    """

    label: str
    colour: str
    direction: Direction
    base_lr: float
    theta: Tensor | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    tuned: tuple[tuple[float, float], ...] = ()

    def loop(self, learner: Learner, base_lr: float | Tensor, theta: Tensor | None = None) -> InnerLoop:
        theta = self.theta if theta is None else theta
        if theta is None:
            return InnerLoop(learner, Constant(base_lr), self.direction.of(learner))
        direction, rate = rule_of(self.config, theta, base_lr, learner)
        return InnerLoop(learner, rate, direction)


_REFERENCE = Rule("reference", "", Adam(), REFERENCE_RATES[0])
"""What sets the threshold; see `evaluate.set_target`."""


TUNED = {
    "sgd": ((-0.125, 0.86), (-0.25, 0.14)),
    "momentum": ((-0.75, 0.97), (-0.625, 0.03)),
    "adam": ((-1.375, 0.57), (-1.25, 0.43)),
}
"""What tuning on task A may give, as in the contest: decades of the rate and how likely each is, the winner first."""


def default_rules() -> dict[str, Rule]:
    """The shipped meta-optimizer, called `meta`, and its rivals, each at the rate that wins on task A."""

    def plain(direction: Direction) -> Rule:
        tuned = TUNED[direction.name]
        return Rule(direction.label, direction.colour, direction, 10 ** tuned[0][0], tuned=tuned)

    def learned(label: str, name: str, colour: str) -> Rule:
        theta, card = load_theta(name)
        tuned = TUNED[Gradient.name]
        return Rule(label, COLOURS[colour], Gradient(), 10 ** tuned[0][0], theta, card["config"], tuned)

    def update() -> Rule:
        theta, card = load_theta("update")
        return Rule(
            "learned update",
            COLOURS["learned update"],
            Adam(),
            trained_at(card["config"]),
            theta,
            card["config"],
        )

    return {
        "meta": learned("meta-optimizer", "sgd", "meta-optimizer"),
        "sgd": plain(Gradient()),
        "layers": learned("meta-optimizer by layer", "sgd_layers", "and a rate per layer"),
        "momentum": plain(Momentum()),
        "adam": plain(Adam()),
        "update": update(),
    }


@dataclass(frozen=True)
class Experiment:
    """The set-up that the explorer shows, the same in torch and in a page.

    Args:
        family: tasks of two features, unshifted.
        rules: contestants by key; one is called `meta`, the others are its rivals.
        hidden: widths of the learner's hidden layers.
        limit: steps of a run; what has not crossed by then has not crossed.
        more: shifts to offer beside those of `SHIFTS`.

    Raises:
        ValueError: for a family whose points cannot be drawn on a plane, or rules without a `meta`.
    """

    family: TaskFamily = field(default_factory=GaussianMixture)
    rules: dict[str, Rule] = field(default_factory=default_rules)
    hidden: tuple[int, ...] = (32, 32)
    batch_size: int = 128
    limit: int = 200
    more: tuple[type[Shift], ...] = ()

    def __post_init__(self) -> None:
        if self.family.num_features != 2:
            raise ValueError(
                f"{type(self.family).__name__} has {self.family.num_features} features, and the explorer draws points "
                "on a plane; use a family of 2 features."
            )
        if "meta" not in self.rules or len(self.rules) < 2:
            raise ValueError(f"rules {', '.join(self.rules)} need one called 'meta' and at least one rival.")

    @property
    def place(self) -> Place:
        return self.family, self.hidden, self.batch_size, self.limit

    @property
    def rivals(self) -> list[str]:
        return [key for key in self.rules if key != "meta"]

    @cached_property
    def why_not(self) -> dict[str, str]:
        """By name, why a live explorer does not offer a shift."""
        return {kind.name: why for kind in self._shifts if (why := self._fault(kind))}

    @cached_property
    def why_not_in_a_page(self) -> dict[str, str]:
        """By name, why a page without a kernel does not: also where a severity cannot be traced."""
        faults = {name: _untraced(kind, self.place) for name, kind in self.shifts.items()}
        return self.why_not | {name: why for name, why in faults.items() if why}

    @property
    def shifts(self) -> dict[str, type[Shift]]:
        """The shifts that a live explorer offers."""
        return {kind.name: kind for kind in self._shifts if kind.name not in self.why_not}

    @property
    def _shifts(self) -> tuple[type[Shift], ...]:
        return (*SHIFTS.values(), *self.more)

    def _fault(self, kind: type[Shift]) -> str:
        if not kind.stops:
            return "it says no stops for a slider"
        if kind.reshapes:
            return "its tasks have another number of features or classes, and the explorer draws one network's plane"
        try:
            kind(self.family, kind.identity).sample(torch.Generator().manual_seed(0))
        except ValueError as fault:
            return str(fault)
        return ""

    def cell(self, shift: str, severity: float, noise: float = 0.0) -> Cell:
        """The family after a shift, with a part `noise` of its training labels wrong."""
        return replace(self.home, family=LabelNoise(self.shifts[shift](self.family, severity), noise))

    @property
    def home(self) -> Cell:
        """The family as it is."""
        return Cell("explorer", self.family, self.hidden, self.batch_size)

    @property
    def num_steps(self) -> int:
        """Steps that an instance is drawn for: those of the reference, which trains longest."""
        return max(self.limit, 4 * self.home.horizon)

    def loop(self, key: str, base_lr: float | Tensor, theta: Tensor | None = None) -> InnerLoop:
        rule = _REFERENCE if key == "reference" else self.rules[key]
        return rule.loop(self.home.learner, base_lr, theta)

    def look(self, params: Tensor, box: Tensor) -> Tensor:
        """Class probabilities `(tasks, GRID * GRID, classes)` over a square, from its top left, row by row.

        Args:
            box: centre and half width of the square, `(3,)`.
        """
        line = (torch.arange(GRID, dtype=params.dtype) + 0.5) * (2 / GRID) - 1
        across, up = line.expand(GRID, GRID), -line.unsqueeze(1).expand(GRID, GRID)
        unit = torch.stack([across.reshape(-1), up.reshape(-1)], 1)
        points = box[:2] + box[2] * unit
        return self.home.learner.logits(params, points.unsqueeze(0)).softmax(-1)

    def describe(self, without: Container[str] = ()) -> dict[str, Any]:
        """What the front end has to know, as plain data.

        Args:
            without: shifts that are not offered.
        """
        shifts = {
            name: {
                "label": kind.label,
                "unit": kind.unit,
                "identity": kind.identity,
                "stops": kind.stops,
                "told": [kind.told(stop) for stop in kind.stops],
            }
            for name, kind in self.shifts.items()
            if name not in without
        }
        rules = {
            key: {
                "label": rule.label,
                "colour": rule.colour,
                "base": rule.base_lr,
                "learned": rule.theta is not None,
                "tuned": [[10**decade / rule.base_lr, weight] for decade, weight in rule.tuned],
            }
            for key, rule in self.rules.items()
        }
        return {
            "shifts": shifts,
            "rules": rules,
            "limit": self.limit,
            "grid": GRID,
            "features": self.family.num_features,
            "classes": self.family.num_classes,
        }


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
    shift: str,
    severity: float | Tensor,
    numbers: Sequence[Tensor],
    noise: float | Tensor = 0.0,
) -> Instances:
    """The instance that `numbers` give in place of the generators' calls."""
    # the range of a severity is checked on a number, which a traced severity does not have
    cell = experiment.cell(
        shift,
        experiment.shifts[shift].identity if isinstance(severity, Tensor) else severity,
        0.0 if isinstance(noise, Tensor) else noise,
    )
    assert isinstance(cell.family, LabelNoise)
    object.__setattr__(cell.family.family, "severity", severity)
    object.__setattr__(cell.family, "severity", noise)
    with float64(), Replay(numbers):
        return _draw(experiment, cell)


def _draw(experiment: Experiment, cell: Cell) -> Instances:
    num_steps, batch_size = experiment.num_steps, experiment.batch_size
    return draw_instances(cell.family, cell.learner, Seeds("demo", 1), num_steps, batch_size, torch.float64)


Place = tuple[TaskFamily, tuple[int, ...], int, int]
"""What of an experiment its instances depend on: family, hidden layers, batch size and limit; rules do not matter."""


@lru_cache
def _drawing(kind: type[Shift], place: Place) -> tuple[Program, list[Draw], Instances]:
    """What draws an instance after a shift, the calls to generators in it, and an example."""
    family, hidden, batch_size, limit = place
    experiment = Experiment(family, hidden=hidden, batch_size=batch_size, limit=limit, more=(kind,))
    cell = experiment.cell(kind.name, kind.identity)
    with float64(), Record() as record:
        example = _draw(experiment, cell)

    def draw(setting: Tensor, *numbers: Tensor) -> list[Tensor]:
        return pytree.tree_leaves(instance(experiment, kind.name, setting[0], numbers, setting[1]))

    setting = torch.ones(2, dtype=torch.float64)
    return Program(draw, [setting, *record.examples], tracing_mode="fake"), record.draws, example


@lru_cache
def _untraced(kind: type[Shift], place: Place) -> str:
    """Why a page cannot draw a shift; empty where it can."""
    try:
        javascript({"draw": _drawing(kind, place)[0]})
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

    if not (shown := [name for name in experiment.shifts if name not in experiment.why_not_in_a_page]):
        raise NotImplementedError(next(iter(experiment.why_not_in_a_page.values())))
    example = None
    for name in shown:
        made[f"draw_{name}"], draws[name], example = _drawing(experiment.shifts[name], experiment.place)
    assert example is not None

    rules = dict(experiment.rules)
    reference = next(
        (key for key, rule in rules.items() if rule.direction == Adam() and rule.theta is None), None
    )
    if reference is None:
        reference, rules["reference"] = "reference", _REFERENCE
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
            state, info = experiment.loop(key, one).step(
                pytree.tree_unflatten(list(leaves), structure), batch
            )
            return [*pytree.tree_leaves(state), *info]

        made[f"start_{key}"] = Program(start, [example.params, one, *([] if theta is None else [theta])])
        carry = {place: place + 2 for place in range(len(leaves))}
        made[f"step_{key}"] = Program(step, [example.table, example.order[:, :1], *leaves], carry)

    def held_out(params: Tensor, *test: Tensor) -> list[Tensor]:
        return [learner.loss(params, Batch(*test))]

    def line(curves: Tensor, target: Tensor) -> list[Tensor]:
        return list(draw_line(curves, target, cell.delta))

    made["held_out"] = Program(held_out, [example.params, *example.test])
    made["look"] = Program(
        lambda params, box: [experiment.look(params, box)], [example.params, one.expand(3)]
    )
    num_evaluations = 4 * cell.horizon // REFERENCE_CADENCE
    curves = torch.ones(len(REFERENCE_RATES), 1, num_evaluations, dtype=torch.float64)
    made["line"] = Program(line, [curves, example.test.target])
    facts = {
        "draws": {name: _runs(each) for name, each in draws.items()},
        "batch": experiment.batch_size,
        "theta": {
            # nine digits are exact for float32
            key: [float(f"{weight:.9g}") for weight in rule.theta.float().tolist()]
            for key, rule in experiment.rules.items()
            if rule.theta is not None
        },
        "reference": {
            "rule": reference,
            "rates": REFERENCE_RATES,
            "steps": 4 * cell.horizon,
            "cadence": REFERENCE_CADENCE,
        },
    }
    return made, facts


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
