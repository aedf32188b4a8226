"""Audits of tables whose faults are known: a sound one, a refactored one, a changed number, a last bit."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from metalearn_lib import cli
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import (
    Cell,
    Learn,
    Method,
    Store,
    StoreError,
    Tune,
    constant,
    evaluate,
    set_target,
    steps_to_threshold,
)
from metalearn_lib.evaluate.audit import adopt, audit, audit_numbers, audit_row, jittered
from metalearn_lib.evaluate.contest import count_missing
from metalearn_lib.evaluate.jobs import Job
from metalearn_lib.evaluate.store import Table, content_digest
from metalearn_lib.files import write_parquet
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.studies import tables
from metalearn_lib.studies.base import Study
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

CELL = Cell("tiny", GaussianMixture(num_points=96, num_test=64), hidden=(8,), batch_size=32, horizon=24)
SGD = Tune(constant(Gradient()), CELL)
UNTRAINED = LearnedRate(1.0, MetaOptimizer().init_theta(torch.Generator().manual_seed(0)))
METHODS = {
    "SGD": SGD,
    "placebo": [Learn(Gradient(), UNTRAINED, SGD)] * 2,
    "fixed": Method(Gradient(), Constant(0.5)),
    "diverging": Method(Gradient(), Constant(40.0)),
}
STUDY = Study("contest", (CELL,), METHODS, Seeds("score", 6), Seeds("tune", 4))


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The path of the tiny study's kept table, in a checkout of its own."""
    path = tmp_path / "results" / "contest.parquet"
    path.parent.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tables, "kept_tables", lambda: {"contest": STUDY})
    evaluate(STUDY.cells, STUDY.methods, STUDY.score_seeds, STUDY.tune_seeds, path, workers=1, progress=False)
    return path


def look(path, rows=12, preparations=3):
    return audit(STUDY.jobs, Table(path), rows, preparations, progress=False)


def changed(path, column, change, rows=slice(None)):
    """The table with a column changed and its digests made anew, as one who wants to deceive would have it."""
    table = Table(path)
    frame = table.table.to_pandas()
    frame.loc[rows, column] = change(frame.loc[rows, column])
    new = pa.Table.from_pandas(frame, table.table.schema, preserve_index=False)
    digests = [
        content_digest(new.slice(p.start, p.stop - p.start))
        for p in table.parts.values()
        for _ in range(p.start, p.stop)
    ]
    frame["digest"] = digests
    write_parquet(path, pa.Table.from_pandas(frame, table.table.schema, preserve_index=False))


def test_a_sound_table_shows_nothing_and_says_how_little_that_proves(kept):
    found = look(kept)
    assert [each.verdict for each in found.findings] == ["same"] * 14  # there are two preparations to draw
    assert (found.stale, found.missing, found.changed_code) == ([], [], [])
    assert (1 - found.unseen) ** 12 == pytest.approx(0.05)  # a preparation is no row


def test_a_refactoring_is_adopted_and_its_numbers_stay(kept):
    before = Table(kept)
    stamps = {key: (key, "another") for key in before.parts}
    write_parquet(kept, before.stamped(stamps, {"inner_loop.InnerLoop": "another"}))
    assert count_missing(STUDY.jobs, Store(kept)) == len(STUDY.jobs)
    found = look(kept)
    assert {each.verdict for each in found.findings} == {"same"}
    assert len(found.stale) == len(STUDY.jobs)
    assert found.changed_code == ["inner_loop.InnerLoop"]
    assert found.reached == len(STUDY.jobs) * 6
    write_parquet(kept, adopt(STUDY.jobs, Table(kept)))
    assert count_missing(STUDY.jobs, Store(kept)) == 0
    assert Table(kept).table.to_pandas().equals(before.table.to_pandas())
    assert look(kept).stale == []


def test_a_question_that_is_asked_in_another_form_is_adopted_by_its_names(kept):
    before = Table(kept)
    write_parquet(
        kept, before.stamped({key: (f"other-{key}", part.code) for key, part in before.parts.items()}, {})
    )
    assert len(look(kept).stale) == len(STUDY.jobs)
    write_parquet(kept, adopt(STUDY.jobs, Table(kept)))
    assert Table(kept).parts.keys() == before.parts.keys()


def test_a_number_that_no_run_gives_is_found(kept):
    changed(kept, "steps", lambda steps: steps + 7)
    found = look(kept)
    rows = [each for each in found.findings if "instance" in each.what]
    assert {each.verdict for each in rows} == {"changed"}
    assert "now" in rows[0].told


def test_a_rate_that_tuning_does_not_find_is_found(kept):
    changed(kept, "lr", lambda lr: lr / 100)
    found = look(kept, rows=1)
    assert [each.what for each in found.findings if each.verdict == "changed" and "numbers" in each.what] == [
        "numbers in 'tiny'"
    ]


