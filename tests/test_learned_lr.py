"""The learned rate on a model of one's own: what users of such tools report, each with the right behaviour."""

import copy
import gc
import io
import math
import pickle
import statistics
import warnings
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from metalearn_lib import LearnedLR, load_theta
from metalearn_lib.cards import rule_of, save_theta, where_inputs_lay
from metalearn_lib.guard import USUAL, Guard, Watch
from metalearn_lib.inner_loop import InnerLoop, draw_instances
from metalearn_lib.inputs import make_inputs
from metalearn_lib.learners import ModuleLearner
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.types import Seeds

X = torch.randn(60, 16, 2, generator=torch.Generator().manual_seed(0))
Y = torch.randint(4, (60, 16), generator=torch.Generator().manual_seed(1))
OUT_OF_RANGE = pytest.mark.filterwarnings("ignore:LearnedLR sees an input")
OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1),
    "momentum": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=0.01),
}


def network():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 4))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return network()


def flat(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def train(model, optimizer, learned=None, steps=range(30), scheduler=None):
    for step in steps:
        optimizer.zero_grad()
        loss = cross_entropy(model(X[step].to(next(model.parameters()))).float(), Y[step])
        loss.backward()
        if learned is not None:
            learned.observe(loss)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return flat(model)


def pair(model, kind="sgd", **settings):
    optimizer = OPTIMIZERS[kind](model.parameters())
    return optimizer, LearnedLR(optimizer, **settings)


# 1
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_without_authority_it_is_the_bare_optimizer_bit_for_bit(model, kind):
    other = copy.deepcopy(model)
    bare = train(other, OPTIMIZERS[kind](other.parameters()), steps=range(50))
    assert torch.equal(train(model, *pair(model, kind, authority=0.0), steps=range(50)), bare)


# 2
@pytest.mark.parametrize(("rule", "kind"), [("sgd_long", "sgd"), ("momentum_multi", "momentum")])
def test_its_rates_are_the_inner_loops(model, family, rule, kind):
    learner = ModuleLearner(network)
    instances = draw_instances(family, learner, Seeds("demo", 1), 12, 32)
    nn.utils.vector_to_parameters(instances.params[0].clone(), model.parameters())
    theta, card = load_theta(rule)
    direction, rate = rule_of(card["config"], theta, 0.1)
    after, info = InnerLoop(learner, rate, direction).unroll(instances)
    optimizer, learned = pair(model, kind, guard=None)
    rates = []
    for step in range(12):
        batch = instances.batch(step)
        optimizer.zero_grad()
        loss = cross_entropy(model(batch.x[0]), batch.target[0])
        loss.backward()
        learned.observe(loss)
        optimizer.step()
        rates += learned.get_last_lr()
    torch.testing.assert_close(torch.tensor(rates), info.lr[0], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(flat(model), after.params[0], rtol=1e-3, atol=1e-4)
    assert len(set(rates)) > 6


# 3
def test_a_loss_that_was_not_told_is_an_error_that_says_what_to_write_and_none_is_used_twice(model):
    optimizer, learned = pair(model)
    train(model, optimizer, learned, range(2))
    cross_entropy(model(X[0]), Y[0]).backward()
    before = flat(model)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"learned.observe\(loss\) before every optimizer.step"):
            optimizer.step()
    assert torch.equal(flat(model), before)


# 4
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_run_that_is_saved_and_resumed_gives_the_same_bits(model, kind):
    other = copy.deepcopy(model)
    whole = train(model, *pair(model, kind))
    optimizer, learned = pair(other, kind)
    train(other, optimizer, learned, range(15))
    kept = io.BytesIO()
    torch.save([other.state_dict(), optimizer.state_dict(), learned.state_dict()], kept)
    kept.seek(0)
    states = torch.load(kept, weights_only=True)
    again = network()
    optimizer, learned = pair(again, kind)
    for each, state in zip((again, optimizer, learned), states, strict=True):
        each.load_state_dict(state)
    assert torch.equal(train(again, optimizer, learned, range(15, 30)), whole)


def test_a_checkpoint_from_before_warns_and_another_rules_is_refused(model):
    _, learned = pair(model)
    with pytest.warns(UserWarning, match="the rule starts anew"):
        learned.load_state_dict({})
    state = learned.state_dict() | {"rule": "adam_multi"}
    with pytest.raises(ValueError, match="is of rule 'adam_multi' in format 1, and this is 'sgd_long'"):
        learned.load_state_dict(state)


# 5
def test_what_it_keeps_is_float32_where_weights_are_not(model):
    model = model.to(torch.bfloat16)
    optimizer, learned = pair(model)
    assert train(model, optimizer, learned, range(5)).isfinite().all()
    assert {each.dtype for each in learned.state_dict()["tensors"]} == {torch.float32}
    loaded = learned.state_dict()
    learned.load_state_dict(loaded | {"tensors": [each.to(torch.bfloat16) for each in loaded["tensors"]]})
    assert {each.dtype for each in learned.state_dict()["tensors"]} == {torch.float32}


def state_of(learned):
    state = learned.state_dict()
    return [each.tolist() for each in state.pop("tensors")], repr(state)


# 6
def test_distributed_checkpointing_changes_neither_state_nor_weights_nor_rates(model):
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

    other, (optimizer, learned) = copy.deepcopy(model), pair(model, "adamw")
    before = flat(model), state_of(learned)
    kept = get_optimizer_state_dict(model, optimizer)  # steps once, at a rate of 0 with gradients of 0
    assert torch.equal(flat(model), before[0])
    assert state_of(learned) == before[1]
    assert optimizer.param_groups[0]["lr"] == 0.01
    train(model, optimizer, learned, range(3))
    kept = copy.deepcopy(get_optimizer_state_dict(model, optimizer))
    optimizer, learned = pair(other, "adamw")
    before = flat(other), state_of(learned)
    set_optimizer_state_dict(other, optimizer, kept)
    assert torch.equal(flat(other), before[0])
    assert state_of(learned) == before[1]
    assert optimizer.param_groups[0]["lr"] == 0.01


# 7
def test_groups_keep_the_ratio_of_their_rates_and_a_rate_of_0_stays_0(model):
    groups = [
        {"params": [each], "lr": lr}
        for each, lr in zip(model.parameters(), (0.1, 0.01, 0.0, 0.1), strict=True)
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    learned, before = LearnedLR(optimizer), model[2].weight.detach().clone()
    train(model, optimizer, learned, range(5))
    first, second, third, _ = learned.get_last_lr()
    assert first / second == pytest.approx(10)
    assert first != 0.1
    assert third == 0
    assert torch.equal(model[2].weight, before)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01, 0.0, 0.1]


# 8
def test_a_group_may_be_added_and_weights_unfrozen_and_norms_have_them(model):
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    model[2].requires_grad_(False)
    learned = LearnedLR(optimizer)
    train(model, optimizer, learned, range(10))
    small, factor = learned.history()[-1].weight_norm, learned.factor
    model[2].requires_grad_(True)
    optimizer.add_param_group({"params": model[2].parameters()})
    train(model, optimizer, learned, range(10, 11))
    assert learned.history()[-1].weight_norm > small + 0.1
    assert abs(math.log(learned.factor / factor)) <= USUAL.fastest


# 9, 10
def test_weights_without_a_gradient_are_in_neither_norm_and_without_any_nothing_changes(model):
    optimizer, learned = pair(model)
    model[0].weight.requires_grad_(False)
    train(model, optimizer, learned, range(3))
    last, rest = learned.history()[-1], [model[0].bias, *model[2].parameters()]
    assert last.grad_norm == pytest.approx(float(torch.cat([each.grad.flatten() for each in rest]).norm()))
    before = state_of(learned)
    for grads in (None, 0):
        for each in rest:
            each.grad = None if grads is None else torch.zeros_like(each)
        learned.observe(1.0)
        optimizer.step()
        assert state_of(learned) == before
        assert math.isfinite(learned.get_last_lr()[0])


# 11
def test_a_sparse_gradient_counts_once_for_each_row():
    torch.manual_seed(0)
    table = nn.Embedding(5, 3, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    learned = LearnedLR(optimizer)
    loss = table(torch.tensor([1, 1, 2])).square().sum()
    loss.backward()
    dense = table.weight.grad.to_dense().norm()
    learned.observe(loss)
    optimizer.step()
    assert learned.history()[-1].grad_norm == pytest.approx(float(dense))


# 12
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_after_a_loss_that_is_no_number_the_factor_has_not_risen_and_it_goes_on(model, bad):
    optimizer, learned = pair(model)
    train(model, optimizer, learned, range(5))
    factor = learned.factor
    learned.observe(bad)
    optimizer.step()
    assert learned.factor <= factor
    assert learned.num_guarded["not finite"] == 1
    train(model, optimizer, learned, range(5, 60))
    assert math.isfinite(learned.history()[-1].loss)
    model[0].weight.grad[0, 0] = math.nan
    factor = learned.factor
    learned.observe(1.0)
    learned._act()
    assert learned.factor <= factor
    assert learned.num_guarded["not finite"] == 2


# 13
@OUT_OF_RANGE
def test_a_loss_below_0_is_never_taken_for_one_that_diverged(model):
    optimizer, learned = pair(model)
    weight = nn.Parameter(torch.tensor([3.0]))
    optimizer.add_param_group({"params": [weight]})
    for _ in range(40):
        optimizer.zero_grad()
        loss = (weight - 1).square().sum() - 2
        loss.backward()
        learned.observe(loss)
        optimizer.step()
    # a curve without noise, at whose bottom a step too long shows at once
    assert statistics.median(each.loss for each in learned.history()[-20:]) == pytest.approx(-2, abs=0.1)
    assert "not finite" not in learned.num_guarded
    assert all(math.isfinite(each.factor) for each in learned.history())


# 14, 15
@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_gradient_scaler_skips_is_as_if_it_had_not_been(model, fused):
    def run(model, overflow):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
        learned, scaler = (
            LearnedLR(optimizer),
            torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000),
        )
        for step in range(8):
            optimizer.zero_grad()
            loss = cross_entropy(model(X[step]), Y[step])
            scaler.scale(loss).backward()
            if step == overflow:
                model[0].weight.grad[0, 0] = math.inf
            learned.observe(loss)
            scaler.step(optimizer)
            scaler.update()
        return learned

    other, plain = copy.deepcopy(model), copy.deepcopy(model)
    learned = run(model, 3)
    assert [each.step for each in learned.history()] == list(range(1, 8))
    assert not learned.num_guarded.get("not finite")
    whole = run(other, None)
    assert whole.history()[:3] == learned.history()[:3]
    assert learned.history()[3].loss == pytest.approx(cross_entropy(model(X[4]), Y[4]).item(), rel=0.2)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.01)
    bare = LearnedLR(optimizer)
    train(plain, optimizer, bare, range(1))
    assert learned.history()[0].grad_norm == pytest.approx(bare.history()[0].grad_norm, rel=1e-5)


