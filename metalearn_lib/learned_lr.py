"""The learned rate on a model of one's own: a frozen rule that scales the rates of an optimizer as it trains."""

from __future__ import annotations

import math
import os
import warnings
import weakref
from collections import deque
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer

from metalearn_lib.cards import load_theta, rule_of, where_inputs_lay
from metalearn_lib.fused.watch import decider
from metalearn_lib.guard import USUAL, Guard, Watch
from metalearn_lib.monitor import Monitor
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.trees import leaves, tree_map

FORMAT = 1
"""Of state dictionaries."""
ALARMING = 2.0
"""How many times as far off as in meta-training an input lies where one is warned of it."""
MOST_KEPT = 100_000
"""Steps that `history` goes back."""
_TAKEN: weakref.WeakSet[Optimizer] = weakref.WeakSet()


class Step(NamedTuple):
    """What a step was taken with: a row of `LearnedLR.history`."""

    step: int
    loss: float
    grad_norm: float
    weight_norm: float
    factor: float
    guarded: str
    """what the guard did, or nothing"""


class LearnedLR:
    """Scales the rates of an optimizer, step by step, by a frozen rule that watches its training.

        learned = LearnedLR(optimizer)
        ...
        loss.backward()
        learned.observe(loss)
        optimizer.step()

    It acts on the optimizer's own hooks: before a step each group's rate is multiplied by one factor, and put back
    after it, so that schedules, checkpoints and groups' ratios stay as they are. The rule sees the loss, and the norms
    of the gradient (as it is when `step` is called: unscaled and clipped, where one does that) and of the weights that
    have one. It keeps a few dozen numbers. Where there is a C++ compiler, the first rule on a machine takes it a few
    seconds to make what decides; elsewhere PyTorch decides, in a fifth of a millisecond.

    Losses of micro-batches that are observed before one step are averaged. Where torch.distributed runs, they are
    averaged over its ranks too. A step whose gradients are all 0, whose rates are all 0, or that a gradient scaler
    skips, changes nothing.

    Args:
        optimizer: any of torch's that steps along its own direction; SGD, with or without momentum, Adam and AdamW know
            their rules.
        rule: a shipped name, or a file, of a learned rate; by default the optimizer's own.
        authority: what part of the log factor is used, in [0, 1]; 0 is the bare optimizer, bit for bit.
        guard: bounds on what the rule may do; None is none.
        decay: whether AdamW's weights decay at the scaled rate, as in torch, or at the one that was set (`"fixed"`).
        reduce_loss: whether to average the loss over the ranks of torch.distributed; all of them must step.

    Raises:
        ValueError: for an optimizer without a rule, or one that has a `LearnedLR` already, or a setting out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        rule: str | os.PathLike[str] | None = None,
        authority: float = 1.0,
        guard: Guard | None = USUAL,
        decay: Literal["scaled", "fixed"] = "scaled",
        reduce_loss: bool = True,
    ) -> None:
        if not 0 <= authority <= 1:
            raise ValueError(f"authority={authority!r} must lie in [0, 1]; 0 is the bare optimizer.")
        if decay not in ("scaled", "fixed"):
            raise ValueError(f"decay={decay!r} must be 'scaled' or 'fixed'.")
        if decay == "fixed" and not isinstance(optimizer, AdamW):
            raise ValueError(
                "decay='fixed' is for AdamW, whose decay stands beside the gradient; leave it 'scaled'."
            )
        self.rule = _rule_for(optimizer) if rule is None or isinstance(optimizer, LBFGS) else str(rule)
        theta, card = load_theta(self.rule)
        _, rate = rule_of(card["config"], theta)
        if not isinstance(rate, LearnedRate) or card["config"].get("learned_direction"):
            raise ValueError(
                f"rule={self.rule!r} is no learned rate for all weights together; use a file that `metalearn train` "
                "writes without --controller and --learned-direction."
            )
        self.optimizer, self.guard, self.decay, self.reduce_loss = optimizer, guard, decay, reduce_loss
        self.authority = float(authority)
        self._rate = rate
        self._been = where_inputs_lay(card, rate.meta_optimizer.inputs, (guard or USUAL).spreads)
        # as many weights as there are, none of which takes any room
        one = torch.zeros(1, 1).expand(1, sum(each.numel() for each in self._weights() if each.requires_grad))
        self._state, self._seen = tree_map(torch.clone, (rate.init(one), Monitor().init(one)))
        if any(each.dim() > 1 for each in leaves(self._state.inputs)):
            raise ValueError(
                f"rule={self.rule!r} sees {', '.join(each.name for each in rate.meta_optimizer.inputs)}, one of which "
                "keeps a number for every weight; use a rule that sees norms alone."
            )
        self._num_steps, self._log_factor = 0, 0.0
        self._decider = decider(rate, Monitor(), self._state, self._seen, self._been)
        self._watch, self._alarmed = Watch(), False
        self._extremes = (math.inf, -math.inf)
        self._pending: list[Tensor] = []
        self._norm: Tensor | None = None
        self._token: weakref.ref[Tensor] | None = None
        self._used: list[tuple[dict[str, Any], Any, Any, Any]] = []
        self._last_lr: list[float] | None = None
        self._kept: deque[Step] = deque(maxlen=MOST_KEPT)
        self.num_guarded: dict[str, int] = {}
        self._attach()

    # what a training loop calls

    def observe(self, loss: Tensor | float, grad_norm: Tensor | float | None = None) -> None:
        """Tell the loss of the coming step, of its only batch or of one of its micro-batches.

        Args:
            loss: a number, or a tensor of one; it is detached.
            grad_norm: the gradient's norm where the rule should see another than that of the gradients as they are at
                the step, as clipping's `clip_grad_norm_` returns it.
        """
        value = loss.detach() if isinstance(loss, Tensor) else torch.tensor(float(loss))
        if value.numel() != 1:
            raise ValueError(f"the loss has shape {tuple(value.shape)}; observe its mean, one number.")
        grad = next((each.grad for each in self._weights() if each.grad is not None), None)
        before = self._token() if self._token is not None else None
        if self._pending and (grad is None or (before is not None and before is not grad)):
            self._forget()  # its step was never taken: a gradient scaler skipped it, and its gradients are gone
        self._token = None if grad is None else weakref.ref(grad)
        self._pending.append(value.reshape(()).float())
        if grad_norm is not None:
            self._norm = torch.as_tensor(grad_norm).detach().reshape(()).float()

    def get_last_lr(self) -> list[float]:
        """Each group's rate at the last step, scaled; before the first those that are set."""
        return self._last_lr or [float(group["lr"]) for group in self.optimizer.param_groups]

    @property
    def factor(self) -> float:
        """What rates were last multiplied by."""
        return math.exp(self._log_factor)

    def history(self) -> list[Step]:
        """The last steps, at most 100,000; `pandas.DataFrame(learned.history())` is a table of them."""
        return list(self._kept)

    def detach(self) -> None:
        """Leave the optimizer as it was found; observing is then for nothing."""
        self._restore()
        for each in self._hooks:
            each.remove()
        _TAKEN.discard(self.optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Numbers and tensors, to be loaded with `weights_only=True`."""
        return {
            "format": FORMAT,
            "rule": self.rule,
            "authority": self.authority,
            "tensors": [
                each.clone() for each in leaves((self._state._replace(theta=self._state.base_lr), self._seen))
            ],
            "num_steps": self._num_steps,
            "log_factor": self._log_factor,
            "watch": self._watch._asdict(),
            "extremes": list(self._extremes),
            "guarded": dict(self.num_guarded),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`; one that is empty, as of a checkpoint from before, warns, and the rule starts anew.

        Raises:
            ValueError: for another rule's state, or one of a newer version.
        """
        if not state:
            warnings.warn("the checkpoint has no state of LearnedLR; the rule starts anew.", stacklevel=2)
            return
        if state["format"] > FORMAT or state["rule"] != self.rule:
            raise ValueError(
                f"the state is of rule {state['rule']!r} in format {state['format']}, and this is {self.rule!r} in "
                f"format {FORMAT}; make LearnedLR with rule={state['rule']!r}, or use a newer metalearn_lib."
            )
        own = leaves((self._state._replace(theta=self._state.base_lr), self._seen))
        for tensor, loaded in zip(own, state["tensors"], strict=True):
            tensor.copy_(loaded)
        self._num_steps, self._log_factor = state["num_steps"], state["log_factor"]
        self._watch = Watch(**state["watch"])
        self.authority, self.num_guarded = state["authority"], dict(state["guarded"])
        self._extremes = tuple(state["extremes"])
        self._forget()

    # what the optimizer calls

    def _attach(self) -> None:
        if self.optimizer in _TAKEN:
            raise ValueError("the optimizer has a LearnedLR already; detach() that one first.")
        _TAKEN.add(self.optimizer)
        own = weakref.ref(self)  # a hook must not keep alive what nobody holds any more
        self._hooks = (
            self.optimizer.register_step_pre_hook(lambda *step: (lr := own()) and lr._before(*step[1:])),
            self.optimizer.register_step_post_hook(lambda *_: (lr := own()) and lr._restore()),
        )

    def _before(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        self._restore()  # which an error in the step before may have left undone
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._act()
            return None

        def observed() -> Any:
            # of the micro-batches that came without a step
            last = self._pending[-1] if self._pending else None
            try:
                loss = closure()
            except BaseException:
                self._forget()
                raise
            if not self._pending or self._pending[-1] is last:
                self.observe(loss)  # or the closure has told it, perhaps with a norm
            self._act()
            return loss

        return (args[:1], kwargs | {"closure": observed})

    @torch.no_grad()
    def _act(self) -> None:
        """Scale the rates for the step that is about to be taken."""
        if self.authority == 0:
            self._forget()
            return
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        if not self._pending:
            if not any(rates) or not any(
                each.grad is not None and _dense(each.grad).any() for each in self._weights()
            ):
                return  # as distributed checkpointing steps, to make an optimizer's state
            raise RuntimeError(
                "LearnedLR has not seen this step's loss; call learned.observe(loss) before every optimizer.step()."
            )
        loss, grad_norm, weight_norm, skipped = self._measure()
        self._forget()
        if skipped or grad_norm == 0 or not any(rates):
            return
        self._log_factor, guarded = self._decide(loss, grad_norm, weight_norm, max(rates))
        self._num_steps += 1
        if guarded:
            self.num_guarded[guarded] = self.num_guarded.get(guarded, 0) + 1
        self._kept.append(Step(self._num_steps, loss, grad_norm, weight_norm, self.factor, guarded))
        for group in self.optimizer.param_groups:
            self._scale(group)
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]

    def _measure(self) -> tuple[float, float, float, bool]:
        """Loss, gradient norm, weight norm, and whether a gradient scaler has found infinities: one synchronisation."""
        weights = [each for each in self._weights() if each.grad is not None]
        loss = torch.stack([each.to(self._pending[-1].device) for each in self._pending]).mean()
        if self.reduce_loss and torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(loss)
            loss = loss / torch.distributed.get_world_size()
        device = weights[0].device if weights else loss.device
        grad_norm = _norm([_dense(each.grad) for each in weights if each.grad is not None], device)
        if self._norm is not None:
            grad_norm = self._norm.to(device)
        elif (scale := getattr(self.optimizer, "grad_scale", None)) is not None:
            grad_norm = grad_norm / scale.to(device)
        found = getattr(self.optimizer, "found_inf", None)
        found = torch.zeros((), device=device) if found is None else found.to(device).reshape(()).float()
        told = torch.stack([loss.to(device), grad_norm, _norm(weights, device), found]).tolist()
        return told[0], told[1], told[2], told[3] > 0

    def _decide(self, loss: float, grad_norm: float, weight_norm: float, lr: float) -> tuple[float, str]:
        """The log factor of this step, and what the guard did about it."""
        last = self._log_factor
        if not math.isfinite(loss) or not math.isfinite(grad_norm):
            self._watch = self._watch.trusting_less()
            self._yield(last)
            return min(last, 0.0), "not finite"
        furthest = self._decider(self._positive(loss), grad_norm, weight_norm, lr)
        log_factor = self.authority * float(self._state.log_scale)
        if self.guard is None:
            return log_factor, ""
        if furthest > ALARMING and not self._alarmed:
            self._alarmed = True
            warnings.warn(
                f"LearnedLR sees an input {furthest:.1f} times as far off as in its training, and acts with less "
                "authority while it does.",
                stacklevel=6,
            )
        log_factor, did, self._watch = self.guard(self._watch, log_factor, last, furthest, loss)
        if did == "rising loss":
            self._yield(last)
        return log_factor, did

    def _yield(self, last: float) -> None:
        """Go on from the factor as it is, or from the rate that is set."""
        self._state.log_scale.fill_(min(last, 0.0) / self.authority)

    def _positive(self, loss: float) -> float:
        """The loss; where it has been 0 or less, from as far below its lowest as its highest was above that."""
        low, high = min(self._extremes[0], loss), max(self._extremes[1], loss)
        self._extremes = (low, high)
        return loss if low > 0 else loss - low + max(high - low, 1e-3)

    def _scale(self, group: dict[str, Any]) -> None:
        lr, decay = group["lr"], group.get("weight_decay")
        factor = self.factor
        if isinstance(self.optimizer, AdamW) and decay:
            if self.decay == "fixed":
                group["weight_decay"] = decay / factor
            elif float(lr) * factor * decay >= 1:
                factor = 0.99 / (float(lr) * decay)  # or weights would change sign
        if isinstance(lr, Tensor):
            own = lr.clone()
            lr.mul_(factor)
        else:
            own = lr
            group["lr"] = lr * factor
        self._used.append((group, own, float(group["lr"]), decay))

    def _restore(self) -> None:
        """Put rates back, but those that somebody has set in between."""
        for group, own, used, decay in self._used:
            if float(group["lr"]) == used:
                if isinstance(own, Tensor):
                    group["lr"].copy_(own)
                else:
                    group["lr"] = own
            if decay is not None:
                group["weight_decay"] = decay
        self._used = []

    def _forget(self) -> None:
        self._pending, self._norm, self._token = [], None, None

    def _weights(self) -> list[Tensor]:
        return [each for group in self.optimizer.param_groups for each in group["params"]]

    def __getstate__(self) -> dict[str, Any]:
        self._restore()
        return self.__dict__ | {"_hooks": (), "_token": None, "_decider": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._decider = decider(self._rate, Monitor(), self._state, self._seen, self._been)
        self._attach()


def _rule_for(optimizer: Optimizer) -> str:
    """The shipped rule of the optimizer's own direction."""
    if isinstance(optimizer, LBFGS):
        raise ValueError(
            "LBFGS evaluates its loss many times in a step and finds its own length; use it bare."
        )
    if isinstance(optimizer, (Adam, AdamW)):
        return "adam_any"
    if isinstance(optimizer, SGD):
        return "momentum_multi" if any(group["momentum"] for group in optimizer.param_groups) else "sgd_long"
    raise ValueError(
        f"no rule ships for {type(optimizer).__name__}; SGD, Adam and AdamW have one, and for what moves like one of "
        "these name it: rule='sgd_long', 'momentum_multi' or 'adam_any'."
    )


def _dense(grad: Tensor) -> Tensor:
    return grad.coalesce().values() if grad.is_sparse else grad


def _norm(tensors: list[Tensor], device: torch.device) -> Tensor:
    """The norm of all together, in float32 whatever they are, and whole where they lie in shards."""
    if not tensors:
        return torch.zeros((), device=device)
    norms = torch._foreach_norm(tensors, 2, dtype=torch.float32)  # type: ignore[attr-defined]
    whole = [getattr(each, "full_tensor", lambda each=each: each)() for each in norms]
    return torch.linalg.vector_norm(torch.stack([each.to(device) for each in whole]))
