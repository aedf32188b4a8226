"""ShiftExplorer in Python: what torch answers to the front end, and what a notebook shows."""

import base64
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from metalearn_lib.evaluate import set_target
from metalearn_lib.inputs.base import Input
from metalearn_lib.inputs.log_lr import LogLr
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.tasks.digits import Digits
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.tasks.points import Points
from metalearn_lib.types import Seeds, Task
from metalearn_lib.web import ShiftExplorer
from metalearn_lib.web.engine import TorchEngine
from metalearn_lib.web.experiment import CLASSES, GRID, Experiment, coloured
from metalearn_lib.web.generator import javascript
from metalearn_lib.web.tracing import Record, Replay, instance, programs, why_not_in_a_page

SHOWN = ["translate", "scale", "anisotropy", "axis_anisotropy", "label_noise", "class_noise", "corruption"]
SETTINGS = {"shift": "scale", "severity": 2.0, "seed": 3, "rival": "adam", "rate": 1.0}
BASES = {"meta": 10**-0.125, "adam": 10**-1.375}


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment()


@pytest.fixture
def engine(experiment: Experiment) -> TorchEngine:
    return TorchEngine(experiment)


def ask(engine: TorchEngine, kind: str, **message: Any) -> tuple[dict[str, Any], list[bytes]]:
    answer, buffers = engine.answer({"id": "7", "kind": kind, **message})
    assert answer["id"] == "7"
    return json.loads(json.dumps(answer, allow_nan=False)), buffers


def test_the_kernel_answers_with_the_inner_loops_own_numbers(
    engine: TorchEngine, experiment: Experiment
) -> None:
    ask(engine, "open", settings=SETTINGS, bases=BASES)
    told = [ask(engine, "advance", steps=steps)[0]["told"] for steps in (1, 0, 4)]
    cell = experiment.cell("scale", 2.0)
    instances = cell.draw(Seeds("demo", 1, 3), 5)
    for key, lr in BASES.items():
        rows = torch.tensor([row[:5] for each in told for row in each[key]["rows"]])
        loop = experiment.loop(key, lr)
        expected = [
            torch.cat([*info, loop.learner.loss(state.params, instances.test)])
            for state, info in loop.iterate(instances)
        ]
        torch.testing.assert_close(rows, torch.stack(expected))


def test_a_map_holds_a_colour_at_each_place_and_grey_where_the_network_answers_the_same_everywhere(
    engine: TorchEngine,
) -> None:
    _, buffers = ask(engine, "open", settings=SETTINGS, bases=BASES)
    assert len(buffers[0]) == 4 * 1024 * (2 + 4)
    told, maps = ask(engine, "advance", steps=1, box=[0, 0, 5])
    assert not told["told"]["meta"]["flat"]
    for each in maps:
        seen = torch.frombuffer(bytearray(each), dtype=torch.uint8).view(GRID * GRID, 4)
        assert len(seen.unique(dim=0)) > 100
    sure = torch.eye(4)[torch.arange(8) % 4]
    colours, flat = coloured(sure)
    assert not flat
    assert colours[1].tolist() == [0xF4, 0x9A, 0xC1, 150]
    colours, flat = coloured(torch.full((8, 4), 0.25))
    assert flat
    assert (colours == 150).all()


def test_a_diverged_run_is_told_without_numbers_that_json_lacks(engine: TorchEngine) -> None:
    settings = SETTINGS | {"severity": 64.0}
    ask(engine, "open", settings=settings, bases={"meta": 1.0, "sgd": 1e12})
    told, buffers = ask(engine, "advance", steps=50, box=[0, 0, 100])
    rows = told["told"]["sgd"]["rows"]
    assert None in rows[-1]
    assert len(rows) < 50
    assert told["told"]["sgd"]["map"] is None
    assert told["told"]["meta"]["map"] == 0
    assert len(buffers) == 1


def test_the_kernel_judges_as_the_evaluation_does(engine: TorchEngine, experiment: Experiment) -> None:
    verdict, _ = ask(engine, "judge", settings=SETTINGS, bases=BASES, limit=200)
    target = set_target(experiment.cell("scale", 2.0), Seeds("demo", 1, 3))
    assert verdict["target"] == pytest.approx(float(target.threshold))
    assert set(verdict["reached"]) == {"meta", "adam"}
    again, _ = ask(engine, "judge", settings=SETTINGS, bases=BASES, limit=200, target=verdict["target"])
    assert again == verdict
    nothing, _ = ask(engine, "judge", settings=SETTINGS, bases=BASES, limit=200, target=None)
    assert nothing["reached"] == {}


def doubled(numbers: list[torch.Tensor]) -> list[torch.Tensor]:
    return [number.double() if number.is_floating_point() else number for number in numbers]


def test_replayed_numbers_give_the_recorded_instance(experiment: Experiment) -> None:
    cell = experiment.cell("anisotropy", 16.0)
    with Record() as record:
        expected = cell.draw(Seeds("demo", 1), experiment.num_steps)
    found = instance(experiment, {"shift": "anisotropy", "severity": 16.0}, doubled(record.examples))
    torch.testing.assert_close(found.table.float(), expected.table)
    torch.testing.assert_close(found.params.float(), expected.params)


