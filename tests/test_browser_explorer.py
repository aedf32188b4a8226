"""ShiftExplorer in a real browser: its training against torch's, and what a reader meets."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import Visit, open_browser
from torch import Tensor

from metalearn_lib import web
from metalearn_lib.evaluate import Cell, set_target, steps_to_threshold
from metalearn_lib.gradient_estimators import Problem
from metalearn_lib.inner_loop import Instances
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.meta_train.outer_loop import OUTER_BETAS, outer_lr
from metalearn_lib.meta_train.problems import even_place
from metalearn_lib.statistics import restricted_speedup
from metalearn_lib.types import Seeds
from metalearn_lib.web import ShiftExplorer
from metalearn_lib.web.experiment import Experiment, coloured
from metalearn_lib.web.generator import javascript
from metalearn_lib.web.tracing import instance, programs

MILD = {"scale": 2.0, "translate": 1.0, "anisotropy": 4.0}
MILD |= {"axis_anisotropy": 4.0, "label_noise": 0.1, "class_noise": 0.1, "corruption": 0.1}
"""every shift that the page offers, as tests/test_web_explorer.py makes sure, and a severity"""
MOVED = ("scale", "translate", "anisotropy")
"""with which every rival is met"""
RIVALS = ["sgd", "layers", "momentum", "adam", "update"]
STEPS = 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    path.write_text(ShiftExplorer().page(), encoding="utf-8")
    return path.as_uri()


# parity


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment()


@pytest.fixture(scope="module")
def engine_page(browser: Any, experiment: Experiment) -> Any:
    return page_of(browser, experiment)


def page_of(browser: Any, experiment: Experiment) -> Any:
    """A page whose `engine` runs the printed programs."""
    made, facts = programs(experiment)
    source = (Path(web.__file__).parent / "engine.js").read_text(encoding="utf-8")
    page = browser.new_page()
    source += "\nglobalThis.Numbers = Numbers;"
    page.evaluate(
        f"() => {{ {source}\nglobalThis.engine = new Engine({javascript(made)}, {json.dumps(facts)}); }}"
    )
    return page


def as_tensor(numbers: Any, like: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64).view(like.shape)


def page_numbers(page: Any, experiment: Experiment, shift: str, data: str = "home") -> list[Tensor]:
    """The random numbers that the page has just drawn."""
    found = []
    for name in (f"draw_{data}_{shift}", "start"):
        program = programs_of(experiment)[name]
        assert program.reads is not None
        examples = [program.inputs[place] for place in program.reads]
        given = {"start": 0}.get(name, 3 if data == "own" else 1)
        drawn = page.evaluate(
            f"() => engine.programs.{name}.inputs.slice({given}).map((input) => Array.from(input))"
        )
        found += [
            as_tensor(numbers, example).to(example.dtype)
            for numbers, example in zip(drawn, examples[given:], strict=True)
        ]
    return found


_made: dict[int, Any] = {}


def programs_of(experiment: Experiment) -> Any:
    return _made.setdefault(id(experiment), programs(experiment)[0])


def settings_of(
    shift: str, rival: str, seed: int = 0, severity: float | None = None, noise: float = 0.0
) -> dict[str, Any]:
    return {
        "shift": shift,
        "noise": noise,
        "severity": MILD[shift] if severity is None else severity,
        "seed": seed,
        "rival": rival,
    }


@pytest.mark.parametrize(
    ("shift", "rival", "noise"),
    [(shift, rival, 0.0) for shift in MOVED for rival in RIVALS] + [(shift, "sgd", 0.25) for shift in MILD],
)
def test_the_page_trains_as_torch_does(
    engine_page: Any, experiment: Experiment, shift: str, rival: str, noise: float
) -> None:
    settings = settings_of(shift, rival, seed=RIVALS.index(rival), noise=noise)
    bases = {key: 0.3 * experiment.rules[key].base_lr for key in ("meta", rival)}
    told = engine_page.evaluate(
        """([settings, bases, steps]) => {
            engine.open({ settings, bases });
            const first = Object.fromEntries(Object.entries(engine.instance).map(([k, v]) => [k, Array.from(v)]));
            const { told } = engine.advance({ steps });
            const maps = {};
            for (const [key, run] of Object.entries(engine.runs)) {
                engine.look(run, [0.5, -0.25, 3]);
                maps[key] = Array.from(engine.programs.look.outputs[0]);
            }
            return { first, told, maps };
        }""",
        [settings, bases, STEPS],
    )
    numbers = page_numbers(engine_page, experiment, shift)
    drawn = instance(experiment, settings, numbers)
    clean = instance(experiment, settings | {"noise": 0.0}, numbers)
    wrong = (clean.table[:, 2:] != drawn.table[:, 2:]).any(1).double().mean()
    assert wrong == pytest.approx(noise, abs=0.05)
    first = told["first"]
    for name, tensor in zip(first, (drawn.table, drawn.order, drawn.params, *drawn.test), strict=True):
        torch.testing.assert_close(as_tensor(first[name], tensor), tensor.double(), rtol=1e-12, atol=1e-12)
    for key, base_lr in bases.items():
        loop = experiment.loop(key, base_lr)
        heard, tell = experiment.overheard(loop)
        rows = []
        for state, info in heard.iterate(drawn, stop=STEPS):
            rows.append(torch.cat([*info, loop.learner.loss(state.params, drawn.test), tell(state)[0]]))
        expected = torch.stack(rows)
        assert expected.isfinite().all()
        assert expected[-1, 0] < expected[0, 0]
        found = as_tensor(told["told"][key]["rows"], expected)
        torch.testing.assert_close(found[:, :5], expected[:, :5], rtol=1e-9, atol=0)
        torch.testing.assert_close(found[:, 5:], expected[:, 5:], rtol=1e-7, atol=1e-9)
        seen = experiment.look(state.params, torch.tensor([0.5, -0.25, 3.0], dtype=torch.float64))
        torch.testing.assert_close(as_tensor(told["maps"][key], seen), seen, rtol=1e-6, atol=1e-9)


def test_the_page_colours_a_map_as_torch_does_and_knows_one_that_is_the_same_everywhere(
    engine_page: Any,
) -> None:
    chances = torch.rand(500, 4, generator=torch.Generator().manual_seed(0)).double().softmax(1)
    for probabilities in (chances, torch.full((500, 4), 0.25, dtype=torch.float64) + 0.01 * (chances - 0.25)):
        colours, flat = coloured(probabilities)
        found = engine_page.evaluate(
            "(seen) => { const { map, flat } = engine.colour(seen); return [Array.from(map), flat]; }",
            probabilities.flatten().tolist(),
        )
        assert found[1] == flat
        assert (torch.tensor(found[0]).view(-1, 4) - colours.int()).abs().max() <= 1
    assert flat


@dataclass(frozen=True)
class GivenCell(Cell):
    """A cell whose only instance is given."""

    given: Instances | None = None

    def draw(self, seeds: Seeds, num_steps: int) -> Instances:
        assert self.given is not None
        return self.given._replace(order=self.given.order[:, :num_steps])


HOME = {"shift": "translate", "severity": 0.0}


@dataclass(frozen=True)
class GivenProblem:
    """A problem whose only task is given, and its perturbation."""

    experiment: Experiment
    instances: Instances
    noise: list[float]
    number: int

    def problem(self) -> Problem:
        config = self.experiment.learning
        assert config is not None
        assert config.base_lr is not None
        decades = config.base_lr_decades * (2 * even_place(self.number) - 1)
        loop = self.experiment.loop("meta", config.base_lr * 10**decades)

        class Given(Problem):
            def noise(_, theta: Tensor, generator: torch.Generator) -> Tensor:
                return torch.tensor([self.noise], dtype=theta.dtype)

        return Given(loop, 1, lambda first, count: (self.instances, loop.init(self.instances.params)))


@pytest.mark.parametrize("shift", MILD)
def test_the_page_judges_as_the_evaluation_does(engine_page: Any, experiment: Experiment, shift: str) -> None:
    settings = settings_of(shift, "sgd", seed=5)
    bases = {key: 0.3 * experiment.rules[key].base_lr for key in ("meta", "sgd")}
    message = {"settings": settings, "bases": bases, "limit": STEPS}
    verdict = engine_page.evaluate("(message) => engine.judge(message)", message)
    drawn = instance(experiment, settings, page_numbers(engine_page, experiment, shift))
    cell = GivenCell("given", experiment.cell(shift, settings["severity"]).family, given=drawn)
    target = set_target(cell, Seeds("demo", 1))._replace(cap=STEPS)
    assert verdict["target"] == pytest.approx(float(target.threshold), rel=1e-6)
    for key, base_lr in bases.items():
        outcome = steps_to_threshold(experiment.loop(key, base_lr), drawn, target)
        assert verdict["reached"][key] == (int(outcome.steps[0]) if outcome.crossed[0] else None)
    known = engine_page.evaluate(
        "(message) => engine.judge(message)", message | {"target": verdict["target"]}
    )
    assert known == verdict


OWN = [[-1.5, 0.25, 2], [0.5, 1.0, 0], [1.0, -2.0, 3]]


@pytest.mark.parametrize("data", ["moons", "spirals", "own"])
def test_the_page_draws_other_data_as_torch_does(engine_page: Any, experiment: Experiment, data: str) -> None:
    settings = settings_of("translate", "sgd", seed=3) | {"data": data, "points": OWN}
    first = engine_page.evaluate(
        """(settings) => { engine.draw(settings);
            return Object.fromEntries(Object.entries(engine.instance).map(([k, v]) => [k, Array.from(v)])); }""",
        settings,
    )
    numbers = page_numbers(engine_page, experiment, "translate", data)
    drawn = instance(experiment, settings, numbers, OWN if data == "own" else ())
    for name, tensor in zip(first, (drawn.table, drawn.order, drawn.params, *drawn.test), strict=True):
        torch.testing.assert_close(as_tensor(first[name], tensor), tensor.double(), rtol=1e-12, atol=1e-12)


class Calm(Experiment):
    """Meta-training at rates at which rounding is not magnified; near divergence it is, by 10^9 in 64 steps."""

    @property
    def learning(self) -> MetaTrainConfig:
        usual = Experiment().learning
        assert usual is not None
        return replace(usual, base_lr=0.03, horizon=24, sigma=0.02)


def test_the_page_meta_trains_as_the_library_does(browser: Any) -> None:
    """Ten outer steps of the library's estimator and torch's Adam, on the page's instances and perturbations."""
    experiment = Calm()
    engine_page = page_of(browser, experiment)
    config = experiment.learning
    assert config is not None
    tasks, seed, outer_steps = 3, 70, 10
    theta = torch.nn.Parameter(torch.tensor(experiment.describe()["learning"]["theta"], dtype=torch.float64))
    outer = torch.optim.Adam([theta], betas=OUTER_BETAS)
    found = theta.tolist()
    draw = "(number) => engine.draw({ ...engine.facts.learning.home, seed: number })"
    perturbed = """([seed, number, size]) => { const noise = new Float64Array(size);
        new Numbers(seed, [9, number]).draw(noise, "randn"); return Array.from(noise); }"""
    for outer_step in range(outer_steps):
        numbers = list(range(outer_step * tasks, (outer_step + 1) * tasks))
        message = {"theta": found, "tasks": numbers, "seed": seed}
        answers = engine_page.evaluate("(message) => engine.estimate(message)", message)["answers"]
        gradients = [each["gradient"] for each in answers]
        step = {"theta": found, "gradients": gradients, "step": outer_step}
        found = engine_page.evaluate("(message) => engine.update(message)", step)["theta"]

        with torch.no_grad():
            estimates = []
            for number in numbers:
                engine_page.evaluate(draw, seed + number)
                drawn = instance(experiment, HOME, page_numbers(engine_page, experiment, HOME["shift"]))
                drawn = drawn._replace(order=drawn.order[:, : config.horizon])
                noise = engine_page.evaluate(perturbed, [seed, number, len(theta)])
                problem = GivenProblem(experiment, drawn, noise, number).problem()
                estimate, _ = config.make_estimator()(
                    torch.zeros(()), theta.detach(), problem, torch.Generator()
                )
                estimates.append(estimate)
            theta.grad = torch.stack([each.gradient for each in estimates]).mean(0)
            outer.param_groups[0]["lr"] = outer_lr(config, outer_step)
            outer.step()
        for each, estimate in zip(answers, estimates, strict=True):
            assert each["loss"] == pytest.approx(float(estimate.meta_loss), rel=1e-9)
        trained = torch.tensor(found, dtype=torch.float64)
        torch.testing.assert_close(trained, theta.detach(), rtol=1e-9, atol=1e-9)
    assert (theta.detach() - torch.tensor(experiment.describe()["learning"]["theta"])).abs().max() > 0.5