# 16
@OUT_OF_RANGE
def test_the_norm_is_that_of_the_gradients_at_the_step_or_the_one_that_is_told(model):
    optimizer, learned = pair(model)
    for told in (False, True):
        optimizer.zero_grad()
        loss = cross_entropy(model(X[0]), Y[0])
        loss.backward()
        before = nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        learned.observe(loss, grad_norm=before if told else None)
        optimizer.step()
        assert learned.history()[-1].grad_norm == pytest.approx(float(before) if told else 1e-3, rel=1e-2)


# 17
@pytest.mark.parametrize("first", ["backward", "observe"])
def test_accumulated_micro_batches_give_the_factor_of_the_whole_batch(model, first):
    other = copy.deepcopy(model)
    train(other, *(whole := pair(other)), steps=range(3))
    optimizer, learned = pair(model)
    for step in range(3):
        optimizer.zero_grad()
        for x, y in zip(X[step].split(4), Y[step].split(4), strict=True):
            loss = cross_entropy(model(x), y)
            if first == "observe":
                learned.observe(loss)
            (loss / 4).backward()
            if first == "backward":
                learned.observe(loss)
        optimizer.step()
    assert learned.factor == pytest.approx(whole[1].factor, rel=1e-4)
    assert len(learned.history()) == 3


