"""Is it feedback? The chain, controls whose inputs are dealt out wrongly, and rules trained without an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import pandas as pd
import torch

from metalearn_lib.cards import load_thetas, rule_of
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import feedback
from metalearn_lib.evaluate.cells import home_cell
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import contestant, rival
from metalearn_lib.evaluate.methods import Learn, Recipe, Tune
from metalearn_lib.evaluate.registration import Registration, read_registration
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.statistics import verdict
from metalearn_lib.studies.base import Study
from metalearn_lib.studies.shared import Speedups, count_verdicts, failing, few, speedups

CELLS = ("task A", "translate 2", "scale 4", "anisotropy 16", "label noise 0.2", "digits")
BLIND, ALL_INPUTS, META = "the rate alone", "all inputs", "meta-optimizer"
CONTROLS = ("inputs in a wrong order", "weights shuffled")
USES = "uses the state of training"
TRAINED_WITHOUT = {
    BLIND: "sgd_blind",
    "no loss": "sgd_no_loss",
    "no gradient norm": "sgd_no_gradient",
    "no weight norm": "sgd_no_weight",
    "no trends": "sgd_no_trend",
}
"""Rules that were trained without some of their inputs, and their shipped files."""


def base(part: Registration) -> Tune:
    """How the rule's base rate is tuned: as plain SGD on task A."""
    return Tune(rival(Gradient), home_cell(), resampled=part.amendment is not None)


def rates(num_meta_seeds: int) -> list[LearnedRate]:
    """The shipped meta-optimizer, a rate for each meta-seed."""
    thetas, card = load_thetas("sgd")
    found = [rule_of(card["config"], theta)[1] for theta in thetas[:num_meta_seeds]]
    return [rate for rate in found if isinstance(rate, LearnedRate)]


def chain(part: Registration) -> Study:
    """The learned rate taken apart; see `evaluate.feedback.chain`."""
    methods = feedback.chain(home_cell(), rates(part.meta_seeds), base(part))
    return Study("chain", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def shuffled(part: Registration) -> Study:
    """The rule with its inputs in a wrong order, and with its weights shuffled."""
    generator = torch.Generator().manual_seed(0)
    own = rates(part.meta_seeds)
    dealt = [MetaOptimizer().shuffle_inputs(rate.theta, generator) for rate in own]
    random = [rate.theta[torch.randperm(len(rate.theta), generator=generator)] for rate in own]
    methods: dict[str, Recipe | Sequence[Recipe]] = {"SGD": base(part)}
    for label, thetas in zip((META, *CONTROLS), ([rate.theta for rate in own], dealt, random), strict=True):
        methods[label] = [Learn(Gradient(), LearnedRate(1.0, theta), base(part)) for theta in thetas]
    return Study("shuffled", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def ablations(part: Registration) -> Study:
    """Rules that were trained without some of their inputs."""
    methods: dict[str, Recipe | Sequence[Recipe]] = {"SGD": base(part)}
    methods[ALL_INPUTS] = [Learn(Gradient(), rate, base(part)) for rate in rates(part.meta_seeds)]
    for label, name in TRAINED_WITHOUT.items():
        methods[label] = part.as_tuned(contestant(f"meta:{name}")[1])
    return Study("ablations", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def factors(results: Mapping[str, CellResult]) -> Speedups:
    """What each link of the chain gains over the one before; a cell's factors multiply to the closed loop over SGD."""
    links = list(pairwise(feedback.LINKS))
    return speedups(results, {after: before for before, after in links})


def closed_loops(results: Mapping[str, CellResult]) -> pd.DataFrame:
    """The closed loop over SGD and over its recorded selves, and whether it is shown to use the state of training.

    It is where the last three links together, all that follow its schedule on A, leave the zone of equivalence.
    """
    first, _, schedule, _, another, loop = feedback.LINKS
    over = {
        "closed loop over SGD": first,
        "over its schedule on A": schedule,
        "over its run on another instance": another,
    }
    lines = {
        name: {told: each.speedup(loop, link) for told, link in over.items()}
        for name, each in results.items()
    }
    table = pd.DataFrame(lines).T
    shown = [verdict(each) == "better" for each in table["over its schedule on A"]]
    return table.assign(**{USES: ["yes" if each else "not shown" for each in shown]})


def controls(results: Mapping[str, CellResult]) -> pd.DataFrame:
    """The rule and its wrong copies over SGD, and how often the copies fail."""
    gains = speedups(results, dict.fromkeys((META, *CONTROLS), "SGD"))
    fails = {
        name: {f"{label} fails": f"{100 * failing([result], label):.0f} %" for label in CONTROLS}
        for name, result in results.items()
    }
    return pd.DataFrame({name: gains[name] | fails[name] for name in results}).T


def worth(results: Mapping[str, CellResult]) -> Speedups:
    """Cell by cell, the speed-up of rules trained without an input over the rule that has all."""
    return speedups(results, dict.fromkeys(TRAINED_WITHOUT, ALL_INPUTS))


def without_inputs(results: Mapping[str, CellResult]) -> pd.DataFrame:
    """`worth`, beside what the rule with all inputs gains over SGD."""
    whole = {name: {"all inputs, over SGD": each.speedup(ALL_INPUTS)} for name, each in results.items()}
    return pd.DataFrame({name: whole[name] | row for name, row in worth(results).items()}).T


def most_missed(gains: Speedups) -> str:
    """The sentence that says without which single input the rule is slower in most cells."""
    single = [label for label in TRAINED_WITHOUT if label != BLIND]
    missed = {label: count_verdicts(row[label] for row in gains.values())["worse"] for label in single}
    most = max(single, key=lambda label: missed[label])
    if not missed[most]:
        return "No single input is missed by more than a tenth in any of them: what it told, the others tell."
    return f'The input most missed is told by "{most}": without it the rule is slower in {missed[most]}.'


def surrogate(part: Registration, base_lr: float) -> feedback.Surrogate:
    """The formula that fits the first meta-seed's rates best, over 200 steps of tuning instances of all cells."""
    rate = replace(rates(1)[0], base_lr=base_lr)
    return feedback.fit_surrogate(
        [feedback.watch(cell, rate, few(part.tune_seeds), 200) for cell in part.cells.values()]
    )


def formulas(fitted: feedback.Surrogate) -> pd.DataFrame:
    """A fitted formula beside the two rules that have one."""
    lines = {
        META: [*fitted.slopes, fitted.r_squared],
        "normalised gradient": [0, -1, 0, 0, 1],
        "Polyak step": [1, -2, 0, 0, 1],
    }
    columns = pd.Index(["log loss", "log |g|", "log |w|", "log t", "R²"])
    return pd.DataFrame(list(lines.values()), pd.Index(list(lines)), columns)


def kept() -> list[Study]:
    """The studies of the kept tables."""
    part = read_registration().amend().part(CELLS, 128, 512, 5)
    return [chain(part), shuffled(part), ablations(part)]
