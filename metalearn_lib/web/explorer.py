"""`ShiftExplorer`: two rules train on one shifted task, in a live notebook by torch, in a page by the page itself."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
import zlib
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import anywidget
import matplotlib.pyplot as plt
import torch
import traitlets
from torch import Tensor

from metalearn_lib import plots
from metalearn_lib.cores import one_thread
from metalearn_lib.evaluate import Cell, set_target, steps_to_threshold
from metalearn_lib.inner_loop import InnerLoop, InnerState
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.trees import stack
from metalearn_lib.types import Info, Seeds
from metalearn_lib.web.experiment import Experiment
from metalearn_lib.web.generator import javascript
from metalearn_lib.web.tracing import programs, why_not_in_a_page

_FOLDER = Path(__file__).parent


class ShiftExplorer(anywidget.AnyWidget):
    """Move a slider, and watch SGD and the meta-optimizer train on the same instance.

    In a live kernel torch computes, through the one inner loop. In a page without a kernel the same front end runs code
    that was printed from that loop (see `html`); nothing is fetched. There the settings live in the page's address, as
    in `#shift=scale&severity=8&rate=1&noise=0.2&seed=0&rival=sgd`, and a link with such an address moves the sliders.

    Args:
        experiment: tasks, rules and learner; the book's by default.
        settings: where to start: `shift`, of one's own `module:Name`, and `severity`; `rate`, a factor of 0.01 to 100
            on each rule's tuned rate; `noise`, the part of the training labels that are wrong; `seed` of the instance;
            `rival`, a key of the experiment's rules.

    Raises:
        TypeError: for a setting that there is not.
        ValueError: for a shift that is not offered.
    """

    _esm = _FOLDER / "explorer.js"
    _css = _FOLDER / "explorer.css"
    spec = traitlets.Dict().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    worker = traitlets.Unicode("").tag(sync=True)

    def __init__(self, experiment: Experiment | None = None, **settings: Any) -> None:
        self.experiment = experiment or Experiment()
        start = {
            "shift": "scale",
            "severity": 1.0,
            "rate": 1.0,
            "noise": 0.0,
            "seed": 0,
            "rival": self.experiment.rivals[0],
        }
        if unknown := settings.keys() - start.keys():
            raise TypeError(
                f"settings {', '.join(sorted(unknown))} are unknown; there are {', '.join(start)}."
            )
        start |= settings
        if ":" in (name := start["shift"]):
            kind = SHIFTS.find(name)
            self.experiment = replace(self.experiment, more=(*self.experiment.more, kind))
            start["shift"] = name = kind.name
        if name not in self.experiment.shifts:
            why = self.experiment.why_not.get(name) or f"there are {', '.join(self.experiment.shifts)}"
            raise ValueError(f"shift={name!r} is not offered: {why}.")
        super().__init__(spec=self.experiment.describe(), settings=start)
        self.engine = TorchEngine(self.experiment)
        self.on_msg(self._answer)

    def _answer(self, _: Any, message: dict[str, Any], __: Any) -> None:
        content, buffers = self.engine.answer(message)
        self.send(content, buffers=buffers)

    @cached_property
    def _worker_source(self) -> str:
        made, facts = programs(self.experiment)
        engine = _compact("engine.js")
        start = f"const engine = new Engine({javascript(made)}, {json.dumps(facts, separators=(',', ':'))});"
        return f"{engine}\n{start}\nonmessage = ({{ data }}) => postMessage(engine.answer(data));\n"

    def html(self) -> str:
        """The explorer as a fragment of a page: style, front end and training, inline, without a network."""
        packed = base64.b64encode(zlib.compress(self._worker_source.encode(), 9)).decode()
        spec = self.experiment.describe(why_not_in_a_page(self.experiment))
        values = {"spec": spec, "settings": self.settings, "worker": packed}
        front, style = _compact("explorer.js"), _compact("explorer.css")
        # no "</script>" may stand inside a script
        data = json.dumps(values, separators=(",", ":")).replace("</", "<\\/")
        return (
            f"<style>{style}</style><div data-shift-explorer></div>"
            f'<script type="module">\n{front}\n{_STAND_IN.replace("VALUES", data)}</script>'
        )

    def page(self, title: str = "Shift explorer") -> str:
        """The explorer as a whole page, to be opened from a file."""
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{_PAGE_STYLE}</style></head>"
            f"<body><main><h1>{html.escape(title)}</h1>{self.html()}</main></body></html>"
        )

    def png(self) -> bytes:
        """The monitor's curves of a run at the settings, for paper and e-mail."""
        settings, limit = self.settings, self.experiment.limit
        bases = {
            key: settings["rate"] * self.experiment.rules[key].base_lr for key in ("meta", settings["rival"])
        }
        with one_thread(), torch.no_grad():
            self.engine.open(settings, bases)
            infos = {key: run.unroll(limit) for key, run in self.engine.runs.items()}
            target = self.engine.judge(settings, bases, limit)[0]["threshold"]
        axes = plots.training({self.experiment.rules[key].label: info for key, info in infos.items()}, target)
        figure, file = axes[0, 0].figure, io.BytesIO()
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
        plt.close(figure)
        return file.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        data = data | {"image/png": base64.b64encode(self.png()).decode()}
        with suppress(NotImplementedError):  # tasks of the user's own may hold what the page has no case for
            data["text/html"] = self.html()
        return data, metadata


