"""Base learners: networks whose weights are passed in, for many tasks at once.

Weights are one flat vector per task, `(tasks, weights)`, so that directions, norms and updates are single operations.
A learner answers two questions about them: the loss, and the loss with its gradient.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, grad_and_value, vmap


class Batch(NamedTuple):
    """Points of each task: inputs `(tasks, batch, features)` and class probabilities `(tasks, batch, classes)`."""

    x: Tensor
    target: Tensor

    def shared(self, runs: int) -> Batch:
        """The batch of each of `runs`, of which run i meets the points of task `i % tasks`."""
        arms = runs // len(self.x)
        return self if arms == 1 else Batch(*(torch.cat([each] * arms) for each in self))


class Learner(ABC):
    """A network over stacked tasks, with cross-entropy as its loss."""

    num_params: int

    @abstractmethod
    def init(self, generator: Generator) -> Tensor:
        """Initial weights of one task, `(weights,)`."""

    @abstractmethod
    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Class scores `(tasks, batch, classes)` of inputs `(tasks, batch, features)`."""

    @abstractmethod
    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of each run `(runs,)` and its gradient `(runs, weights)`.

        There may be several times as many runs as the batch has tasks, as antithetic arms; see `Batch.shared`.
        """

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of each run `(runs,)`, in nats."""
        batch = batch.shared(len(params))
        return -(self.logits(params, batch.x).log_softmax(-1) * batch.target).sum(-1).mean(-1)


@dataclass(frozen=True)
class MLP(Learner):
    """Linear layers with rectifiers or hyperbolic tangents between, forward and backward written out over the tasks.

    Activations are kept feature-major, `(tasks, features, batch)`, so that each layer is one batched matrix product
    whose long side is the batch. The gradient equals autograd's. A layer's weights are its matrix `(out, in)`, then
    its bias.

    Args:
        sizes: widths from inputs to classes, as in `(2, 32, 32, 4)`.
        activation: `"relu"`, the rectifier, or `"tanh"`.
        init_scale: a factor on the initial matrices.

    Raises:
        ValueError: for a network without layers, an unknown activation, or a factor that is not positive.

    References: initial weights as in He et al. (2015) [he2015delving], `N(0, 2 / fan_in)`; biases are zero.
    """

    sizes: tuple[int, ...]
    activation: str = "relu"
    init_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.activation not in ("relu", "tanh") or not self.init_scale > 0:
            raise ValueError(
                f"activation={self.activation!r}, init_scale={self.init_scale}: use relu or tanh, and a factor above 0."
            )
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(
                f"sizes={self.sizes} is no network; give at least two widths of 1 or more, as (2, 32, 4)."
            )

    @property
    def num_params(self) -> int:  # type: ignore[override]
        return sum(fan_in * fan_out + fan_out for fan_in, fan_out in self._shapes())

    def init(self, generator: Generator) -> Tensor:
        pieces = []
        for fan_in, fan_out in self._shapes():
            pieces += [
                self.init_scale * math.sqrt(2 / fan_in) * torch.randn(fan_out * fan_in, generator=generator),
                torch.zeros(fan_out),
            ]
        return torch.cat(pieces)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        return self._forward(self._layers(params), x)[-1].transpose(1, 2)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        batch = batch.shared(len(params))
        layers = self._layers(params)
        *hidden, scores = self._forward(layers, batch.x)
        log_probability = scores.log_softmax(1)
        target = batch.target.transpose(1, 2)
        batch_size = batch.x.shape[1]
        loss = -(log_probability * target).sum((1, 2)) / batch_size

        pieces: list[Tensor] = []
        delta = (log_probability.exp() - target) / batch_size
        for (weight, _), entering in zip(reversed(layers), reversed(hidden), strict=True):
            pieces[:0] = [torch.bmm(delta, entering.transpose(1, 2)).flatten(1), delta.sum(2)]
            if len(pieces) < 2 * len(layers):
                delta = self._backward(torch.bmm(weight.transpose(1, 2), delta), entering)
        return loss, torch.cat(pieces, 1)

    def _shapes(self) -> list[tuple[int, int]]:
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    def _layers(self, params: Tensor) -> list[tuple[Tensor, Tensor]]:
        layers, start = [], 0
        for fan_in, fan_out in self._shapes():
            middle, end = start + fan_in * fan_out, start + (fan_in + 1) * fan_out
            layers.append(
                (params[:, start:middle].view(-1, fan_out, fan_in), params[:, middle:end].unsqueeze(2))
            )
            start = end
        return layers

    def _backward(self, delta: Tensor, activation: Tensor) -> Tensor:
        """`delta` times the activation function's slope, in terms of its value."""
        if self.activation == "tanh":
            return delta * (1 - activation * activation)
        # the rectifier's own backward: `delta` where the activation was positive, else 0
        return torch.ops.aten.threshold_backward(delta, activation, 0)

    def _forward(self, layers: list[tuple[Tensor, Tensor]], x: Tensor) -> list[Tensor]:
        """What enters each layer, and the scores: `(tasks, width, batch)` each."""
        activations = [x.transpose(1, 2)]
        for depth, (weight, bias) in enumerate(layers, start=1):
            scores = torch.baddbmm(bias, weight, activations[-1])
            if depth < len(layers):
                scores = scores.relu() if self.activation == "relu" else scores.tanh()
            activations.append(scores)
        return activations


