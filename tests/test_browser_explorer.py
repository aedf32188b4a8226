"""ShiftExplorer in a real browser: its training against torch's, and what a reader meets."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import Visit, open_browser
from torch import Tensor

from metalearn_lib import web
from metalearn_lib.evaluate import Cell, set_target, steps_to_threshold
from metalearn_lib.inner_loop import Instances
from metalearn_lib.types import Seeds
from metalearn_lib.web import ShiftExplorer
from metalearn_lib.web.experiment import Experiment
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
    """A page whose `engine` runs the printed programs."""
    made, facts = programs(experiment)
    source = (Path(web.__file__).parent / "engine.js").read_text(encoding="utf-8")
    page = browser.new_page()
    page.evaluate(
        f"() => {{ {source}\nglobalThis.engine = new Engine({javascript(made)}, {json.dumps(facts)}); }}"
    )
    return page


def as_tensor(numbers: Any, like: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64).view(like.shape)


def page_numbers(page: Any, experiment: Experiment, shift: str) -> list[Tensor]:
    """The random numbers that the page has just drawn."""
    examples = programs_of(experiment)[f"draw_{shift}"].inputs[1:]
    drawn = page.evaluate(
        f"() => engine.programs.draw_{shift}.inputs.slice(1).map((input) => Array.from(input))"
    )
    return [
        as_tensor(numbers, example).to(example.dtype)
        for numbers, example in zip(drawn, examples, strict=True)
    ]


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
    drawn = instance(experiment, shift, settings["severity"], numbers, noise)
    clean = instance(experiment, shift, settings["severity"], numbers)
    wrong = (clean.table[:, 2:] != drawn.table[:, 2:]).any(1).double().mean()
    assert wrong == pytest.approx(noise, abs=0.05)
    first = told["first"]
    for name, tensor in zip(first, (drawn.table, drawn.order, drawn.params, *drawn.test), strict=True):
        torch.testing.assert_close(as_tensor(first[name], tensor), tensor.double(), rtol=1e-12, atol=1e-12)
    for key, base_lr in bases.items():
        loop = experiment.loop(key, base_lr)
        rows = []
        for state, info in loop.iterate(drawn, stop=STEPS):
            rows.append(torch.cat([*info, loop.learner.loss(state.params, drawn.test)]))
        expected = torch.stack(rows)
        assert expected.isfinite().all()
        assert expected[-1, 0] < expected[0, 0]
        found = as_tensor(told["told"][key]["rows"], expected)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
        seen = experiment.look(state.params, torch.tensor([0.5, -0.25, 3.0], dtype=torch.float64))
        torch.testing.assert_close(as_tensor(told["maps"][key], seen), seen, rtol=1e-6, atol=1e-9)


@dataclass(frozen=True)
class GivenCell(Cell):
    """A cell whose only instance is given."""

    given: Instances | None = None

    def draw(self, seeds: Seeds, num_steps: int) -> Instances:
        assert self.given is not None
        return self.given._replace(order=self.given.order[:, :num_steps])


@pytest.mark.parametrize("shift", MILD)
def test_the_page_judges_as_the_evaluation_does(engine_page: Any, experiment: Experiment, shift: str) -> None:
    settings = settings_of(shift, "sgd", seed=5)
    bases = {key: 0.3 * experiment.rules[key].base_lr for key in ("meta", "sgd")}
    message = {"settings": settings, "bases": bases, "limit": STEPS}
    verdict = engine_page.evaluate("(message) => engine.judge(message)", message)
    drawn = instance(experiment, shift, settings["severity"], page_numbers(engine_page, experiment, shift))
    cell = GivenCell("given", experiment.cell(shift, settings["severity"]).family, given=drawn)
    target = set_target(cell, Seeds("demo", 1))._replace(cap=STEPS)
    assert verdict["threshold"] == pytest.approx(float(target.threshold), rel=1e-6)
    for key, base_lr in bases.items():
        outcome = steps_to_threshold(experiment.loop(key, base_lr), drawn, target)
        assert verdict["crossed"][key] == (int(outcome.steps[0]) if outcome.crossed[0] else None)


def test_the_page_draws_standard_normals_whole_numbers_and_permutations(engine_page: Any) -> None:
    normals, whole, order = engine_page.evaluate(
        """() => { engine.draw({ shift: "scale", severity: 1, seed: 9 });
            const { inputs } = engine.programs.draw_scale;
            return [inputs[3], inputs[2], inputs.at(-1)].map((input) => Array.from(input)); }"""
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
        page, "/crossed at step/.test(document.querySelector('[data-map=meta] .sx-caption').textContent)"
    )


def test_a_slider_moved_after_the_end_trains_again_and_one_moved_in_a_pause_waits(visit: Any) -> None:
    page = visit("#shift=scale&severity=1&seed=0").page
    wait_until(page, f"{AT_STEP} === 200")
    wait_until(page, "document.querySelector('[data-do=play]').textContent === 'Play'")
    page.focus("[name=rate]")
    page.keyboard.press("ArrowLeft")
    wait_until(page, f"{AT_STEP} > 5 && {AT_STEP} < 200")
    page.click("[data-do=play]")
    page.focus("[name=rate]")
    page.keyboard.press("ArrowLeft")
    wait_until(page, f"{AT_STEP} === 0")
    page.wait_for_timeout(300)
    assert text(page, "status").startswith("Step 0.")


def test_a_diverged_run_is_said_in_words(visit: Any) -> None:
    page = visit("#shift=scale&severity=64&rate=100&seed=1").page
    wait_until(page, "/SGD: diverged at step/.test(document.querySelector('[data-out=status]').textContent)")
    assert "diverged" in page.get_attribute("[data-map=rival] canvas", "aria-label")


def test_a_slider_changes_the_drawing_and_the_address_and_reloading_restores_both(visit: Any) -> None:
    page = visit("#shift=scale&severity=1&seed=2").page
    wait_until(page, f"{AT_STEP} >= 1")
    page.click("[data-do=reset]")
    wait_until(page, f"{AT_STEP} === 0")
    before = picture(page, "[data-map=rival]")
    page.focus("[name=severity]")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    wait_until(page, "location.hash === '#shift=scale&severity=8&rate=1&noise=0&seed=2&rival=sgd'")
    assert text(page, "severity") == "× 8"
    page.wait_for_function(
        "(before) => document.querySelector('[data-map=rival] canvas').toDataURL() !== before", arg=before
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
    assert [
        page.input_value(f"[name={name}]") for name in ("severity", "rate", "noise", "seed", "rival")
    ] == [
        "6",
        "-1",
        "0.2",
        "7",
        "adam",
    ]
    assert "Adam" in page.inner_text("[data-map=rival] .sx-caption")


@pytest.mark.parametrize(
    "hash", ["#shift=none&severity=-3&rate=x&seed=1e9&rival=z", "#a-heading", "#severity=&rate=0"]
)
def test_an_address_that_makes_no_sense_is_met_with_the_nearest_setting(visit: Any, hash: str) -> None:
    opened = visit(hash)
    wait_until(opened.page, f"{AT_STEP} >= 1")
    assert opened.complaints == []


def test_everything_works_from_the_keyboard(visit: Any) -> None:
    page = visit("", reduced_motion="reduce").page
    wait_until(page, f"{AT_STEP} >= 60")
    reached = []
    for _ in range(11):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.dataset.do"))
    assert reached == [
        "play",
        "step",
        "reset",
        "shift",
        "severity",
        "rate",
        "noise",
        "rival",
        "seed",
        "next",
        "tally",
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
    page = visit("#rival=layers", viewport={"width": 720, "height": 900}).page
    wait_until(page, "document.querySelectorAll('.sx-map .sx-caption span:not(:empty)').length === 2")
    measure = "(all) => all.map((each) => each.getBoundingClientRect().toJSON())"
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
    front = (Path(web.__file__).parent / "explorer.js").read_text(encoding="utf-8")
    values = json.dumps({"spec": explorer.spec, "settings": explorer.settings, "worker": ""})
    page.add_script_tag(content=f"{front}\n{KERNEL.replace('VALUES', values)}", type="module")
    wait_until(page, f"{AT_STEP} === 60")
    wait_until(page, "/of 1 instance,/.test(document.querySelector('[data-out=tally]').textContent)")
    assert {"open", "advance", "judge"} <= set(kinds)
    page.focus("[name=severity]")
    page.keyboard.press("ArrowRight")
    wait_until(page, "globalThis.saved?.severity === 4")
    wait_until(page, f"{AT_STEP} === 0")
    assert page.evaluate("location.hash") == ""
    assert complaints == []
    page.close()


def test_what_is_shipped_stays_under_100_kilobytes() -> None:
    assert len(ShiftExplorer().html().encode()) < 100_000
