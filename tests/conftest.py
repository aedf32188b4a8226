"""What the tests share: tiny tasks, and one thread to a process."""

from pathlib import Path

import pytest
import torch
from shared import once
from whole_book import build_whole_book

from metalearn_lib.inner_loop import Instances, draw_instances
from metalearn_lib.learners import MLP
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def family() -> GaussianMixture:
    return GaussianMixture(num_points=96, num_test=64)


@pytest.fixture(scope="session")
def learner() -> MLP:
    return MLP((2, 8, 8, 4))


@pytest.fixture
def instances(family: GaussianMixture, learner: MLP) -> Instances:
    """Six runs of 20 steps, float64."""
    return draw_instances(family, learner, Seeds("demo", 6), 20, 32, torch.float64)


@pytest.fixture(scope="session")
def whole_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the whole book, whose notebooks have run in the quick profile."""
    return once(tmp_path_factory, "whole-book", build_whole_book)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what needs the book, so that one process makes it while the others go through the rest."""
    items.sort(key=lambda item: "whole_book" not in getattr(item, "fixturenames", ()))
