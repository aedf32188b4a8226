"""Plans of larger runs, from costs whose answer is known by hand."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from metalearn_lib import plots
from metalearn_lib.studies import planning

HOUR = 3600.0


def costs(*rows: tuple[str, int, float, int]) -> pd.DataFrame:
    """Of a contest of 4 thresholds and 8 runs of an hour each, and one tuning of two."""
    given = [
        ("target", 1, HOUR, 4),
        ("numbers", 1, 2 * HOUR, 1),
        ("rows", 1, HOUR, 8),
        ("call", 2, 9.0, 1),
        ("call", 8, 0.0, 1),
        ("call of nothing", 8, 0.0, 1),
        ("call, processes", 8, 0.002, 1),
        ("call, 1 in flight", 8, 0.1, 1),
        ("gather", 2, 0.0, 1),
        ("inner step", 1, 1e-3, 1000),
    ]
    told = [each for each in given if each[:2] not in {row[:2] for row in rows}]
    return pd.DataFrame([*told, *rows], columns=list(planning.COLUMNS))


@pytest.mark.parametrize(
    ("cores", "hours", "busy", "bound"),
    [(1, 14, 1, "work"), (4, 1 + 2 + 2, 14 / 20, "work"), (8, 1 + 2 + 1, 14 / 32, "the longest question")],
)
def test_kinds_of_question_wait_for_each_other_and_none_is_shared(cores, hours, busy, bound):
    plan = planning.contest(costs(), 1, cores)
    assert plan == (cores, pytest.approx(hours), pytest.approx(busy), bound)
    assert planning.contest(costs(), 10, cores).hours == pytest.approx(10 * hours)


def test_calls_cost_what_they_did_with_the_most_workers_and_wait_for_who_gives_them_out():
    lost = costs(("call", 8, HOUR, 1))
    assert planning.contest(lost, 1, 4).hours == pytest.approx(2 + 3 + 4)
    assert planning.contest(lost, 1, 1).hours == 14, "one core gives nothing out"
    slow = planning.contest(costs(("call of nothing", 8, HOUR, 1)), 1, 8)
    assert (slow.hours, slow.bound) == (pytest.approx(4 + 2 + 8), "client and scheduler")


@pytest.mark.parametrize(
    ("cores", "hours", "bound"),
    [
        (1, 5, "work"),
        (5, 1, "work"),
        (10, 1 / 2, "work"),
        (20, 1 / 4, "work"),
        (256, 1 / 4, "chunks of an outer step"),
    ],
)
def test_a_meta_seed_can_use_as_many_cores_as_it_has_chunks(cores, hours, bound):
    assert planning.chunks() == 4
    plan = planning.meta_training(costs(), HOUR * 1000, cores)
    assert (plan.hours, plan.bound) == (pytest.approx(hours), bound)
    assert plan.busy == pytest.approx(5 / hours / cores)


def test_gathering_is_waited_for_at_every_outer_step():
    plan = planning.meta_training(costs(("gather", 2, 2.0, 1)), HOUR * 1000, 10)
    assert (plan.hours, plan.bound) == (pytest.approx(1 / 2 + 2), "gathering")  # an outer step takes a second


def test_tables_and_figure_show_the_plans():
    plans = [planning.contest(costs(), 1, cores) for cores in (1, 4)]
    assert planning.table(plans).loc[4].tolist() == ["5.0 hours", "70 %", "work"]
    told = planning.overheads(costs())
    assert told.loc["to add up one outer step's estimates", "2 workers"] == 0
    assert told.loc["the same, none waiting at the worker", "8 workers"] == 100
    (ax,) = plots.hours({"contest": plans})
    assert [line.get_ydata().tolist() for line in ax.get_lines()] == [[14, 5], [14, 3.5]]
    plt.close(ax.figure)


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (100, "4.2 days"),
        (47, "47 hours"),
        (1.9, "114 minutes"),
        (0.04, "2.4 minutes"),
        (0.001, "3.6 seconds"),
    ],
)
def test_a_time_is_told_in_the_unit_that_suits(hours, told):
    assert planning.Plan(1, hours, 1, "work").told == told


def test_costs_that_are_not_there_say_how_they_are_made(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"benchmarks/cluster\.py"):
        planning.read(tmp_path / "costs.parquet")
