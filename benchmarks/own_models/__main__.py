"""`LearnedLR` on real models and real data, beside what people take today.

    pip install -e ".[data,rivals,benchmark]"
    python benchmarks/own_models [--jobs 2]

Every answer is kept as it comes, so that a run which was stopped goes on. What the registration holds back is trained
by a learned rule only with --final.
"""

from __future__ import annotations

import argparse
from concurrent.futures import as_completed
from pathlib import Path

from entrants import BASES
from problems import PROBLEMS
from runs import BY_RULE, Job, Kept, answer, jobs

from metalearn_lib.cores import process_pool
from metalearn_lib.progress import progress_bar
from metalearn_lib.studies.own_models import REGISTRATION

RESULTS = Path(__file__).parents[2] / "results" / "own_models.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(
        "own_models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), metavar="NAME")
    parser.add_argument(
        "--who",
        choices=("all", "rivals", "learned"),
        default="all",
        help="those with a rule, or those without",
    )
    parser.add_argument("--bases", nargs="+", choices=BASES, default=list(BASES), metavar="NAME")
    parser.add_argument("--rule", metavar="NAME", help="of LearnedLR (default: each optimizer's own)")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes, of one thread each (default: 1)"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="FILE", help=f"default: {RESULTS.name}, kept"
    )
    parser.add_argument(
        "--final", action="store_true", help="train what is held back with a learned rule, too"
    )
    arguments = parser.parse_args()
    held_back = REGISTRATION["held_back"]
    kept = Kept(arguments.out)

    def wanted(job: Job) -> bool:
        by_rule = job.entrant in BY_RULE
        if by_rule and job.problem in held_back and not arguments.final:
            return False
        if job.base and job.base not in arguments.bases:
            return False
        return job not in kept.done and arguments.who in ("all", "learned" if by_rule else "rivals")

    rounds = [[job for job in some if wanted(job)] for some in jobs(arguments.problems, arguments.rule)]
    bar = progress_bar(sum(map(len, rounds)), "own models", "job", True)
    with process_pool(arguments.jobs) as pool:
        for some in rounds:
            asked = []
            for job in some:
                tuned, replayed = kept.before(job)
                asked.append(pool.submit(answer, job, tuned, arguments.rule, replayed))
            for future in as_completed(asked):
                kept.add(future.result())
                bar.update()
    bar.close()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("stopped; what was answered is kept, and the same command goes on") from None
