"""Is it feedback? The chain, controls whose inputs are dealt out wrongly, and rules trained without an input."""

from __future__ import annotations

import torch

from metalearn_lib.cards import load_thetas, rule_of
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import feedback
from metalearn_lib.evaluate.cells import home_cell
from metalearn_lib.evaluate.contestants import contestant, rival
from metalearn_lib.evaluate.methods import Learn, Recipe, Tune
from metalearn_lib.evaluate.registration import Registration, read_registration
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.studies.base import Study

CELLS = ("task A", "translate 2", "scale 4", "anisotropy 16", "label noise 0.2", "digits")
TRAINED_WITHOUT = {
    "the rate alone": "sgd_blind",
    "no loss": "sgd_no_loss",
    "no gradient norm": "sgd_no_gradient",
    "no weight norm": "sgd_no_weight",
    "no trends": "sgd_no_trend",
}
"""Rules that were trained without some of their inputs, and their shipped files."""


def base() -> Tune:
    """How the rule's base rate is tuned: as plain SGD on task A."""
    return Tune(rival(Gradient), home_cell())


def rates(num_meta_seeds: int) -> list[LearnedRate]:
    """The shipped meta-optimizer, a rate for each meta-seed."""
    thetas, card = load_thetas("sgd")
    found = [rule_of(card["config"], theta)[1] for theta in thetas[:num_meta_seeds]]
    return [rate for rate in found if isinstance(rate, LearnedRate)]


def chain(part: Registration) -> Study:
    """The learned rate taken apart; see `evaluate.feedback.chain`."""
    methods = feedback.chain(home_cell(), rates(part.meta_seeds), base())
    return Study("chain", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def shuffled(part: Registration) -> Study:
    """The rule with its inputs in a wrong order, and with its weights shuffled."""
    generator = torch.Generator().manual_seed(0)
    own = rates(part.meta_seeds)
    dealt = [MetaOptimizer().shuffle_inputs(rate.theta, generator) for rate in own]
    random = [rate.theta[torch.randperm(len(rate.theta), generator=generator)] for rate in own]
    methods: dict[str, Recipe | list[Learn]] = {"SGD": base()}
    for label, thetas in (
        ("meta-optimizer", [rate.theta for rate in own]),
        ("inputs in a wrong order", dealt),
        ("weights shuffled", random),
    ):
        methods[label] = [Learn(Gradient(), LearnedRate(1.0, theta), base()) for theta in thetas]
    return Study("shuffled", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def ablations(part: Registration) -> Study:
    """Rules that were trained without some of their inputs."""
    methods: dict[str, Recipe | list[Learn]] = {"SGD": base()}
    methods["all inputs"] = [Learn(Gradient(), rate, base()) for rate in rates(part.meta_seeds)]
    for label, name in TRAINED_WITHOUT.items():
        methods[label] = contestant(f"meta:{name}")[1][: part.meta_seeds]  # type: ignore[index]
    return Study("ablations", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def kept() -> list[Study]:
    """The studies of the kept tables."""
    part = read_registration().part(CELLS, 128, 32, 5)
    return [chain(part), shuffled(part), ablations(part)]
