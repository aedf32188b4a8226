"""Can an update per weight be learned? What it does, what its parts are worth, and what is left of it as a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from metalearn_lib.cards import load_theta, rule_of
from metalearn_lib.directions.learned_update import INPUTS, LAW, LearnedUpdate
from metalearn_lib.evaluate import distilled
from metalearn_lib.evaluate.cells import home_cell
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.methods import Method, Recipe
from metalearn_lib.evaluate.overhead import step_cost
from metalearn_lib.evaluate.registration import SECOND, Registration, read_registration
from metalearn_lib.statistics import describe
from metalearn_lib.studies.base import Study
from metalearn_lib.studies.shared import Speedups, over, speedups
from metalearn_lib.types import Seeds

CELLS = ("task A", "translate 5", "scale 9", "anisotropy 32", "unequal mixture", "MNIST")
WHOLE, THIRD, MINIBATCH = "the update", "the update, a third of the budget", "minibatch loss as reward"
TRAINED_WITHOUT = {
    "no network": "update_no_network",
    "no law": "update_no_law",
    "no agreements": "update_no_agreements",
    "no contrasts": "update_no_contrasts",
    "no size of the weight": "update_no_weights",
    "one momentum": "update_no_other_steps",
    MINIBATCH: "update_minibatch",
    "task A and geometric shifts alone": "update_four_families",
}
"""Updates that were trained without a part, or otherwise, at a third of the budget, and their shipped files."""
TOLD = (
    "m₀.₅/√v",
    "m₀.₉/√v",
    "m₀.₉₈/√v",
    "√v₀.₉ against √v",
    "√v against its tensor's",
    "w/RMS",
    "RMS m₀.₉/√v",
    "RMS m₀.₉₈/√v",
)
"""What figures and tables call the network's inputs."""


def rules(name: str = "meta-update", num_meta_seeds: int = 5) -> list[Method]:
    """The shipped update, a method for each meta-seed."""
    recipes = contestant(name)[1]
    assert not isinstance(recipes, Recipe)
    return [each for each in recipes[:num_meta_seeds] if isinstance(each, Method)]


def fresh(part: Registration) -> Registration:
    """The part on instances of its own, so that nothing here is tried on those of the contest."""
    return part._replace(score_seeds=Seeds("score", len(part.score_seeds), part.score_seeds.start + 500_000))