# 18
def test_with_a_closure_gradients_are_read_after_it_and_lbfgs_is_refused(model):
    other = copy.deepcopy(model)
    expected = train(other, *(plain := pair(other)), steps=range(5))
    optimizer, learned = pair(model)
    for step in range(5):

        def closure(step=step):
            optimizer.zero_grad()
            loss = cross_entropy(model(X[step]), Y[step])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e6)
            return loss

        assert optimizer.step(closure).item() == pytest.approx(plain[1].history()[step].loss, rel=1e-4)
    torch.testing.assert_close(flat(model), expected)

    def tells():
        loss = closure()
        learned.observe(loss, grad_norm=0.5)
        return loss

    optimizer.step(tells)
    assert learned.history()[-1].grad_norm == 0.5
    with pytest.raises(ValueError, match="LBFGS evaluates its loss many times"):
        LearnedLR(torch.optim.LBFGS(model.parameters()), rule="sgd_multi")
    with pytest.raises(ValueError, match="no rule ships for Rprop"):
        LearnedLR(torch.optim.Rprop(model.parameters()))
    assert LearnedLR(torch.optim.NAdam(model.parameters()), rule="adam_multi").rule == "adam_multi"


def test_micro_batches_before_a_closure_count_and_what_a_failed_one_told_does_not(model):
    """As Lightning accumulates: closures without a step, and then a step with the last."""
    other = copy.deepcopy(model)
    train(other, *(whole := pair(other)), steps=range(2))
    for tells in (True, False):
        own = copy.deepcopy(model)
        optimizer, learned = pair(own)
        for step in range(2):
            halves = list(zip(X[step].split(8), Y[step].split(8), strict=True))

            def closure(number, own=own, optimizer=optimizer, learned=learned, halves=halves, tells=tells):
                if number == 0:
                    optimizer.zero_grad()
                loss = cross_entropy(own(halves[number][0]), halves[number][1])
                if tells or number == 0:
                    learned.observe(loss)
                (loss / 2).backward()
                return loss

            def fails(closure=closure):
                closure(0)
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                optimizer.step(fails)
            closure(0)
            optimizer.step(lambda closure=closure: closure(1))
        assert learned.factor == pytest.approx(whole[1].factor, rel=1e-4)
        assert len(learned.history()) == 2