def test_a_row_that_was_changed_by_hand_is_seen_before_anything_is_computed(kept):
    frame = Table(kept).table.to_pandas()
    frame.loc[5, "steps"] += 1
    frame.to_parquet(kept)
    with pytest.raises(StoreError, match="are not what was written"):
        look(kept)


def test_copies_are_trained_alike_but_for_the_last_place_of_their_gradients():
    plain, copies = (cell.draw(Seeds("demo", 3), 5) for cell in (CELL, jittered(CELL, 4)))
    assert torch.equal(copies.params, plain.params.repeat(4, 1))
    assert torch.equal(copies.order, plain.order.repeat(4, 1, 1))
    (loss, exact), (same, moved) = (
        cell.learner.loss_and_grad(copies.params, copies.batch(0)) for cell in (CELL, jittered(CELL))
    )
    assert torch.equal(loss, same)
    units = ((moved / exact - 1) / torch.finfo(torch.float32).eps).nan_to_num()
    assert 7 <= units.abs().max() <= 9
    assert len(moved.unique(dim=0)) == 12


def test_near_divergence_a_last_bit_is_rounding_and_a_number_that_none_gives_is_not():
    job = Job(
        CELL, "edge", -1, Method(Gradient(), Constant(2.0)), *(Seeds(role, 6) for role in ("score", "tune"))
    )

    def run(instance):
        """The row, and the steps of all copies of the run."""
        seeds, steps = Seeds("score", 1, instance), []
        for cell in (CELL, jittered(CELL)):
            target = set_target(cell, seeds)._replace(cap=200)
            outcome = steps_to_threshold(job.recipe.loop(cell), cell.draw(seeds, 200), target)
            losses = {name: getattr(target, name) for name in ("threshold", "reference_loss", "prior_loss")}
            found = losses | {name: getattr(outcome, name) for name in ("steps", "crossed", "finite")}
            steps.append({name: float(each[0]) for name, each in found.items()})
        return {"instance": instance, "cap": 200} | steps[0], outcome.steps

    row, steps = run(5)
    assert np.ptp(steps) > 50  # on the edge of stability, a last bit decides whether it ever crosses
    other = steps[steps != row["steps"]][0]
    there = row | {"steps": other, "crossed": other < 200}
    assert [audit_row(job, each, {}).verdict for each in (row, there)] == ["same", "rounding"]
    assert audit_row(job, row | {"steps": 20.0, "crossed": True}, {}).verdict == "changed"
    row, steps = run(0)
    assert np.ptp(steps) == 0  # and here none does
    assert audit_row(job, row | {"steps": row["steps"] + 3}, {}).verdict == "changed"


def test_two_rates_that_are_level_are_told_apart_by_nothing():
    (job,) = [job for job in STUDY.jobs if job.name == "SGD"]
    question = job.numbers
    told = [question.first[0].call()]
    (found,) = question.call(*told)["choices"]
    same = {name: found[name] for name in ("lr", "number")}
    assert audit_numbers(question, same, told).verdict == "same"
    assert audit_numbers(question, same | {"lr": found["lr"] * 1.0001}, told).verdict == "rounding"
    assert audit_numbers(question, same | {"lr": found["lr"] / 100}, told).verdict == "changed"


def test_the_command_says_what_it_found_and_adopts_only_what_has_not_changed(kept, capsys):
    assert cli.main(["audit", "--rows", "3", "--workers", "1"]) == 0
    assert "contest: 4 the same, 0 but for rounding, 0 changed" in capsys.readouterr().out
    before = Table(kept)
    write_parquet(kept, before.stamped({key: (key, "another") for key in before.parts}, {}))
    assert cli.main(["audit", "contest", "--rows", "2", "--workers", "1"]) == 1
    assert "metalearn audit contest --adopt" in capsys.readouterr().err
    changed(kept, "steps", lambda steps: steps + 7)
    assert cli.main(["audit", "--rows", "2", "--workers", "1", "--adopt"]) == 1
    assert "adopted" not in capsys.readouterr().out
    changed(kept, "steps", lambda steps: steps - 7)
    assert cli.main(["audit", "--rows", "2", "--workers", "1", "--adopt"]) == 0
    assert "adopted: 5 of 5 runs" in capsys.readouterr().out
    assert cli.main(["audit", "contst"]) == 2
    assert "no kept table is called 'contst'; there are contest" in capsys.readouterr().err


def test_nothing_but_pruning_drops_a_row_that_is_not_asked_for(kept, monkeypatch, capsys):
    fewer = Study("contest", (CELL,), {"SGD": SGD}, STUDY.score_seeds, STUDY.tune_seeds)
    monkeypatch.setattr(tables, "kept_tables", lambda: {"contest": fewer})
    assert cli.main(["audit", "--rows", "1", "--workers", "1", "--adopt"]) == 0
    assert len(Table(kept).parts) == 5
    assert cli.main(["prune", "contest"]) == 0
    assert "dropped 4 of 5 runs" in capsys.readouterr().out
    assert [part.names[1] for part in Table(kept).parts.values()] == ["SGD"]