def test_the_page_draws_standard_normals_whole_numbers_and_permutations(engine_page: Any) -> None:
    normals, whole, order = engine_page.evaluate(
        """() => { engine.draw({ shift: "scale", severity: 1, seed: 9 });
            const { inputs } = engine.programs.draw_home_scale;
            return [inputs[3], inputs[2], engine.programs.start.inputs.at(-1)].map((input) => Array.from(input)); }"""
    )
    sample = torch.tensor(normals, dtype=torch.float64)
    assert len(sample) == 3072
    assert abs(sample.mean()) < 4 / len(sample) ** 0.5
    assert abs(sample.var() - 1) < 4 * (2 / len(sample)) ** 0.5
    assert abs((sample**4).mean() - 3) < 4 * (96 / len(sample)) ** 0.5
    counts = torch.bincount(torch.tensor(whole).long(), minlength=8)
    assert len(counts) == 8
    assert ((counts - 192).abs() < 4 * 192**0.5).all()
    assert sorted(order) == list(range(1024))
    assert order != sorted(order)


def test_a_shift_moves_the_same_points_and_keeps_weights_and_order(engine_page: Any) -> None:
    drawn = engine_page.evaluate(
        """() => [["scale", 1], ["scale", 2], ["translate", 0], ["anisotropy", 1]].map(([shift, severity]) => {
            engine.draw({ shift, severity, seed: 4 });
            const { table, params, order } = engine.instance;
            return [table, params, order].map((array) => Array.from(array)); })"""
    )
    tables = [torch.tensor(table).view(1024, 6) for table, _, _ in drawn]
    torch.testing.assert_close(tables[1][:, :2], 2 * tables[0][:, :2])
    for table, (_, params, order) in zip([tables[0], *tables[2:]], [drawn[0], *drawn[2:]], strict=True):
        torch.testing.assert_close(table, tables[0])
        assert params == drawn[0][1]
        assert order == drawn[0][2]


