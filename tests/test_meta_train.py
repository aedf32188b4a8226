import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from metalearn_lib.cards import load_theta, load_thetas, rule_of, save_theta, shipped
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.inputs import make_inputs
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.meta_train import MetaTrainConfig, meta_train, meta_train_best, read_log, validation_loss
from metalearn_lib.meta_train.problems import Problems
from metalearn_lib.meta_train.quantiles import input_quantiles
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.rates.learned_schedule import LearnedSchedule
from metalearn_lib.shifts.anisotropy import Anisotropy
from metalearn_lib.shifts.embedding import Embedding
from metalearn_lib.shifts.random_family import MIXTURE, families, random_family, reshapes
from metalearn_lib.shifts.scale import Scale
from metalearn_lib.shifts.translate import Translate
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.tasks.moons import Moons
from metalearn_lib.tasks.motifs import Motifs
from metalearn_lib.types import Seeds

TINY = MetaTrainConfig(num_tasks=4, horizon=6, batch_size=16, outer_steps=3)


def first_problem(config, generator, chunk=0):
    problems = Problems(config)
    return problems.problem(chunk, problems.set_up(0, chunk, generator))


def test_training_lowers_the_loss_on_validation_tasks():
    config = MetaTrainConfig(num_tasks=16, horizon=24, batch_size=64, outer_steps=25, base_lr_decades=1.0)
    untrained = MetaOptimizer().init_theta(torch.Generator().manual_seed(0))
    trained = meta_train(config, progress=False)
    assert validation_loss(config, trained.theta, 32) < validation_loss(config, untrained, 32) - 0.1
    assert trained.card["gradient_evaluations"] == 2 * 16 * 24 * 25


def test_the_same_config_gives_the_same_theta_and_another_seed_another():
    first, again = (meta_train(TINY, progress=False) for _ in range(2))
    assert torch.equal(first.theta, again.theta)
    assert first.history == again.history
    other = meta_train(MetaTrainConfig(**{**first.card["config"], "seed": 1}), progress=False)
    assert not torch.equal(first.theta, other.theta)


def test_the_deployed_meta_seed_is_the_best_on_validation_and_all_are_paid_for():
    best, runs = meta_train_best(TINY, num_seeds=2, workers=1, progress=False)
    losses = [validation_loss(TINY, run.theta) for run in runs]
    assert torch.equal(best.theta, runs[losses.index(min(losses))].theta)
    assert list(best.card["validation_loss"].values()) == losses
    assert best.card["gradient_evaluations_all_seeds"] == 2 * best.card["gradient_evaluations"]


def test_training_from_the_card_gives_the_saved_theta_again(tmp_path):
    trained = meta_train(TINY, progress=False)
    save_theta(tmp_path / "theta.safetensors", trained.theta, trained.card)
    theta, card = load_theta(tmp_path / "theta.safetensors")
    assert card == json.loads(json.dumps(trained.card))
    assert torch.equal(meta_train(MetaTrainConfig(**card["config"]), progress=False).theta, theta)


def test_a_card_names_what_its_network_sees_and_an_old_one_that_does_not_is_read_as_ever(tmp_path):
    theta, card = load_theta("sgd")
    assert card["format"] == 3
    assert card["config"]["inputs"] == [each.name for each in MetaOptimizer().inputs]
    old = {"config": card["config"] | {"inputs": None}}
    path = tmp_path / "old.safetensors"
    path.write_bytes(safetensors.torch.save({"theta": theta}, {"card": json.dumps(old)}))
    assert load_theta(path)[1]["config"] == card["config"]
    save_theta(path, theta, old)
    with safetensors.safe_open(path, "pt") as file:
        written = json.loads(file.metadata()["card"])
    assert len(written.pop("digest")) == 64
    assert written == {"config": card["config"], "format": 3}
    path.write_bytes(safetensors.torch.save({"theta": theta}, {"card": json.dumps(card | {"format": 4})}))
    with pytest.raises(ValueError, match="the card has format 4, and this version reads up to 3"):
        load_theta(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x80\x04\x95 a pickle"])
def test_a_file_that_is_not_ours_is_refused_by_name(tmp_path, content):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"foreign\.safetensors is no trained meta-optimizer.*metalearn_lib train"
    ):
        load_theta(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "theta.safetensors"
    save_theta(path, torch.zeros(353), {})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="damaged"):
        load_theta(path)


