"""Ahead of an oracle? Rules trained for long runs, by layer and on Adam, against rates re-tuned on the very cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from metalearn_lib.cards import load_theta
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.methods import Learn, Recipe
from metalearn_lib.evaluate.registration import Registration, read_registration
from metalearn_lib.evaluate.store import results_folder
from metalearn_lib.studies.base import Study

CELLS = ("task A", "translate 2", "translate 4", "scale 0.25", "scale 4", "anisotropy 4", "anisotropy 16")
ELSEWHERE = (
    *(
        "width 8",
        "width 128",
        "depth 1",
        "depth 4",
        "tanh",
        "batch 16",
        "initial weights x 3",
        "imbalance 0.9",
    ),
    *("label noise 0.4", "moons", "spirals", "digits", "breast cancer", "wine"),
)
WRONG_BY = 100.0
SHORT, LONG, LAYERED, ON_ADAM = (
    "trained for 96 steps",
    "trained for 96 to 384 steps",
    "and a rate per layer",
    "on Adam",
)
RULES = {
    SHORT: ("meta:sgd_multi", "sgd@B", False),
    LONG: ("meta:sgd_long", "sgd@B", True),
    LAYERED: ("meta:sgd_layers", "sgd@B", True),
    ON_ADAM: ("meta-adam:adam_multi", "adam@B", True),
}
"""The rules: contestant, its oracle, and whether its base rate is set wrong, too."""
PLAIN = {
    "SGD": "sgd",
    "SGD, tuned on the mixture": "sgd@mixture",
    "SGD by layer": "sgd-layers",
    "Adam": "adam",
}
"""Contestants beside them."""
CHANGES = {
    "horizons 96 to 384": "sgd_long",
    "horizons 192 to 768": "rules/horizons_192_to_768.safetensors",
    "horizon 384": "rules/horizon_384.safetensors",
    "horizon 384, persistent ES": "rules/horizon_384_pes.safetensors",
    "horizons 96 to 384, task A alone": "rules/horizons_96_to_384_home.safetensors",
}
"""By what differs from the rule trained for 96 steps, a file that ships or one of results/."""
ADDITIONS = {
    "sees how gradients agree": "rules/horizons_96_to_384_alignment.safetensors",
    "a learned momentum": "rules/horizons_96_to_384_momentum.safetensors",
    "a rate per layer": "sgd_layers",
}
"""By what is added to the rule trained for 96 to 384 steps."""


def at(label: str, factor: float) -> str:
    """What a rule is called whose base rate is set wrong by a factor."""
    return label if factor == 1 else f"{label}, base rate x {factor:g}"


def file_of(name: str) -> str | Path:
    """A shipped name, or the path of a file in results/."""
    folder = results_folder() or Path("results")
    return folder / name if name.endswith(".safetensors") else name


def called(label: str) -> str:
    """What the table calls the rule of a change or an addition, which may be one of `RULES`."""
    by_file = {name.partition(":")[2]: rule for rule, (name, *_) in RULES.items()}
    return by_file.get((CHANGES | ADDITIONS)[label], label)


def deployed(name: str) -> Learn:
    """The meta-seed of a file's contestant that is deployed."""
    recipes = cast("Sequence[Learn]", contestant(name)[1])
    theta = load_theta(name.partition(":")[2])[0]
    whole = [torch.cat([each.rate.theta, getattr(each.direction, "theta", theta[:0])]) for each in recipes]
    return next(recipe for recipe, own in zip(recipes, whole, strict=True) if torch.equal(own, theta))


def ahead(part: Registration, wrong_by: float = WRONG_BY) -> Study:
    """Every rule, with base rates right and wrong, its oracle, and what was changed about it."""
    wrong = 1 / wrong_by, wrong_by
    methods: dict[str, Recipe | Sequence[Recipe]] = {
        label: contestant(name)[1] for label, name in PLAIN.items()
    }
    methods |= dict([contestant("sgd-layers@B")]) | dict(
        contestant(oracle) for _, oracle, _ in RULES.values()
    )
    for label, (name, _, too) in RULES.items():
        methods[label] = cast("Sequence[Recipe]", contestant(name)[1])[: part.meta_seeds]
        if too:
            methods |= {at(label, factor): replace(deployed(name), base_lr_factor=factor) for factor in wrong}
    for label, rule in (("SGD", SHORT), ("Adam", ON_ADAM)):
        silent = cast("Learn", contestant(RULES[rule][0])[1][0]).untrained()  # type: ignore[index]
        methods |= {at(label, factor): replace(silent, base_lr_factor=factor) for factor in wrong}
    for label, name in (CHANGES | ADDITIONS).items():
        if called(label) == label:
            methods[label] = cast("Sequence[Recipe]", contestant(f"meta:{file_of(name)}")[1])[
                : part.meta_seeds
            ]
    return Study("ahead", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def elsewhere(part: Registration) -> Study:
    """The rule with a rate per layer on other learners and other kinds of task."""
    methods = dict(contestant(name) for name in ("sgd", "sgd@B", "adam")) | {
        LAYERED: deployed(RULES[LAYERED][0])
    }
    return Study("elsewhere", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def kept() -> list[Study]:
    """The studies of the kept tables."""
    whole = read_registration()
    return [ahead(whole.part(CELLS, 128, 32, 5)), elsewhere(whole.part(ELSEWHERE, 128, 32, 5))]