def _compact(name: str) -> str:
    """A file of the front end without indentation and without lines that are comments."""
    text = (_FOLDER / name).read_text(encoding="utf-8")
    lines = [line.strip() for line in re.sub(r"^ */\*.*?\*/\n", "", text, flags=re.M | re.S).splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))


_PAGE_STYLE = (
    "body{font-family:system-ui,sans-serif;margin:1rem;background:#fff;color:#1f2328}"
    "@media (prefers-color-scheme:dark){body{background:#14181e;color:#e6e8eb}}"
)

# the part of the widget's model that the front end needs
_STAND_IN = """
const values = VALUES, heard = {};
const model = {
  get: (name) => values[name],
  set: (name, value) => (values[name] = value, heard[`change:${name}`]?.forEach((tell) => tell())),
  on: (name, tell) => (heard[name] ??= []).push(tell),
  off: () => {},
  send: () => {},
  save_changes: () => {},
};
const el = document.querySelector("[data-shift-explorer]:not(.sx)");
render({ model, el });
"""


class _TorchRun:
    """One rule on one instance, step by step."""

    def __init__(self, loop: InnerLoop, instances: Any) -> None:
        self.loop, self.instances, self.step, self.diverged = loop, instances, 0, False
        self.state: InnerState = loop.init(instances.params)

    def advance(self) -> Info:
        self.state, info = self.loop.step(self.state, self.instances.batch(self.step))
        self.step += 1
        return info

    def unroll(self, steps: int) -> Info:
        return stack([self.advance() for _ in range(steps)], dim=1)

    def held_out(self) -> Tensor:
        return self.loop.learner.loss(self.state.params, self.instances.test)


class TorchEngine:
    """Answers the front end's three messages with torch; engine.js answers the same ones in a page."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.runs: dict[str, _TorchRun] = {}

    def answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        arguments = {name: value for name, value in message.items() if name not in ("id", "kind")}
        kinds = {"open": self.open, "advance": self.advance, "judge": self.judge}
        with one_thread(), torch.no_grad():
            content, buffers = kinds[message["kind"]](**arguments)
        return content | {"id": message["id"], "kind": message["kind"]}, buffers

    def _cell(self, settings: dict[str, Any]) -> Cell:
        return self.experiment.cell(settings["shift"], settings["severity"], settings.get("noise", 0.0))

    def open(self, settings: dict[str, Any], bases: dict[str, float]) -> tuple[dict[str, Any], list[bytes]]:
        """Draw an instance and put both rules at its start."""
        cell = self._cell(settings)
        instances = cell.draw(Seeds("demo", 1, settings["seed"]), self.experiment.limit)
        self.runs = {key: _TorchRun(self.experiment.loop(key, lr), instances) for key, lr in bases.items()}
        return {"table": 0}, [instances.table.float().numpy().tobytes()]

    def advance(self, steps: int, box: list[float] | None = None) -> tuple[dict[str, Any], list[bytes]]:
        """Up to `steps` steps of both rules, and how they then divide the plane."""
        told: dict[str, Any] = {}
        buffers: list[bytes] = []
        for key, run in self.runs.items():
            rows = []
            while len(rows) < steps and not run.diverged:
                row = [float(value) for value in (*run.advance(), run.held_out())]
                run.diverged = not all(map(math.isfinite, row))
                rows.append([value if math.isfinite(value) else None for value in row])
            told[key] = {"rows": rows, "map": None}
            if box and not run.diverged:
                told[key]["map"] = len(buffers)
                seen = self.experiment.look(run.state.params, torch.tensor(box, dtype=run.state.params.dtype))
                buffers.append((255 * seen).round().byte().numpy().tobytes())
        return {"told": told}, buffers

    def judge(
        self, settings: dict[str, Any], bases: dict[str, float], limit: int
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The threshold of an instance, and the step at which each rule crosses it, None where it does not."""
        cell = self._cell(settings)
        seeds = Seeds("demo", 1, settings["seed"])
        try:
            target = set_target(cell, seeds)._replace(cap=limit)
        except RuntimeError:  # the reference learns nothing here, so there is nothing to reach
            return {"threshold": None, "crossed": {}}, []
        instances = cell.draw(seeds, limit)
        crossed: dict[str, int | None] = {}
        for key, lr in bases.items():
            outcome = steps_to_threshold(self.experiment.loop(key, lr), instances, target)
            crossed[key] = int(outcome.steps[0]) if outcome.crossed[0] else None
        return {"threshold": float(target.threshold[0]), "crossed": crossed}, []