# what a reader meets


@pytest.fixture
def visit(browser: Any, file: str) -> Iterator[Any]:
    visits: list[Visit] = []

    def open_at(hash: str = "", **context: Any) -> Visit:
        visits.append(Visit(browser, file + hash, **context))
        return visits[-1]

    yield open_at
    for each in visits:
        each.context.close()


def text(page: Any, name: str) -> str:
    return page.inner_text(f"[data-out={name}]")


def wait_until(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {condition}", timeout=60_000)


AT_STEP = "Number(/Step (\\d+)/.exec(document.querySelector('[data-out=status]').textContent)?.[1] ?? -1)"


def picture(page: Any, selector: str) -> str:
    return page.evaluate("(selector) => document.querySelector(selector + ' canvas').toDataURL()", selector)


def test_the_page_opens_from_a_file_asks_the_network_for_nothing_and_complains_of_nothing(visit: Any) -> None:
    opened = visit()
    wait_until(opened.page, f"{AT_STEP} >= 20")
    assert opened.foreign_requests == []
    assert opened.complaints == []
    assert [url for url in opened.requests if url.startswith("file:")] == opened.requests[:1]


def test_training_draws_a_boundary_and_the_verdict_follows(visit: Any) -> None:
    page = visit("#shift=scale&severity=1&seed=0").page
    wait_until(page, f"{AT_STEP} >= 1")
    early = picture(page, "[data-map=meta]")
    wait_until(page, f"{AT_STEP} >= 60")
    assert picture(page, "[data-map=meta]") != early
    wait_until(page, "/of 1 instance,/.test(document.querySelector('[data-out=tally]').textContent)")
    wait_until(
        page, "/reached it at step/.test(document.querySelector('[data-map=meta] .sx-caption').textContent)"
    )


def test_a_slider_moved_after_the_end_or_in_a_pause_trains_again(visit: Any) -> None:
    page = visit("#shift=scale&severity=1&seed=0").page
    wait_until(page, f"{AT_STEP} === 352")
    wait_until(page, "document.querySelector('[data-do=play]').textContent === 'Play'")
    assert "where runs end" in text(page, "status")
    page.focus("[name=rate]")
    page.keyboard.press("ArrowLeft")
    wait_until(page, f"{AT_STEP} > 5 && {AT_STEP} < 352")
    page.click("[data-do=reset]")
    wait_until(page, f"{AT_STEP} === 0")
    page.focus("[name=rate]")
    page.keyboard.press("ArrowLeft")
    wait_until(page, f"{AT_STEP} > 5")
    assert page.inner_text("[data-do=play]") == "Pause"


def test_a_diverged_run_is_said_in_words(visit: Any) -> None:
    page = visit("#shift=scale&severity=64&rate=100&seed=1").page
    wait_until(page, "/SGD: diverged at step/.test(document.querySelector('[data-out=status]').textContent)")
    assert "diverged" in page.get_attribute("[data-map=sgd] canvas", "aria-label")


def test_a_slider_changes_the_drawing_and_the_address_and_reloading_restores_both(visit: Any) -> None:
    page = visit("#shift=scale&severity=1&seed=2").page
    wait_until(page, f"{AT_STEP} >= 1")
    page.click("[data-do=reset]")
    wait_until(page, f"{AT_STEP} === 0")
    before = picture(page, "[data-map=sgd]")
    page.focus("[name=severity]")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    wait_until(page, "location.hash === '#shift=scale&severity=8&rate=1&noise=0&seed=2&rival=sgd'")
    assert text(page, "severity") == "× 8"
    page.wait_for_function(
        "(before) => document.querySelector('[data-map=sgd] canvas').toDataURL() !== before", arg=before
    )
    page.reload()
    wait_until(page, f"{AT_STEP} >= 0")
    assert page.input_value("[name=shift]") == "scale"
    assert text(page, "severity") == "× 8"
    assert page.input_value("[name=seed]") == "2"


def test_a_link_in_the_prose_moves_the_sliders(visit: Any) -> None:
    page = visit().page
    wait_until(page, f"{AT_STEP} >= 0")
    page.evaluate("location.hash = 'shift=anisotropy&severity=64&rate=0.1&noise=0.2&seed=7&rival=adam'")
    wait_until(page, "document.querySelector('[name=shift]').value === 'anisotropy'")
    assert [page.input_value(f"[name={name}]") for name in ("severity", "rate", "noise", "seed")] == [
        "6",
        "-1",
        "0.2",
        "7",
    ]
    assert page.is_checked("[name=rival-adam]")
    assert "Adam" in page.inner_text("[data-map=adam] .sx-caption")


@pytest.mark.parametrize(
    ("hash", "told", "canonical"),
    [
        (
            "#shift=none&severity=-3&rate=x&seed=1e9&rival=z",
            ["no shift “none”", "no severity -3", "no rate x", "no seed 1e9, so it is 9999", "no rival “z”"],
            "#shift=translate&severity=0&rate=1&noise=0&seed=9999&rival=sgd",
        ),
        ("#a-heading", [], "#a-heading"),
        (
            "#severity=&rate=0",
            ["no rate 0, so it is 0.01"],
            "#shift=scale&severity=1&rate=0.01&noise=0&seed=0&rival=sgd",
        ),
    ],
)
def test_an_address_that_makes_no_sense_is_met_with_the_nearest_setting_and_the_reader_is_told(
    visit: Any, hash: str, told: list[str], canonical: str
) -> None:
    opened = visit(hash)
    wait_until(opened.page, f"{AT_STEP} >= 1")
    note = opened.page.text_content("[data-out=note]")
    for each in told:
        assert each in note
    assert bool(note) == bool(told)
    opened.page.wait_for_timeout(300)
    assert opened.page.evaluate("location.hash") == canonical
    assert opened.complaints == []


def test_a_browser_that_refuses_to_write_addresses_leaves_no_stale_picture(visit: Any) -> None:
    opened = visit("#shift=scale&severity=1&seed=0")
    page = opened.page
    wait_until(page, f"{AT_STEP} >= 1")
    page.evaluate(
        "() => { history.replaceState = () => { throw new DOMException('many', 'SecurityError'); }; }"
    )
    page.focus("[name=severity]")
    page.keyboard.press("ArrowRight")
    assert text(page, "severity") == "× 2"
    wait_until(page, f"{AT_STEP} > 5")
    wait_until(page, "/of 1 instance,/.test(document.querySelector('[data-out=tally]').textContent)")
    page.wait_for_timeout(300)
    assert opened.complaints == []


def test_many_inputs_write_the_address_once(visit: Any) -> None:
    page = visit("#shift=scale&severity=1&seed=0").page
    wait_until(page, f"{AT_STEP} >= 1")
    page.evaluate(
        """() => { const write = history.replaceState.bind(history); window.written = 0;
            history.replaceState = (...all) => { window.written++; write(...all); }; }"""
    )
    page.focus("[name=rate]")
    for _ in range(16):
        page.keyboard.press("ArrowLeft")
    wait_until(page, "location.hash.includes('rate=0.01&')")
    assert page.evaluate("window.written") <= 3


def test_a_preset_works_again_when_it_is_clicked_twice(visit: Any) -> None:
    page = visit().page
    wait_until(page, f"{AT_STEP} >= 1")
    page.evaluate(
        """document.body.insertAdjacentHTML("beforeend", '<a id="preset" href="#shift=scale&severity=8">eight</a>')"""
    )
    for _ in range(2):
        page.click("#preset")
        wait_until(page, "document.querySelector('[data-out=severity]').textContent === '× 8'")
        page.focus("[name=severity]")
        page.keyboard.press("ArrowLeft")
        assert text(page, "severity") == "× 4"


def test_a_shift_is_chosen_at_a_severity_that_shows_it(visit: Any) -> None:
    page = visit("#shift=scale&severity=1&seed=0").page
    wait_until(page, f"{AT_STEP} >= 1")
    page.select_option("[name=shift]", "translate")
    assert text(page, "severity") == "4 sd"
    wait_until(page, f"{AT_STEP} > 5")


def test_several_rivals_train_beside_each_other_and_one_always_stays(visit: Any) -> None:
    page = visit("#rival=sgd,adam&seed=0").page
    wait_until(page, f"{AT_STEP} >= 5")
    assert page.eval_on_selector_all("[data-map]", "(all) => all.map((each) => each.dataset.map)") == [
        "sgd",
        "adam",
        "meta",
    ]
    page.uncheck("[name=rival-sgd]")
    wait_until(page, "location.hash.includes('rival=adam')")
    page.click("[name=rival-adam]")
    wait_until(page, "document.querySelectorAll('[data-map]').length === 2")
    assert page.is_checked("[name=rival-adam]")
    for keys in page.query_selector_all("[data-chart] .sx-keys"):
        assert keys.inner_text().split("\n") == ["Adam", "learned rate"]


def test_a_network_that_answers_the_same_everywhere_is_grey_and_said_to_be(visit: Any) -> None:
    page = visit("#shift=translate&severity=64&rate=31.6&seed=1&rival=sgd", reduced_motion="reduce").page
    wait_until(page, "/the same everywhere/.test(document.querySelector('.sx-maps').textContent)")
    dead = page.locator(".sx-map", has_text="the same everywhere").first.locator("canvas")
    corner = dead.evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(4, 4, 1, 1).data].slice(0, 3)"
    )
    assert max(corner) - min(corner) <= 2