def chain(part: Registration) -> Study:
    """The update taken apart; see `evaluate.distilled.chain`."""
    methods = distilled.chain(home_cell(), rules(num_meta_seeds=part.meta_seeds))
    return Study("taken_apart", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def ablations(part: Registration) -> Study:
    """Updates that were trained without a part, beside the whole and Adam re-tuned on the cell."""
    label, ruler = contestant("adam@B")
    methods: dict[str, Recipe | Sequence[Recipe]] = {label: part.as_tuned(ruler)}
    methods[WHOLE] = rules(num_meta_seeds=part.meta_seeds)
    for told, name in {THIRD: "update_third", **TRAINED_WITHOUT}.items():
        methods[told] = rules(f"meta-update:{name}", part.meta_seeds)
    return Study("update_ablations", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def worth(results: Mapping[str, CellResult]) -> pd.DataFrame:
    """The update over Adam re-tuned on the cell, and each that lacks a part over the like that has all, by cell."""
    adam = contestant("adam@B")[0]
    rows = {f"{WHOLE}, over {adam}": (WHOLE, adam), f"{THIRD}, over {adam}": (THIRD, adam)}
    rows |= {f"{told}, over that": (told, THIRD) for told in TRAINED_WITHOUT}
    return pd.DataFrame(
        {
            line: {"over these cells": str(over(list(results.values()), *pair))}
            | {name: str(each.speedup(*pair)) for name, each in results.items()}
            for line, pair in rows.items()
        }
    ).T


def links(results: Mapping[str, CellResult]) -> Speedups:
    """What each link of the chain gains over the one before."""
    pairs = zip(distilled.LINKS[1:], distilled.LINKS, strict=False)
    return speedups(results, dict(pairs))


def formula(part: Registration) -> tuple[distilled.Fitted, pd.DataFrame]:
    """The formula that fits the deployed update best, recorded on task A, and a table of it."""
    rule = deployed()
    cell, seeds = home_cell(), Seeds("tune", min(len(part.tune_seeds), distilled.MOST_RECORDED))
    found = distilled.fit(
        *distilled.watch(cell, rule.direction, rule.rate.lr, cell.draw(seeds, 24)), "formula"
    )  # type: ignore[arg-type,union-attr]
    lines = {
        told: [*each, offset, r_squared]
        for told, each, offset, r_squared in zip(
            ("turn", "log magnitude"),
            torch.cat([found.slopes, found.sizes], 1).tolist(),
            found.offset.tolist(),
            found.r_squared.tolist(),
            strict=True,
        )
    }
    columns = [*TOLD, *(f"|{told}|" for told in TOLD[:6]), "offset", "R²"]
    return found, pd.DataFrame(
        {told: line[: INPUTS + 6] + line[-2:] for told, line in lines.items()}, columns
    ).T


def deployed() -> Method:
    """The update that ships, of the meta-seed that validation chose."""
    theta, card = load_theta("update")
    return replace(rules()[0], direction=rule_of(card["config"], theta)[0])


def law() -> pd.DataFrame:
    """The exponents of the law, of all meta-seeds."""
    directions = [each.direction for each in rules()]
    numbers = [each.theta[-LAW:].tolist() for each in directions if isinstance(each, LearnedUpdate)]
    columns = ["log factor on the rate", "time", "RMS of the weights", "fan-in", "fan-out"]
    table = pd.DataFrame(numbers, columns=columns).rename_axis("meta-seed")
    return table.map("{:.2f}".format)


def step_costs() -> pd.DataFrame:
    """What a step costs by the number of weights, over Adam's, measured now."""
    rule = deployed().direction
    assert isinstance(rule, LearnedUpdate)
    costs = {f"{count:,}": f"{cost:.1f}" for count, cost in step_cost(rule).items()}
    lines = {
        "weights": costs,
        "multiply-adds for each": dict.fromkeys(costs, rule.network(rule.hidden).multiply_adds),
    }
    return pd.DataFrame(
        {"times a step of Adam": lines["weights"], "multiply-adds a weight": lines["multiply-adds for each"]}
    )


def in_brief(ablations: Mapping[str, CellResult], taken_apart: Mapping[str, CellResult]) -> dict[str, str]:
    """The page's sentences: the update over the ruler, what the network is worth, and what the reward is worth."""
    adam, cells = contestant("adam@B")[0], list(ablations.values())
    first, *_, last = distilled.LINKS
    links = list(taken_apart.values())
    return {
        "update_sentence": describe(
            "Over the cells of this page the update", "Adam re-tuned on each", over(cells, WHOLE, adam)
        ),
        "network_sentence": describe(
            "Its network and law together",
            "Adam at the very rate that it was trained at",
            over(links, last, first),
        ),
        "reward_sentence": describe(
            "Rewarded by the minibatches' own losses, it",
            "rewarded by held-out loss",
            over(cells, MINIBATCH, THIRD),
        ),
    }


def surface(method: Method, agreement: float, points: int = 61) -> tuple[Tensor, Tensor]:
    """The step of a weight by its two main inputs, over Adam's longest: the fast momentum across, Adam's up.

    Args:
        agreement: of its tensor's gradients, from 0.1, noise, to 1; other inputs are those of a weight of usual size.

    Returns:
        the inputs' values `(points,)` and the steps `(points, points)`, a row for each value of Adam's momentum.
    """
    rule = method.direction
    assert isinstance(rule, LearnedUpdate)
    line = torch.linspace(-1.5, 1.5, points)
    up, across = torch.meshgrid(line, line, indexing="ij")
    sign = 1 - 2.0 * (up < 0)
    inputs = torch.zeros(INPUTS, points, points)
    inputs[0], inputs[1], inputs[2] = sign * across, sign * up, sign * up * agreement
    inputs[6], inputs[7] = agreement, agreement
    turn, magnitude = rule.network(rule.hidden)(rule.theta[None], inputs.flatten(1)[None])
    steps = sign.flatten() * (inputs[1].flatten() + turn[0]) * magnitude[0].exp()
    return line, steps.view(points, points)


def kept() -> list[Study]:
    """The studies of the kept tables."""
    whole = read_registration(SECOND)
    part = fresh(whole._replace(cells={name: whole.cells[name] for name in CELLS}))
    return [chain(part), ablations(part)]
