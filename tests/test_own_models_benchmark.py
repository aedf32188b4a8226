"""The benchmark on real models, at a few steps: what it keeps, and that it goes on as if it had never been stopped."""

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks" / "own_models"


@pytest.fixture
def runs(monkeypatch):
    """The benchmark with two problems of six steps, on data that need no further package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import problems
    import runs

    small = {name: problems.PROBLEMS[name]._replace(steps=6) for name in ("diabetes", "quadratic")}
    monkeypatch.setattr(runs, "PROBLEMS", small)
    monkeypatch.setattr(runs, "SHORT", 3)
    monkeypatch.setattr(runs, "FREE", {"DoG": runs.FREE["DoG"]})
    monkeypatch.setattr(runs, "BASES", {"SGD": runs.BASES["SGD"]})
    yield runs
    for name in ("problems", "validation", "entrants", "runs", "choose"):
        sys.modules.pop(name, None)


def held(runs, path, names, stop=None):
    """All that is asked, until so many jobs are done."""
    kept = runs.Kept(path)
    for some in runs.jobs(names, None):
        for job in some:
            if job in kept.done:
                continue
            if len(kept.done) == stop:
                return kept
            tuned, replayed = kept.before(job)
            kept.add(runs.answer(job, tuned, None, replayed))
    return kept


def test_a_benchmark_that_was_stopped_goes_on_to_the_same_rows_and_repeats_itself(runs, tmp_path):
    held(runs, tmp_path / "a.parquet", ["diabetes"], stop=20)
    for name in ("a", "b"):
        kept = held(runs, tmp_path / f"{name}.parquet", ["diabetes"])
        assert len(kept.done) == sum(map(len, runs.jobs(["diabetes"], None)))
    tables = [pq.read_table(tmp_path / f"{name}.parquet").drop_columns("milliseconds") for name in "ab"]
    assert str(tables[0].to_pylist()) == str(tables[1].to_pylist())  # as text, in which nan is nan


def test_all_meet_the_same_weights_and_minibatches_and_authority_is_what_parts_them(runs, tmp_path):
    kept = held(runs, tmp_path / "a.parquet", ["quadratic"])
    starts = {row["seed"]: set() for row in kept.rows if row["entrant"] != "tune"}
    for row in kept.rows:
        if row["entrant"] != "tune":
            starts[row["seed"]].add(row["held_out"][0])
    assert len(starts) == 5
    assert all(len(each) == 1 for each in starts.values())
    learned = next(
        row for row in kept.rows if row["entrant"] == "learned" and row["factor"] == 1 and row["steps"] == 6
    )
    assert len(learned["factors"]) == 6
    assert learned["rule"].startswith("sgd")
    tuned = kept.tuned("quadratic", "SGD", 6)
    tried = [
        row for row in kept.rows if row["entrant"] == "tune" and row["base"] == "SGD" and row["lr"] == tuned
    ]
    others = [
        row for row in kept.rows if row["entrant"] == "tune" and row["base"] == "SGD" and row["lr"] != tuned
    ]
    assert sum(row["held_out"][-1] for row in tried) <= min(
        sum(row["held_out"][-1] for row in others if row["lr"] == lr) for lr in {row["lr"] for row in others}
    )


def test_a_schedule_that_is_replayed_is_that_of_the_other_seeds(runs):
    from entrants import geometric_mean, made

    assert geometric_mean([[1.0, 4.0], [4.0, 1.0, 9.0]]) == pytest.approx([2.0, 2.0, 6.0])
    weight = torch.nn.Parameter(torch.ones(1))
    trainer = made("replayed", "SGD", 0.5, 2, iter([weight]), None, [1.0, 0.25])
    for before, lr in ((1.0, 0.5), (0.5, 0.125)):
        assert weight.item() == before
        trainer.step(weight.sum())
        assert weight.item() == before - lr


def test_what_is_held_back_waits_for_the_end(tmp_path, monkeypatch):
    import runpy

    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(
        sys, "argv", ["own_models", "--problems", "shuttle", "--who", "learned", "--out", str(tmp_path / "x")]
    )
    runpy.run_path(str(FOLDER), run_name="__main__")
    assert not (tmp_path / "x").exists()


def test_rules_are_chosen_on_problems_that_are_none_of_those_they_are_held_to(runs, monkeypatch, capsys):
    import choose
    import problems
    from validation import VALIDATION

    assert not set(VALIDATION) & set(problems.PROBLEMS)
    for problem in VALIDATION.values():
        split = problem.data()
        assert sum(split.sizes) <= len(split.x)
        first = split.x[:16], split.y[:16]
        assert problem.loss(problem.model()(first[0]), first[1]).isfinite()
    monkeypatch.setitem(VALIDATION, "wine", VALIDATION["wine"]._replace(steps=4))
    monkeypatch.setattr("sys.argv", ["choose", "--base", "SGD", "--rules", "sgd", "--problems", "wine"])
    choose.main()
    bare, _, learned, together = (line.split() for line in capsys.readouterr().out.splitlines()[-4:])
    assert bare[:3] == ["no", "rule", "wine"]
    assert bare[5] == "1.00"
    assert learned[2:] == together[2:]