def test_points_of_ones_own_are_added_by_a_click_and_kept_in_the_address(visit: Any) -> None:
    page = visit("#data=own&shift=scale&severity=1&seed=0").page
    wait_until(page, f"{AT_STEP} >= 1")
    page.check("[name=class][value='2']")
    box = page.locator("[data-map=meta] canvas").bounding_box()
    where = {"x": 0.75 * box["width"], "y": 0.5 * box["height"]}
    page.locator("[data-map=meta] canvas").click(position=where)
    wait_until(page, "/points=.{25}$/.test(location.hash)")
    page.reload()
    wait_until(page, f"{AT_STEP} >= 1")
    assert page.evaluate("location.hash.endsWith('2' + 'qz' + 'hz')") or "points=" in page.url
    page.click("[data-do=undo]")
    wait_until(page, "/points=.{20}$/.test(location.hash)")


def test_what_the_rate_sees_is_shown_at_a_step_that_the_reader_chooses(visit: Any) -> None:
    page = visit("#shift=scale&severity=4&seed=0", reduced_motion="reduce").page
    wait_until(page, f"{AT_STEP} === 60")
    page.click("[data-tab=sees]")
    assert page.inner_text("[data-out=scrub]") == "60"
    last = page.inner_text(".sx-sees")
    page.focus("[name=scrub]")
    page.keyboard.press("Home")
    wait_until(page, "document.querySelector('[data-out=scrub]').textContent === '1'")
    assert page.inner_text(".sx-sees") != last
    assert "the rate: ×" in text(page, "change")


