"""A stranger adds one of each kind: from outside the package, and as one file and one line inside of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from metalearn_lib import cli, plots
from metalearn_lib.cards import load_theta, rule_of
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.inputs import make_inputs
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.meta_train.problems import Problems
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.report.parameters import Known, check_parameters
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.web import ShiftExplorer

REPOSITORY = Path(__file__).resolve().parents[1]
# by the package's folder and the new file's name
ADDED = {
    ("rates", "halving"): """
from dataclasses import dataclass
from typing import Any
from torch import Tensor
from metalearn_lib.rates.base import ClockState, Rate, per_task

@dataclass(frozen=True)
class Halving(Rate):
    \"\"\"Half the rate after every 32 steps.

        rate_t = lr / 2^floor(t / 32)

    Over fewer steps it is `Constant`.
    \"\"\"

    lr: float | Tensor

    colour = "#123456"

    def init(self, params):
        return ClockState(per_task(self.lr, params), params.new_zeros(len(params)))

    def __call__(self, state, observation):
        lr = state.lr * 0.5 ** (state.num_steps / 32).floor()
        return lr, state._replace(num_steps=state.num_steps + 1)
""",
    ("directions", "signs"): """
from dataclasses import dataclass
from metalearn_lib.directions.base import Direction

@dataclass(frozen=True)
class Signs(Direction):
    \"\"\"The sign of each weight's gradient.\"\"\"

    label = "signs of the gradient"

    def __call__(self, state, grad, params):
        return grad.sign(), state
""",
    ("shifts", "smear"): """
import torch
from metalearn_lib.shifts.base import Shift, mapped

class Smear(Shift):
    \"\"\"Add to every feature `severity` times the sum of all.\"\"\"

    lowest, highest, identity, unit, symbol = 0.0, 8.0, 0.0, "part of the sum of all features", "sums"
    stops = (0.0, 0.5, 1.0, 2.0)

    def apply(self, task, generator):
        count = self.num_features
        return mapped(task, torch.eye(count) + self.severity * torch.ones(count, count), torch.zeros(count))
""",
    ("tasks", "shells"): """
import math
from dataclasses import dataclass
import torch
from metalearn_lib.tasks.base import TaskFamily, cut

@dataclass(frozen=True)
class Shells(TaskFamily):
    \"\"\"A ring inside of another, with Gaussian noise.\"\"\"

    num_points: int = 256
    num_test: int = 128
    num_features: int = 2
    num_classes: int = 2

    def sample(self, generator):
        total = self.num_points + self.num_test
        y = torch.randint(2, (total,), generator=generator)
        angle = 2 * math.pi * torch.rand(total, generator=generator)
        x = torch.stack([angle.cos(), angle.sin()], 1) * (1 + y).unsqueeze(1)
        return cut(x + 0.1 * torch.randn(total, 2, generator=generator), y, self.num_points)
""",
    ("gradient_estimators", "doubled"): """
from dataclasses import dataclass
from metalearn_lib.gradient_estimators.es import AntitheticES

@dataclass(frozen=True)
class Doubled(AntitheticES):
    \"\"\"Evolution strategies that believe what they see twice over.\"\"\"

    name, label, colour = "doubled", "doubled ES", "#654321"

    def __call__(self, state, theta, problem, generator):
        estimate, state = super().__call__(state, theta, problem, generator)
        return estimate._replace(gradient=2 * estimate.gradient), state
""",
    ("inputs", "loss_rise"): """
import math
from metalearn_lib.inputs.base import Input

class LossRise(Input):
    \"\"\"How far the log loss has risen since the step before.\"\"\"

    spread = 0.5

    def init(self, params):
        return params.new_full((len(params),), math.nan)

    def __call__(self, state, observation, log_lr):
        return (observation.log_loss - state).nan_to_num(nan=0.0), observation.log_loss
