import json

import pytest
import torch

from metalearn_lib.gradient_estimators import AntitheticES, meta_loss, rewards
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.meta_optimizers import LearnedRate, MetaOptimizer, load_theta, save_theta
from metalearn_lib.meta_train import MetaTrainConfig, meta_train, meta_train_best, validation_loss
from metalearn_lib.types import Info

TINY = MetaTrainConfig(num_tasks=4, horizon=6, batch_size=16, outer_steps=3)


def info_of(loss: torch.Tensor) -> Info:
    return Info(loss, loss, loss, loss)


def test_the_return_is_the_mean_log_loss_relative_to_the_start():
    loss = torch.rand(5, 12, dtype=torch.float64) + 0.1
    closed_form = (loss.log() - loss[:, :1].log()).mean(1)
    torch.testing.assert_close(meta_loss(info_of(loss)), closed_form)


def test_the_return_rewards_speed_where_the_plain_sum_of_rewards_does_not():
    early = torch.tensor([[4.0, 1.0, 1.0, 1.0]])
    late = torch.tensor([[4.0, 4.0, 4.0, 1.0]])
    assert rewards(info_of(early)).sum() == rewards(info_of(late)).sum()
    assert meta_loss(info_of(early)) < meta_loss(info_of(late))


def test_a_diverged_run_counts_at_the_bound():
    loss = torch.tensor([[1.0, torch.inf, torch.nan, torch.nan]])
    assert meta_loss(info_of(loss)).item() == pytest.approx(3 * 3 / 4)


def test_antithetic_evolution_agrees_with_backpropagation(family, learner, instances):
    """Perturbations so small that no rectifier switches, where a trajectory jumps: there smoothing changes nothing."""
    meta_optimizer = MetaOptimizer(hidden=2)
    generator = torch.Generator().manual_seed(0)
    theta = 0.02 * torch.randn(meta_optimizer.num_theta, generator=generator, dtype=torch.float64)

    def losses(theta):
        return meta_loss(InnerLoop(learner, LearnedRate(0.3, theta, meta_optimizer)).unroll(instances)[1])

    theta.requires_grad_()
    of_tasks = torch.stack([torch.autograd.grad(loss, theta, retain_graph=True)[0] for loss in losses(theta)])
    exact = of_tasks.mean(0)
    theta = theta.detach()
    many = instances.take(torch.arange(6).repeat(400))
    loop = InnerLoop(learner, LearnedRate(0.3, theta, meta_optimizer))
    with torch.no_grad():
        estimate = AntitheticES(1e-7)(loop, loop.init(many.params), theta, many, generator)
    assert torch.cosine_similarity(estimate.gradient, exact, 0) > 0.95
    # the estimator's own noise, exactly: each pair scatters by |g_i| sqrt(theta + 1) about its task's gradient g_i
    noise = (of_tasks.square().sum(1).mean() * (len(theta) + 1) / 2400).sqrt()
    assert 0.7 < (estimate.gradient - exact).norm() / noise < 1.3
    assert estimate.meta_loss.item() == pytest.approx(losses(theta).mean().item(), rel=1e-4)
    assert estimate.num_gradients == 2 * 2400 * 20
    assert estimate.num_nonfinite == 0


def test_training_lowers_the_loss_on_validation_tasks():
    config = MetaTrainConfig(num_tasks=16, horizon=24, batch_size=64, outer_steps=25, base_lr_decades=1.0)
    untrained = MetaOptimizer().init_theta(torch.Generator().manual_seed(0))
    trained = meta_train(config, progress=False)
    assert validation_loss(config, trained.theta, 32) < validation_loss(config, untrained, 32) - 0.1
    assert trained.card["gradient_evaluations"] == 2 * 16 * 24 * 25


def test_the_same_config_gives_the_same_theta_and_another_seed_another():
    first, again = (meta_train(TINY, progress=False) for _ in range(2))
    assert torch.equal(first.theta, again.theta)
    assert first.history == again.history
    other = meta_train(MetaTrainConfig(**{**first.card["config"], "seed": 1}), progress=False)
    assert not torch.equal(first.theta, other.theta)


def test_the_deployed_meta_seed_is_the_best_on_validation_and_all_are_paid_for():
    best, runs = meta_train_best(TINY, num_seeds=2, workers=1, progress=False)
    losses = [validation_loss(TINY, run.theta) for run in runs]
    assert torch.equal(best.theta, runs[losses.index(min(losses))].theta)
    assert list(best.card["validation_loss"].values()) == losses
    assert best.card["gradient_evaluations_all_seeds"] == 2 * best.card["gradient_evaluations"]


def test_training_from_the_card_gives_the_saved_theta_again(tmp_path):
    trained = meta_train(TINY, progress=False)
    save_theta(tmp_path / "theta.safetensors", trained.theta, trained.card)
    theta, card = load_theta(tmp_path / "theta.safetensors")
    assert card == json.loads(json.dumps(trained.card))
    assert torch.equal(meta_train(MetaTrainConfig(**card["config"]), progress=False).theta, theta)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x80\x04\x95 a pickle"])
def test_a_file_that_is_not_ours_is_refused_by_name(tmp_path, content):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"foreign.safetensors is no trained meta-optimizer.*metalearn_lib train"
    ):
        load_theta(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "theta.safetensors"
    save_theta(path, torch.zeros(353), {})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="damaged"):
        load_theta(path)


def test_a_name_that_is_no_file_is_refused_with_the_shipped_names():
    with pytest.raises(ValueError, match="'sdg' is neither a file nor a shipped meta-optimizer"):
        load_theta("sdg")


def test_a_theta_of_another_architecture_is_refused(instances, learner):
    with pytest.raises(ValueError, match=r"theta has 10 weights and this meta-optimizer has 353"):
        InnerLoop(learner, LearnedRate(0.1, torch.zeros(10))).unroll(instances)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"direction": "sdg"}, "direction='sdg' is unknown; use one of sgd, momentum, adam"),
        ({"horizon": 1}, "horizon=1 leaves no improvement"),
        ({"sigma": 0.0}, "sigma=0.0 must be a positive number"),
        ({"base_lr": float("nan")}, "base_lr=nan must be a positive number"),
        ({"seed": -1}, "seed=-1 must be 0 or more"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        MetaTrainConfig(**setting)
