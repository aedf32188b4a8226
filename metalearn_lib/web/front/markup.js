// What stands on the page before anything runs, and the words of the tour.

export const CHARTS = [
  ["loss", "Loss", "held out; minibatches faint"],
  ["rate", "Learning rate", ""],
  ["grad", "Gradient norm", ""],
  ["weight", "Weight norm", ""],
];
export const MARKUP = `
<div class="sx-head">
  <button type="button" data-do="play" class="sx-play">Play</button>
  <button type="button" data-do="step">Step</button>
  <button type="button" data-do="reset">Reset</button>
  <p class="sx-status" data-out="status"></p>
  <button type="button" data-do="copy">Copy link</button>
  <button type="button" data-do="tour">Tour</button>
</div>
<div class="sx-tour" data-part="tour" hidden><p data-out="tour" role="status"></p>
  <button type="button" data-do="back">Back</button><button type="button" data-do="on">Next</button>
  <button type="button" data-do="end">End</button></div>
<p class="sx-note" data-out="note" role="status" hidden></p>
<p class="sx-hidden" role="status" data-out="spoken"></p>
<div class="sx-body">
<form class="sx-controls" aria-label="Settings">
  <label data-control="shift"><span>Shift</span><select name="shift"></select></label>
  <label data-control="severity"><span>Severity <output data-out="severity"></output></span>
    <input type="range" name="severity" min="0" step="1"></label>
  <label data-control="rate"><span>Base rate <output data-out="rate"></output></span>
    <input type="range" name="rate" min="-2" max="2" step="0.125">
    <span class="sx-weights" data-weights></span></label>
  <label data-control="noise"><span>Label noise <output data-out="noise"></output></span>
    <input type="range" name="noise" min="0" max="0.4" step="0.05"></label>
  <fieldset data-control="rival"><legend>Beside the learned rate</legend><div class="sx-rivals"></div></fieldset>
  <label data-control="data"><span>Points</span><select name="data"></select></label>
  <fieldset data-part="own" hidden><legend>Click a map to add points of</legend><div class="sx-classes"></div>
    <span class="sx-pair"><button type="button" data-do="undo">Undo</button>
    <button type="button" data-do="clear">Clear</button></span></fieldset>
  <label data-control="seed"><span>Instance</span>
    <span class="sx-pair"><input type="number" name="seed" min="0" max="9999" step="1" inputmode="numeric">
    <button type="button" data-do="next">Next</button></span></label>
</form>
<div class="sx-views">
  <div class="sx-maps"></div>
  ${CHARTS.map(
    ([chart, title, small]) => `<div class="sx-chart" data-chart="${chart}"><div class="sx-caption">${title} <small>${small}</small>
    <span class="sx-keys"></span></div><canvas></canvas></div>`,
  ).join("")}
  <p class="sx-foot" data-out="foot"></p>
</div>
</div>
<div class="sx-more">
  <div class="sx-tabs" role="tablist" aria-label="More">
    <button type="button" role="tab" data-tab="race">Over many instances</button>
    <button type="button" role="tab" data-tab="sees">What it sees now</button>
    <button type="button" role="tab" data-tab="learn">Train a rate here</button>
  </div>
  <div role="tabpanel" data-panel="race">
    <div class="sx-row"><p data-out="tally"></p>
      <button type="button" data-do="tally">Judge 20 more</button>
      <button type="button" data-do="race">Race 100</button>
      <button type="button" data-do="halt" disabled>Stop</button>
      <progress aria-label="Instances judged" value="0" max="1" hidden></progress></div>
    <div class="sx-pairs"><div><div class="sx-caption">Share of instances that have reached their target loss <span class="sx-keys"></span></div>
      <canvas data-canvas="arrivals"></canvas></div>
      <div><div class="sx-caption" data-out="ratios">Speed-up</div><canvas data-canvas="intervals"></canvas>
      <ul class="sx-ratios"></ul></div></div>
  </div>
  <div role="tabpanel" data-panel="sees" hidden>
    <div class="sx-row"><label class="sx-scrub"><span>Step <output data-out="scrub"></output></span>
      <input type="range" name="scrub" min="1" step="1" value="1"></label><p data-out="change"></p></div>
    <ul class="sx-sees"></ul>
  </div>
  <div role="tabpanel" data-panel="learn" hidden>
    <div class="sx-row"><p data-out="learn">A rate that does nothing yet, and evolution strategies: each outer step trains pairs of networks
      on fresh instances of task A, and keeps what made their loss fall sooner.</p>
      <button type="button" data-do="learn" class="sx-play">Learn</button>
      <button type="button" data-do="mine" disabled>Freeze it and race it</button></div>
    <div class="sx-caption">Mean log loss against the first, on instances that are not trained on <small>lower is sooner</small></div>
    <canvas data-canvas="learning"></canvas>
  </div>
</div>`;

export const TOUR = [
  ["The rules train the same network on the same points, side by side. On task A, where the learned rate was trained, there is little to win.",
    { shift: "scale", severity: 1, rate: 1, rival: "sgd" }],
  ["Now the inputs are four times as large. A rate that was tuned on task A is too high for SGD; the learned rate sees that, and lowers itself.",
    { shift: "scale", severity: 4, rate: 1, rival: "sgd" }, "sees"],
  ["Start from a hundredth of the rate: SGD crawls, and the learned rate puts itself right.",
    { shift: "scale", severity: 1, rate: 0.01, rival: "sgd" }, "sees"],
  ["But against Adam, left alone at its own tuned rate, it seldom wins. One instance is luck: race many.",
    { shift: "scale", severity: 1, rate: 1, rival: "sgd,adam" }, "race"],
  ["A rate is learned by trying. Press Learn, wait until the curve falls, and race what you have trained.",
    { shift: "scale", severity: 1, rate: 1, rival: "sgd" }, "learn"],
];