""",
}
TINY = ["--instances", "2", "--tuning", "2"]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder, in which we are, with a module of one class of each kind."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "my_rules.py").write_text("\n".join(ADDED.values()))
    (folder / "lame.py").write_text("import no_such_package\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        assert cli.main(["evaluate", "--list"]) == 0  # from here on the folder is on the path
        yield folder
    sys.modules.pop("my_rules", None)


def test_rules_and_a_shift_from_outside_compete_are_listed_and_are_drawn_in_their_colours(
    outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rivals = "sgd,my_rules:Halving,my_rules:Signs@B"
    command = ["evaluate", "--rivals", rivals, "--shift", "my_rules:Smear", "--severity", "0.5", *TINY]
    assert cli.main([*command, "--workers", "2"]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    table = pd.read_parquet("evaluate-smear-0.5.parquet")
    assert list(table["cell"].unique()) == ["smear 0.5"]
    assert list(table["method"].unique()) == ["SGD", "halving", "signs of the gradient re-tuned on B"]
    assert "\nsigns of the gradient re-tuned on B " in printed
    drawn = Path("evaluate-smear-0.5.svg").read_text()
    assert "#123456" in drawn
    free = plots.COLOURS["signs of the gradient re-tuned on B"]
    assert free.lower() in drawn
    assert free != plots.COLOURS["signs of the gradient"]


def test_a_family_from_outside_is_where_they_meet(outside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--rivals", "sgd", "--family", "my_rules:Shells", *TINY, "--workers", "1"]
    assert cli.main(command) == 0, capsys.readouterr().err
    assert list(pd.read_parquet("evaluate-shells.parquet")["cell"].unique()) == ["shells"]


def test_an_estimator_an_input_and_families_from_outside_train_a_rule_that_competes(
    outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, families = ["log_lr", "my_rules:LossRise"], ["home", "my_rules:Smear", "my_rules:Shells"]
    chosen = ["--inputs", *inputs, "--families", *families, "--estimator", "my_rules:Doubled"]
    size = ["--num-tasks", "4", "--tasks-per-chunk", "2", "--horizon", "4", "--outer-steps", "4"]
    more = ["--batch-size", "16", "--workers", "1"]
    assert cli.main(["train", "--out", "own.safetensors", *chosen, *size, *more]) == 0, (
        capsys.readouterr().err
    )
    theta, card = load_theta("own.safetensors")
    assert card["config"]["inputs"] == inputs
    _, rate = rule_of(card["config"], theta)
    assert isinstance(rate, LearnedRate)
    assert [type(each).__name__ for each in rate.meta_optimizer.inputs] == ["LogLr", "LossRise"]
    config = MetaTrainConfig(**card["config"])
    drawn = [Problems(config).set_up(0, 0, config.generator(step, 0)).family for step in range(20)]
    assert {type(each).__name__ for each in drawn} == {"RandomFamily", "Shells"}
    plain, doubled = (
        MetaTrainConfig(**card["config"] | {"estimator": name}).make_estimator()
        for name in ("es", "my_rules:Doubled")
    )
    problem = Problems(config).problem(0, Problems(config).set_up(0, 0, config.generator(0, 0)))
    first, second = (
        each(each.init(problem, theta), theta, problem, config.generator(0, 1))[0].gradient
        for each in (plain, doubled)
    )
    assert torch.equal(second, 2 * first)
    command = [
        "evaluate",
        "--rivals",
        "meta:own.safetensors",
        "--out",
        "own.parquet",
        *TINY,
        "--workers",
        "1",
    ]
    assert cli.main(command) == 0, capsys.readouterr().err
    assert "meta-optimizer (own.safetensors)" in capsys.readouterr().out


def test_a_shift_from_outside_is_a_notebooks_parameter_a_slider_and_a_page(outside: Path) -> None:
    parameters = {"shift_family": "my_rules:Smear"}
    check_parameters(parameters, shift_family=Known(SHIFTS))
    with pytest.raises(ValueError, match="'my_rules' has no 'Smeer'; it has Smear"):
        check_parameters({"shift_family": "my_rules:Smeer"}, shift_family=Known(SHIFTS))
    explorer = ShiftExplorer.at("my_rules:Smear", 0.5)
    assert explorer.settings["shift"] == "smear"
    assert explorer.spec["shifts"]["smear"]["told"] == ["0 sums", "0.5 sums", "1 sums", "2 sums"]
    assert '"smear":{"label":"smear"' in explorer.html()
    assert '"draw_home_smear"' in explorer._worker_source
    assert ShiftExplorer.at("nuisance", 8.0).settings["shift"] == "scale"


def test_a_notebook_takes_a_shift_from_outside(outside: Path) -> None:
    notebook = json.loads((REPOSITORY / "notebooks" / "task_shift.ipynb").read_text())
    checked = next(
        n for n, cell in enumerate(notebook["cells"]) if "check_parameters(" in "".join(cell["source"])
    )
    cells = [cell for cell in notebook["cells"][: checked + 1] if cell["cell_type"] == "code"]
    cells.append(cells[-1] | {"id": "last", "source": "print(task_b.name)"})
    (outside / "begun.ipynb").write_text(json.dumps(notebook | {"cells": cells}))
    command = [sys.executable, "-m", "papermill", "begun.ipynb", "out.ipynb", "-k", "python3"]
    command += ["-p", "shift_family", "my_rules:Smear", "-p", "shift", "0.5"]
    result = subprocess.run(command, cwd=outside, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    (printed,) = json.loads((outside / "out.ipynb").read_text())["cells"][-1]["outputs"]
    assert printed["text"] == ["smear 0.5\n"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rivals", "my_rules:Halvin"], "'my_rules' has no 'Halvin'; it has Halving, Signs."),
        (["--rivals", "your_rules:Halving"], "the module 'your_rules' cannot be imported"),
        (
            ["--rivals", "lame:Rule"],
            "the module 'lame' cannot be imported (No module named 'no_such_package')",
        ),
        (
            ["--rivals", "my_rules:Smear"],
            "'my_rules:Smear' is no direction or rate: it must be a class derived",
        ),
        (["--shift", "my_rules:Shells"], "'my_rules:Shells' is no shift: it must be a class derived from"),
        (["--shift", "my_rules:Smear", "--severity", "9"], "out of range for the shift 'smear'"),
        (["--family", "my_rules:Ring"], "'my_rules' has no 'Ring'"),
    ],
)
def test_a_name_that_is_not_there_ends_with_one_sentence(
    outside: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert cli.main(["evaluate", *TINY, *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


def test_what_cannot_be_trained_from_outside_is_refused_as_clearly(outside: Path) -> None:
    for setting in (
        {"estimator": "my_rules:No"},
        {"inputs": ("my_rules:No",)},
        {"families": ("my_rules:No",)},
    ):
        with pytest.raises(ValueError, match="'my_rules:No': 'my_rules' has no 'No'; it has "):
            MetaTrainConfig(**setting)
    assert make_inputs(["my_rules:LossRise"]) == make_inputs(["my_rules:LossRise"])
    assert contestant("my_rules:Halving")[0] == "halving"


ASK = """
import contextlib, io, json, sys
from metalearn_lib import cli, plots
from metalearn_lib.evaluate.cells import home_cell
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.report.definitions import KINDS, definitions
from metalearn_lib.shifts.random_family import families
from metalearn_lib.sources import Sources, code_digest
from metalearn_lib.web import ShiftExplorer