# 19
@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20),
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40),
        lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 5),
    ],
)
def test_a_schedule_on_top_is_multiplied_and_nothing_is_compounded(model, make):
    optimizer, learned = pair(model)
    other = OPTIMIZERS["sgd"]([nn.Parameter(torch.zeros(1))])
    schedule, alone = make(optimizer), make(other)
    for step in range(20):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(other.param_groups[0]["lr"], rel=1e-9)
        train(model, optimizer, learned, [step], schedule)
        assert learned.get_last_lr()[0] == pytest.approx(
            other.param_groups[0]["lr"] * learned.factor, rel=1e-6
        )
        other.step()
        alone.step()


def test_a_plateau_lowers_the_rate_and_one_that_is_set_by_hand_stays(model):
    optimizer, learned = pair(model)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(3):
        train(model, optimizer, learned, range(2))
        plateau.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001)
    optimizer.param_groups[0]["lr"] = 0.5
    train(model, optimizer, learned, range(1))
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_step_that_fails_leaves_the_rate_as_it_was(model):
    optimizer, learned = pair(model)
    train(model, optimizer, learned, range(3))

    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimizer.step(fails)
    train(model, optimizer, learned, range(3, 4))
    assert optimizer.param_groups[0]["lr"] == 0.1


# 20
def test_decay_stays_below_1_and_can_be_left_at_the_rate_that_is_set(model):
    for decay in ("scaled", "fixed"):
        net = copy.deepcopy(model)
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=30.0)
        learned = LearnedLR(optimizer, decay=decay, guard=None)
        learned._log_factor = math.log(100)
        group = optimizer.param_groups[0]
        learned._scale(group)
        shrunk = group["lr"] * group["weight_decay"]
        assert shrunk == pytest.approx(0.99 if decay == "scaled" else 0.3)
        learned._restore()
        assert (group["lr"], group["weight_decay"]) == (0.01, 30.0)
    with pytest.raises(ValueError, match="decay='fixed' is for AdamW"):
        LearnedLR(torch.optim.SGD(model.parameters(), lr=0.1), decay="fixed")


