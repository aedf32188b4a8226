import hashlib
import math

import numpy as np
import pandas as pd
import pytest

from metalearn_lib.cards import load_theta
from metalearn_lib.studies import own_models

LOOKS = [0, 10, 100, 1000]


def row(problem, entrant, base, last, factor=1.0, seed=0, **more):
    """A run whose loss falls from 1 to `last`, on a line in the logarithms from the first look on."""
    shown = last if math.isfinite(last) else 0.5
    curve = [1.0, 1.0, shown**0.5, last]
    return {
        **{
            "problem": problem,
            "entrant": entrant,
            "base": base,
            "factor": factor,
            "steps": 1000,
            "seed": seed,
        },
        **{"looks": LOOKS, "held_out": curve, "train": last, "diverged": not last <= 1, "milliseconds": 1.0},
        **{"guarded": "{}", "factors": [], "lr": 0.1, "rule": "", "made": ""},
        **more,
    }


def everybody(problem, learned):
    """All who meet: tuned optimizers end at 0.01, `LearnedLR` at `learned` by factor."""
    rows = []
    for base in own_models.BASES:
        for factor in own_models.FACTORS:
            rows += [
                row(problem, "constant", base, 0.01, factor),
                row(problem, "learned", base, learned[factor], factor),
            ]
        rows += [row(problem, "replayed", base, 0.02), row(problem, "cosine", base, 0.005)]
        rows += [row(problem, "cosine", base, 0.04, 0.0)]
        rows += [row(problem, "unguarded", base, 0.02, factor) for factor in (0.01, 1.0, 100.0)]
        rows += [row(problem, "tune", base, 0.001, -1.0)]
    return rows + [row(problem, name, "", 0.02) for name in own_models.FREE]


WELL = dict.fromkeys(own_models.FACTORS, 0.01)


@pytest.fixture
def read(tmp_path):
    def of(rows):
        pd.DataFrame(rows).to_parquet(tmp_path / "own.parquet")
        return own_models.read(tmp_path / "own.parquet")

    return of


def test_rows_that_tune_are_left_out_and_a_run_that_diverges_counts_as_untrained(read):
    rows = read(
        [row("a", "constant", "SGD", 0.1), row("a", "tune", "SGD", 0.1), row("a", "learned", "SGD", math.nan)]
    )
    assert rows.entrant.tolist() == ["constant", "learned"]
    assert rows.loss.tolist() == pytest.approx([0.1, 1.0])
    assert own_models.against_tuned(rows, "learned", "SGD")["a"].value == pytest.approx(10)
    with pytest.raises(FileNotFoundError, match="`python benchmarks/own_models` makes it"):
        own_models.read(own_models.Path("no.parquet"))


def test_ratios_are_paired_by_seed_and_their_interval_is_of_the_seeds(read):
    rows = read(
        [
            *(row("a", "constant", "SGD", 0.1 * (seed + 1), seed=seed) for seed in range(4)),
            *(row("a", "learned", "SGD", 0.2 * (seed + 1), seed=seed) for seed in reversed(range(4))),
        ]
    )
    ratio = own_models.against_tuned(rows, "learned", "SGD")["a"]
    assert [ratio.value, ratio.low, ratio.high] == pytest.approx([2, 2, 2])
    spread = own_models.interval(np.log([1.0, 4.0]))
    assert [spread.value, spread.low, spread.high] == pytest.approx([2, 1, 4])


def test_promises_are_those_of_the_registration_and_are_counted_problem_by_problem(read):
    names = [f"problem {number}" for number in range(12)]
    bad = WELL | {1.0: 0.02, 0.01: 0.02, 10.0: math.nan}
    rows = read([each for name in names for each in everybody(name, bad if name == names[0] else WELL)])
    promises = own_models.kept_promises(rows).set_index(["optimizer", "promise"])
    sgd = promises.loc["SGD"]
    assert sgd.found.tolist() == pytest.approx([11, 2.0, 11, 11, 1])
    assert sgd.bound.tolist() == pytest.approx([10, 1.10, 10, 8, 0])
    assert sgd.kept.tolist() == [True, False, True, True, False]
    assert own_models.rescue(rows, "SGD").loc[names[0]].tolist() == pytest.approx([2, 1, 2, 100, 1])


def test_the_control_is_shown_and_no_part_of_a_claim(read):
    rows = read(everybody("quadratic", WELL) + everybody("a", WELL))
    assert own_models.no_harm(rows).index.tolist() == ["quadratic", "a"]
    assert set(own_models.claimed(rows).problem) == {"a"}


