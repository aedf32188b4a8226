"""Watching meta-training: a progress bar, a log of JSON lines, and TensorBoard when asked for."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from metalearn_lib.progress import progress_bar


class Watch:
    """What a run tells while it runs. Only the first worker has one.

    Args:
        outer_steps: updates of theta in all.
        start: the update that comes first, above 0 in a resumed run; the log keeps what lies before it.
        label: what the bar is called.
        progress: whether to draw the bar.
        log: a file to append a JSON line to at every outer step.
        tensorboard: a folder for TensorBoard's event files.

    Raises:
        RuntimeError: when TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        outer_steps: int,
        start: int,
        label: str,
        progress: bool,
        log: str | os.PathLike[str] | None,
        tensorboard: str | os.PathLike[str] | None,
    ) -> None:
        self.log = None
        self.writer = _summary_writer(tensorboard, start) if tensorboard is not None else None
        if log is not None:
            Path(log).parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _lines(log) if line["outer_step"] < start] if start else []
            self.log = Path(log).open("w", buffering=1)  # noqa: SIM115
            self.log.writelines(json.dumps(line) + "\n" for line in kept)
        self.bar = progress_bar(outer_steps, label, "outer step", progress, initial=start)
        self.began = self.last = time.monotonic()
        self.tasks = self.steps = 0.0

    def tell(self, outer_step: int, values: dict[str, float], tasks: int, steps: float) -> None:
        """One outer step is done, over `tasks` tasks and `steps` inner steps."""
        now = time.monotonic()
        self.tasks, self.steps = self.tasks + tasks, self.steps + steps
        if self.log is not None:
            pace = {"seconds": now - self.began, "inner_steps_per_second": steps / (now - self.last)}
            self.log.write(json.dumps({"outer_step": outer_step, **values, **pace}) + "\n")
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, outer_step)
        elapsed = now - self.began
        self.last = now
        self.bar.set_postfix_str(
            f"meta-loss {values['meta_loss']:.3f}, {self.tasks / elapsed:.0f} tasks/s, "
            f"{self.steps / elapsed:,.0f} inner steps/s",
            refresh=False,
        )
        self.bar.update()

    def close(self) -> None:
        self.bar.close()
        for each in (self.log, self.writer):
            if each is not None:
                each.close()


def read_log(path: str | os.PathLike[str]) -> dict[str, list[float]]:
    """The log so far, column by column; a line that is still being written is left out.

    Raises:
        ValueError: for a file that is no log, or a damaged one.
    """
    lines = _lines(path)
    return {name: [line[name] for line in lines] for name in (lines[0] if lines else ())}


def _lines(path: str | os.PathLike[str]) -> list[dict[str, float]]:
    if not Path(path).is_file():
        return []
    text = Path(path).read_text()
    try:
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        if not all(isinstance(line, dict) and line.keys() == lines[0].keys() for line in lines):
            raise ValueError("its lines hold other things")
        return lines
    except ValueError as fault:
        raise ValueError(f"{path} is no log of meta-training, or is damaged ({fault}); delete it.") from fault


def _summary_writer(folder: str | os.PathLike[str], start: int):
    try:
        from torch.utils.tensorboard import SummaryWriter  # imported late: few want it, and it is slow
    except ImportError as missing:
        raise RuntimeError(
            f"TensorBoard was asked for ({folder}) and is not installed; run `pip install tensorboard`, or "
            "leave it out."
        ) from missing
    return SummaryWriter(str(folder), purge_step=start or None)
