"""Live controls: a slider moves, a network trains again, the figure is redrawn."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import ipywidgets

from metalearn_lib import plots
from metalearn_lib.studies import own_loop


def own_loop_sliders(optimizer: str = "SGD", lr: float = 0.1, num_steps: int = 200) -> ipywidgets.VBox:
    """A training loop of one's own, live: each release of a slider trains a small network on the digits twice, bare and
    with `LearnedLR`, at that base rate and that authority.
    """
    look: dict[str, Any] = {"style": {"description_width": "11em"}, "layout": {"width": "30em"}}
    slider = look | {"continuous_update": False}
    chosen = ipywidgets.Dropdown(
        options=list(own_loop.OPTIMIZERS), value=optimizer, description="optimizer", **look
    )
    rate = ipywidgets.FloatLogSlider(
        value=lr, min=-4, max=2, step=0.25, description="base learning rate", **slider
    )
    authority = ipywidgets.FloatSlider(value=1, min=0, max=1, step=0.1, description="authority", **slider)
    said, picture = ipywidgets.Label(), ipywidgets.Image(format="svg+xml", width=760)

    def draw() -> None:
        runs = own_loop.train(str(chosen.value), float(rate.value), float(authority.value), num_steps)
        said.value = own_loop.told(runs)
        picture.value = plots.own_loop_svg(runs)

    changed = latest(draw)
    for control in (chosen, rate, authority):
        control.observe(changed, names="value")
    draw()
    return ipywidgets.VBox([chosen, rate, authority, said, picture])


def latest(work: Callable[[], None], pause: float = 0.03) -> Callable[[Any], None]:
    """An observer that works at once, and then once, `pause` seconds after the first of many more changes, so that work
    never queues up.

    What a fast hand sends while the kernel is busy is heard when it no longer is, and done once. Outside of an event
    loop there is nobody to wait for, and it always works at once.
    """
    waiting, done = False, -math.inf

    def now() -> None:
        nonlocal waiting, done
        waiting = False
        work()
        done = time.monotonic()

    def heard(_: Any = None) -> None:
        nonlocal waiting
        if waiting:
            return
        if (loop := _running_loop()) is None:
            work()
        elif time.monotonic() - done > pause:
            now()
        else:
            waiting = True
            loop.call_later(pause, now)

    return heard


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
