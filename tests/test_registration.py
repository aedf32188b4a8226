import numpy as np
import pandas as pd
import pytest
from hand_made import rows
from report_project import REPOSITORY

from metalearn_lib.evaluate import CellResult, Outcome, by_cell, set_target
from metalearn_lib.evaluate.contest import count_missing
from metalearn_lib.evaluate.contestants import LEARNED, contestant, mixture_cell, rivals
from metalearn_lib.evaluate.methods import Learn, Method, Tune
from metalearn_lib.evaluate.registration import (
    SECOND,
    TrapSprung,
    check_traps,
    contestants,
    make_cell,
    read_registration,
)
from metalearn_lib.evaluate.store import Store
from metalearn_lib.evaluate.verdicts import judge
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.studies.contest import contest as contest_study
from metalearn_lib.studies.tables import kept_tables
from metalearn_lib.types import Seeds

REGISTRATION = read_registration()
SECOND_ONE = read_registration(SECOND)
CONFIRMATORY = [name for name, group in REGISTRATION.groups.items() if group != "map"]
TO_DRAW = {f"first: {name}": REGISTRATION.cells[name] for name in CONFIRMATORY}
TO_DRAW |= {f"second: {name}": cell for name, cell in SECOND_ONE.cells.items()}


@pytest.mark.parametrize("cell", TO_DRAW.values(), ids=TO_DRAW)
def test_every_registered_cell_can_be_drawn(cell):
    instances = cell.draw(Seeds("demo", 1), 2)
    loss, grad = cell.learner.loss_and_grad(instances.params, instances.batch(0))
    assert loss.isfinite().all()
    assert grad.isfinite().all()


def test_every_registered_name_is_a_contestant_and_every_training_a_config():
    for config in REGISTRATION.training.values():
        MetaTrainConfig(**config)
    for name in (*rivals(), "adam@mixture", "adam@B", *LEARNED):
        label, recipe = contestant(name)
        assert label
        assert isinstance(recipe, (Tune, Method)) or all(isinstance(each, (Learn, Method)) for each in recipe)
    assert set(REGISTRATION.methods) <= {f"{n}{p}" for n in rivals() for p in ("", "@mixture", "@B")} | set(
        LEARNED
    )


def test_a_plain_name_is_tuned_on_task_a_and_the_others_where_they_say():
    assert contestant("sgd")[1].on.name == "task A"
    assert contestant("sgd@mixture")[1].on == mixture_cell()
    assert contestant("sgd@B")[1].on is None


@pytest.mark.parametrize("name", ["sgdd", "sgd@C", "meta@B"])
def test_an_unknown_contestant_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match=f"rival '{name}' is unknown; use one of sgd, momentum"):
        contestant(name)


def test_the_hash_is_that_of_the_file_and_any_change_changes_it(tmp_path):
    from metalearn_lib.evaluate.registration import PREREGISTRATION

    copy = tmp_path / "copy.toml"
    copy.write_bytes(PREREGISTRATION.read_bytes())
    assert read_registration(copy).sha256 == REGISTRATION.sha256
    copy.write_bytes(PREREGISTRATION.read_bytes().replace(b"count = 128", b"count = 129"))
    assert read_registration(copy).sha256 != REGISTRATION.sha256


