"""A learned update for every weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from metalearn_lib.directions.learned import LearnedDirection
from metalearn_lib.learners import Learner, tensor_sizes

INPUTS, OF_TENSOR = 8, 2
"""What the network sees, and how many of these a tensor's weights have in common."""
MEANS = (0.5, 0.9, 0.98)
"""Decays of the running averages of the gradient; the second is Adam's."""
SQUARES = (0.9, 0.99)
"""Decays of those of its square; the second is Adam's."""
EPS = 1e-8
LARGEST = 4.0
"""A weight counts as no more than so many root mean squares of its tensor."""
MAGNITUDE = 2.0
"""The network moves the log magnitude of a step by no more than this."""
LAW = 6
CENTRES = (3.0, math.log(0.25), math.log(32.0), math.log(32.0))
"""Where the law's terms are 0: log(1 + t), log RMS(w), log fan-in and log fan-out."""
GROWN = 1.5
"""A tensor counts as no more than so many powers of e larger, or smaller, than it began."""
SMALLEST = 0.01
"""The law takes no tensor's root mean square for less, or one that is born 0 would stay there."""


PARTS = {
    "other_steps": [0, 2],
    "contrasts": [3, 4],
    "weights": [5],
    "agreements": [6, 7],
    "network": [],
    "law": [],
}
"""What meta-training can leave out, to see what it is worth: some of the network's inputs, the network, or the law."""


class UpdateState(NamedTuple):
    """Meta-parameters `(tasks, theta)`, running averages of the gradient `(tasks, 3, weights)` and of its square
    `(tasks, 2, weights)`, the steps taken `(tasks, 1)`, and the root mean square that each tensor began with
    `(tasks, tensors)`.
    """

    theta: Tensor
    means: Tensor
    squares: Tensor
    num_steps: Tensor
    begun: Tensor


