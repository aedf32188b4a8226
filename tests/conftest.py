"""What the tests share: tiny tasks, and one thread to a process."""

import pytest
import torch

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