class ModuleLearner(Learner):
    """Any `nn.Module` that maps `(batch, features)` to class scores, differentiated by `torch.func`.

    An `nn.Sequential` of linear layers and rectifiers gives the answers of `MLP`, more slowly.

    Args:
        make: builds a fresh module; its own initialisation is used, under the instance's generator.

    Raises:
        ValueError: when the module has buffers (running statistics), which do not stack over tasks.
    """

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self.make = make
        self.module = make()
        if any(True for _ in self.module.buffers()):
            raise ValueError(
                f"{type(self.module).__name__} has buffers, which do not stack over tasks; use layers without running "
                "statistics, as GroupNorm in place of BatchNorm."
            )
        self.shapes = {name: parameter.shape for name, parameter in self.module.named_parameters()}
        self.num_params = sum(shape.numel() for shape in self.shapes.values())

    def init(self, generator: Generator) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            return torch.cat([parameter.detach().flatten() for parameter in self.make().parameters()])

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        return vmap(self._logits)(params, x)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        def loss(params: Tensor, x: Tensor, target: Tensor) -> Tensor:
            return -(self._logits(params, x).log_softmax(-1) * target).sum(-1).mean()

        gradient, value = vmap(grad_and_value(loss))(params, *batch.shared(len(params)))
        return value, gradient

    def _logits(self, params: Tensor, x: Tensor) -> Tensor:
        pieces = params.split([shape.numel() for shape in self.shapes.values()])
        named = {
            name: piece.view(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }
        return functional_call(self.module, named, (x,))


def tensor_sizes(learner: Learner) -> tuple[tuple[int, int], ...]:
    """How many weights each of a network's tensors has, in their order, and to how many inputs each of its units is
    joined, its fan-in; 0 where it is no matrix, as a bias is none.

    Raises:
        ValueError: for a learner whose tensors are not known.
    """
    mlp = getattr(learner, "mlp", learner)
    if isinstance(mlp, MLP):
        pairs = pairwise(mlp.sizes)
        return tuple(each for fan_in, fan_out in pairs for each in ((fan_in * fan_out, fan_in), (fan_out, 0)))
    if isinstance(mlp, ModuleLearner):
        shapes = mlp.shapes.values()
        return tuple((shape.numel(), shape[1:].numel() if len(shape) > 1 else 0) for shape in shapes)
    raise ValueError(
        f"{type(learner).__name__} does not say what its tensors are; use an MLP or a ModuleLearner."
    )


def layer_sizes(learner: Learner) -> tuple[int, ...]:
    """How many weights each layer of a network has, in their order; a module's layers are its innermost modules.

    Raises:
        ValueError: for a learner whose layers are not known.
    """
    mlp = getattr(learner, "mlp", learner)
    if isinstance(mlp, MLP):
        return tuple((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(mlp.sizes))
    if isinstance(mlp, ModuleLearner):
        owners = groupby(mlp.shapes.items(), key=lambda each: each[0].rpartition(".")[0])
        return tuple(sum(shape.numel() for _, shape in tensors) for _, tensors in owners)
    raise ValueError(
        f"{type(learner).__name__} does not say what its layers are; use an MLP or a ModuleLearner."
    )
