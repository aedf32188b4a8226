"""Checkpoints: a run that dies at any moment goes on as if it never had."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from metalearn_lib.cards import content_digest
from metalearn_lib.files import atomic_path

_FORMAT = "metalearn_lib meta-training, 1"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the file is left as it is."""


def save_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON facts, whole or not at all."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    told = json.dumps(facts)
    metadata = {"format": _FORMAT, "digest": content_digest(tensors, told), "facts": told}
    with atomic_path(path) as partial:
        partial.write_bytes(save(tensors, metadata))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of a checkpoint. Nothing is ever unpickled.

    Raises:
        CheckpointError: when the file is damaged, or none of ours.
    """
    remedy = "move it away to start afresh, or name another file"
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise CheckpointError(f"{path} is no checkpoint of meta-training; {remedy}.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads(metadata["facts"])
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as fault:
        raise CheckpointError(f"{path} is no checkpoint, or is damaged ({fault}); {remedy}.") from fault
    if metadata.get("digest") != content_digest(tensors, metadata["facts"]):
        raise CheckpointError(f"{path} is damaged: it does not hold what was written; {remedy}.")
    return tensors, facts


def refuse_to_overwrite(path: str | os.PathLike[str], resume: bool) -> None:
    """Refuse a checkpoint that is there where nothing is said of resuming from it.

    Raises:
        CheckpointError: for one.
    """
    if Path(path).exists() and not resume:
        raise CheckpointError(
            f"{path} exists and would be overwritten; resume from it, or name another file."
        )


@contextmanager
def sole_writer(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Let no other process write the run that `path` keeps, as long as this one lives; None is nothing to keep.

    Raises:
        CheckpointError: when another process writes it.
    """
    if path is None:
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{path}.lock", timeout=0):
            yield
    except Timeout as taken:
        raise CheckpointError(
            f"{path} is being written by another process; wait until that has ended, or name another file."
        ) from taken