def test_a_race_forms_an_interval_that_is_the_librarys(visit: Any) -> None:
    page = visit("#shift=scale&severity=4&seed=0&rival=sgd", reduced_motion="reduce").page
    wait_until(page, f"{AT_STEP} === 60")
    wait_until(page, "/of 1 instance,/.test(document.querySelector('[data-out=tally]').textContent)")
    page.click("[data-do=race]")
    wait_until(
        page,
        "/ of ([6-9]|[1-9][0-9]) instances,/.test(document.querySelector('[data-out=tally]').textContent)",
    )
    page.click("[data-do=halt]")
    wait_until(page, "document.querySelector('[data-do=halt]').disabled")
    stopped = text(page, "tally")
    page.wait_for_timeout(1000)
    assert text(page, "tally") == stopped
    value, low, high = map(float, re.findall(r"\d+\.\d+", page.inner_text(".sx-ratios")))
    reached = page.evaluate("() => document.querySelector('.sx').arrivals('sgd', 'meta')")
    steps = np.array([[352 if at is None else max(1, at) for at in row] for row in reached], dtype=float)
    expected = restricted_speedup(steps[0], steps[1])
    assert value == pytest.approx(expected.value, abs=0.006)
    assert low == pytest.approx(expected.low, rel=0.15)
    assert high == pytest.approx(expected.high, rel=0.15)