with contextlib.redirect_stdout(io.StringIO()) as printed:
    cli.main(["evaluate", "--list"])
methods = [contestant("adam")[1], contestant("meta")[1][0], contestant("sgd@mixture")[1]]
pages = {}
if "pages" in sys.argv:
    pages = {"definitions": {kind: definitions(kind) for kind in KINDS}, "page": ShiftExplorer().html()}
print(json.dumps(pages | {
    "list": printed.getvalue().split(),
    "colours": {**plots.COLOURS, **plots.ESTIMATOR_COLOURS},
    "sliders": list(ShiftExplorer().spec["shifts"]),
    "families": list(families()),
    "inputs": [each.name for each in MetaTrainConfig().meta_optimizer.inputs],
    "code": code_digest(Sources().code(home_cell(), *methods)),
}))
"""


def ask(root: Path, *more: str) -> dict:
    """What the library in a folder offers; with "pages", which take long to make, too."""
    command = [sys.executable, "-W", "error", "-c", ASK, *more]
    environment = {"PYTHONPATH": str(root), "PATH": "", "HOME": str(root)}
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


def test_one_file_and_one_line_make_each_kind_appear_wherever_it_should_and_no_kept_row_stale(
    tmp_path: Path,
) -> None:
    shutil.copytree(REPOSITORY / "metalearn_lib", tmp_path / "metalearn_lib")
    before = ask(tmp_path)
    for (package, name), text in ADDED.items():
        folder = tmp_path / "metalearn_lib" / package
        (folder / f"{name}.py").write_text(text)
        init = folder / "__init__.py"
        lines, count = re.subn(
            r'^(    .*"[a-z_ ]+)(",?)$', rf"\1 {name}\2", init.read_text(), count=1, flags=re.MULTILINE
        )
        assert count == 1
        init.write_text(lines)
    after = ask(tmp_path, "pages")
    names = {name for _, name in ADDED}
    assert names & set(before["list"]) == set()
    assert names <= set(after["list"])
    kinds = ("rates", "directions", "shifts", "families", "estimators", "inputs")
    for kind, (_, name) in zip(kinds, ADDED, strict=True):
        assert f"``{name}``" in after["definitions"][kind]
    assert "rate_t = lr / 2^floor(t / 32)" in after["definitions"]["rates"]
    assert "part of the sum of all features" in after["definitions"]["shifts"]
    added = {label: colour for label, colour in after["colours"].items() if label not in before["colours"]}
    assert added.keys() == {"halving", "signs of the gradient", "doubled ES"}
    assert (added["halving"], added["doubled ES"]) == ("#123456", "#654321")
    assert {label: after["colours"][label] for label in before["colours"]} == before["colours"]
    assert set(after["sliders"]) - set(before["sliders"]) == {"smear"}
    assert '"smear":{"label":"smear"' in after["page"]
    assert set(after["families"]) - set(before["families"]) == {"smear", "shells"}
    assert after["inputs"] == before["inputs"], "what a new network sees is told by each input itself"
    assert after["code"] == before["code"]
