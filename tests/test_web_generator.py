"""Printed code against torch, one case per operation."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from browser import evaluate_javascript
from torch import Tensor, nn

from metalearn_lib.web import wasm
from metalearn_lib.web.generator import Program, javascript

aten = torch.ops.aten
Case = tuple[Callable[..., Any], list[Tensor]]


def normal(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape) + 7 * len(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def positive(*shape: int) -> Tensor:
    return normal(*shape).abs() + 0.1


def wild() -> Tensor:
    return torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -2.0, 3.0], dtype=torch.float64)


def whole(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(high))


PAIR = [normal(3, 4), normal(3, 4)]
ONE = [normal(3, 4)]
CASES: dict[str, Case] = {
    # element-wise
    "abs": (torch.abs, ONE),
    "add": (torch.add, PAIR),
    "add_alpha": (lambda a, b: torch.add(a, b, alpha=-2), PAIR),
    "add_broadcast": (torch.add, [normal(3, 1), normal(4)]),
    "add_scalar": (lambda a: a + 1.5, ONE),
    "addcmul": (lambda a, b: torch.addcmul(a, b, b, value=-1), PAIR),
    "clamp": (lambda a: a.clamp(-0.5, 0.5), [wild()]),
    "clamp_max": (lambda a: a.clamp(max=0.5), [wild()]),
    "clamp_min": (lambda a: a.clamp_min(0.5), [wild()]),
    "cos": (torch.cos, ONE),
    "div": (torch.div, PAIR),
    "div_floor": (lambda a, b: torch.div(a, b, rounding_mode="floor"), PAIR),
    "div_trunc": (lambda a, b: torch.div(a, b, rounding_mode="trunc"), PAIR),
    "eq": (lambda a, b: (a == b).double(), [whole(3, 9), whole(2, 9)]),
    "exp": (torch.exp, ONE),
    "ge": (lambda a, b: (a >= b).double(), PAIR),
    "gt": (lambda a: (a > 0).double(), [wild()]),
    "le": (lambda a, b: (a <= b).double(), PAIR),
    "lerp": (torch.lerp, [normal(5), normal(1), torch.linspace(0, 1, 5, dtype=torch.float64)]),
    "lerp_scalar": (lambda a, b: torch.lerp(a, b, 0.1), PAIR),
    "log": (torch.log, [positive(5)]),
    "log_of_anything": (torch.log, [wild()]),
    "logical_not": (lambda a: (a > 0).logical_not().double(), ONE),
    "lt": (lambda a, b: (a < b).double(), PAIR),
    "maximum": (torch.maximum, PAIR),
    "minimum": (torch.minimum, PAIR),
    "mul": (torch.mul, PAIR),
    "nan_to_num": (lambda a: a.nan_to_num(1.0, 2.0, -3.0), [wild()]),
    "nan_to_num_default": (lambda a: a.nan_to_num(), [wild()]),
    "ne": (lambda a, b: (a != b).double(), [whole(3, 9), whole(2, 9)]),
    "neg": (torch.neg, ONE),
    "pow": (lambda a, b: a**b, [positive(4), normal(4)]),
    "pow_of_scalar": (lambda a: 0.9**a, ONE),
    "pow_2": (lambda a: a**2, ONE),
    "pow_half": (lambda a: a**0.5, [positive(4)]),
    "pow_3": (lambda a: a**3, ONE),
    "reciprocal": (torch.reciprocal, ONE),
    "relu": (torch.relu, [wild()]),
    "remainder": (lambda a: torch.remainder(a, 3), [whole(20, 9) - 10]),
    "rsqrt": (torch.rsqrt, [positive(4)]),
    "rsub": (lambda a: 1 - a, ONE),
    "sigmoid": (torch.sigmoid, ONE),
    "sign": (torch.sign, [normal(4)]),
    "sin": (torch.sin, ONE),
    "sqrt": (torch.sqrt, [positive(4)]),
    "sub": (torch.sub, PAIR),
    "tanh": (torch.tanh, ONE),
    "tanh_backward": (aten.tanh_backward, PAIR),
    "threshold_backward": (lambda a, b: aten.threshold_backward(a, b, 0), [normal(6), wild()]),
    "trunc_to_int": (lambda a: a.long().double(), [3 * normal(6)]),
    "where": (lambda a, b: torch.where(a > 0, a, b), PAIR),
    "xlogy": (
        torch.xlogy,
        [torch.tensor([0.0, 0.0, 0.5]).double(), torch.tensor([0.0, float("nan"), 0.5]).double()],
    ),
    "chain": (lambda a, b: ((a - b).exp() * 2 + a).tanh() / (b * b + 1), PAIR),
    "no_number": (lambda a: a * float("nan"), ONE),
    # filled
    "arange": (lambda a: a + torch.arange(4), ONE),
    "eye": (lambda a: a + torch.eye(4, dtype=a.dtype), [normal(4, 4)]),
    "full": (lambda a: a + torch.full((4,), 2.5), ONE),
    "full_like": (lambda a: a + torch.full_like(a, 2.5), ONE),
    "linspace": (lambda a, b: torch.linspace(a[0], b[0], 7, dtype=a.dtype), [normal(1), positive(1)]),
    "new_zeros": (lambda a: a + a.new_zeros(4), ONE),
    "ones": (lambda a: a + torch.ones(4), ONE),
    "ones_like": (lambda a: a + torch.ones_like(a), ONE),
    "zeros": (lambda a: a + torch.zeros(4), ONE),
    "zeros_like": (lambda a: a + torch.zeros_like(a), ONE),
    "constant": (lambda a: a + a.new_tensor([1.0, 2.0, 3.0, 4.0]), ONE),
    # views
    "unbind": (lambda a: sum(a.unbind(1)) + a.unbind()[1][:1], ONE),
    "expand": (lambda a: a.expand(3, 4) + 1, [normal(1, 4)]),
    "permute": (lambda a: a.permute(2, 0, 1) + 1, [normal(2, 3, 4)]),
    "reshape_turned": (lambda a: a.t().reshape(2, 6), ONE),
    "select": (lambda a: a[:, -1] + a.select(1, 0), ONE),
    "slice": (lambda a: a[1:, ::2] - a[:-1, 1:3], ONE),
    "slice_from_end": (lambda a: a[-2:] + 0, ONE),
    "split": (lambda a: torch.add(*a.split([2, 2], 1)), ONE),
    "squeeze": (lambda a: a.squeeze(-1) + 1, [normal(3, 1)]),
    "stack": (lambda a, b: torch.stack([a, b], 1), PAIR),
    "stack_of_one": (lambda a: torch.stack([a]) + 1, ONE),
    "t": (lambda a: a.t().clone(), ONE),
    "transpose": (lambda a: a.transpose(-1, 0) * 2, [normal(2, 3, 4)]),
    "unsqueeze": (lambda a: a.unsqueeze(1) * 2, ONE),
    "view": (lambda a: a.view(2, 6) * 2, ONE),
    # rows and pieces
    "cat": (lambda a, b: torch.cat([a, b, a * 2], 1), [normal(3, 2), normal(3, 5)]),
    "cat_flat": (lambda a, b: torch.cat([a, b]), [normal(20), normal(30)]),
    "index": (lambda a, i: a[i], [normal(5, 3), whole(5, 8)]),
    "index_select": (lambda a, i: a.index_select(0, i), [normal(5, 3), whole(5, 8)]),
    # sums
    "amax": (lambda a: a.amax(1), ONE),
    "amin": (lambda a: a.amin((0, 2)), [normal(2, 3, 8)]),
    "mean": (lambda a: a.mean(-1), ONE),
    "mean_of_all": (lambda a: a.mean(), ONE),
    "norm": (lambda a: torch.linalg.vector_norm(a, dim=1), [normal(2, 12)]),
    "norm_of_all": (torch.linalg.vector_norm, [normal(7)]),
    "sum": (lambda a: a.sum(1), [normal(3, 5, 2)]),
    "sum_of_all": (lambda a: a.sum(), ONE),
    "sum_of_several": (lambda a: a.sum((0, 2)), [normal(3, 5, 4)]),
    "sum_keeping": (lambda a: a.sum(1, keepdim=True) / a, ONE),
    "sum_turned": (lambda a: a.t().sum(0), ONE),
    "log_softmax": (lambda a: a.log_softmax(1), [100 * normal(2, 4, 6)]),
    "log_softmax_backward": (
        lambda a, b: aten._log_softmax_backward_data(a, b.log_softmax(0), 0, torch.float64),
        PAIR,
    ),
    "softmax": (lambda a: a.softmax(-1), [100 * normal(5, 3)]),
    # matrices
    "addmm": (torch.addmm, [normal(4), normal(3, 5), normal(5, 4)]),
    "baddbmm": (torch.baddbmm, [normal(2, 32, 1), normal(2, 32, 8), normal(2, 8, 16)]),
    "bmm": (torch.bmm, [normal(3, 4, 5), normal(3, 5, 6)]),
    "mm": (torch.mm, [normal(3, 5), normal(5, 4)]),
    "mm_turned": (lambda a, b: a.t() @ b.t(), [normal(5, 3), normal(4, 5)]),
    "matmul_vector": (lambda a, b: a @ b, [normal(2, 16, 12), normal(2, 12, 1)]),
    "diag": (torch.diag, [normal(4)]),
    "diags": (torch.diag_embed, [normal(3, 4)]),
    "qr": (lambda a: torch.linalg.qr(a)[0] + torch.linalg.qr(a)[1], [normal(5, 5)]),
    "qr_of_two": (lambda a: torch.stack(torch.linalg.qr(a)), [normal(2, 2)]),
    "qr_triangular": (lambda a: torch.stack(torch.linalg.qr(a)), [normal(3, 3).triu()]),
    # products large enough for WebAssembly, in each order that their operands may lie
    "simd_columns": (torch.mm, [normal(32, 32), normal(32, 128)]),
    "simd_columns_turned": (lambda a, b: a.t() @ b, [normal(32, 7), normal(32, 66)]),
    "simd_bias_per_row": (torch.baddbmm, [normal(1, 12, 1), normal(1, 12, 9), normal(1, 9, 128)]),
    "simd_bias_per_column": (torch.addmm, [normal(64), normal(32, 32), normal(32, 64)]),
    "simd_sums": (lambda a, b: a @ b.t(), [normal(32, 128), normal(33, 128)]),
    "simd_sums_odd": (lambda a, b: a @ b.t(), [normal(17, 66), normal(5, 66)]),
    "simd_sums_added": (
        lambda a, b, c: torch.addmm(c, a, b.t()),
        [normal(16, 64), normal(6, 64), normal(16, 1)],
    ),
    "simd_part": (lambda a, b: a[3:, 1:] @ b[2:, 4:], [normal(35, 33), normal(34, 68)]),
}


def run(programs: dict[str, Program], folder: Any, simd: bool = True) -> dict[str, list[list[float]]]:
    """Outputs of each printed program on its own inputs; what JSON cannot say is said in words."""
    data = {
        name: [tensor.double().flatten().tolist() for tensor in program.inputs]
        for name, program in programs.items()
    }
    return evaluate_javascript(
        "(() => { const P = (" + javascript(programs, simd) + ")(), D = " + json.dumps(data) + ", R = {};"
        "for (const [name, program] of Object.entries(P)) { D[name].forEach((d, i) => program.inputs[i].set(d));"
        "program.run(); R[name] = program.outputs.map((o) => Array.from(o, String)); } return R; })()",
        folder,
    )


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[float]]]:
    programs = {name: program(*case) for name, case in CASES.items()}
    return run(programs, tmp_path_factory.mktemp("generator"))


def program(function: Callable[..., Any], inputs: Sequence[Tensor]) -> Program:
    return Program(lambda *tensors: [function(*tensors)], inputs)


@pytest.mark.parametrize("name", CASES)
def test_the_printed_operation_gives_torchs_answer(answers: dict[str, list[list[float]]], name: str) -> None:
    function, inputs = CASES[name]
    expected = function(*inputs).double().flatten()
    found = torch.tensor([float(number) for number in answers[name][0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14, equal_nan=True)


def test_every_large_product_is_printed_as_webassembly_and_as_loops_with_one_answer(tmp_path: Any) -> None:
    programs = {name: program(*case) for name, case in CASES.items() if name.startswith("simd")}
    text = javascript(programs)
    assert text.count("W[") == len(programs)
    assert "W[" not in javascript(programs, simd=False)
    loops = run(programs, tmp_path, simd=False)
    for name, (function, inputs) in CASES.items():
        if name in programs:
            found = torch.tensor([float(number) for number in loops[name][0]], dtype=torch.float64)
            torch.testing.assert_close(found, function(*inputs).flatten(), rtol=1e-12, atol=1e-12)


def test_state_that_is_carried_goes_round(tmp_path: Any) -> None:
    fibonacci = Program(lambda a, b: [b, a + b], [torch.zeros(1), torch.ones(1)], {0: 0, 1: 1})
    source = (
        f"(() => {{ const p = ({javascript({'p': fibonacci})})().p; p.inputs[0][0] = 0; p.inputs[1][0] = 1;"
    )
    source += "const seen = []; for (let i = 0; i < 8; i++) { p.run(); seen.push(p.outputs[0][0]); } return seen; })()"
    assert evaluate_javascript(source, tmp_path) == [1, 1, 2, 3, 5, 8, 13, 21]


def test_an_output_keeps_the_old_state_that_is_then_overwritten(tmp_path: Any) -> None:
    doubling = Program(lambda a: [2 * a, a], [torch.ones(3)], {0: 0})
    assert run({"p": doubling}, tmp_path)["p"] == [["2"] * 3, ["1"] * 3]


def test_one_tensor_given_twice_is_two_inputs(tmp_path: Any) -> None:
    same = torch.ones(2)
    assert run({"p": Program(lambda a, b: [a + 2 * b], [same, same])}, tmp_path)["p"] == [["3", "3"]]


def test_the_gradient_of_a_module_can_be_printed(tmp_path: Any) -> None:
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    weights = [parameter.detach() for parameter in net.parameters()]

    def gradient(x: Tensor, *weights: Tensor) -> list[Tensor]:
        def loss(*weights: Tensor) -> Tensor:
            named = dict(zip(dict(net.named_parameters()), weights, strict=True))
            return torch.func.functional_call(net, named, (x,)).log_softmax(-1).square().mean()

        return list(torch.func.grad(loss, tuple(range(len(weights))))(*weights))

    inputs = [normal(6, 2), *weights]
    found = run({"p": Program(gradient, inputs)}, tmp_path)["p"]
    for piece, expected in zip(found, gradient(*inputs), strict=True):
        numbers = torch.tensor([float(number) for number in piece], dtype=torch.float64)
        torch.testing.assert_close(numbers, expected.flatten(), rtol=1e-12, atol=1e-14)


def test_an_operation_without_a_case_is_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match=r"aten\.erfinv\.default has no case; add one"):
        javascript({"p": program(torch.erfinv, [positive(3)])})


@pytest.mark.parametrize("number", [0, 63, 64, 127, 128, 300, 65536])
def test_numbers_are_coded_as_leb128(number: int) -> None:
    code = wasm._signed(number)
    value = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(code))
    assert value == number
    assert not code[-1] & 0xC0
