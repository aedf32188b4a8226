"""Learners beyond the MLP, for a rule that is to travel: norms, residual connections, convolution, attention; and
losses beyond cross-entropy.

All are over stacked tasks, as every learner: weights of a task are one flat vector, and a layer is one batched product
over the tasks.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import batch_norm, binary_cross_entropy_with_logits, layer_norm

from metalearn_lib.learners import Batch, Learner
from metalearn_lib.registry import Named

Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, Tensor]

LOSSES: dict[str, Callable[[Tensor, Batch], Tensor]] = {
    "cross_entropy": lambda out, batch: -(out.log_softmax(-1) * batch.target).sum(-1),
    "squared": lambda out, batch: (out - batch.target).square().mean(-1),
    "binary": lambda out, batch: binary_cross_entropy_with_logits(out, batch.target, reduction="none").mean(
        -1
    ),
    "reconstruction": lambda out, batch: (out - batch.x).square().mean(-1),
}
"""The loss of each point `(runs, batch)`, of a network's outputs: over classes, as one answer to each class, as a yes
or no to each class, or as an autoencoder, whose outputs are as many as its inputs.
"""


@dataclass(frozen=True)
class Architecture(Named, Learner):
    """A kind of network, at a width and a depth.

    Args:
        num_features: of the inputs.
        num_classes: of the targets.
        hidden: the width of each hidden layer or block; where an architecture has one width, the first.
        loss: a name in `LOSSES`.
        scales: the network computes with its weights times these, `(weights,)`; None is as they are. Initial weights
            are divided by them, so that it computes the same and trains otherwise: the random rescaling of Lv, Jiang
            and Li (2017) [lv2017learning].

    Raises:
        ValueError: for an unknown loss, or a width below 1.
    """

    num_features: int
    num_classes: int
    hidden: tuple[int, ...]
    loss_name: str = "cross_entropy"
    scales: Tensor | None = field(default=None, compare=False)

    sequences: ClassVar[bool] = False
    """whether it takes its features as a sequence, in which their order means something"""

    def __post_init__(self) -> None:
        if self.loss_name not in LOSSES:
            raise ValueError(f"loss {self.loss_name!r} is unknown; use one of {', '.join(LOSSES)}.")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden={self.hidden} must name widths of 1 or more.")

    @property
    def num_outputs(self) -> int:
        return self.num_features if self.loss_name == "reconstruction" else self.num_classes

    @abstractmethod
    def shapes(self) -> Shapes:
        """The tensors of one network, by name; a `gain` begins at 1, another vector at 0."""

    @abstractmethod
    def forward(self, weights: Weights, x: Tensor) -> Tensor:
        """Outputs `(runs, batch, outputs)` of inputs `(runs, batch, features)`; weights are `(runs, ...)` each."""

    @property
    def num_params(self) -> int:  # type: ignore[override]
        return sum(math.prod(shape) for shape in self.shapes().values())

    def init(self, generator: Generator) -> Tensor:
        """Matrices as in `MLP`: `N(0, 2 / fan_in)`."""
        pieces = []
        for name, shape in self.shapes().items():
            if len(shape) > 1:
                spread = math.sqrt(2 / math.prod(shape[1:]))
                pieces.append(spread * torch.randn(math.prod(shape), generator=generator))
            else:
                pieces.append(torch.full(shape, float(name.endswith("gain"))))
        params = torch.cat(pieces)
        return params if self.scales is None else params / self.scales

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        params = params if self.scales is None else params * self.scales
        shapes = self.shapes()
        pieces = params.split([math.prod(shape) for shape in shapes.values()], 1)
        named = {
            name: piece.unflatten(1, shape)
            for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
        }
        return self.forward(named, x)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Mean loss of each run `(runs,)`."""
        batch = batch.shared(len(params))
        return LOSSES[self.loss_name](self.logits(params, batch.x), batch).mean(-1)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean loss of each run `(runs,)` and its gradient `(runs, weights)`, which has no gradient of its own."""
        with torch.enable_grad():
            params = params.detach().requires_grad_()
            loss = self.loss(params, batch)
            # a run's loss has to do with its own weights alone
            (gradient,) = torch.autograd.grad(loss.sum(), params)
        return loss.detach(), gradient

    def random_scales(self, decades: float, generator: Generator) -> Tensor:
        """A power of ten for each tensor, with an exponent within `decades`, `(weights,)`."""
        return torch.cat(
            [
                (10 ** (decades * (2 * torch.rand((), generator=generator) - 1))).expand(math.prod(shape))
                for shape in self.shapes().values()
            ]
        )


class Plain(Architecture):
    """The MLP with rectifiers, for losses that are not its own."""

    def shapes(self) -> Shapes:
        shapes: Shapes = {}
        widths = (self.num_features, *self.hidden, self.num_outputs)
        for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
            shapes |= {f"{layer}.weight": (fan_out, fan_in), f"{layer}.bias": (fan_out,)}
            if layer < len(self.hidden):
                shapes |= self.norm_shapes(layer, fan_out)
        return shapes

    def norm_shapes(self, layer: int, width: int) -> Shapes:
        return {}

    def normalised(self, weights: Weights, layer: int, x: Tensor) -> Tensor:
        return x

    def forward(self, weights: Weights, x: Tensor) -> Tensor:
        for layer in range(len(self.hidden)):
            x = self.normalised(weights, layer, linear(weights, f"{layer}.", x)).relu()
        return linear(weights, f"{len(self.hidden)}.", x)


class LayerNorm(Plain):
    """An MLP whose hidden layers are normalised over their units (Ba, Kiros and Hinton, 2016) [ba2016layer]."""

    def norm_shapes(self, layer: int, width: int) -> Shapes:
        return {f"{layer}.gain": (width,), f"{layer}.shift": (width,)}

    def normalised(self, weights: Weights, layer: int, x: Tensor) -> Tensor:
        return affine(weights, f"{layer}.", self.standardised(x))

    def standardised(self, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:])


class BatchNorm(LayerNorm):
    """An MLP whose hidden units are normalised over the batch (Ioffe and Szegedy, 2015) [ioffe2015batch]; held-out
    points are normalised by their own mean and spread.
    """

    def standardised(self, x: Tensor) -> Tensor:
        runs = x.shape[0]  # of which each has units of its own
        normal = batch_norm(x.transpose(0, 1).flatten(1), None, None, training=True)
        return normal.unflatten(1, (runs, -1)).transpose(0, 1)


class Residual(Architecture):
    """Blocks of two layers; what enters a block is added to what leaves it (He et al., 2016) [he2016deep]."""

    def shapes(self) -> Shapes:
        width = self.hidden[0]
        shapes: Shapes = {"in.weight": (width, self.num_features), "in.bias": (width,)}
        for block in range(len(self.hidden)):
            for layer in (f"{block}.first.", f"{block}.second."):
                shapes |= {f"{layer}weight": (width, width), f"{layer}bias": (width,)}
        return shapes | {"out.weight": (self.num_outputs, width), "out.bias": (self.num_outputs,)}

    def forward(self, weights: Weights, x: Tensor) -> Tensor:
        x = linear(weights, "in.", x)
        for block in range(len(self.hidden)):
            inside = linear(weights, f"{block}.first.", x.relu()).relu()
            x = x + linear(weights, f"{block}.second.", inside)
        return linear(weights, "out.", x.relu())


class Convolution(Architecture):
    """Two convolutions along the features, each over five of them; the mean over places is read out."""

    sequences = True
    reach = 5

    def shapes(self) -> Shapes:
        width = min(self.hidden[0], 16)
        return {
            "0.weight": (width, self.reach),
            "0.bias": (width,),
            "1.weight": (width, width * self.reach),
            "1.bias": (width,),
            "out.weight": (self.num_outputs, width),
            "out.bias": (self.num_outputs,),
        }

    def forward(self, weights: Weights, x: Tensor) -> Tensor:
        x = x.unsqueeze(-1)  # runs, batch, places, channels
        for layer in ("0.", "1."):
            seen = x.unfold(2, self.reach, 1 + (layer == "1.")).flatten(3)
            runs, batch, places, inputs = seen.shape
            x = linear(weights, layer, seen.reshape(runs, batch * places, inputs)).relu()
            x = x.unflatten(1, (batch, places))
        return linear(weights, "out.", x.mean(2))


class Attention(Architecture):
    """A transformer's block of one head, to which four features are a token (Vaswani et al., 2017)
    [vaswani2017attention]; the mean over tokens is read out.
    """

    sequences = True
    patch = 4

    def shapes(self) -> Shapes:
        width = min(max(self.hidden[0], 4), 16)
        tokens = self.num_features // self.patch
        shapes: Shapes = {"in.weight": (width, self.patch), "place.weight": (tokens, width)}
        for layer, fan_out, fan_in in (
            *(("qkv.", 3 * width, width), ("back.", width, width)),
            *(("up.", 2 * width, width), ("down.", width, 2 * width), ("out.", self.num_outputs, width)),
        ):
            shapes |= {f"{layer}weight": (fan_out, fan_in), f"{layer}bias": (fan_out,)}
        return shapes | {
            f"{norm}.{each}": (width,) for norm in ("before", "between") for each in ("gain", "shift")
        }

    def forward(self, weights: Weights, x: Tensor) -> Tensor:
        x = x.unfold(2, self.patch, self.patch)  # runs, batch, tokens, features
        batch, tokens = x.shape[1:3]
        place = weights["place.weight"].repeat(1, batch, 1)
        x = torch.baddbmm(place, x.flatten(1, 2), weights["in.weight"].mT)
        mixed = linear(weights, "qkv.", affine(weights, "before.", layer_norm(x, x.shape[-1:])))
        query, key, value = mixed.unflatten(1, (batch, tokens)).chunk(3, -1)
        seen = (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1) @ value
        x = x + linear(weights, "back.", seen.flatten(1, 2))
        inside = linear(weights, "up.", affine(weights, "between.", layer_norm(x, x.shape[-1:]))).relu()
        x = x + linear(weights, "down.", inside)
        return linear(weights, "out.", x.unflatten(1, (batch, tokens)).mean(2))


def linear(weights: Weights, layer: str, x: Tensor) -> Tensor:
    return torch.baddbmm(weights[f"{layer}bias"].unsqueeze(1), x, weights[f"{layer}weight"].mT)


def affine(weights: Weights, layer: str, x: Tensor) -> Tensor:
    return x * weights[f"{layer}gain"].unsqueeze(1) + weights[f"{layer}shift"].unsqueeze(1)


ARCHITECTURES: dict[str, type[Architecture]] = {
    kind.name: kind for kind in (LayerNorm, BatchNorm, Residual, Convolution, Attention)
}
"""The architectures by name; an MLP with another loss is `Plain`."""
