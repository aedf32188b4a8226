"""Inner steps a second inside a page, in one run: products as WebAssembly against the same graph printed as loops.

    python benchmarks/page.py

A step is all of `InnerLoop.step` for an MLP 2-32-32-4 at batch 128, in float64, on one core of a headless Chromium.
"""

import json
import sys
from pathlib import Path

from metalearn_lib import web
from metalearn_lib.web.experiment import Experiment
from metalearn_lib.web.generator import javascript
from metalearn_lib.web.tracing import programs

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from browser import open_browser

TIME = """([name, rival]) => {
  const engine = globalThis[name], best = {};
  const time = (work, count) => {
    work(count);
    let most = 0;
    for (let round = 0; round < 5; round++) {
      const start = performance.now();
      work(count);
      most = Math.max(most, (1000 * count) / (performance.now() - start));
    }
    return Math.round(most);
  };
  engine.open({ settings: { shift: "scale", severity: 1, seed: 0, rival }, bases: { meta: 1, [rival]: 0.05 } });
  for (const [key, run] of Object.entries(engine.runs)) {
    best[`${key}, inner steps`] = time((count) => {
      for (let i = 0; i < count; i++) { run.step %= 400; run.advance(); }
    }, 400);
  }
  best["held-out losses"] = time((count) => { for (let i = 0; i < count; i++) engine.runs.meta.heldOut(); }, 200);
  best["decision maps"] = time((count) => {
    for (let i = 0; i < count; i++) engine.look(engine.runs.meta, [0, 0, 3]);
  }, 50);
  return best;
}"""


def main() -> None:
    made, facts = programs(Experiment())
    engine = (Path(web.__file__).parent / "engine.js").read_text(encoding="utf-8")
    with open_browser() as browser:
        page = browser.new_page()
        for name, simd in (("wasm", True), ("loops", False)):
            text = javascript(made, simd)
            page.evaluate(
                f"() => {{ {engine}\nglobalThis.{name} = new Engine({text}, {json.dumps(facts)}); }}"
            )
            print(f"{name}: {len(text.encode()) / 1000:.0f} kB")
        for rival in ("sgd", "adam"):
            results = [page.evaluate(TIME, [name, rival]) for name in ("wasm", "loops")]
            for what, fast in results[0].items():
                print(
                    f"{what} beside {rival}: {fast} a second, {fast / results[1][what]:.1f} times the loops"
                )


if __name__ == "__main__":
    main()