@pytest.mark.parametrize(
    ("target", "step"), [(0.1, 100), (0.01, 1000), (10**-1.5, 10**2.5), (1.0, 10.0), (0.009, math.inf)]
)
def test_the_step_to_a_target_lies_between_looks_on_a_line_in_the_logarithms(target, step):
    curve = [1.0 + 1e-9, 1.0, 0.1, 0.01]
    assert own_models.steps_to(curve, LOOKS, target) == pytest.approx(step)


def test_the_profile_holds_every_entrant_against_the_fastest_and_a_failure_at_twice_its_steps(read):
    rows = read(everybody("a", WELL))
    times = own_models.times(rows)
    target = 1.05 * 0.01
    at = 100 * 10 ** (math.log(0.1 / target) / math.log(0.1 / 0.01))
    assert times.loc["a", "SGD, tuned"] == pytest.approx(at)
    assert times.loc["a", "Prodigy"] == pytest.approx(2000)
    fastest = times.loc["a"].min()
    assert fastest == times.loc["a", "AdamW, tuned, cosine"] < at
    shares = own_models.profile(times, [1.0, 1.0001 * 2000 / fastest])
    assert (shares.iloc[0].sum(), shares.iloc[1].min()) == (1, 1)
    assert own_models.ranked(times).index[0] == "AdamW, tuned, cosine"
    assert own_models.ranked(times).iloc[0] == 1


def test_standing_says_who_needs_no_rate_and_is_ahead_or_behind():
    names = ["SGD, tuned", "MoMo", "LearnedLR on AdamW", "default with cosine", "Prodigy"]
    told = own_models.standing(pd.Series(dict(zip(names, (0.9, 0.8, 0.7, 0.6, 0.5), strict=True))))
    assert told == {
        **{"first": "SGD, tuned", "best_free": "MoMo"},
        **{"behind": "default with cosine, Prodigy", "ahead": "MoMo"},
    }


def test_the_summary_counts_what_claims_are_about_and_names_no_control(read):
    bad = WELL | {1.0: 0.02, 10.0: 0.04}
    told = own_models.summary(
        read([*everybody("a", WELL), *everybody("b", bad), *everybody("quadratic", bad)])
    )
    assert (told["num_problems"], told["sgd_good"], told["sgd_worst_problem"]) == (2, 1, "b")
    assert told["sgd_usual"] == pytest.approx(2**0.5)
    assert told["sgd_usual_by_10"] == pytest.approx(4**0.25)
    assert told["sgd_bare_by_100"] == pytest.approx(1)
    assert told["sgd_free_by_100"] == pytest.approx(2)
    assert told["num_replayed"] == 2


def test_feedback_guard_and_cost_are_held_against_their_controls(read):
    slow = [
        {**each, "milliseconds": 1.5} if each["entrant"] == "learned" else each
        for each in everybody("a", WELL)
    ]
    told = [{**each, "guarded": '{"too fast": 3}'} if each["entrant"] == "learned" else each for each in slow]
    rows = read(told)
    assert own_models.feedback(rows)["AdamW"].value == pytest.approx(0.5)
    table = own_models.unguarded(rows)
    assert table["worst problem"].tolist() == pytest.approx([0.5] * 9)
    assert own_models.acted(rows).loc["too fast"].tolist() == pytest.approx([3.0] * 3)
    assert own_models.costs(rows).loc["a"].tolist() == pytest.approx([1.5] * 3)


def test_the_kept_rows_are_of_the_rules_that_ship_and_of_all_that_was_registered():
    rows = own_models.read()
    told = rows[rows.rule != ""].groupby("base").rule.unique()
    for base, names in told.items():
        (name,) = {each.split()[0] for each in names}
        digest = hashlib.sha256(load_theta(name)[0].numpy().tobytes()).hexdigest()[:8]
        assert list(names) == [f"{name} {digest}"], base
    assert set(own_models.REGISTRATION["held_back"] + own_models.REGISTRATION["control"]) < set(rows.problem)
    assert own_models.claimed(rows).problem.nunique() == 12
    claims = rows[rows.long & rows.entrant.isin(["learned", "constant"])].groupby(
        ["problem", "base", "entrant"]
    )
    assert set(claims.size()) == {5 * len(own_models.FACTORS)}
