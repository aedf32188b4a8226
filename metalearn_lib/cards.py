"""Trained files: meta-parameters with the card that says how they were trained, and the rule that they are."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from metalearn_lib.directions import DIRECTIONS
from metalearn_lib.directions.base import Direction
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.learned import LearnedDirection, split_theta
from metalearn_lib.files import atomic_path
from metalearn_lib.inputs import make_inputs
from metalearn_lib.inputs.base import Input
from metalearn_lib.learners import Learner
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.rates.learned_schedule import LearnedSchedule

_WEIGHTS = Path(__file__).parent / "weights"
FORMAT = 3
"""Of cards: since 2 their inputs are always named, and since 3 they hold a digest."""
_INPUTS_OF_FORMAT_1 = (
    *("log_lr", "log_loss", "log_grad_norm", "log_weight_norm"),
    *("loss_trend_fast", "loss_trend_slow", "grad_trend", "loss_noise"),
)
"""What an old card's network sees that names none."""


def shipped() -> list[str]:
    """Names of the trained files inside the package."""
    return sorted(path.stem for path in _WEIGHTS.glob("*.safetensors"))


def save_theta(
    path: str | os.PathLike[str], theta: Tensor, card: dict[str, Any], thetas: Tensor | None = None
) -> None:
    """Write meta-parameters and their card, whole or not at all; its inputs are named, also where they were left out.

    Args:
        theta: what is deployed, `(theta,)`.
        thetas: of all meta-seeds, `(meta-seeds, theta)`.
    """
    tensors = {"theta": theta.contiguous()} | ({} if thetas is None else {"thetas": thetas.contiguous()})
    card = complete(card)
    card["digest"] = content_digest(tensors, json.dumps(card, sort_keys=True))
    with atomic_path(path) as partial:
        # in one text, for safetensors keeps several in an order of its own
        partial.write_bytes(save(tensors, {"card": json.dumps(card, sort_keys=True)}))


def content_digest(tensors: Mapping[str, Tensor], told: str) -> str:
    """Of tensors by name and of what is told of them, so that a change to a byte is seen."""
    digest = hashlib.sha256(told.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def load_theta(name: str | os.PathLike[str]) -> tuple[Tensor, dict[str, Any]]:
    """Meta-parameters `(theta,)` and the card that says how they were trained.

    Args:
        name: a file, or the name of one that ships with the library (see `shipped`).

    Raises:
        ValueError: when there is no such file, or it is none of ours. Nothing is ever unpickled.
    """
    tensors, card = _read(name)
    return tensors["theta"], card


def load_thetas(name: str | os.PathLike[str]) -> tuple[Tensor, dict[str, Any]]:
    """The meta-parameters of all the file's meta-seeds, `(meta-seeds, theta)`, and the card; see `load_theta`."""
    tensors, card = _read(name)
    return tensors.get("thetas", tensors["theta"][None]), card


def complete(card: dict[str, Any], inputs: Sequence[str] | None = None) -> dict[str, Any]:
    """The card with its format, and with `inputs` where its network's are left out; by default those that a new one
    sees.
    """
    config = card.get("config")
    if config and config.get("controller", "network") == "network" and config.get("inputs") is None:
        names = inputs or [each.name for each in make_inputs()]
        card = card | {"config": config | {"inputs": list(names)}}
    return card | {"format": FORMAT}


def _read(name: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = _WEIGHTS / f"{name}.safetensors" if str(name) in shipped() else Path(name)
    if not path.is_file():
        raise ValueError(
            f"{str(name)!r} is neither a file nor a shipped meta-optimizer; there are {', '.join(shipped())}."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118
        card = json.loads(metadata["card"])
        if (
            not isinstance(card, dict)
            or "theta" not in tensors
            or not isinstance(card.get("config", {}), dict)
        ):
            raise KeyError("no card of a trained theta")
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as fault:
        raise _damaged(path, str(fault)) from fault
    if (written := card.get("format", 1)) > FORMAT:
        raise ValueError(
            f"the card has format {written}, and this version reads up to {FORMAT}; use a newer metalearn_lib."
        )
    # files from before they had one hold no digest
    digest, known = card.pop("digest", None), content_digest(tensors, json.dumps(card, sort_keys=True))
    if digest != known and (digest is not None or card.get("format", 1) >= 3):
        raise _damaged(path, "it does not hold what was written")
    return tensors, complete(card, _INPUTS_OF_FORMAT_1)


def _damaged(path: Path, fault: str) -> ValueError:
    return ValueError(
        f"{path} is no trained meta-optimizer, or is damaged ({fault}); "
        "train it again with `python -m metalearn_lib train`."
    )


def rule_of(
    config: Mapping[str, Any], theta: Tensor, base_lr: float | Tensor = 1.0, learner: Learner | None = None
) -> tuple[Direction, LearnedRate | LearnedSchedule | Constant]:
    """The direction and the rate that a card's meta-training trained.

    Args:
        config: the card's; its `learned_direction`, where there is one, takes the last part of `theta`.
        theta: meta-parameters `(theta,)`.
        base_lr: the rate to scale; a number, or `(tasks,)`.
        learner: what the rule is for; where it is left out, `Direction.of` says it later.
    """
    direction = learned_on().get(config.get("direction", "sgd"), Gradient())
    if (name := config.get("learned_direction")) is not None:
        kind, hidden = learned_directions()[name], config["hidden"]
        theta, own = split_theta(theta, kind.network(hidden).num_theta)
        direction = kind(own, hidden=hidden)  # type: ignore[call-arg]
    if learner is not None:
        direction = direction.of(learner)
    controller = config.get("controller", "network")
    if controller == "constant":
        return direction, Constant(base_lr)
    if controller == "schedule":
        return direction, LearnedSchedule(base_lr, theta)
    inputs = make_inputs(config.get("inputs"))
    return direction, LearnedRate(base_lr, theta, MetaOptimizer(config["hidden"], inputs=inputs))


def where_inputs_lay(card: Mapping[str, Any], inputs: Sequence[Input], spreads: float) -> Tensor:
    """The middle of where each input lay in meta-training, and how far that reaches, in spreads `(2, inputs)`.

    Args:
        card: its `input_quantiles` say it, if it has them.
        spreads: how far they reach, if not. One that is not `guarded` may lie anywhere.
    """
    lay = card.get("input_quantiles", {})
    ends = [
        [(end - each.centre) / each.spread for end in lay[each.name]]
        if each.name in lay
        else [-spreads, spreads]
        for each in inputs
    ]
    low, high = torch.tensor(ends).T
    anywhere = torch.tensor([math.inf if not each.guarded else 0.0 for each in inputs])
    return torch.stack([(low + high) / 2, (high - low) / 2 + anywhere])


def trained_at(config: Mapping[str, Any]) -> float:
    """The rate that a card's rule was trained at, or about which."""
    base_lr = config.get("base_lr") or learned_on()[config.get("direction", "sgd")].base_lr
    assert base_lr is not None
    return float(base_lr)


def learned_on() -> dict[str, Direction]:
    """The directions that rates are learned on, in meta-training's order."""
    return {name: kind() for name, kind in DIRECTIONS.items() if kind.base_lr is not None}


def learned_directions() -> dict[str, type[LearnedDirection]]:
    """The learned directions, by what meta-training calls them."""
    return {kind.setting: kind for kind in DIRECTIONS.values() if issubclass(kind, LearnedDirection)}