@dataclass(frozen=True)
class UpdateNetwork:
    """The network that every weight's update comes from, and the law beside it.

        hidden = relu(W1 inputs + b1)
        turn, magnitude = W2 hidden + b2
        law = a0 + a1 (log(1 + t) - 3) + a2 log(RMS(w) / 0.25) + a3 log(fan_in / 32) + a4 log(fan_out / 32)
              + a5 log(RMS(w) / RMS(w at the start))

    RMS(w) is that of the weight's own tensor, and has grown or shrunk by no more than e^1.5; a bias has neither its
    terms nor the fan-in's. `W2`, `b2` and `a` start at 0.

    Args:
        hidden: units of the hidden layer.
    """

    hidden: int = 8

    @property
    def num_theta(self) -> int:
        return sum(self._sizes())

    @property
    def multiply_adds(self) -> int:
        """What a step of a weight costs in the network; inputs of its tensor count for nothing."""
        return self.hidden * (INPUTS - OF_TENSOR) + 2 * self.hidden

    def init_theta(self, generator: Generator) -> Tensor:
        """Meta-parameters `(theta,)` with which the update is Adam's, exactly."""
        theta = torch.zeros(self.num_theta)
        first = self.hidden * INPUTS
        theta[:first] = torch.randn(first, generator=generator) / math.sqrt(INPUTS)
        return theta

    def __call__(self, theta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Turn and magnitude `(tasks, weights)`, from `theta` `(tasks, theta)` and inputs `(tasks, 8, weights)`."""
        inner, bias, outer, offset, _ = self._split(theta)
        hidden = torch.baddbmm(bias.unsqueeze(2), inner.view(-1, self.hidden, INPUTS), inputs).relu()
        turn, magnitude = torch.baddbmm(offset.unsqueeze(2), outer.view(-1, 2, self.hidden), hidden).unbind(1)
        return turn, magnitude.clamp(-MAGNITUDE, MAGNITUDE)

    def law(self, theta: Tensor) -> Tensor:
        """The law's six numbers `(tasks, 6)`."""
        return self._split(theta)[-1]

    def trained(self, without: Sequence[str]) -> Tensor:
        """1 for each meta-parameter that meta-training moves, 0 for those of the parts that are left out, `(theta,)`.

        Args:
            without: names in `PARTS`.
        """
        inner, bias, outer, offset, law = (torch.ones(size) for size in self._sizes())
        for name in without:
            if name == "network":
                inner, bias, outer, offset = map(torch.zeros_like, (inner, bias, outer, offset))
            elif name == "law":
                law = torch.zeros_like(law)
            else:
                inner.view(self.hidden, INPUTS)[:, PARTS[name]] = 0
        return torch.cat([inner, bias, outer, offset, law])

    def _sizes(self) -> tuple[int, ...]:
        return (self.hidden * INPUTS, self.hidden, 2 * self.hidden, 2, LAW)

    def _split(self, theta: Tensor) -> tuple[Tensor, ...]:
        if theta.shape[-1] != self.num_theta:
            raise ValueError(
                f"theta has {theta.shape[-1]} weights and this update has {self.num_theta}; build it with the hidden "
                "units that theta was trained with (its card names them)."
            )
        return theta.split(self._sizes(), -1)


@dataclass(frozen=True)
class LearnedUpdate(LearnedDirection):
    """An update that one small network works out for every weight, as a residual on Adam's.

        m_b, v_b  = running averages of g and g^2 at decay b, without bias;   v = v_.99
        steps     = m_.5 / sqrt(v),  m_.9 / sqrt(v),  m_.98 / sqrt(v)
        contrasts = (sqrt(v_.9) - sqrt(v)) / sum,  (sqrt(v) - RMS sqrt(v)) / sum
        agreements = RMS (m_.9 / sqrt(v)),  RMS (m_.98 / sqrt(v))
        s         = sign m_.9
        turn, magnitude = network(s steps, contrasts, s w / RMS(w), agreements)
        direction = (m_.9 / sqrt(v) + s turn) exp(magnitude + law)

    Each RMS is over the weight's own tensor, and `w / RMS(w)` is kept within 4 either way. The agreements are 1 where
    gradients keep their sign and fall to 0.23 and 0.1 where they are noise: they tell when a rate is too high. All is
    seen from the side of Adam's step, so that the opposite gradients at the opposite weight give the opposite step.
    `UpdateNetwork` says what network and law are. While untrained they are 0, and it is `Adam(0.9, 0.99)` bit for
    bit. What the network sees changes neither with the loss's scale, nor with that of a matrix or of the points, nor
    where a layer's units are doubled. Then whole trajectories stay the same where the law is `(., ., 1, 0, 0, .)`,
    steps in proportion to a matrix's own root mean square; at `(., ., 0, ., ., .)` it is bound to the scale of
    weights as Adam is. What is bounded enters the network; what may lie far outside meta-training enters the law, as
    a power.

    Args:
        theta: meta-parameters `(theta,)`.
        tensors: weights and fan-in of each tensor, as `of` takes them from a learner.
        hidden: units of the network.

    References: Andrychowicz et al. (2016) [andrychowicz2016learning] for an update per weight; Metz et al. (2020)
    [metz2020tasks] and (2022) [metz2022velo] for its inputs; Harrison, Metz and Sohl-Dickstein (2022)
    [harrison2022closer] for the residual on Adam; Yang et al. (2022) [yang2022tensor] for powers of the fan-in.
    """

    tensors: tuple[tuple[int, int], ...] = ()
    hidden: int = 8

    setting: ClassVar[str] = "update"
    begins_as = "adam"

    @classmethod
    def network(cls, hidden: int = 8) -> UpdateNetwork:
        return UpdateNetwork(hidden)

    def of(self, learner: Learner) -> LearnedUpdate:
        return replace(self, tensors=tensor_sizes(learner))

    def init(self, params: Tensor) -> UpdateState:
        tasks, weights = params.shape
        return UpdateState(
            self.theta.to(params).expand(tasks, -1),
            params.new_zeros(tasks, len(MEANS), weights),
            params.new_zeros(tasks, len(SQUARES), weights),
            params.new_zeros(tasks, 1),
            self._rms(params),
        )

    def __call__(self, state: UpdateState, grad: Tensor, params: Tensor) -> tuple[Tensor, UpdateState]:
        network = self.network(self.hidden)
        inputs, sign, size, state = self.told(state, grad, params)
        turn, magnitude = network(state.theta, inputs)
        law = self._spread(self._law(network.law(state.theta), state.num_steps, size, state.begun))
        return sign * (inputs[:, 1] + turn) * torch.exp(magnitude + law), state

    def told(
        self, state: UpdateState, grad: Tensor, params: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, UpdateState]:
        """What the network sees `(tasks, 8, weights)`, the sign of Adam's step that it is seen from `(tasks, weights)`,
        the root mean square of each tensor `(tasks, tensors)`, and the next state.
        """
        count = state.num_steps + 1
        means = [torch.lerp(each, grad, 1 - decay) for decay, each in _each(MEANS, state.means)]
        squares = [decay * each + (1 - decay) * grad * grad for decay, each in _each(SQUARES, state.squares)]
        fast, slow = (
            (each / (1 - decay**count)).sqrt() + EPS for decay, each in zip(SQUARES, squares, strict=True)
        )
        steps = [each / (1 - decay**count) / slow for decay, each in zip(MEANS, means, strict=True)]
        noise, size = self._spread(self._rms(slow)), self._rms(params)
        own = params / self._spread(size.clamp_min(EPS))
        contrasts = ((fast - slow) / (fast + slow), (slow - noise) / (slow + noise))
        agreements = [self._spread(self._rms(step)) for step in steps[1:]]
        sign = 1.0 - 2.0 * (steps[1] < 0)
        signed = [each * sign for each in (*steps, own.clamp(-LARGEST, LARGEST))]
        inputs = torch.stack([*signed[:3], *contrasts, signed[3], *agreements], 1)
        state = state._replace(means=torch.stack(means, 1), squares=torch.stack(squares, 1), num_steps=count)
        return inputs, sign, size, state

    def _law(self, law: Tensor, count: Tensor, size: Tensor, begun: Tensor) -> Tensor:
        """The law's log factor for each tensor, `(tasks, tensors)`, at the root mean squares `size` of the weights."""
        fans = size.new_tensor([fan for _, fan in self.tensors])
        counts = size.new_tensor([count for count, _ in self.tensors])
        fan_in = fans.clamp_min(1)
        log_size = size.clamp_min(SMALLEST).log()
        grown = (log_size - begun.clamp_min(SMALLEST).log()).clamp(-GROWN, GROWN)
        told = (count.log(), log_size, fan_in.log(), (counts / fan_in).log())
        time, of_size, of_in, of_out = (each - centre for each, centre in zip(told, CENTRES, strict=True))
        of_matrix = law[:, 2:3] * of_size + law[:, 3:4] * of_in + law[:, 5:] * grown
        return law[:, :1] + law[:, 1:2] * time + law[:, 4:5] * of_out + (fans > 0) * of_matrix

    def _rms(self, weights: Tensor) -> Tensor:
        """Root mean square of each tensor, `(tasks, tensors)`."""
        pieces = weights.split([size for size, _ in self.tensors], 1)
        return torch.stack([piece.square().mean(1).sqrt() for piece in pieces], 1)

    def _spread(self, values: Tensor) -> Tensor:
        """Each tensor's value at each of its weights, `(tasks, weights)`."""
        each = zip(values.unbind(1), self.tensors, strict=True)
        return torch.cat([value.unsqueeze(1).expand(-1, size) for value, (size, _) in each], 1)


def _each(decays: tuple[float, ...], averages: Tensor) -> zip[tuple[float, Tensor]]:
    return zip(decays, averages.unbind(1), strict=True)