@pytest.mark.parametrize("name", SHOWN)
def test_a_severity_may_be_a_tensor_inside_a_trace(name: str, experiment: Experiment) -> None:
    strong = SHIFTS[name].stops[-3]
    with Record() as record:
        experiment.cell(name, strong, 0.3).family.sample(Seeds("demo", 1).generator(0, "data"))
        experiment.home.learner.init(Seeds("demo", 1).generator(0, "params"))
        for _ in range(64):
            torch.randperm(1024, generator=Seeds("demo", 1).generator(0, "order"))
    numbers = doubled(record.examples)
    plain = instance(experiment, {"shift": name, "severity": strong, "noise": 0.3}, numbers)
    severity, noise = torch.tensor([strong, 0.3], dtype=torch.float64)
    traced = instance(experiment, {"shift": name, "severity": severity, "noise": noise}, numbers)
    torch.testing.assert_close(traced.table, plain.table)
    clean = instance(experiment, {"shift": name, "severity": strong}, numbers)
    wrong = (clean.table[:, 2:] != plain.table[:, 2:]).any(1)
    assert wrong.double().mean() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(clean.test.target, plain.test.target)


def test_the_page_offers_every_shift_with_stops_or_says_why_it_does_not(experiment: Experiment) -> None:
    assert set(experiment.shifts) - set(why_not_in_a_page(experiment)) == set(SHOWN)
    assert set(why_not_in_a_page(experiment)) == set(SHIFTS) - set(SHOWN)
    assert "cannot be traced" in why_not_in_a_page(experiment)["rotate"]
    assert "another number of features" in experiment.why_not["nuisance"]
    assert "stops" in experiment.why_not["natural_split"]
    told = ShiftExplorer().spec["shifts"]
    assert "rotate" in told
    assert dict(zip(told["scale"]["told"], told["scale"]["stops"], strict=True))["× 1/4"] == 0.25
    assert '"rotate"' not in ShiftExplorer().html()
    with pytest.raises(ValueError, match="shift='nuisance' is not offered: its tasks have another number"):
        ShiftExplorer(shift="nuisance")
    with pytest.raises(ValueError, match="shift='shrink' is not offered: there are translate, scale"):
        ShiftExplorer(shift="shrink")


class LastLoss(Input):
    """The log loss of the step before."""

    def init(self, params: torch.Tensor) -> torch.Tensor:
        return params.new_zeros(len(params))

    def __call__(self, state: Any, observation: Any, log_lr: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return state, observation.log_loss


def test_an_input_of_ones_own_is_printed_for_the_page_state_and_all(experiment: Experiment) -> None:
    inputs = (LogLr(), LastLoss())
    theta = MetaOptimizer(4, inputs=inputs).init_theta(torch.Generator().manual_seed(0))
    config = {"hidden": 4, "inputs": ["log_lr", f"{__name__}:LastLoss"]}
    seeing = replace(experiment.rules["meta"], theta=theta, config=config)
    made, _ = programs(replace(experiment, rules=experiment.rules | {"meta": seeing}))
    leaves = len(made["step_meta"].inputs) - 2
    assert (
        leaves == len(made["step_sgd"].inputs) - 2 + 4
    )  # theta, log scale and memory, and what the input keeps
    assert made["step_meta"].carry == {place: place + 2 for place in range(leaves)}
    assert "outputs" in javascript({"step_meta": made["step_meta"]})


def test_replay_runs_out_where_more_is_asked_for() -> None:
    with Replay([torch.ones(2)]):
        assert torch.randn(2, generator=torch.Generator()).tolist() == [1, 1]
        with pytest.raises(StopIteration):
            torch.randn(2, generator=torch.Generator())


def test_a_notebook_is_shown_a_widget_a_page_and_an_image() -> None:
    data, _ = ShiftExplorer(severity=8.0)._repr_mimebundle_()
    assert set(data) >= {"application/vnd.jupyter.widget-view+json", "text/html", "image/png"}
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert '"severity":8.0' in data["text/html"]
    assert "http" not in data["text/html"]


@dataclass(frozen=True)
class Rings(GaussianMixture):
    """Two rings, by numbers of a kind that the page cannot draw."""

    num_classes: int = 2

    def sample(self, generator: torch.Generator) -> Task:
        angle = torch.empty(1536).uniform_(0, 6.28, generator=generator)
        y = torch.randint(2, (1536,), generator=generator)
        x = torch.stack([angle.cos(), angle.sin()], 1) * (1 + y).unsqueeze(1)
        return Task(x[:1024], y[:1024], x[1024:], y[1024:])


def test_a_task_of_ones_own_runs_live_even_where_the_page_cannot_draw_it() -> None:
    explorer = ShiftExplorer(Experiment(Rings()), shift="translate")
    ask(explorer.engine, "open", settings=SETTINGS | {"rival": "sgd"}, bases={"meta": 1.0, "sgd": 1.0})
    told, _ = ask(explorer.engine, "advance", steps=3, box=[0, 0, 3])
    assert len(told["told"]["meta"]["rows"]) == 3
    data, _ = explorer._repr_mimebundle_()
    assert "text/html" not in data
    assert "image/png" in data


def test_the_same_explorer_gives_the_same_bytes() -> None:
    assert ShiftExplorer(seed=2).html() == ShiftExplorer(seed=2).html()


def test_a_setting_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="settings colour are unknown; there are shift, severity"):
        ShiftExplorer(colour=1)
    with pytest.raises(ValueError, match="rival='z' is not offered: there are sgd, layers"):
        ShiftExplorer(rival="sgd,z")