# 21
def test_two_optimizers_each_with_its_own_do_not_meet(model):
    other = copy.deepcopy(model)
    alone = train(copy_of := copy.deepcopy(model), *pair(copy_of))
    (first, ours), (second, theirs) = pair(model), pair(other, "adamw")
    for step in range(30):
        train(model, first, ours, [step])
        train(other, second, theirs, [step])
    assert torch.equal(flat(model), alone)
    with pytest.raises(ValueError, match="has a LearnedLR already"):
        LearnedLR(first)


# 22
def two_ranks(rank, where):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{where}/rendezvous", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(network())
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    learned = LearnedLR(optimizer)
    for step in range(10):
        train(model, optimizer, learned, [2 * step + rank])
    torch.save([flat(model), learned.factor], f"{where}/{rank}.pt")
    dist.destroy_process_group()


def test_ranks_that_see_other_losses_take_the_same_rate(tmp_path):
    torch.multiprocessing.spawn(two_ranks, (str(tmp_path),), nprocs=2)
    (ours, factor), (theirs, other) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert factor == other != 1
    assert torch.equal(ours, theirs)


# 23
def test_a_rate_that_is_a_tensor_is_filled_in_place_and_nothing_compiled_is_compiled_again(model):
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    rate = torch.tensor(0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, foreach=False)
    learned, counter = LearnedLR(optimizer), CompileCounter()
    compiled = torch.compile(model, backend=counter)
    train(compiled, optimizer, learned, range(2))
    count = counter.frame_count
    train(compiled, optimizer, learned, range(2, 12))
    assert counter.frame_count <= count + 1
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.1)
    assert learned.get_last_lr()[0] == pytest.approx(0.1 * learned.factor)


# 24
def test_evaluation_counts_no_step_and_copies_and_what_is_detached_are_bare(model):
    norm = nn.Sequential(nn.BatchNorm1d(2), *model)
    optimizer, learned = pair(norm)
    train(norm, optimizer, learned, range(5))
    norm.eval()
    buffers, before = [each.clone() for each in norm.buffers()], state_of(learned)
    with torch.no_grad():
        norm(X[0])
    assert state_of(learned) == before
    assert all(torch.equal(*each) for each in zip(buffers, norm.buffers(), strict=True))
    norm.train()
    twin, own = copy.deepcopy((norm, learned))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(
            train(norm, optimizer, learned, range(5, 9)), train(twin, own.optimizer, own, range(5, 9))
        )
    assert pickle.loads(pickle.dumps(learned)).factor == learned.factor
    bare = copy.deepcopy(norm)
    learned.detach()
    bare_optimizer = OPTIMIZERS["sgd"](bare.parameters())
    assert torch.equal(train(norm, optimizer), train(bare, bare_optimizer))
    LearnedLR(optimizer)


def test_one_that_nobody_holds_lets_its_optimizer_go_on_bare(model):
    other = copy.deepcopy(model)
    optimizer, learned = pair(model)
    del learned
    gc.collect()
    assert torch.equal(train(model, optimizer), train(other, OPTIMIZERS["sgd"](other.parameters())))


