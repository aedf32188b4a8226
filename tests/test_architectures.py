import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from metalearn_lib.architectures import (
    ARCHITECTURES,
    LOSSES,
    Attention,
    BatchNorm,
    Convolution,
    LayerNorm,
    Plain,
    Residual,
)
from metalearn_lib.learners import MLP, Batch

FEATURES, CLASSES = 12, 3


def made(kind, loss="cross_entropy", tasks=2):
    learner = kind(FEATURES, CLASSES, (6, 6), loss)
    generator = torch.Generator().manual_seed(0)
    params = torch.stack([learner.init(generator) for _ in range(tasks)]).double()
    params += 0.1 * torch.randn(params.shape, generator=generator, dtype=torch.float64)
    x = torch.randn(tasks, 10, FEATURES, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (tasks, 10), generator=generator)
    return learner, params, Batch(x, torch.eye(CLASSES, dtype=torch.float64)[labels]), labels


def tensors(learner, params):
    sizes = [torch.Size(shape).numel() for shape in learner.shapes().values()]
    return [
        piece.view(shape) for piece, shape in zip(params.split(sizes), learner.shapes().values(), strict=True)
    ]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", [Plain, *ARCHITECTURES.values()], ids=lambda kind: kind.name)
def test_gradients_are_those_of_differences_and_of_each_task_by_itself(kind, loss):
    learner, params, batch, _ = made(kind, loss)
    value, grad = learner.loss_and_grad(params, batch)
    assert (grad.shape, value.shape) == (params.shape, (2,))
    assert not grad.requires_grad
    torch.testing.assert_close(value, learner.loss(params, batch))
    alone, grad_alone = learner.loss_and_grad(params[1:], Batch(batch.x[1:], batch.target[1:]))
    torch.testing.assert_close((alone[0], grad_alone[0]), (value[1], grad[1]))
    way = torch.randn(params.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ahead, behind = (learner.loss(params + step * way, batch) for step in (1e-6, -1e-6))
    torch.testing.assert_close((ahead - behind) / 2e-6, (grad * way).sum(1), rtol=1e-5, atol=1e-7)


def test_without_norms_and_with_cross_entropy_it_is_the_mlp():
    learner, params, batch, _ = made(Plain)
    mlp = MLP((FEATURES, 6, 6, CLASSES))
    torch.testing.assert_close(learner.loss_and_grad(params, batch), mlp.loss_and_grad(params, batch))
    assert torch.equal(
        learner.init(torch.Generator().manual_seed(3)), mlp.init(torch.Generator().manual_seed(3))
    )


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return x + self.second(self.first(x.relu()).relu())


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        (
            LayerNorm,
            nn.Sequential(
                *(
                    nn.Linear(FEATURES, 6),
                    nn.LayerNorm(6),
                    nn.ReLU(),
                    nn.Linear(6, 6),
                    nn.LayerNorm(6),
                    nn.ReLU(),
                ),
                nn.Linear(6, CLASSES),
            ),
        ),
        (
            BatchNorm,
            nn.Sequential(
                *(nn.Linear(FEATURES, 6), nn.BatchNorm1d(6), nn.ReLU()),
                *(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, CLASSES)),
            ),
        ),
        (Residual, nn.Sequential(nn.Linear(FEATURES, 6), Block(), Block(), nn.ReLU(), nn.Linear(6, CLASSES))),
        (
            Convolution,
            nn.Sequential(
                *(
                    nn.Unflatten(1, (1, FEATURES)),
                    nn.Conv1d(1, 6, 5),
                    nn.ReLU(),
                    nn.Conv1d(6, 6, 5, stride=2),
                ),
                *(nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, CLASSES)),
            ),
        ),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_an_architecture_is_the_module_that_torch_makes_of_the_same_weights(kind, module):
    learner, params, batch, labels = made(kind)
    module = copy.deepcopy(module).double()
    for task in range(2):
        for parameter, tensor in zip(module.parameters(), tensors(learner, params[task]), strict=True):
            parameter.data = tensor.reshape(parameter.shape)
        torch.testing.assert_close(
            learner.loss(params, batch)[task], cross_entropy(module(batch.x[task]), labels[task]).detach()
        )


def test_attention_mixes_tokens_as_torch_does():
    learner, params, batch, _ = made(Attention)
    weights = dict(zip(learner.shapes(), tensors(learner, params[0]), strict=True))

    def layer(name, x):
        return nn.functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name, x):
        return nn.functional.layer_norm(x, (6,), weights[f"{name}.gain"], weights[f"{name}.shift"])

    x = batch.x[0].view(10, 3, 4) @ weights["in.weight"].T + weights["place.weight"]
    query, key, value = layer("qkv", norm("before", x)).chunk(3, -1)
    x = x + layer("back", scaled_dot_product_attention(query, key, value))
    x = x + layer("down", layer("up", norm("between", x)).relu())
    torch.testing.assert_close(learner.logits(params, batch.x)[0], layer("out", x.mean(1)))


def test_scales_leave_the_function_and_change_how_it_trains():
    learner, _, batch, _ = made(Residual)
    scales = learner.random_scales(1.0, torch.Generator().manual_seed(5))
    scaled = replace(learner, scales=scales)
    batch = Batch(batch.x.float(), batch.target.float())
    plain, ours = (each.init(torch.Generator().manual_seed(6)).expand(2, -1) for each in (learner, scaled))
    (loss, grad), (ours_loss, ours_grad) = (
        learner.loss_and_grad(plain, batch),
        scaled.loss_and_grad(ours, batch),
    )
    torch.testing.assert_close(ours_loss, loss)
    torch.testing.assert_close(ours_grad, grad * scales, rtol=1e-4, atol=1e-6)
    assert scales.unique().numel() == len(learner.shapes())
    assert 0.1 <= scales.min() < scales.max() <= 10


def test_an_autoencoder_answers_with_its_inputs_and_bad_settings_are_refused():
    assert Plain(FEATURES, CLASSES, (4,), "reconstruction").num_outputs == FEATURES
    with pytest.raises(ValueError, match="loss 'hinge' is unknown; use one of cross_entropy"):
        Plain(FEATURES, CLASSES, (4,), "hinge")
    with pytest.raises(ValueError, match=r"hidden=\(0,\)"):
        Plain(FEATURES, CLASSES, (0,))
