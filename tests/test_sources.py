"""What an answer's code is, on a package of three files that are edited, and on the package's own questions."""

import importlib
import sys
from types import ModuleType

import pytest

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import Cell, Learn, Method, Tune, constant
from metalearn_lib.evaluate.jobs import Job
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.rates.polyak import Polyak
from metalearn_lib.sources import Sources, code_digest, is_ours
from metalearn_lib.studies.tables import kept_tables
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

FILES = {
    "base.py": "STEP = 1\n\n\nclass Base:\n    def walk(self, x):\n        return x + STEP\n",
    "tools.py": (
        "def double(x):\n    return 2 * x\n\n\n"
        "def unused(x):\n    return double(x) - 7\n\n\ndef late(x):\n    return x\n"
    ),
    "rule.py": (
        "from pathlib import Path\n\nimport numpy\n\nfrom toy import tools\nfrom toy.base import Base\n\n"
        "TABLE = Path(__file__).with_name('table.cpp')\n\n\n"
        "class Rule(Base):\n    def run(self, x: int) -> int:\n        from toy.tools import late\n\n"
        "        return numpy.abs(late(tools.double(self.walk(x))), TABLE)\n\n\n"
        "class Other:\n    def run(self, x):\n        return x\n"
    ),
    "table.cpp": "int a = 1;\n",
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The folder of a package `toy`; `toy.code()` is what `Rule()` depends on as its files now stand."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "toy"]:
        monkeypatch.delitem(sys.modules, name)
    rule = importlib.import_module("toy.rule")
    is_ours.cache_clear()

    class Toy:
        def code(self, name="Rule"):
            return Sources().code(getattr(rule, name)())

        def edit(self, file, old, new):
            text = (folder / file).read_text()
            assert old in text
            (folder / file).write_text(text.replace(old, new))

    return Toy()


def test_what_a_class_uses_is_followed_through_its_bases_modules_imports_and_files(toy):
    assert set(toy.code()) == {
        "toy.rule.Rule",
        "toy.rule.TABLE",
        "toy.rule.table.cpp",
        "toy.base.Base",
        "toy.base.STEP",
        "toy.tools.double",
        "toy.tools.late",
        "torch",
    }
    assert set(toy.code("Other")) == {"toy.rule.Other", "torch"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("base.py", "STEP = 1", "STEP = 2"),
        ("base.py", "x + STEP", "STEP + x"),
        ("tools.py", "2 * x", "2 * (x - 0)"),
        ("tools.py", "def late(x):\n    return x", "def late(x):\n    return -x"),
        ("rule.py", "tools.double(self", "tools.double(0, self"),
        ("table.cpp", "1", "2"),
    ],
)
def test_an_edit_of_what_it_uses_changes_its_code_and_no_other_s(toy, file, old, new):
    before, other = code_digest(toy.code()), code_digest(toy.code("Other"))
    toy.edit(file, old, new)
    assert code_digest(toy.code()) != before
    assert code_digest(toy.code("Other")) == other


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tools.py", "double(x) - 7", "double(x) - 8"),
        ("tools.py", "def double(x):\n", 'def double(x):  # twice\n    """Twice."""\n'),
        ("rule.py", "x: int) -> int", "x: float) -> float"),
        ("rule.py", "class Other:", "class Unlike:"),
        ("table.cpp", "int a = 1;", "// one\nint a =\n  1;  // more"),
    ],
)
def test_what_decides_nothing_does_not_count(toy, file, old, new):
    before = code_digest(toy.code())
    toy.edit(file, old, new)
    assert code_digest(toy.code()) == before


def test_a_definition_may_move_to_another_file(toy):
    before = code_digest(toy.code())
    toy.edit("tools.py", "def double(x):\n    return 2 * x\n", "from toy.base import double\n")
    toy.edit("base.py", "STEP = 1\n", "STEP = 1\n\n\ndef double(x):\n    return 2 * x\n")
    assert "toy.base.double" in toy.code()
    assert code_digest(toy.code()) == before


def test_a_class_without_a_file_counts_by_what_its_functions_say(monkeypatch):
    def made(text):
        notebook = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", notebook)
        exec(text, vars(notebook))
        return code_digest(Sources().code(notebook.answer))

    one, other = (made(f"answer = {{'rule': {number}}}['rule'].__class__") for number in (1, 2))
    assert one == other  # a builtin is nobody's


CELL = Cell("tiny", GaussianMixture(num_points=96, num_test=64), hidden=(8,), batch_size=32, horizon=24)
SEEDS = Seeds("score", 2), Seeds("tune", 2)


def code_of(recipe):
    return Job(CELL, "m", -1, recipe, *SEEDS).rows.code(Sources())


def test_a_row_depends_on_its_own_rule_and_on_no_other():
    sgd = code_of(Tune(constant(Gradient()), CELL))
    polyak = code_of(Method(Gradient(), Polyak(1.0)))
    theta = MetaOptimizer().init_theta(SEEDS[0].generator(0, "data"))
    learned = code_of(Learn(Gradient(), LearnedRate(1.0, theta), Tune(constant(Gradient()))))
    everywhere = {"inner_loop.InnerLoop", "monitor.Monitor", "fused.learner.gradient.cpp", "cores.one_thread"}
    assert everywhere <= set(sgd) & set(polyak) & set(learned)
    assert "rates.polyak.Polyak" in polyak
    assert "rates.polyak.Polyak" not in set(sgd) | set(learned)
    assert {"rates.learned.LearnedRate", "meta_optimizer.MetaOptimizer"} <= set(learned) - set(sgd)
    assert "evaluate.tuning.search" in sgd
    assert "evaluate.tuning.search" not in polyak
    drawn = {"statistics.paired.resampled"}  # it says how likely tuning is to give a rate
    reached = set(sgd) | set(learned)
    assert not any(
        name.startswith(("plots", "report", "meta_train", "statistics")) for name in reached - drawn
    )


def test_two_classes_of_one_name_and_fields_but_other_code_are_two_questions():
    class Polyak(Constant):
        pass

    mine, theirs = (
        Job(CELL, "m", -1, Method(Gradient(), rate), *SEEDS).rows for rate in (Polyak(1.0), Constant(1.0))
    )
    assert mine.key != theirs.key
    assert mine.digest(Sources()) != theirs.digest(Sources())


def test_no_kept_row_looks_a_rule_up_by_name():
    sources = Sources()
    for study in kept_tables().values():
        names = {name for job in study.jobs for name in job.rows.code(sources)}
        assert not {
            name
            for name in names
            if name.endswith(("Registry", ".RATES", ".DIRECTIONS", ".SHIFTS", ".TASKS"))
        }
        assert "inner_loop.InnerLoop" in names
