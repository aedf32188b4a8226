"""Can an update per weight be learned? What it does, and what is left of it as a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from metalearn_lib.cards import load_theta, rule_of, trained_at
from metalearn_lib.directions.learned_update import INPUTS, LAW, LearnedUpdate
from metalearn_lib.evaluate import distilled
from metalearn_lib.evaluate.cells import home_cell
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.distilled import LINKS
from metalearn_lib.evaluate.methods import Method, Recipe
from metalearn_lib.evaluate.overhead import step_cost
from metalearn_lib.evaluate.registration import ALL_MEET, Registration, read_registration
from metalearn_lib.statistics import describe
from metalearn_lib.studies.base import Study
from metalearn_lib.studies.shared import Speedups, file_of, over, speedups
from metalearn_lib.types import Seeds

RULERS = ("adam", "meta-adam", "adam@B", "adam_averages@B")
"""Registered names of what the update is held against."""
UPDATE = LINKS[-1]
THIRD = "a third of the budget"
OTHERWISE = {
    THIRD: "rules/update_third.safetensors",
    "no network": "rules/update_no_network.safetensors",
    "no law": "rules/update_no_law.safetensors",
    "no agreements": "rules/update_no_agreements.safetensors",
    "one momentum": "rules/update_no_other_steps.safetensors",
    "no contrasts": "rules/update_no_contrasts.safetensors",
    "no size of the weight": "rules/update_no_weights.safetensors",
    "rewarded by the minibatches' own loss": "rules/update_minibatch.safetensors",
    "task A and geometric shifts alone": "rules/update_four_families.safetensors",
    "a rate for each layer on Adam instead": "rules/adam_layers.safetensors",
    "a learned rate on it": "rules/update_with_rate.safetensors",
}
"""Trained for a third of the steps, and then without a part, or otherwise; and the file in results/ of each."""
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


def study(part: Registration) -> Study:
    """The update taken apart (see `evaluate.distilled.chain`), and its rulers, on instances of the page's own."""
    methods = {label: part.as_tuned(recipe) for label, recipe in map(contestant, RULERS)}
    methods |= distilled.chain(home_cell(), rules(num_meta_seeds=part.meta_seeds))
    seeds = Seeds("score", len(part.score_seeds), 700_000)
    return Study("update", tuple(part.cells.values()), methods, seeds, part.tune_seeds)


def ablations(part: Registration) -> Study:
    """What was trained otherwise, beside the like that has all, on the instances of `study`."""
    methods: dict[str, Recipe | Sequence[Recipe]] = {
        told: part.as_tuned(contestant(f"meta-update:{file_of(name)}")[1]) for told, name in OTHERWISE.items()
    }
    return replace(study(part), name="update_ablations", methods=methods)


def worth(results: Mapping[str, CellResult]) -> pd.DataFrame:
    """What was trained otherwise over the like that has all, over the cells together and in each; the worst first."""
    rows = {
        told: {"over these cells": over(list(results.values()), told, THIRD)}
        | {name: each.speedup(told, THIRD) for name, each in results.items()}
        for told in OTHERWISE
        if told != THIRD
    }
    ordered = sorted(rows.items(), key=lambda row: row[1]["over these cells"].value)
    return pd.DataFrame({told: {name: str(each) for name, each in row.items()} for told, row in ordered}).T


def quoted(worth: pd.DataFrame) -> dict[str, str]:
    """What the page quotes of `worth`, by the names of the files."""
    return {Path(OTHERWISE[str(told)]).stem: str(line["over these cells"]) for told, line in worth.iterrows()}


def against(results: Mapping[str, CellResult]) -> Speedups:
    """Cell by cell, the update and its rulers over Adam re-tuned on the cell."""
    adam, on_adam, oracle, averages = (contestant(name)[0] for name in RULERS)
    return speedups(results, dict.fromkeys((adam, on_adam, averages, UPDATE), oracle))


def failures(results: Mapping[str, CellResult]) -> pd.DataFrame:
    """The share of runs that never cross, in per cent."""
    names = [contestant("adam")[0], contestant("adam@B")[0], UPDATE]
    rows = {
        cell: {name: f"{100 * each.failing(name):.1f}" for name in names} for cell, each in results.items()
    }
    return pd.DataFrame(rows).T


def links(results: Mapping[str, CellResult]) -> Speedups:
    """What each link of the chain gains over the one before."""
    pairs = zip(LINKS[1:], LINKS, strict=False)
    return speedups(results, dict(pairs))


def formula(part: Registration) -> tuple[distilled.Fitted, pd.DataFrame]:
    """The formula that fits the deployed update best, recorded on task A, and a table of it."""
    (theta, card), cell = load_theta("update"), home_cell()
    rule, _ = rule_of(card["config"], theta)
    assert isinstance(rule, LearnedUpdate)
    instances = cell.draw(Seeds("tune", min(len(part.tune_seeds), distilled.MOST_RECORDED)), 24)
    found = distilled.fit(*distilled.watch(cell, rule, trained_at(card["config"]), instances), "formula")
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
    shown = {told: line[: INPUTS + 6] + line[-2:] for told, line in lines.items()}
    return found, pd.DataFrame(shown, pd.Index(columns)).T


def deployed() -> Method:
    """The update that ships, of the meta-seed that validation chose."""
    theta, card = load_theta("update")
    return replace(rules()[0], direction=rule_of(card["config"], theta)[0])


def law() -> pd.DataFrame:
    """The exponents of the law, of all meta-seeds."""
    directions = [each.direction for each in rules()]
    numbers = [each.theta[-LAW:].tolist() for each in directions if isinstance(each, LearnedUpdate)]
    columns = ["log factor on the rate", "time", "RMS of the weights", "fan-in", "fan-out", "growth"]
    table = pd.DataFrame(numbers, columns=pd.Index(columns)).rename_axis("meta-seed")
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


def in_brief(results: Mapping[str, CellResult]) -> dict[str, str]:
    """The page's sentences: the update over both rulers, over Adam at its own rate, and where it is worst."""
    _, _, oracle, averages = (contestant(name)[0] for name in RULERS)
    cells = list(results.values())
    worst = min(cells, key=lambda cell: cell.speedup(UPDATE, oracle).value)
    return {
        "update_sentence": describe(
            "Over the cells of this page the learned update",
            "Adam re-tuned on each",
            over(cells, UPDATE, oracle),
        ),
        "averages_sentence": describe(
            "It", "Adam with both averages re-tuned as well", over(cells, UPDATE, averages)
        ),
        "network_sentence": describe(
            "The same",
            "Adam at the rate that it was trained at",
            over(cells, UPDATE, LINKS[0]),
        ),
        "worst_sentence": f"It does worst on {worst.name}, {worst.speedup(UPDATE, oracle)} times as fast.",
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
    part = read_registration().amend().part(ALL_MEET, 128, 512, 5)
    return [study(part), ablations(part)]