def test_a_rate_is_trained_in_the_page_frozen_and_raced(visit: Any) -> None:
    opened = visit("#shift=scale&severity=1&seed=0", reduced_motion="reduce")
    page = opened.page
    wait_until(page, f"{AT_STEP} === 60")
    page.click("[data-tab=learn]")
    page.click("[data-do=learn]")
    wait_until(page, "/Outer step [2-9]/.test(document.querySelector('[data-out=learn]').textContent)")
    page.click("[data-do=learn]")
    wait_until(page, "document.querySelector('[data-do=learn]').textContent === 'Go on'")
    page.click("[data-do=mine]")
    wait_until(page, "document.querySelector('[data-map=mine]') !== null")
    wait_until(page, f"{AT_STEP} === 60")
    assert page.is_checked("[name=rival-mine]")
    wait_until(page, "location.hash.endsWith('rival=sgd,mine')")
    page.reload()
    wait_until(page, f"{AT_STEP} === 60")
    assert "no rival “mine”" in page.text_content("[data-out=note]")
    assert opened.complaints == []


def test_the_tour_moves_the_explorer(visit: Any) -> None:
    page = visit("#shift=anisotropy&severity=64&seed=3").page
    wait_until(page, f"{AT_STEP} >= 1")
    page.click("[data-do=tour]")
    assert text(page, "tour").startswith("1 of 5.")
    seen = [page.evaluate("document.querySelector('[data-out=severity]').textContent")]
    for _ in range(4):
        page.click("[data-do=on]")
        seen.append(page.evaluate("document.querySelector('[data-out=severity]').textContent"))
    assert seen == ["× 1", "× 4", "× 1", "× 1", "× 1"]
    assert page.is_disabled("[data-do=on]")
    assert page.is_visible("[data-panel=learn]")
    page.click("[data-do=end]")
    assert not page.is_visible("[data-part=tour]")