# 25
def test_a_layer_born_0_and_tied_weights_stay_within_the_guard(model):
    nn.init.zeros_(model[2].weight)
    square = nn.Linear(8, 8, bias=False)
    tied = nn.Sequential(model[0], square, nn.ReLU(), square, model[2])
    optimizer, learned = pair(tied)
    train(tied, optimizer, learned, range(40))
    assert learned.history()[0].weight_norm < 8
    logs = [math.log(each.factor) for each in learned.history()]
    assert max(map(abs, logs)) <= math.log(USUAL.largest) + 1e-9
    assert max(abs(after - before) for before, after in pairwise(logs[5:])) <= USUAL.fastest + 1e-9
    once = torch.cat([each.flatten() for each in {square.weight, *model.parameters()}])
    train(tied, optimizer, learned, [40])
    assert learned.history()[-1].weight_norm == pytest.approx(once.norm().item(), rel=0.1)


# 26
def test_it_keeps_nothing_of_the_weights_size():
    big = nn.Linear(1000, 1000)
    optimizer, learned = pair(big)
    loss = big(torch.randn(4, 1000)).square().mean()
    loss.backward()
    learned.observe(loss)
    optimizer.step()
    assert sum(each.numel() for each in learned.state_dict()["tensors"]) < 100
    assert all(not isinstance(value, torch.Tensor) or value.numel() < 100 for value in vars(learned).values())


# what the guard does


@OUT_OF_RANGE
def test_a_loss_that_rises_far_above_its_noise_is_counted_and_no_rate_is_raised_while_the_guard_rests(model):
    optimizer, learned = pair(model, guard=Guard(rest=7))
    train(model, optimizer, learned, range(30))
    for each in range(12):
        learned.observe(50.0 + each)
        optimizer.step()
    assert learned.num_guarded["rising loss"] >= 1
    trip = next(k for k, each in enumerate(learned.history()) if each.guarded == "rising loss")
    resting = [each.factor for each in learned.history()[trip : trip + 7]]
    assert max(resting) <= 1
    assert resting == sorted(resting, reverse=True)


