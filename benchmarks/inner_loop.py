"""Inner steps per CPU-second, beside a plain PyTorch loop, torch.func.vmap and what this machine's sgemm
allows.

    python benchmarks/inner_loop.py [--rounds 5] [--workers 4]

One task family for all: an MLP 16-32-32-4, minibatches of 128 out of 1,024 points of its own per task. Every
contestant runs in turn, round after round, and the best round counts, so that a busy machine touches all
alike; read the ratios. With `--workers`, meta-training in several processes is timed by the clock on the
wall, and needs idle cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from metalearn_lib.cores import one_thread
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.layer_rates import LayerRates
from metalearn_lib.directions.learned_update import LearnedUpdate
from metalearn_lib.fused.learner import fuse
from metalearn_lib.fused.loop import FusedLoop
from metalearn_lib.gradient_estimators import AntitheticES, Estimator, PersistentES, Problem, with_theta
from metalearn_lib.inner_loop import CompiledLoop, InnerLoop, draw_instances
from metalearn_lib.learners import MLP, Learner, ModuleLearner, layer_sizes
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.meta_train import MetaTrainConfig, meta_train, read_log
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

SIZES, BATCH, CHUNK = (16, 32, 32, 4), 128, 32
FAMILY = GaussianMixture(num_features=SIZES[0])
NUM_STEPS = 96
PLAIN = MLP(SIZES)
Contestant = Callable[[], int]
"""does some inner steps and says how many"""


def flops_per_step() -> int:
    """Multiplications and additions of one step's matrix products: forward, weight gradient, and input
    gradient but in the first layer."""
    layers = [2 * BATCH * fan_in * fan_out for fan_in, fan_out in pairwise(SIZES)]
    return 3 * sum(layers) - layers[0]


def sgemm() -> Contestant:
    """As many batched products of the middle layer as hold a step's operations."""
    left, right = torch.randn(CHUNK, 32, 32), torch.randn(CHUNK, 32, BATCH)
    out = torch.empty(CHUNK, 32, BATCH)
    products = 200

    def run() -> int:
        for _ in range(products):
            torch.bmm(left, right, out=out)
        return round(products * CHUNK * 2 * 32 * 32 * BATCH / flops_per_step())

    return run