def test_a_teacher_hides_controls_by_the_address(visit: Any) -> None:
    page = visit("#shift=scale&severity=2&hide=noise,data").page
    wait_until(page, f"{AT_STEP} >= 1")
    assert not page.is_visible("[name=noise]")
    assert not page.is_visible("[name=data]")
    assert page.is_visible("[name=rate]")
    page.focus("[name=severity]")
    page.keyboard.press("ArrowRight")
    wait_until(page, "location.hash.endsWith('&hide=noise,data') && location.hash.includes('severity=4')")


def test_every_target_is_large_enough_for_a_thumb(visit: Any) -> None:
    page = visit("", viewport={"width": 390, "height": 844}, has_touch=True).page
    wait_until(page, f"{AT_STEP} >= 1")
    small = page.eval_on_selector_all(
        ".sx button, .sx select, .sx input, .sx fieldset label",
        """(all) => all.filter((each) => each.offsetParent && !each.closest("fieldset label label"))
            .map((each) => each.matches("[type=checkbox], [type=radio]") ? each.closest("label") : each)
            .map((each) => [each.outerHTML.slice(0, 60), each.getBoundingClientRect()])
            .filter(([, { width, height }]) => width < 44 || height < 44).map(([what]) => what)""",
    )
    assert small == []


def test_on_one_screen_the_setting_moves_what_is_seen(visit: Any) -> None:
    page = visit("", viewport={"width": 1280, "height": 800}).page
    wait_until(page, f"{AT_STEP} >= 1")
    for part in ("[name=severity]", "[name=seed]", "[data-map=meta] canvas", "[data-chart=weight] canvas"):
        box = page.locator(part).bounding_box()
        assert box["y"] + box["height"] <= 800, part
    page = visit("", viewport={"width": 390, "height": 844}).page
    wait_until(page, f"{AT_STEP} >= 1")
    page.evaluate("document.querySelector('.sx').scrollIntoView()")
    for part in ("[data-map=meta] canvas", "[data-chart=loss] canvas", "[name=severity]"):
        box = page.locator(part).bounding_box()
        assert 0 <= box["y"] <= box["y"] + box["height"] <= 844, part


def test_everything_works_from_the_keyboard(visit: Any) -> None:
    page = visit("", reduced_motion="reduce").page
    wait_until(page, f"{AT_STEP} >= 60")
    reached = []
    for _ in range(19):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(({ name, dataset }) => name || dataset.do || dataset.tab)(document.activeElement)"
            )
        )
    assert reached == [
        *("play", "step", "reset", "copy", "tour"),
        *("shift", "severity", "rate", "noise"),
        *(f"rival-{rival}" for rival in RIVALS),
        *("data", "seed", "next", "race", "tally"),
    ]
    page.focus("[data-do=reset]")
    page.keyboard.press("Enter")
    wait_until(page, f"{AT_STEP} === 0")
    page.focus("[data-do=step]")
    page.keyboard.press("Space")
    wait_until(page, f"{AT_STEP} === 1")
    page.focus("[data-do=play]")
    page.keyboard.press("Space")
    wait_until(page, f"{AT_STEP} > 1")
    assert page.inner_text("[data-do=play]") == "Pause"


def test_a_reader_who_wants_no_motion_gets_a_still_picture(visit: Any) -> None:
    page = visit("", reduced_motion="reduce").page
    wait_until(page, f"{AT_STEP} === 60")
    page.wait_for_timeout(700)
    assert text(page, "status").startswith("Step 60.")
    assert page.inner_text("[data-do=play]") == "Play"


