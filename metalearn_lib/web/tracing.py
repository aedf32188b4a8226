"""What the page runs, traced from the library: drawing an instance, starting a rule, one inner step, what is looked at.

Randomness is an input. `draw_instances` itself is traced, with every call to a generator replaced by an input; the
page fills these inputs from a counter-based generator of its own (engine.js), so it draws data, shift, initial weights
and minibatch order from a seed, and no line of the task families or of the shifts is written twice. Putting
the page's numbers in place of the generator's calls in torch (`Replay`) gives the same instance there, which is how the
two are compared. The same seed therefore gives the same instance in every browser, but another one than
`Seeds("demo", 1, seed)` gives in torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metalearn_lib.directions.adam import Adam
from metalearn_lib.evaluate import REFERENCE_CADENCE, REFERENCE_RATES, Cell, draw_line
from metalearn_lib.inner_loop import Instances, draw_instances
from metalearn_lib.learners import Batch
from metalearn_lib.shifts.base import Shift
from metalearn_lib.shifts.label_noise import LabelNoise
from metalearn_lib.types import Seeds
from metalearn_lib.web.experiment import REFERENCE, Experiment, Place
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


def why_not_in_a_page(experiment: Experiment) -> dict[str, str]:
    """By name, why a page without a kernel does not offer a shift: also where a severity cannot be traced."""
    faults = {name: _untraced(kind, experiment.place) for name, kind in experiment.shifts.items()}
    return experiment.why_not | {name: why for name, why in faults.items() if why}


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

    faults = why_not_in_a_page(experiment)
    if not (shown := [name for name in experiment.shifts if name not in faults]):
        raise NotImplementedError(next(iter(faults.values())))
    example = None
    for name in shown:
        made[f"draw_{name}"], draws[name], example = _drawing(experiment.shifts[name], experiment.place)
    assert example is not None

    rules = dict(experiment.rules)
    reference = next(
        (key for key, rule in rules.items() if rule.direction == Adam() and rule.theta is None), None
    )
    if reference is None:
        reference, rules["reference"] = "reference", REFERENCE
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