def test_an_experiment_that_cannot_be_drawn_is_refused(experiment: Experiment) -> None:
    with pytest.raises(ValueError, match="Digits has 64 features"):
        Experiment(Digits())
    with pytest.raises(ValueError, match="need one called 'meta'"):
        Experiment(rules={"sgd": experiment.rules["sgd"]})


def test_a_page_without_adam_still_has_its_reference(experiment: Experiment) -> None:
    rules = {key: experiment.rules[key] for key in ("meta", "sgd")}
    made, facts = programs(replace(experiment, rules=rules))
    assert facts["reference"]["rule"] == "reference"
    assert "step_reference" in made


def test_the_marks_on_the_slider_are_what_tuning_gave_in_the_contest(experiment: Experiment) -> None:
    table = pd.read_parquet(Path(__file__).parents[1] / "results" / "amended.parquet")
    home = table[table.cell == "task A"]
    for key, label in {
        "sgd": "SGD",
        "momentum": "momentum",
        "adam": "Adam",
        "meta": "meta-optimizer",
    }.items():
        rows = home[home.method == label].groupby("choice")[["lr", "weight"]].first()
        rule = experiment.rules[key]
        assert [10**decade for decade, _ in rule.tuned] == pytest.approx(rows["lr"].tolist())
        assert [weight for _, weight in rule.tuned] == pytest.approx(rows["weight"].tolist(), abs=0.005)
        told = experiment.describe()["rules"][key]["tuned"]
        assert told[0] == [1, rule.tuned[0][1]]


def test_data_of_other_shapes_and_a_readers_own_points_are_drawn(experiment: Experiment) -> None:
    own = experiment.cell("scale", 2.0, data="own", points=[[1.0, -1.0, 3], [0.5, 0.5, 1]])
    task = own.family.stack(Seeds("demo", 1))
    assert task.y.unique().tolist() == [1, 3]
    torch.testing.assert_close(task.x[0, task.y[0] == 3].mean(0), torch.tensor([2.0, -2.0]), atol=0.1, rtol=0)
    moons = experiment.cell("scale", 1.0, data="moons").family.stack(Seeds("demo", 1))
    assert moons.y.unique().tolist() == [0, 1]
    with pytest.raises(ValueError, match="places have class 4, and there are classes 0 to 3"):
        experiment.cell("scale", 1.0, data="own", points=[[0, 0, 4]])
    with pytest.raises(ValueError, match=r"places=\(\) leaves nothing to draw from"):
        Points(())


def test_what_a_learned_rate_is_told_comes_with_each_step(
    engine: TorchEngine, experiment: Experiment
) -> None:
    bases = {"meta": 0.5, "layers": 0.5, "sgd": 0.5}
    ask(engine, "open", settings=SETTINGS, bases=bases)
    told = ask(engine, "advance", steps=2)[0]["told"]
    assert [len(told[key]["rows"][0]) - 5 for key in bases] == [8 + 1, 8 + 1 + 3, 0]
    (first, second), rate = told["meta"]["rows"], 3
    assert second[-1] == pytest.approx(math.log(second[rate] / first[rate]), abs=1e-5)
    assert len(experiment.describe()["rules"]["meta"]["sees"]) == 8
    assert first[5 + 4] == 0  # at the first step every trend is 0


def test_classes_and_rules_are_told_apart_by_colour_and_each_class_is_lighter(experiment: Experiment) -> None:
    def light(colour: str) -> float:
        return sum(
            weight * int(colour[at : at + 2], 16) / 255 for weight, at in ((0.21, 1), (0.72, 3), (0.07, 5))
        )

    rules = [rule.colour for rule in experiment.rules.values()]
    assert not set(rules) & set(CLASSES)
    assert min(map(light, CLASSES)) > max(light(colour) for colour in rules if colour != "#E69F00")


def test_each_shift_is_first_shown_at_a_severity_that_changes_something(experiment: Experiment) -> None:
    for name, told in experiment.describe()["shifts"].items():
        assert told["telling"] in told["stops"]
        assert told["telling"] != told["identity"], name


def test_the_runs_end_at_the_contests_cap_on_the_opening_pages_task(experiment: Experiment) -> None:
    table = pd.read_parquet(Path(__file__).parents[1] / "results" / "amended.parquet")
    assert experiment.limit == table[table.cell == "scale 4"].cap.unique().item()