def test_what_lies_out_of_range_warns_once_and_shrinks_what_the_rule_may_do(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-16)
    learned = LearnedLR(optimizer)
    with pytest.warns(UserWarning, match="times as far off as in its training"):
        train(model, optimizer, learned, range(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, optimizer, learned, range(1, 5))
    assert learned.num_guarded["out of range"] >= 1
    assert learned.factor <= 100 * (1 + 1e-9)


@OUT_OF_RANGE
def test_a_rate_that_is_far_off_is_put_right():
    torch.manual_seed(0)
    x = torch.randn(256, 2)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    ends = {}
    for lr in (0.002, 0.2, 20.0):
        torch.manual_seed(0)
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=lr)
        learned = LearnedLR(optimizer)
        for _ in range(200):
            optimizer.zero_grad()
            loss = cross_entropy(net(x), y)
            loss.backward()
            learned.observe(loss)
            optimizer.step()
        ends[lr] = loss.item()
    assert max(ends.values()) < 0.4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"authority": 1.5}, r"authority=1.5 must lie in \[0, 1\]"),
        ({"decay": "none"}, "decay='none' must be 'scaled' or 'fixed'"),
        ({"rule": "update"}, "rule='update' is no learned rate for all weights together"),
        ({"rule": "nowhere"}, "'nowhere' is neither a file nor a shipped"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(model, settings, message):
    with pytest.raises(ValueError, match=message):
        pair(model, **settings)
    with pytest.raises(ValueError, match=r"has shape \(2,\); observe its mean"):
        pair(model)[1].observe(torch.zeros(2))


# without units: what a rule must see that is to travel
SCALE_FREE = (
    *("elasticity", "loss_trend_fast", "loss_trend_slow", "loss_trend_slowest"),
    *("grad_trend", "loss_noise", "log_steps"),
)


@pytest.fixture
def scale_free(tmp_path):
    """A file of a rule with random meta-parameters that sees nothing with units, for SGD or for Adam."""

    def written(step, *others):
        network = MetaOptimizer(8, inputs=make_inputs((step, *SCALE_FREE, *others)))
        generator = torch.Generator().manual_seed(0)
        theta = network.init_theta(generator) + 0.02 * torch.randn(network.num_theta, generator=generator)
        card = {"config": {"hidden": 8, "inputs": [each.name for each in network.inputs]}}
        save_theta(tmp_path / "rule.safetensors", theta, card)
        return tmp_path / "rule.safetensors"

    return written


def factors(rule, kind, lr, times=1.0, units=1.0, copies=1):
    """What a linear model's rates are multiplied by, its loss a factor, its inputs in other units, itself repeated."""
    torch.manual_seed(0)
    layer = nn.Linear(2, 4, bias=False)
    layer.weight.data /= units
    model = nn.ModuleList(copy.deepcopy(layer) for _ in range(copies))
    optimizer = kind(model.parameters(), lr)
    learned = LearnedLR(optimizer, rule, guard=None)
    for x, y in zip(X, Y, strict=True):
        optimizer.zero_grad()
        loss = times * sum(cross_entropy(each(units * x), y) for each in model)
        loss.backward()
        learned.observe(loss)
        optimizer.step()
    return torch.tensor([step.factor for step in learned.history()])


def adam(weights, lr):
    return torch.optim.Adam(weights, lr, eps=0)  # a number with units


@pytest.mark.parametrize(
    ("kind", "step", "of_loss", "of_units"),
    [(torch.optim.SGD, "relative_step", 1, 2), (adam, "relative_sign_step", 0, 1)],
    ids=["sgd", "adam"],
)
def test_a_scale_free_rule_acts_alike_in_any_units(scale_free, kind, step, of_loss, of_units):
    rule = scale_free(step)
    plain = factors(rule, kind, 0.25)
    assert plain.std() > 0.01
    for c in (1024.0, 2.0**-10):
        same = factors(rule, kind, 0.25 / c**of_loss, times=c)
        torch.testing.assert_close(same, plain, rtol=1e-3, atol=0)
        same = factors(rule, kind, 0.25 / c**of_units, units=c)
        torch.testing.assert_close(same, plain, rtol=1e-3, atol=0)
    torch.testing.assert_close(factors(rule, kind, 0.25, copies=2), plain, rtol=1e-3, atol=0)
    with_units = factors(scale_free(step, "log_loss"), kind, 0.25)
    other = factors(scale_free(step, "log_loss"), kind, 0.25 / 1024**of_loss, times=1024.0)
    assert not torch.allclose(with_units, other, rtol=0.1)


def test_a_rule_that_keeps_something_for_every_weight_is_refused(scale_free, model):
    rule = scale_free("relative_step", "alignment")
    with pytest.raises(ValueError, match="keeps a number for every weight"):
        LearnedLR(torch.optim.SGD(model.parameters(), lr=0.1), rule)


def test_where_inputs_are_out_of_range_the_guard_lowers_what_raises_a_rate_and_raises_no_rate():
    up, did, _ = USUAL(Watch(), 2.0, 2.0, 2.0, 1.0)
    assert (up, did) == (1.0, "out of range")
    down, did, _ = USUAL(Watch(), -2.0, -2.0, 2.0, 1.0)
    assert (down, did) == (-2.0, "")


def test_a_card_says_where_inputs_lay_and_time_may_go_on():
    inputs = make_inputs(("relative_step", "log_loss", "log_steps"))
    card = {"input_quantiles": {"relative_step": [-10.0, -1.0], "log_steps": [0.0, 6.0]}}
    middle, reach = where_inputs_lay(card, inputs, 4.0)
    # of the first in spreads of 3 from -4; of the second nothing is known
    torch.testing.assert_close(middle, torch.tensor([-0.5, 0.0, -0.25]))
    torch.testing.assert_close(reach, torch.tensor([1.5, 4.0, math.inf]))
