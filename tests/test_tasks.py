import pytest
import torch

from metalearn_lib.shifts import SHIFTS, RandomShift, make_shift
from metalearn_lib.tasks import Digits, GaussianMixture
from metalearn_lib.types import Seeds


def test_the_same_seed_gives_the_same_task_whatever_stands_beside_it():
    few, many = (GaussianMixture().stack(Seeds("demo", count)) for count in (2, 9))
    assert all(torch.equal(one, other[:2]) for one, other in zip(few, many, strict=True))


def test_no_two_roles_streams_or_indices_share_a_generator():
    states = {
        Seeds(role, 3).generator(index, stream).initial_seed()
        for role in ("fit", "meta_train", "validate", "tune", "score", "demo")
        for stream in ("data", "params", "order", "perturbation")
        for index in range(3)
    }
    assert len(states) == 6 * 4 * 3
    assert max(states) < 2**32  # torch keeps no more of a seed than this


def test_inputs_of_the_mixture_have_mean_zero_and_variance_one_over_the_family():
    x = GaussianMixture().stack(Seeds("fit", 2000)).x
    assert x.mean() == pytest.approx(0, abs=0.03)
    assert x.var() == pytest.approx(1, abs=0.03)


def test_digits_are_real_scans_and_training_never_shares_one_with_the_held_out_set():
    task = Digits(num_points=1000, num_test=797).sample(torch.Generator().manual_seed(1))
    assert task.x.shape == (1000, 64)
    assert set(task.y.tolist()) == set(range(10))
    from sklearn.datasets import load_digits

    drawn = torch.cat([task.x, task.x_test]) * 16
    assert torch.equal(drawn.sum(0), torch.tensor(load_digits().data).float().sum(0))


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_at_its_identity_changes_nothing(name):
    family = GaussianMixture(num_points=32, num_test=8)
    shifted = make_shift(name, family, SHIFTS[name].identity)
    for before, after in zip(family.stack(Seeds("demo", 3)), shifted.stack(Seeds("demo", 3)), strict=True):
        torch.testing.assert_close(after, before)


def test_a_shift_does_to_the_same_points_what_its_name_says():
    family = GaussianMixture(num_points=32, num_test=8)
    before = family.stack(Seeds("demo", 4)).x

    def after(name, severity):
        return make_shift(name, family, severity).stack(Seeds("demo", 4)).x

    moved = after("translate", 3.0) - before
    torch.testing.assert_close(moved, moved[:, :1].expand_as(moved))
    torch.testing.assert_close(moved.norm(dim=2), torch.full((4, 32), 3.0))
    torch.testing.assert_close(after("scale", 4.0), 4 * before)
    stretch = torch.linalg.lstsq(before, after("anisotropy", 16.0)).solution
    torch.testing.assert_close(torch.linalg.svdvals(stretch), torch.tensor([[4.0, 0.25]]).expand(4, 2))


@pytest.mark.parametrize(
    ("name", "severity"), [("translate", -1), ("scale", 0), ("scale", float("nan")), ("anisotropy", 0.5)]
)
def test_a_severity_out_of_range_is_refused_with_the_range(name, severity):
    with pytest.raises(ValueError, match=f"severity={severity}.*{name}.*must lie in"):
        make_shift(name, GaussianMixture(), severity)


def test_an_unknown_shift_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="'rotate90' is unknown; use one of translate, scale, anisotropy"):
        make_shift("rotate90", GaussianMixture(), 1.0)


def test_more_scans_than_there_are_is_refused():
    with pytest.raises(ValueError, match="1797"):
        Digits(num_points=1700, num_test=512)


def test_a_random_shift_draws_every_shift_and_home_alone_changes_nothing():
    home = GaussianMixture(num_points=64, num_test=16)
    drawn = RandomShift(home, ("translate", "scale", "anisotropy")).stack(Seeds("demo", 60))
    offset, spread = drawn.x.mean(1).norm(dim=1), drawn.x.std(1).mean(1)
    assert offset.max() > 2
    assert spread.max() > 3
    assert spread.min() < 0.3
    plain = RandomShift(home, ("home",)).stack(Seeds("demo", 60))
    assert plain.x.std() == pytest.approx(1, abs=0.2)


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="must be one or more of home, translate, scale, anisotropy"):
        RandomShift(GaussianMixture(), ("home", "rotate"))
