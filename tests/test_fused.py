import os
import shutil
import subprocess
import sys
from copy import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from metalearn_lib.evaluate import Store
from metalearn_lib.fused import learner as fused
from metalearn_lib.fused.compile import FLAGS, integers
from metalearn_lib.fused.learner import LOSS_AND_GRAD, Fused, fuse
from metalearn_lib.fused.loop import UNROLL
from metalearn_lib.inner_loop import CompiledLoop, InnerLoop, draw_instances
from metalearn_lib.learners import MLP, Batch
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.meta_train import MetaTrainConfig, meta_train, validation_loss
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on the path")


@pytest.fixture
def afresh(monkeypatch, tmp_path):
    """As in a process that has made nothing yet, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def forget():
        made = copy(LOSS_AND_GRAD)
        vars(made).pop("function", None)
        monkeypatch.setattr(fused, "LOSS_AND_GRAD", made)

    forget()
    return forget


def stack(sizes, batch_size, num_tasks=3):
    generator = torch.Generator().manual_seed(0)
    params = torch.stack([MLP(sizes).init(generator) for _ in range(num_tasks)])
    params = params + 0.1 * torch.randn(params.shape, generator=generator)
    rows = torch.randn(num_tasks, batch_size, sizes[0] + sizes[-1], generator=generator)
    x, scores = rows.split([sizes[0], sizes[-1]], -1)  # a table's columns, as `Instances.batch` gives them
    return params, Batch(x, scores.softmax(-1))


@needs_compiler
@pytest.mark.parametrize(
    ("sizes", "batch_size"),
    [
        ((2, 32, 32, 4), 128),
        ((16, 32, 32, 4), 64),
        ((3, 7, 5), 9),
        ((64, 20, 48, 17, 10), 100),
        ((5, 3), 1),
        ((1, 1, 2), 33),
        ((2, 32, 32, 4), 300),
    ],
)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_fused_gradient_equals_autograds(sizes, batch_size, activation):
    params, batch = stack(sizes, batch_size)
    mlp = MLP(sizes, activation)
    exact, double = params.double().requires_grad_(), Batch(batch.x.double(), batch.target.double())
    expected = mlp.loss(exact, double)
    (gradient,) = torch.autograd.grad(expected.sum(), exact)
    loss, grad = fuse(mlp).loss_and_grad(params, batch)
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(grad.double(), gradient, rtol=2e-5, atol=2e-6)
    alone = fuse(mlp).loss(params, batch)
    torch.testing.assert_close(alone.double(), expected.detach(), rtol=2e-6, atol=2e-6)
    assert batch_size > 128 or torch.equal(alone, loss)
    assert torch.equal(fuse(mlp).logits(params, batch.x), mlp.logits(params, batch.x))


@needs_compiler
def test_a_task_does_not_depend_on_its_neighbours_nor_on_how_its_points_lie_in_memory():
    learner = fuse(MLP((3, 7, 5)))
    params, batch = stack((3, 7, 5), 20)
    loss, grad = learner.loss_and_grad(params, batch)
    alone = learner.loss_and_grad(
        params[1:2], Batch(batch.x[1:2].contiguous(), batch.target[1:2].contiguous())
    )
    turned = Batch(*(each.transpose(1, 2).contiguous().transpose(1, 2) for each in batch))
    for task, ours in zip(alone, (loss, grad), strict=True):
        assert torch.equal(task, ours[1:2])
    for other, ours in zip(learner.loss_and_grad(params, turned), (loss, grad), strict=True):
        assert torch.equal(other, ours)


@needs_compiler
def test_arms_meet_the_points_of_their_task():
    learner = fuse(MLP((3, 7, 5)))
    params, batch = stack((3, 7, 5), 20, num_tasks=6)
    shared = Batch(batch.x[:3], batch.target[:3])
    whole = Batch(*(torch.cat([each, each]) for each in shared))
    for one, other in zip(
        learner.loss_and_grad(params, shared), learner.loss_and_grad(params, whole), strict=True
    ):
        assert torch.equal(one, other)
    assert torch.equal(learner.loss(params, shared), learner.loss(params, whole))


@needs_compiler
def test_a_run_that_diverges_is_no_number_and_its_neighbours_stay_as_they_are():
    learner = fuse(MLP((3, 7, 5)))
    params, batch = stack((3, 7, 5), 20)
    healthy = learner.loss_and_grad(params, batch)
    params = torch.cat([params[:1], torch.full_like(params[:1], torch.nan), params[2:]])
    loss, grad = learner.loss_and_grad(params, batch)
    assert loss.isfinite().tolist() == [True, False, True]
    assert not grad[1].isfinite().all()
    assert torch.equal(grad[::2], healthy[1][::2])


@needs_compiler
def test_what_is_differentiated_or_is_float64_is_the_mlps_own():
    params, batch = stack((3, 7, 5), 20)
    learner = fuse(MLP((3, 7, 5)))
    double = Batch(*(each.double() for each in batch))
    ours, plain = (each.loss_and_grad(params.double(), double) for each in (learner, MLP((3, 7, 5))))
    assert all(map(torch.equal, ours, plain))
    weights = params.clone().requires_grad_()
    loss, grad = learner.loss_and_grad(weights, batch)
    (along,) = torch.autograd.grad(loss.sum(), weights)
    torch.testing.assert_close(along, grad.detach(), rtol=1e-4, atol=1e-6)


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
@pytest.mark.parametrize("kind", [InnerLoop, CompiledLoop])
def test_the_loop_runs_through_it_and_gives_the_same_answers(kind):
    plain = MLP((2, 8, 4))
    assert isinstance(fuse(plain), Fused)
    instances = draw_instances(GaussianMixture(num_points=64, num_test=8), plain, Seeds("demo", 5), 4, 32)
    theta = 0.1 * torch.randn(MetaOptimizer().num_theta, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (_, ours), (_, theirs) = (
            loop.unroll(instances)
            for loop in (
                kind(fuse(plain), LearnedRate(0.1, theta)),
                InnerLoop(plain, LearnedRate(0.1, theta)),
            )
        )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@needs_compiler
def test_hyperbolic_tangents_end_at_one_and_keep_their_sign_where_they_are_small():
    sizes = (1, 1, 2)
    for weight in (1e-4, 0.5, 8.0, 30.0, 1e5):
        params = torch.tensor([[weight, 0.0, 1.0, -1.0, 0.0, 0.0]])
        batch = Batch(torch.tensor([[[1.0], [-1.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
        ours, theirs = (
            kind.loss_and_grad(params, batch) for kind in (fuse(MLP(sizes, "tanh")), MLP(sizes, "tanh"))
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_without_a_compiler_the_learner_stays_as_it_is(afresh, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert fuse(MLP((3, 7, 5))) == MLP((3, 7, 5))
    assert fuse(MLP((3, 7, 5), "tanh")) == MLP((3, 7, 5), "tanh")


@pytest.mark.parametrize("each", [LOSS_AND_GRAD, UNROLL], ids=lambda each: each.name)
def test_a_compiler_that_fails_is_named_and_not_used(each, monkeypatch, tmp_path):
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho out of paper >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.warns(
        UserWarning, match=rf"broken cannot make {each.source.name}, so it is not used: out of paper"
    ):
        assert type(each).function.func(each) is None
    assert list((tmp_path / "metalearn_lib").iterdir()) == []


@needs_compiler
def test_it_is_compiled_once(afresh, tmp_path):
    assert isinstance(fuse(MLP((3, 7, 5))), Fused)
    (made,) = (tmp_path / "metalearn_lib").iterdir()
    before = made.stat().st_mtime_ns
    afresh()
    assert isinstance(fuse(MLP((3, 7, 5))), Fused)
    assert made.stat().st_mtime_ns == before


@needs_compiler
def test_a_damaged_file_is_named_and_not_used(afresh):
    made = fused.LOSS_AND_GRAD.made_by(shutil.which("g++"))
    made.parent.mkdir(parents=True)
    made.write_bytes(b"half a lib")
    with pytest.warns(
        UserWarning, match=r"gradient-.*\.so cannot be used, and plain PyTorch is.*delete the file"
    ):
        assert fuse(MLP((3, 7, 5))) == MLP((3, 7, 5))


def test_no_room_for_it_is_said(afresh, tmp_path, monkeypatch):
    (tmp_path / "full").write_text("a file in the folder's place")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "full"))
    if shutil.which("g++") is not None:
        with pytest.warns(UserWarning, match="cannot be used, and plain PyTorch is"):
            assert fuse(MLP((3, 7, 5))) == MLP((3, 7, 5))


@needs_compiler
def test_both_files_are_made_without_a_warning(tmp_path):
    command = ["g++", *FLAGS, "-Werror", "-o", tmp_path / "made.so", UNROLL.source]
    assert {"-Wall", "-Wextra"} < set(FLAGS)
    assert '#include "gradient.cpp"' in UNROLL.source.read_text()
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


@needs_compiler
@pytest.mark.parametrize(
    ("params", "x", "target", "message"),
    [
        ((3, 67), (3, 20, 3), (3, 20, 5), "the weights are not as many as the network has"),
        ((3, 68), (3, 20, 4), (3, 20, 5), "another number of features or classes than the network"),
        ((3, 68), (3, 20, 3), (3, 20, 6), "another number of features or classes than the network"),
        ((4, 68), (3, 20, 3), (3, 20, 5), "each task has as many runs, and 1 point or more"),
        ((3, 68), (3, 0, 3), (3, 0, 5), "each task has as many runs, and 1 point or more"),
        ((3, 68), (3, 20, 3), (3, 19, 5), "must be of the same tasks and points"),
        ((3, 68), (3, 20, 3), (1, 20, 5), "must be of the same tasks and points"),
    ],
)
def test_shapes_that_would_be_read_past_their_end_are_refused(params, x, target, message):
    learner = fuse(MLP((3, 7, 5)))
    assert isinstance(learner, Fused)
    batch = Batch(torch.zeros(x), torch.zeros(target))
    for call in (learner.loss_and_grad, learner.loss):
        with pytest.raises(ValueError, match=message):
            call(torch.zeros(params), batch)


@needs_compiler
@pytest.mark.parametrize(
    ("sizes", "batch_size", "activation", "message"),
    [
        ((3,), 1, 1, "two widths or more"),
        ((3, 0, 5), 1, 1, "each of 1 or more"),
        ((3, 2**14 + 1, 5), 1, 1, "above 16,384"),
        ((3, *[2**14] * 9, 5), 2**14, 1, "the network is too large"),
        ((3, 4, 5), 1, 0, "there is no such activation"),
        ((3, 4, 5), 1, 3, "there is no such activation"),
    ],
)
def test_a_network_that_cannot_be_or_is_too_large_is_refused(sizes, batch_size, activation, message):
    num_params = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))
    place = torch.zeros(1).data_ptr()  # with a place for the gradient, all points are taken at a time
    with pytest.raises(ValueError, match=message):
        LOSS_AND_GRAD.function(
            *(None, num_params, place, None, integers(sizes), len(sizes), activation, 1, 1, batch_size),
            *(sizes[0], sizes[-1], None, 0, 0, None, 0, 0),
        )


@needs_compiler
def test_points_of_another_type_are_left_to_the_mlp_to_refuse():
    params, batch = stack((3, 7, 5), 20)
    with pytest.raises(RuntimeError, match="scalar type"):
        fuse(MLP((3, 7, 5))).loss_and_grad(params, Batch(batch.x.double(), batch.target))


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
@pytest.mark.parametrize("vary_setup", [False, True])
def test_training_with_a_compiler_starts_where_training_without_does(vary_setup):
    config = MetaTrainConfig(
        num_tasks=2, tasks_per_chunk=2, horizon=4, batch_size=32, outer_steps=1, vary_setup=vary_setup
    )
    plain, compiled = (
        meta_train(each, progress=False).history
        for each in (config, MetaTrainConfig(**{**vars(config), "compile_step": True}))
    )
    assert compiled["meta_loss"] == pytest.approx(plain["meta_loss"], rel=1e-5)
    assert compiled["gradient_norm"] == pytest.approx(plain["gradient_norm"], rel=1e-3)


def test_a_rule_is_worth_the_same_in_the_compiled_loop_to_rounding():
    config = MetaTrainConfig(horizon=16, families=("home", "moons"))
    theta = config.init_theta() + 0.01
    plain, compiled = (
        validation_loss(each, theta, num_tasks=8) for each in (config, replace(config, compile_step=True))
    )
    assert compiled == pytest.approx(plain, rel=1e-4)


@needs_compiler
def test_what_plain_pytorch_made_where_nothing_compiled_is_not_taken_for_what_the_function_makes(tmp_path):
    script = f"from metalearn_lib.evaluate import Store; Store(None, {str(tmp_path)!r}).keep_facts('key', 'code', {{}})"
    environment = os.environ | {"CXX": "there-is-none"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["key-code-pytorch.json"]
    store = Store(None, tmp_path)
    assert store.facts("key", "code") is None
    store.keep_facts("key", "code", {"a": 1})
    assert Store(None, tmp_path).facts("key", "code") == {"a": 1}