def module() -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def plain_loop() -> Contestant:
    """One task at a time, as one writes it by hand: `nn.Module`, `backward()` and `torch.optim.SGD`."""
    task = FAMILY.stack(Seeds("demo", 1))
    x, y = task.x[0], task.y[0]

    def run() -> int:
        network = module()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(300):
            rows = torch.randint(len(x), (BATCH,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
        return 300

    return run


def loop(inner: InnerLoop) -> Contestant:
    instances = draw_instances(FAMILY, inner.learner, Seeds("demo", CHUNK), NUM_STEPS, BATCH)

    def run() -> int:
        with torch.no_grad():
            inner.unroll(instances)
        return CHUNK * NUM_STEPS

    return run


def estimator(
    estimator: Estimator,
    calls: int,
    chunk_size: int,
    kind: type[InnerLoop] = InnerLoop,
    learner: Learner = PLAIN,
    update: LearnedUpdate | None = None,
) -> Contestant:
    """Whole outer steps over 64 tasks in chunks of antithetic pairs, drawing their data included."""
    theta = MetaOptimizer().init_theta(torch.Generator().manual_seed(0)) if update is None else update.theta
    inner = kind(learner, Constant(0.01), update) if update else kind(learner, LearnedRate(0.1, theta))

    def draw(first: int, count: int):
        instances = draw_instances(FAMILY, learner, Seeds("demo", count, first), NUM_STEPS, BATCH)
        return instances, with_theta(inner.init(instances.params), theta.expand(count, -1))

    problem = Problem(inner, chunk_size, draw)
    states = [estimator.init(problem, theta) for _ in range(64 // chunk_size)]
    generator = torch.Generator().manual_seed(0)

    def run() -> int:
        steps = 0
        with torch.no_grad():
            for _ in range(calls):
                for chunk, state in enumerate(states):
                    estimate, states[chunk] = estimator(state, theta, problem, generator)
                    steps += estimate.num_gradients
        return steps

    return run


def contestants() -> dict[str, Contestant]:
    theta = MetaOptimizer().init_theta(torch.Generator().manual_seed(0))
    learned, fused = LearnedRate(0.1, theta), fuse(MLP(SIZES))
    by_layer = LayerRates(torch.zeros(LayerRates.network().num_theta), layer_sizes(fused))
    update = LearnedUpdate(LearnedUpdate.network().init_theta(torch.Generator().manual_seed(0))).of(fused)
    return {
        "sgemm limit": sgemm(),
        "plain nn.Module + torch.optim loop": plain_loop(),
        "torch.func.vmap, constant rate": loop(InnerLoop(ModuleLearner(module), Constant(0.1))),
        "torch.func.vmap, learned rate": loop(InnerLoop(ModuleLearner(module), learned)),
        "inner loop, constant rate": loop(InnerLoop(MLP(SIZES), Constant(0.1))),
        "inner loop, learned rate": loop(InnerLoop(MLP(SIZES), learned)),
        "inner loop, learned rate on Adam": loop(InnerLoop(MLP(SIZES), learned, Adam())),
        "inner loop, learned rate, fused gradient": loop(InnerLoop(fused, learned)),
        "inner loop, learned rate, one function": loop(FusedLoop(fused, learned)),
        "inner loop, learned rate on Adam, one function": loop(FusedLoop(fused, learned, Adam())),
        "inner loop, constant rate on Adam, one function": loop(FusedLoop(fused, Constant(0.01), Adam())),
        "inner loop, an update per weight": loop(InnerLoop(MLP(SIZES), Constant(0.01), update)),
        "inner loop, an update per weight, one function": loop(FusedLoop(fused, Constant(0.01), update)),
        "inner loop, a rate per layer, fused gradient": loop(InnerLoop(fused, learned, by_layer)),
        "inner loop, a rate per layer, one function": loop(FusedLoop(fused, learned, by_layer)),
        "ES, 64 tasks, horizon 96, chunks of 16": estimator(AntitheticES(), 1, 16),
        "ES, 64 tasks, horizon 96, chunks of 32": estimator(AntitheticES(), 1, 32),
        "PES, 64 tasks, truncation 24, chunks of 16": estimator(PersistentES(24), 4, 16),
        "PES, 64 tasks, truncation 24, chunks of 32": estimator(PersistentES(24), 4, 32),
        "PES, chunks of 16, compiled step": estimator(PersistentES(24), 4, 16, CompiledLoop),
        "PES, one chunk of 64, fused gradient": estimator(PersistentES(24), 4, 64, learner=fused),
        "PES, one chunk of 64, fused and compiled": estimator(PersistentES(24), 4, 64, CompiledLoop, fused),
        "ES, one chunk of 64, one function": estimator(AntitheticES(), 1, 64, FusedLoop, fused),
        "PES, chunks of 16, one function": estimator(PersistentES(24), 4, 16, FusedLoop, fused),
        "PES, one chunk of 64, one function": estimator(PersistentES(24), 4, 64, FusedLoop, fused),
        "PES, an update per weight, one function": estimator(
            PersistentES(24), 4, 64, FusedLoop, fused, update
        ),
    }


def measure(rounds: int) -> dict[str, float]:
    """Inner steps per CPU-second of each contestant, in its best round."""
    each = contestants()
    best = dict.fromkeys(each, 0.0)
    for name, run in each.items():
        if "compiled" in name:
            run()  # compiles
    for _ in range(rounds):
        for name, run in each.items():
            start = time.process_time()
            steps = run()
            best[name] = max(best[name], steps / (time.process_time() - start))
    return best


def measure_workers(workers: int) -> dict[int, float]:
    """Inner steps per second on the wall, for 1, 2, 4, ... processes, from the log of a real run."""
    rates, count = {}, 1
    while count <= workers:
        config = MetaTrainConfig(estimator="pes", truncation_length=24, outer_steps=60)
        times = _outer_step_times(config, count)
        rates[count] = 2 * config.num_tasks * 24 * (len(times) - 10) / (times[-1] - times[9])
        count *= 2
    return rates


def _outer_step_times(config: MetaTrainConfig, workers: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        meta_train(config, progress=False, workers=workers, log=log)
        return read_log(log)["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--workers", type=int, default=0, help="time meta-training in up to this many processes"
    )
    arguments = parser.parse_args()
    print(f"{flops_per_step() / 1e6:.2f} MFLOP in a step's matrix products; one thread")
    with one_thread():
        rates = measure(arguments.rounds)
    limit, plain = rates["sgemm limit"], rates["plain nn.Module + torch.optim loop"]
    print(f"{'':46}{'steps per CPU-s':>16}{'/ plain loop':>14}{'/ sgemm':>9}")
    for name, rate in rates.items():
        print(f"{name:46}{rate:16,.0f}{rate / plain:14.2f}{rate / limit:9.2f}")
    if arguments.workers:
        print(f"\n{'processes':46}{'steps per second':>16}{'/ one':>14}")
        several = measure_workers(arguments.workers)
        for workers, rate in several.items():
            print(f"{workers:<46}{rate:16,.0f}{rate / several[1]:14.2f}")


if __name__ == "__main__":
    main()