def test_a_name_that_is_no_file_is_refused_with_the_shipped_names():
    with pytest.raises(ValueError, match="'sdg' is neither a file nor a shipped meta-optimizer"):
        load_theta("sdg")


def test_a_theta_of_another_architecture_is_refused(instances, learner):
    with pytest.raises(ValueError, match=r"theta has 10 weights and this meta-optimizer has 353"):
        InnerLoop(learner, LearnedRate(0.1, torch.zeros(10))).unroll(instances)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"direction": "sdg"}, "direction='sdg' is unknown; use one of sgd, momentum, adam, all"),
        ({"horizon": 1}, "horizon=1 leaves no improvement"),
        ({"sigma": 0.0}, "sigma=0.0 must be a positive number"),
        ({"outer_lr": 1e300}, r"outer_lr=1e\+300 must be at most 1e\+06"),
        (
            {"num_tasks": 10**14},
            "outer_steps=400 of num_tasks=100000000000000 are more tasks than can be numbered",
        ),
        ({"base_lr": float("nan")}, "base_lr=nan must be a positive number"),
        ({"seed": -1}, "seed=-1 must be 0 or more"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        MetaTrainConfig(**setting)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_is_told_every_outer_step(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained = meta_train(TINY, progress=False, tensorboard=tmp_path)
    told = EventAccumulator(str(tmp_path))
    told.Reload()
    scalars = {event.step: event.value for event in told.Scalars("meta_loss")}
    assert scalars == pytest.approx(dict(enumerate(trained.history["meta_loss"])))


def test_tensorboard_is_refused_with_the_remedy_where_it_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RuntimeError, match=r"TensorBoard was asked for .* `pip install tensorboard`"):
        meta_train(TINY, progress=False, tensorboard=tmp_path)


def test_the_log_holds_what_the_history_holds_and_the_pace(tmp_path):
    trained = meta_train(TINY, progress=False, log=tmp_path / "log.jsonl")
    told = read_log(tmp_path / "log.jsonl")
    assert told.pop("outer_step") == [0, 1, 2]
    assert min(told.pop("inner_steps_per_second")) > 0
    assert told.pop("seconds") == sorted(read_log(tmp_path / "log.jsonl")["seconds"])
    assert told == trained.history


@pytest.mark.parametrize("estimator", ["es", "pes", "backprop", "reinforce"])
def test_every_estimator_trains_over_families_and_setups_and_repeats_itself(estimator):
    config = replace(
        TINY,
        estimator=estimator,
        direction="all",
        families=("home", "translate", "scale", "anisotropy"),
        vary_setup=True,
        tasks_per_chunk=2,
        base_lr_decades=0.5,
        truncation_length=3 if estimator in ("pes", "backprop") else None,
    )
    first, again = (meta_train(config, progress=False) for _ in range(2))
    assert torch.equal(first.theta, again.theta)
    assert not torch.equal(first.theta, config.init_theta())
    of_card = MetaTrainConfig(**json.loads(json.dumps(first.card["config"])))
    assert of_card == replace(config, inputs=of_card.inputs)
    assert of_card.meta_optimizer == config.meta_optimizer


def test_set_ups_that_vary_widely_reach_from_one_layer_of_four_to_four_of_more_than_a_hundred():
    config = replace(
        TINY,
        vary_setup=True,
        vary_widely=True,
        horizon=32,
        longest_horizon=2000,
        outer_steps=400,
        num_tasks=1,
    )
    problems = Problems(config)
    drawn = [problems.set_up(step, 0, config.generator(step + 1, 0)) for step in range(400)]
    depths, widths = ({count(each.hidden) for each in drawn} for count in (len, max))
    assert depths == {1, 2, 3, 4}
    assert min(widths) == 4
    assert 100 < max(widths) <= 128
    assert {each.batch_size for each in drawn} == {16, 32, 64, 128, 256}
    often = {
        horizon: sum(each.horizon == horizon for each in drawn) for horizon in (32, 64, 128, 256, 512, 1024)
    }
    assert sum(often.values()) == 400  # and none is longer
    total = sum(2.0**-k for k in range(6))
    for doublings, (horizon, times) in enumerate(often.items()):
        share = 2.0**-doublings / total
        assert abs(times - 400 * share) < 4 * math.sqrt(400 * share), horizon


def test_runs_of_a_chunk_end_together_and_the_next_are_of_another_set_up():
    config = replace(
        TINY,
        **{"estimator": "pes", "truncation_length": 2, "outer_steps": 99, "vary_setup": True, "horizon": 8},
        **{"fresh_set_ups": True, "architectures": ("mlp", "residual", "attention"), "losses": ("squared",)},
    )
    problems, estimator, theta = Problems(config), config.make_estimator(), config.init_theta()
    lives, seen = [], set()
    for step in range(40):
        life = problems.life(0, step, lives[-1] if lives else None)
        assert life == problems.life(0, step)
        if not lives or life.number != lives[-1].number:
            assert life.began == step
            assert life.number == (lives[-1].number + 1 if lives else 0)
            problem = problems.problem(0, life.set_up, life.number, life.start)
            state = estimator.init(problem, theta)
            assert not any(torch.equal(state.instances.table, one) for one in seen)
            seen.add(state.instances.table)
        assert int(state.position[0]) < life.set_up.horizon
        _, state = estimator(state, theta, problem, config.generator(step + 1, 0))
        ended = life.ends(config.truncation_length) == step + 1
        assert state.position.tolist() == [life.set_up.horizon if ended else int(state.position[0])] * 4
        lives.append(life)
    met = [problems.life(0, step).set_up for step in range(99)]
    assert {each.architecture for each in met} == {"mlp", "residual", "attention"}
    assert {each.horizon for each in met} == {4, 8, 16}
    assert {type(each.family) for each in met if each.architecture == "attention"} == {Motifs}


def test_architectures_and_losses_are_refused_where_they_are_unknown_or_cannot_be_trained():
    with pytest.raises(ValueError, match=r"architectures=\['rnn'\] must name one or more of mlp, layer_norm"):
        replace(TINY, architectures=("rnn",))
    with pytest.raises(ValueError, match=r"losses=\[\] must name one or more of cross_entropy, squared"):
        replace(TINY, losses=())
    with pytest.raises(ValueError, match="are for a learned rate"):
        replace(TINY, architectures=("residual",), estimator="backprop")
    with pytest.raises(ValueError, match="whose runs do not go on; use pes"):
        replace(TINY, fresh_set_ups=True)


def test_a_rule_of_many_architectures_is_judged_on_each_at_its_usual_size():
    config = replace(TINY, architectures=("mlp", "convolution"))
    total = sum(
        validation_loss(replace(TINY, architectures=(one,)), config.init_theta(), 4)
        for one in config.architectures
    )
    assert validation_loss(config, config.init_theta(), 4) == pytest.approx(total / 2)


def test_where_the_horizon_alone_varies_it_doubles_up_to_the_longest():
    config = replace(TINY, vary_horizon=True, longest_horizon=24)
    drawn = {Problems(config).set_up(step, 0, config.generator(step + 1, 0)).horizon for step in range(60)}
    assert drawn == {6, 12, 24}
    with pytest.raises(ValueError, match="longest_horizon=5 lies below horizon=6"):
        replace(TINY, vary_horizon=True, longest_horizon=5)


def test_what_says_how_set_ups_vary_is_refused_where_they_do_not():
    with pytest.raises(ValueError, match=r"vary_widely=True .* vary_setup is off"):
        replace(TINY, vary_widely=True)
    with pytest.raises(ValueError, match=r"longest_horizon=24 .* turn vary_horizon or vary_setup on"):
        replace(TINY, longest_horizon=24)


def test_the_held_out_loss_can_be_the_reward_of_those_estimators_that_look_ahead(tmp_path):
    config = replace(TINY, held_out_every=3)
    trained = meta_train(config, progress=False)
    assert not torch.equal(trained.theta, meta_train(TINY, progress=False).theta)
    save_theta(tmp_path / "ours.safetensors", trained.theta, trained.card)
    _, card = load_theta(tmp_path / "ours.safetensors")
    assert card["config"]["held_out_every"] == 3
    assert validation_loss(config, trained.theta, 8) != validation_loss(TINY, trained.theta, 8)
    with pytest.raises(ValueError, match=r"held_out_every=4 does not divide horizon=6; use"):
        replace(TINY, held_out_every=4)
    with pytest.raises(ValueError, match=r"held_out_every=3 .* use es or pes"):
        replace(TINY, estimator="reinforce", held_out_every=3)


def test_meta_seeds_are_chosen_on_validation_families_of_their_own_where_there_are_any():
    theta = TINY.init_theta()
    elsewhere = replace(TINY, validation_families=["moons", "spirals"])
    assert elsewhere.validation_families == ("moons", "spirals")
    parts = [validation_loss(replace(TINY, families=(name,)), theta, 8) for name in ("moons", "spirals")]
    assert validation_loss(elsewhere, theta, 8) == pytest.approx(sum(parts) / 2, abs=1e-6)
    assert torch.equal(meta_train(elsewhere, progress=False).theta, meta_train(TINY, progress=False).theta)
    with pytest.raises(ValueError, match="'mars' is unknown"):
        replace(TINY, validation_families=["mars"])


def test_rescaled_tasks_begin_as_the_same_functions_of_other_weights():
    config = replace(TINY, rescale_decades=2.0)
    problems = [first_problem(each, each.generator(1, 0)) for each in (TINY, config)]
    (plain, _), (rescaled, state) = (problem.draw(0, 4) for problem in problems)
    assert torch.equal(state.params, rescaled.params)
    assert torch.equal(plain.params[::2], rescaled.params[::2])
    ratios = (rescaled.params / plain.params)[1::2].nan_to_num(1.0)  # biases are 0
    assert ratios.max() > 5
    assert ratios.min() < 1 / 5
    learner, x = problems[0].loop.learner, plain.batch(0).x
    torch.testing.assert_close(learner.logits(rescaled.params, x), learner.logits(plain.params, x))
    again, _ = problems[1].draw(2, 2)
    assert torch.equal(again.params, rescaled.params[2:])
    with pytest.raises(ValueError, match=r"rescale_decades=5 must lie in \[0, 4\]"):
        replace(TINY, rescale_decades=5)


def test_every_family_can_be_trained_on_and_the_contests_mixture_is_drawn_as_ever():
    home, seeds = GaussianMixture(num_points=256, num_test=128), Seeds("demo", 12)
    for name, kind in families().items():
        if reshapes(kind):
            continue
        task = random_family(home, (name,)).stack(seeds)
        assert task.x.shape == home.stack(seeds).x.shape
        assert int(task.y.max()) < home.num_classes
        changed, plain = (home if kind is None else kind.drawn(home, 0.9)).stack(seeds), home.stack(seeds)
        same = torch.equal(changed.x, plain.x) and torch.equal(changed.y, plain.y)
        assert same == (name == "home")
    drawn = random_family(home, MIXTURE)
    for index in seeds:
        task, generator = drawn.sample(seeds.generator(index, "data")), seeds.generator(index, "data")
        number, u = int(torch.randint(4, (), generator=generator)), float(torch.rand((), generator=generator))
        shifted = (home, Translate(home, 4 * u), Scale(home, 8 ** (2 * u - 1)), Anisotropy(home, 64**u))[
            number
        ]
        assert all(map(torch.equal, task, shifted.sample(generator)))


def test_families_of_another_shape_are_drawn_a_chunk_at_a_time_and_by_their_share():
    names = ("home", "moons", "spirals", "embedding", "nuisance", "num_classes")
    config = replace(TINY, families=names, num_tasks=4, tasks_per_chunk=2, horizon=4, outer_steps=60)
    drawn = [
        Problems(config).set_up(step, chunk, config.generator(step, chunk)).family
        for step in range(60)
        for chunk in (0, 1)
    ]
    kinds = [type(family).__name__ for family in drawn]
    assert set(kinds) == {"GaussianMixture", "Moons", "Spirals", "Embedding", "Nuisance", "NumClasses"}
    assert max(map(kinds.count, set(kinds))) < 40  # of 120, each is due 20
    assert len({family.num_features for family in drawn if isinstance(family, Embedding)}) > 3
    assert sum(share for share, _ in Problems(config).shapes) == pytest.approx(1)
    trained = meta_train(replace(config, outer_steps=3), progress=False)
    assert trained.theta.isfinite().all()
    assert math.isfinite(validation_loss(config, trained.theta, num_tasks=4))


def test_a_single_family_of_another_shape_is_trained_and_validated_on_and_on_no_other():
    config = replace(TINY, families=("moons",), horizon=4)
    assert [type(family).__name__ for _, family in Problems(config).shapes] == ["Moons"]
    assert isinstance(Problems(config).set_up(0, 0, config.generator(0, 0)).family, Moons)


def test_an_unknown_family_is_refused_with_those_there_are():
    for names in (("moon",), ("home", "moon"), ("moons", "moon")):
        with pytest.raises(
            ValueError, match=r"families .*'moon'.* use one or more of home, translate.*spirals"
        ):
            MetaTrainConfig(families=names)


def test_a_seed_whose_tasks_would_have_no_numbers_is_refused_and_the_last_is_not():
    config = MetaTrainConfig(outer_steps=1000, num_tasks=64, seed=1046)
    assert first_problem(config, config.generator(0, 3), 3).draw(1000 * 16, 16)
    with pytest.raises(ValueError, match="seed=1047 must be below 1047: outer_steps=1000 of num_tasks=64"):
        replace(config, seed=1047)


def test_chunks_in_turn_go_to_every_direction():
    config = replace(TINY, direction="all", tasks_per_chunk=1)
    problems = Problems(config)
    directions = [problems.set_up(1, chunk, config.generator(0, chunk)).direction for chunk in range(4)]
    assert directions == ["momentum", "adam", "sgd", "momentum"]


def test_base_rates_are_even_over_the_decades():
    config = replace(TINY, num_tasks=64, tasks_per_chunk=64, families=("scale",))
    problem = first_problem(config, config.generator(0, 1))
    _, state = problem.draw(0, 64)
    decades = state.rate.base_lr.log10().sort().values
    assert (decades - torch.linspace(-2, 2, 64)).abs().max() < 0.15


def test_no_two_chunks_or_meta_seeds_draw_the_same_task():
    config = replace(TINY, tasks_per_chunk=2, num_tasks=4)
    drawn = []
    for each in (config, replace(config, seed=1)):
        for chunk in (0, 1):
            instances, _ = first_problem(each, each.generator(0, 1), chunk).draw(
                0, (each.outer_steps + 1) * 2
            )
            drawn.append(instances.params)
    assert len(torch.cat(drawn).unique(dim=0)) == 4 * 4 * 2


def test_horizons_alone_can_vary():
    config = replace(TINY, vary_horizon=True, horizon=8)
    drawn = [Problems(config).set_up(step, 0, config.generator(step, 0)) for step in range(40)]
    assert {each.horizon for each in drawn} == {4, 8, 16}
    assert {each._replace(horizon=0) for each in drawn} == {drawn[0]._replace(horizon=0)}


KEPT = sorted((Path(__file__).parents[1] / "results" / "rules").glob("*.safetensors"))


@pytest.mark.parametrize("name", [*shipped(), *KEPT], ids=lambda name: Path(name).stem)
def test_a_shipped_or_kept_meta_optimizer_fits_its_card(name):
    theta, card = load_theta(name)
    config = MetaTrainConfig(**card["config"])
    assert theta.shape == config.init_theta().shape
    assert card["validation_loss"][str(config.seed)] == min(card["validation_loss"].values())
    assert card["gradient_evaluations_all_seeds"] >= card["gradient_evaluations"]


def test_a_blind_meta_optimizer_gives_one_schedule_to_all_tasks_and_a_seeing_one_does_not(instances, learner):
    for inputs, same in ((("log_lr",), True), (None, False)):
        network = MetaOptimizer(4, inputs=make_inputs(inputs))
        theta = 0.3 * torch.randn(network.num_theta, generator=torch.Generator().manual_seed(0))
        loop = InnerLoop(learner, LearnedRate(0.1, theta.double(), network))
        lrs = loop.unroll(instances)[1].lr
        assert bool((lrs - lrs[:1]).abs().max() < 1e-12) == same


def test_a_schedule_is_trained_by_the_same_outer_loop_and_its_card_rebuilds_it(tmp_path):
    config = MetaTrainConfig(
        controller="schedule", base_lr_decades=0.0, num_tasks=4, horizon=8, outer_steps=2
    )
    trained = meta_train(config, progress=False)
    assert trained.theta.shape == (3,)
    assert (trained.theta != 0).all()
    thetas = torch.stack([trained.theta, torch.zeros(3)])
    save_theta(tmp_path / "schedule.safetensors", trained.theta, trained.card, thetas)
    theta, card = load_theta(tmp_path / "schedule.safetensors")
    assert rule_of(card["config"], theta, 0.5)[1] == LearnedSchedule(0.5, theta)
    assert torch.equal(load_thetas(tmp_path / "schedule.safetensors")[0], thetas)
    with pytest.raises(ValueError, match="sees nothing"):
        MetaTrainConfig(controller="schedule", estimator="reinforce")


def test_an_unknown_input_or_controller_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="input 'loss' is unknown; did you mean 'log_loss'"):
        MetaTrainConfig(inputs=("loss",))
    with pytest.raises(ValueError, match="use one of network, schedule"):
        MetaTrainConfig(controller="oracle")


def test_a_card_says_where_the_inputs_of_its_rule_lay():
    config = replace(TINY, inputs=("log_lr", "log_steps", "loss_noise"), base_lr=0.1, base_lr_decades=1.0)
    best, _ = meta_train_best(config, 1, workers=1, progress=False)
    lay = best.card["input_quantiles"]
    assert lay["log_steps"] == pytest.approx([0, math.log(config.horizon)], abs=1e-3)
    assert lay["log_lr"] == pytest.approx([math.log(0.01), 0], abs=0.5)
    assert lay["loss_noise"][0] == 0
    still = input_quantiles(config, config.init_theta())  # which changes no rate
    assert still["log_lr"] == pytest.approx([math.log(0.01), 0], abs=0.3)
    with pytest.raises(ValueError, match="controller='schedule' sees nothing"):
        input_quantiles(replace(config, controller="schedule", inputs=None), torch.zeros(3))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"horizon": 10**13}, "horizon=10000000000000, batch_size=16 for 8 runs side by side"),
        ({"hidden": 10**13}, "hidden=10000000000000 for 8 runs side by side"),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_before_it_is_begun(settings, told):
    with pytest.raises(ValueError, match=told):
        meta_train(replace(TINY, **settings), progress=False)