def test_training_rests_while_it_is_out_of_sight(visit: Any) -> None:
    page = visit("", viewport={"width": 800, "height": 400}).page
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('div'), { style: 'height: 5000px' }))"
    )
    wait_until(page, f"{AT_STEP} >= 1")
    page.evaluate("scrollTo(0, 4000)")
    page.wait_for_function(
        """() => {
            const told = document.querySelector("[data-out=status]").textContent;
            if (told !== window.told) Object.assign(window, { told, since: performance.now() });
            return performance.now() - window.since > 1000;
        }""",
        polling=50,
    )
    rested = text(page, "status")
    page.wait_for_timeout(400)
    assert text(page, "status") == rested
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function(
        "(rested) => document.querySelector('[data-out=status]').textContent !== rested", arg=rested
    )


def test_the_tally_grows_over_instances(visit: Any) -> None:
    page = visit("", reduced_motion="reduce").page
    wait_until(page, f"{AT_STEP} >= 60")
    page.click("[data-do=tally]")
    wait_until(page, "/ of [3-9] instances,/.test(document.querySelector('[data-out=tally]').textContent)")
    assert "instances" in text(page, "tally")


@pytest.mark.parametrize("width", [375, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_is_accessible(visit: Any, width: int, scheme: str) -> None:
    page = visit("", viewport={"width": width, "height": 800}, color_scheme=scheme).page
    wait_until(page, f"{AT_STEP} >= 5")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("[data-do=play]")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    results = axe.Axe().run(page)
    assert [(each["id"], each["nodes"][0]["html"]) for each in results.response["violations"]] == []


def test_the_maps_stand_level_though_one_caption_takes_two_lines(visit: Any) -> None:
    page = visit("#rival=layers", viewport={"width": 540, "height": 900}).page
    wait_until(page, "document.querySelectorAll('.sx-map .sx-fate:not(:empty)').length === 2")
    measure = "(all) => all.map((each) => each.getBoundingClientRect().toJSON())"
    page.evaluate("document.querySelector('.sx-map .sx-fate').style.paddingBottom = '2em'")
    captions = page.eval_on_selector_all(".sx-map .sx-caption", measure)
    maps = page.eval_on_selector_all(".sx-map canvas", measure)
    assert captions[0]["height"] > captions[1]["height"]
    assert maps[0]["top"] == maps[1]["top"]


def test_it_follows_the_books_theme(visit: Any) -> None:
    page = visit("", color_scheme="light").page
    wait_until(page, f"{AT_STEP} >= 1")
    ink = "getComputedStyle(document.querySelector('.sx')).color"
    light = page.evaluate(ink)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(ink) != light


KERNEL = """
const heard = {}, values = VALUES;
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const model = {
  get: (name) => values[name],
  set: (name, value) => (values[name] = value),
  on: (name, tell) => (heard[name] ??= []).push(tell),
  off: () => {},
  save_changes: () => (globalThis.saved = values.settings),
  send: async (message) => {
    const [content, buffers] = await answer(message);
    for (const tell of heard["msg:custom"]) tell(content, buffers.map((text) => new DataView(bytes(text).buffer)));
  },
};
render({ model, el: document.body.appendChild(document.createElement("div")) });
"""


def test_in_a_live_kernel_torch_trains_and_the_same_front_end_draws(browser: Any) -> None:
    explorer = ShiftExplorer(severity=2.0)
    kinds: list[str] = []

    def answer(message: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        kinds.append(message["kind"])
        content, buffers = explorer.engine.answer(message)
        return content, [base64.b64encode(buffer).decode() for buffer in buffers]

    page = browser.new_page(reduced_motion="reduce")
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.expose_function("answer", answer)
    front = ShiftExplorer._esm
    values = json.dumps({"spec": explorer.spec, "settings": explorer.settings, "worker": ""})
    page.add_script_tag(content=f"{front}\n{KERNEL.replace('VALUES', values)}", type="module")
    wait_until(page, f"{AT_STEP} === 60")
    wait_until(page, "/of 1 instance,/.test(document.querySelector('[data-out=tally]').textContent)")
    assert {"open", "advance", "judge"} <= set(kinds)
    page.focus("[name=severity]")
    page.keyboard.press("ArrowRight")
    wait_until(page, "globalThis.saved?.severity === 4")
    wait_until(page, f"{AT_STEP} === 60")
    page.click("[data-tab=learn]")
    page.click("[data-do=learn]")
    wait_until(page, "/Outer step [1-9]/.test(document.querySelector('[data-out=learn]').textContent)")
    page.click("[data-do=mine]")
    wait_until(page, "document.querySelector('[data-map=mine]') !== null")
    wait_until(page, f"{AT_STEP} === 60")
    assert page.evaluate("location.hash") == ""
    assert complaints == []
    page.close()


def test_what_is_shipped_stays_under_130_kilobytes() -> None:
    assert len(ShiftExplorer().html().encode()) < 130_000
