"""Maps over the nested NamedTuples and tuples that states are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

Tree = TypeVar("Tree")


def tree_map(function: Callable[..., Tensor], tree: Tree, *others: Tree) -> Tree:
    """Apply `function` to each tensor of `tree` (with its fellows in `others`) and keep the structure."""
    if isinstance(tree, Tensor):
        return function(tree, *others)  # type: ignore[return-value]
    if isinstance(tree, tuple):
        mapped = [tree_map(function, *branches) for branches in zip(tree, *others, strict=True)]  # type: ignore[arg-type]
        return type(tree)(*mapped) if hasattr(tree, "_fields") else type(tree)(mapped)  # type: ignore[return-value]
    raise TypeError(f"a tree holds tensors and tuples, not {type(tree).__name__}.")


def take(tree: Tree, index: Tensor) -> Tree:
    """Keep the tasks of `index`, an integer or boolean `(tasks,)` tensor, in every leaf."""
    return tree_map(lambda leaf: leaf[index], tree)


def stack(trees: list[Tree], dim: int = 0) -> Tree:
    """Stack the leaves of equal trees along a new axis `dim`."""
    return tree_map(lambda *leaves: torch.stack(leaves, dim), *trees)


def cat(trees: list[Tree]) -> Tree:
    """Join the leaves of equal trees along the leading axis of tasks."""
    return tree_map(lambda *leaves: torch.cat(leaves), *trees)


def leaves(tree: Any) -> list[Tensor]:
    """The tensors of `tree`, in order."""
    found: list[Tensor] = []
    tree_map(lambda leaf: found.append(leaf) or leaf, tree)
    return found


def fill(tree: Tree, tensors: Iterable[Tensor]) -> Tree:
    """The structure of `tree` with `tensors` for its leaves, in the order of `leaves`."""
    each = iter(tensors)
    return tree_map(lambda _: next(each), tree)


def put(tree: Tree, index: Tensor, values: Tree) -> Tree:
    """`tree` with the tasks of `index` replaced by those of `values`."""
    return tree_map(lambda leaf, value: leaf.index_copy(0, index, value), tree, values)


def twice(tree: Tree) -> Tree:
    """Every task, and then every task again: the two arms of antithetic pairs."""
    return tree_map(lambda leaf: torch.cat([leaf, leaf]), tree)
