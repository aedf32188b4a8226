"""Hold rules against each other on problems that are for choosing one.

    python benchmarks/own_models/choose.py --base AdamW --rules adam_multi adam_any

For each it prints the held-out loss at the end over the tuned rate's, from rates that are wrong by up to a hundred.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from entrants import BASES, grid
from runs import FACTORS, TUNED, Job, run
from validation import VALIDATION

from metalearn_lib.progress import progress_bar

SEEDS = range(3)
WORST = 1e3
"""Times the untrained loss: what a run counts as that ends above it."""


def ended(job: Job, seeds: range, lr: float, rule: str | None = None) -> float:
    """Mean loss at the end, on points to tune by for `tune`, else on points to score by."""
    runs = [run(job, seed, lr, rule, [])["held_out"] for seed in seeds]
    return float(np.mean([np.nan_to_num(each[-1], nan=math.inf).clip(max=WORST * each[0]) for each in runs]))


def main() -> None:
    parser = argparse.ArgumentParser(
        "choose", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", choices=BASES, default="AdamW")
    parser.add_argument("--rules", nargs="+", required=True, metavar="RULE", help="shipped names, or files")
    parser.add_argument("--problems", nargs="+", choices=VALIDATION, default=list(VALIDATION), metavar="NAME")
    arguments = parser.parse_args()
    base, entrants = arguments.base, ["no rule", *arguments.rules]
    found: dict[str, list[list[float]]] = {each: [] for each in entrants}
    bar = progress_bar(len(arguments.problems), "choosing", "problem", True, arguments.problems)
    for name in bar:
        steps = VALIDATION[name].steps
        tried = {lr: ended(Job(name, "tune", base, -1.0, steps), TUNED, lr) for lr in grid(base)}
        tuned = min(tried, key=tried.__getitem__)
        for each in entrants:
            entrant, rule = ("constant", None) if each == "no rule" else ("learned", each)
            ends = [
                ended(Job(name, entrant, base, factor, steps), SEEDS, factor * tuned, rule)
                for factor in FACTORS
            ]
            found[each].append(ends)
    told = "  ".join(f"x {factor:<7g}" for factor in FACTORS)
    print(f"\n{'':24}{told}")
    best = np.array(found["no rule"])[:, FACTORS.index(1.0), None]
    for each, ends in found.items():
        ratios = np.array(ends) / best
        for name, row in zip(arguments.problems, ratios, strict=True):
            print(f"{each[-12:]:12} {name:10} " + "  ".join(f"{ratio:<9.2f}" for ratio in row))
        mean = np.exp(np.log(ratios).mean(0))
        print(f"{each[-12:]:12} {'together':10} " + "  ".join(f"{ratio:<9.2f}" for ratio in mean))


if __name__ == "__main__":
    main()
