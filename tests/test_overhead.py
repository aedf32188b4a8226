import pytest

from metalearn_lib.directions.dog import DoG
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate.cells import home_cell
from metalearn_lib.evaluate.methods import Method
from metalearn_lib.evaluate.overhead import overheads
from metalearn_lib.fused.learner import Fused
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.step_decay import StepDecay
from metalearn_lib.types import Seeds


def test_methods_cost_what_their_loops_do_and_one_from_a_package_is_left_out():
    plain = Method(Gradient(), Constant(0.1))
    methods = {"SGD": plain, "of two meta-seeds": [plain, plain], "DoG": Method(DoG(), Constant(1.0))}
    costs = overheads(methods, {name: {} for name in methods}, home_cell(), Seeds("tune", 2), 2)
    assert list(costs) == ["SGD", "of two meta-seeds"]
    assert costs["SGD"] == 1


@pytest.mark.skipif(not isinstance(home_cell().learner, Fused), reason="no C++ compiler")
def test_in_cpp_those_are_timed_that_its_loop_holds():
    methods = {
        "SGD": Method(Gradient(), Constant(0.1)),
        "SGD, by step": Method(Gradient(), StepDecay(0.1, 3)),
    }
    costs = overheads(
        methods, {name: {} for name in methods}, home_cell(), Seeds("tune", 2), 2, compiled=True
    )
    assert list(costs) == ["SGD"]
