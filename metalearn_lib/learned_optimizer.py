"""The learned update on a model of one's own: an optimizer as torch has them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metalearn_lib.cards import load_theta, rule_of, trained_at
from metalearn_lib.directions.learned_update import LearnedUpdate, UpdateState


class LearnedOptimizer(Optimizer):
    """Trains a model by a frozen `LearnedUpdate`, which ships with the library.

        optimizer = LearnedOptimizer(model.parameters())

    It works out every weight's step by itself and has no rate that must be found: `lr` multiplies all steps, for
    schedules and for groups, and 1 is what the rule learned. It keeps five numbers for each weight, in float32 whatever
    the weight's own type is, and it is slow beside Adam (the book has by how much).

    Args:
        params: parameters, or dictionaries with `params` and settings of their own.
        rule: a shipped name, or a file, of a rule trained with `learned_direction="update"` at a constant rate.
        lr: a factor on every step.
        weight_decay: weights shrink by `lr` times this at each step, beside the update, as in AdamW.

    Raises:
        ValueError: for a rule of another kind, or a setting below 0.
    """

    def __init__(
        self,
        params: Iterable[Any],
        rule: str | os.PathLike[str] = "update",
        lr: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        theta, card = load_theta(rule)
        config = card["config"]
        direction, _ = rule_of(config, theta)
        if not isinstance(direction, LearnedUpdate) or config.get("controller") != "constant":
            raise ValueError(
                f"rule={str(rule)!r} is no update at a constant rate; train one with `metalearn train --direction adam "
                "--learned-direction update --controller constant`."
            )
        for name, value in {"lr": lr, "weight_decay": weight_decay}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}={value!r} must be 0 or more, and finite.")
        self.rule = direction
        self.base_lr = trained_at(config)
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step of every parameter that has a gradient; a `closure` is called first, and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None and group["lr"] != 0:
                    self._move(weights, group)
        return loss

    def _move(self, weights: nn.Parameter, group: dict[str, Any]) -> None:
        assert weights.grad is not None
        if weights.grad.is_sparse:
            raise ValueError(
                "the update needs dense gradients; use sparse=False, or another optimizer for these."
            )
        rule = self._for(weights)
        flat = weights.detach().float().reshape(1, -1)
        kept = self.state[weights]
        if not kept:
            kept.update(rule.init(flat)._asdict())
            del kept["theta"]  # is the rule's, and no state
        state = UpdateState(rule.theta.to(flat).expand(1, -1), **kept)
        direction, state = rule(state, weights.grad.detach().float().reshape(1, -1), flat)
        kept.update({name: value for name, value in state._asdict().items() if name != "theta"})
        lr = float(group["lr"])  # which may be a tensor
        if group["weight_decay"]:
            weights.mul_(1 - lr * group["weight_decay"])
        weights.add_(direction.view_as(weights).to(weights), alpha=-lr * self.base_lr)

    def _for(self, weights: Tensor) -> LearnedUpdate:
        fan_in = weights[0].numel() if weights.dim() > 1 else 0
        return LearnedUpdate(self.rule.theta, ((weights.numel(), fan_in),), self.rule.hidden)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but what is kept of a weight stays float32 where the weight is not."""
        super().load_state_dict(state_dict)
        kept = state_dict["state"]
        numbers = (number for group in state_dict["param_groups"] for number in group["params"])
        weights = (each for group in self.param_groups for each in group["params"])
        for number, each in zip(numbers, weights, strict=True):
            if number in kept:
                self.state[each] = {
                    name: value.to(each.device).clone() for name, value in kept[number].items()
                }