def test_a_contestant_trained_under_another_registration_springs_the_trap():
    with pytest.raises(TrapSprung, match="was not trained under the registration 000"):
        contestants(REGISTRATION._replace(sha256="0" * 64))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"name": "x", "family": "cats"}, "family 'cats' is unknown; use one of mixture, moons"),
        ({"name": "x", "colour": "red"}, "cell 'x' has a setting that there is not"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(facts, message):
    with pytest.raises(ValueError, match=message):
        make_cell(facts)


def test_what_is_held_has_every_cell_and_method_of_the_hypotheses():
    held = REGISTRATION.held()
    assert held.whole
    for each in REGISTRATION.hypotheses:
        assert held.in_groups(*each.groups) == REGISTRATION.in_groups(*each.groups) != []
        assert {each.method, *each.baselines} <= held.in_hypotheses


def test_the_cells_that_are_not_held_are_the_others():
    held, others = REGISTRATION.held(), REGISTRATION.others()
    assert held.cells.keys() | others.cells.keys() == REGISTRATION.cells.keys()
    assert not held.cells.keys() & others.cells.keys()
    assert not others.whole
    meet, labels = contestants(others)
    assert list(meet(others.cells["scale 2"])) == [labels[name] for name in REGISTRATION.map_methods]
    assert {labels["meta"], labels["meta-multi"], labels["meta-adam"]} < set(meet(others.cells["moons"]))


def test_a_cell_is_left_out_for_want_of_a_threshold_and_for_nothing_else():
    left_out = set(REGISTRATION.cells) - {cell.name for cell in REGISTRATION.scored}
    assert left_out == {"imbalance 0.97"}
    with pytest.raises(RuntimeError, match="the reference learns nothing"):
        set_target(REGISTRATION.cells["imbalance 0.97"], Seeds("score", 1, 100_119))


@pytest.mark.parametrize("name", kept_tables())
def test_a_table_that_is_kept_was_made_by_this_very_code(name):
    study, kept = kept_tables()[name], REPOSITORY / "results" / f"{name}.parquet"
    assert count_missing(study.jobs, Store(kept)) == 0, (
        f"what has not changed is adopted by `metalearn audit {name} --adopt`, and what has is held again by "
        f"`metalearn evaluate --registered {name}`"
    )


def test_a_part_is_smaller_and_draws_no_verdict_and_the_whole_is_what_is_held():
    sizes = (len(REGISTRATION.score_seeds), len(REGISTRATION.tune_seeds), REGISTRATION.meta_seeds)
    assert REGISTRATION.part([], *sizes) == REGISTRATION.held()
    part = REGISTRATION.part(["task A", "scale 4"], 8, 4, 2, ["sgd"])
    assert list(part.cells) == ["task A", "scale 4"]
    assert (part.methods, len(part.score_seeds), part.whole) == (["sgd"], 8, False)
    with pytest.raises(ValueError, match=r"cells .'mars'. are not registered"):
        REGISTRATION.part(["mars"], 8, 4, 2)


def test_an_amendment_changes_the_tuning_and_who_meets_and_nothing_that_was_registered():
    amended = REGISTRATION.amend()
    assert amended.amendment is not None
    assert len(amended.tune_seeds) == amended.amendment.tuning == 512
    assert amended.methods == [*REGISTRATION.methods, *amended.amendment.methods]
    assert set(amended.amendment.expected) == {each.name for each in REGISTRATION.hypotheses} | {"real"}
    same = {"methods": REGISTRATION.methods, "tune_seeds": REGISTRATION.tune_seeds, "amendment": None}
    assert amended._replace(**same) == REGISTRATION


def test_whoever_is_tuned_is_a_draw_in_an_amended_contest_and_in_no_other():
    def tuned(registration):
        found = contestants(registration)[0](registration.cells["task A"])
        recipes = [each for one in found.values() for each in (one if isinstance(one, list) else [one])]
        return {each.source.resampled for each in recipes if isinstance(each.source, Tune)}

    part = REGISTRATION.part(["task A"], 4, 8, 2)
    assert tuned(part) == {False}
    assert tuned(part.amend()) == {True}


def contest(speedups):
    """Results in every registered cell, with a speed-up over SGD for each registered name and a little noise."""
    random = np.random.default_rng(0)
    names = [*REGISTRATION.methods, "placebo", "left-out"]
    results = {}
    for cell in CONFIRMATORY:
        base = random.lognormal(4, 0.5, 64)
        outcomes = {}
        for name in names:
            seeds = 5 if name.startswith("meta") or name in ("schedule", "left-out") else None
            noise = random.normal(0, 0.1, (seeds, 64) if seeds else 64)
            times = base / speedups.get(name, 1.0) * np.exp(noise)
            outcomes[name] = Outcome(times, np.ones(times.shape, bool), np.ones(times.shape, bool))
        results[cell] = CellResult(cell, 1000, 8.0, outcomes)
    return results, {name: name for name in names}


def test_verdicts_are_computed_from_the_data_and_fall_either_way():
    good = judge(REGISTRATION, *contest({"meta": 1.5, "meta-multi": 1.5, "sgd@B": 2.0, "meta-adam": 1.5}))
    expected = ["supported"] * 4 + ["refuted", "supported", "supported", "supported"]
    assert good["verdict"].tolist() == expected  # better than SGD everywhere, so not equivalent to it
    worse = dict.fromkeys(["meta", "meta-multi", "meta-adam", "left-out"], 0.7)
    bad = judge(REGISTRATION, *contest(worse | {"sgd@B": 2.0}))
    assert set(bad["verdict"]) == {"refuted"}
    same = judge(REGISTRATION, *contest({"sgd@B": 2.0}))
    expected = ["supported", "refuted", "refuted", "refuted", "supported", "supported", "refuted", "refuted"]
    assert same["verdict"].tolist() == expected


def test_a_method_must_beat_each_baseline_and_capture_its_head_room():
    beaten = {"meta": 1.5, "sgd@B": 2.0, "polyak@mixture": 1.6}
    verdicts = judge(REGISTRATION, *contest(beaten))
    assert verdicts.loc["H4", "verdict"] == "refuted"
    assert verdicts.loc["H4", "against"] == "polyak@mixture"
    little = judge(REGISTRATION, *contest({"meta": 1.2, "sgd@B": 10.0}))
    assert little.loc["H2", "verdict"] == "refuted"  # better, with a twelfth of the head-room


def as_table(results):
    rows = []
    for cell, result in results.items():
        for method, outcome in result.outcomes.items():
            for seed, steps in enumerate(np.atleast_2d(outcome.steps)):
                meta_seed = seed if outcome.steps.ndim == 2 else -1
                rows.append(
                    pd.DataFrame({"cell": cell, "method": method, "meta_seed": meta_seed, "steps": steps})
                )
    facts = {"crossed": True, "finite": True, "cap": 1000, "steps_per_epoch": 8.0}
    losses = {"threshold": 1.0, "prior_loss": 2.0, "reference_loss": 0.5}
    tuning = {"choice": 0, "weight": 1.0, "tuning": ""}
    return pd.concat(rows, ignore_index=True).assign(**facts, **losses, **tuning)


def placed(results, method, times_of):
    for result in results.values():
        result.outcomes[method] = result.outcomes[method]._replace(steps=times_of(result))


def test_a_sound_contest_springs_no_trap_and_each_fault_its_own():
    results, labels = contest({"clip@mixture": 3.0})
    placed(results, "placebo", lambda result: result.outcomes["sgd"].steps)
    sound = as_table(results)
    check_traps(REGISTRATION, sound, labels)

    with pytest.raises(TrapSprung, match="thresholds do not lie between"):
        check_traps(REGISTRATION, sound.assign(threshold=2.5), labels)
    with pytest.raises(TrapSprung, match="nobody reaches the threshold"):
        check_traps(REGISTRATION, sound.assign(crossed=False), labels)

    blind, _ = contest({})
    placed(blind, "placebo", lambda result: result.outcomes["sgd"].steps)
    with pytest.raises(TrapSprung, match=r"clip@mixture on scale 4 .* must be seen to win"):
        check_traps(REGISTRATION, as_table(blind), labels)

    rotated = results["rotate 90"].outcomes
    rotated["meta"] = rotated["meta"]._replace(steps=rotated["meta"].steps / 3)
    with pytest.raises(TrapSprung, match="null cell 'rotate 90' shows a speed-up"):
        check_traps(REGISTRATION, as_table(results), labels)
    rotated["sgd@B"] = rotated["sgd@B"]._replace(steps=rotated["meta"].steps)
    check_traps(
        REGISTRATION, as_table(results), labels
    )  # no null cell after all: a better constant does as well
    placed(results, "placebo", lambda result: result.outcomes["sgd"].steps + 1)
    with pytest.raises(TrapSprung, match="is not SGD, bit for bit"):
        check_traps(REGISTRATION, as_table(results), labels)


def test_a_threshold_needs_instances_that_can_be_learnt():
    with pytest.raises(RuntimeError, match="learns nothing"):
        set_target(
            make_cell({"name": "x", "shift": "label_noise", "severity": 0.79, "horizon": 1}), Seeds("tune", 8)
        )


# the second registration

RUNS = {"sgd": [80, 80], "sgd@B": [60, 60], "adam@B": [20, 20], "meta": [[40, 40]], "meta-update": [[10, 10]]}


def test_the_second_is_held_whole_tuned_as_a_draw_and_on_instances_of_its_own():
    assert (SECOND_ONE.table, SECOND_ONE.drawn, SECOND_ONE.held()) == ("second", True, SECOND_ONE)
    assert set(SECOND_ONE.all_meet) <= set(SECOND_ONE.cells)
    for each in SECOND_ONE.hypotheses:
        assert SECOND_ONE.in_groups(*each.groups)
        assert {each.method, *each.baselines} <= set(SECOND_ONE.methods)
    assert not set(REGISTRATION.score_seeds) & set(SECOND_ONE.score_seeds)
    for config in SECOND_ONE.training.values():
        MetaTrainConfig(**config)


def test_everyone_of_the_second_is_there_and_its_update_was_trained_under_it():
    meet, labels = contestants(SECOND_ONE)
    assert set(labels) == {*SECOND_ONE.methods, "placebo", "left-out"}
    everyone, few = meet(SECOND_ONE.cells["MNIST"]), meet(SECOND_ONE.cells["rings"])
    assert set(everyone) == {label for name, label in labels.items() if name != "left-out"}
    named = {labels[name] for each in SECOND_ONE.hypotheses for name in (each.method, *each.baselines)}
    assert named <= set(few) < set(everyone)


def test_two_shifts_at_once_come_in_their_order():
    family = SECOND_ONE.cells["anisotropy 8, translate 2.5"].family
    assert (family.name, family.severity) == ("translate", 2.5)
    assert (family.family.name, family.family.severity) == ("anisotropy", 8.0)


def test_a_margin_of_its_own_decides_what_is_better():
    (half,) = [each for each in SECOND_ONE.hypotheses if each.name == "U1"]
    assert half.margin == 2.0
    results = by_cell(rows({"task A": RUNS}))
    labels = {name: name for name in RUNS}

    def verdict(margin):
        part = SECOND_ONE.part(["task A"], 2, 2, 1)._replace(
            hypotheses=[half._replace(groups=["home"], margin=margin)]
        )
        return judge(part, results, labels)["verdict"].iloc[0]

    assert verdict(3.0) == "refuted"  # it is 2.00, without any spread
    assert verdict(1.5) == "supported"


@pytest.mark.parametrize("won", [True, False])
def test_in_the_second_the_oracle_must_be_seen_to_win(won):
    names = ("task A", "scale 9", "rotate 30, label noise 0.1")
    steps = {name: RUNS | {"placebo": RUNS["sgd"]} for name in names}
    steps["scale 9"]["sgd@B"] = [60, 60] if won else [80, 80]
    table = rows(steps)
    labels = {name: name for name in dict.fromkeys(table.method)}
    part = SECOND_ONE.part(list(steps), 2, 2, 2)._replace(whole=True)
    if won:
        check_traps(part, table, labels)
    else:
        with pytest.raises(TrapSprung, match=r"sgd@B on scale 9 is 1\.00"):
            check_traps(part, table, labels)


def test_the_cell_that_is_set_aside_springs_the_trap():
    assert set(SECOND_ONE.cells) - set(SECOND_ONE.judged.cells) == {"wine, natural split"}
    wine = SECOND_ONE._replace(cells={"wine, natural split": SECOND_ONE.cells["wine, natural split"]})
    table, labels = contest_study(wine).table(1), contestants(SECOND_ONE)[1]
    with pytest.raises(TrapSprung, match="'wine, natural split': no method crosses on nine in ten"):
        check_traps(SECOND_ONE, table, labels)
