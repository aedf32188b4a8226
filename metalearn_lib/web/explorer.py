"""`ShiftExplorer`: two rules train on one shifted task, in a live notebook by torch, in a page by the page itself."""

from __future__ import annotations

import base64
import html
import io
import json
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

from metalearn_lib import plots
from metalearn_lib.cores import one_thread
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.tasks.points import Points
from metalearn_lib.web.engine import TorchEngine
from metalearn_lib.web.experiment import HOME, Experiment
from metalearn_lib.web.generator import javascript
from metalearn_lib.web.tracing import programs, why_not_in_a_page

_FRONT = ("drawing", "workers", "settings", "markup", "judging", "learning", "explorer")
"""Files of the front end, each of which may use what stands in those before it."""


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _front() -> str:
    """The front end as one module: a page opened from a file may load no other."""
    text = "\n".join(_read(f"front/{name}.js") for name in _FRONT)
    return re.sub(r"^export (?!default)", "", re.sub(r"^import .*\n", "", text, flags=re.M), flags=re.M)


class ShiftExplorer(anywidget.AnyWidget):
    """Move a slider, and watch SGD and the learned rate train on the same instance; race them over many; train a rate.

    In a live kernel torch computes, through the one inner loop. In a page without a kernel the same front end runs code
    that was printed from that loop (see `html`); nothing is fetched. There the settings live in the page's address, as
    in `#shift=scale&severity=8&rate=1&noise=0.2&seed=0&rival=sgd`, and a link with such an address moves the sliders.

    Args:
        experiment: tasks, rules and learner; the book's by default.
        settings: where to start: `shift`, of one's own `module:Name`, and `severity`; `rate`, a factor of 0.01 to 100
            on each rule's tuned rate; `noise`, the part of the training labels that are wrong; `seed` of the instance;
            `rival`, keys of the experiment's rules, with commas between them; `data`, a key of the experiment's, and
            for `own` the `points`, each of x, y and class.

    Raises:
        TypeError: for a setting that there is not.
        ValueError: for a shift or data that is not offered.
    """

    _esm = _front()
    _css = _read("explorer.css")
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
            "data": HOME,
            "points": [list(place) for place in Points().places],
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
        for setting, offered in (("rival", self.experiment.rivals), ("data", list(self.experiment.data))):
            if unknown := set(start[setting].split(",")) - set(offered):
                raise ValueError(
                    f"{setting}={min(unknown)!r} is not offered: there are {', '.join(offered)}."
                )
        super().__init__(spec=self.experiment.describe(), settings=start)
        self.engine = TorchEngine(self.experiment)
        self.on_msg(self._answer)

    @classmethod
    def at(cls, shift: str, severity: float, **settings: Any) -> ShiftExplorer:
        """The explorer at a shift and a severity, as a notebook's parameters say; at its own start where it cannot draw
        the shift, as where features are added.
        """
        with suppress(ValueError):
            return cls(shift=shift, severity=severity, **settings)
        return cls(**settings)

    def _answer(self, _: Any, message: dict[str, Any], __: Any) -> None:
        content, buffers = self.engine.answer(message)
        self.send(content, buffers=buffers)

    @cached_property
    def _worker_source(self) -> str:
        made, facts = programs(self.experiment)
        engine = _compact(_read("engine.js"))
        start = f"const engine = new Engine({javascript(made)}, {json.dumps(facts, separators=(',', ':'))});"
        return f"{engine}\n{start}\nonmessage = ({{ data }}) => postMessage(engine.answer(data));\n"

    def html(self) -> str:
        """The explorer as a fragment of a page: style, front end and training, inline, without a network."""
        packed = base64.b64encode(zlib.compress(self._worker_source.encode(), 9)).decode()
        spec = self.experiment.describe(why_not_in_a_page(self.experiment))
        values = {"spec": spec, "settings": self.settings, "worker": packed}
        front, style = _compact(_front()), _compact(_read("explorer.css"))
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
            key: settings["rate"] * self.experiment.rules[key].base_lr
            for key in ("meta", *settings["rival"].split(","))
        }
        with one_thread(), torch.no_grad():
            self.engine.open(settings, bases)
            infos = {key: run.unroll(limit) for key, run in self.engine.runs.items()}
            target = self.engine.judge(settings, bases, limit)[0]["target"]
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


def _compact(text: str) -> str:
    """A file of the front end without indentation and without lines that are comments."""
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
