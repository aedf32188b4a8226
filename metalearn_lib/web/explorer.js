// The drawing and the controls of ShiftExplorer. What is drawn is computed elsewhere: in a web worker that runs the
// printed programs, or in a live kernel by torch. Both answer the same three messages: open, advance, judge.

const MARKUP = `
<form class="sx-controls" aria-label="Settings">
  <div class="sx-buttons">
    <button type="button" data-do="play" class="sx-play">Play</button>
    <button type="button" data-do="step">Step</button>
    <button type="button" data-do="reset">Reset</button>
    <p class="sx-status" data-out="status"></p>
  </div>
  <label><span>Shift</span><select name="shift"></select></label>
  <label><span>Severity <output data-out="severity"></output></span>
    <input type="range" name="severity" min="0" step="1"></label>
  <label><span>Base rate <output data-out="rate"></output></span>
    <input type="range" name="rate" min="-2" max="2" step="0.125">
    <span class="sx-weights" data-weights></span></label>
  <label><span>Label noise <output data-out="noise"></output></span>
    <input type="range" name="noise" min="0" max="0.4" step="0.05"></label>
  <label><span>Rival</span><select name="rival"></select></label>
  <label><span>Instance</span>
    <span class="sx-pair"><input type="number" name="seed" min="0" max="9999" step="1" inputmode="numeric">
    <button type="button" data-do="next">Next</button></span></label>
</form>
<p class="sx-hidden" role="status" data-out="spoken"></p>
<div class="sx-views">
  <div class="sx-map" data-map="rival"><div class="sx-caption"><i></i><b></b><span></span></div><canvas></canvas></div>
  <div class="sx-map" data-map="meta"><div class="sx-caption"><i></i><b></b><span></span></div><canvas></canvas></div>
  <div class="sx-chart" data-chart="loss"><div class="sx-caption">Loss <small>held out (bold), minibatch (faint)</small></div><canvas></canvas></div>
  <div class="sx-chart" data-chart="rate"><div class="sx-caption">Learning rate</div><canvas></canvas></div>
  <div class="sx-chart" data-chart="grad"><div class="sx-caption">Gradient norm</div><canvas></canvas></div>
  <div class="sx-chart" data-chart="weight"><div class="sx-caption">Weight norm</div><canvas></canvas></div>
</div>
<div class="sx-tally"><p data-out="tally"></p>
  <button type="button" data-do="tally">Judge 20 more instances</button></div>`;

const CLASSES = ["#56B4E9", "#CC79A7", "#B8A600", "#009E73", "#0072B2", "#D55E00", "#E69F00", "#7F7F7F"];
const [LOSS, GRAD, WEIGHT, RATE, HELD_OUT] = [0, 1, 2, 3, 4];
const BLOWN_UP = 1e4; // a weight norm that no useful run comes near
const NAMES = ["shift", "severity", "rate", "noise", "seed", "rival"];

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const number = (value) => String(Number(value.toPrecision(3)));
const rgb = (colour) => [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));

/** The text that `packed` holds, deflated and in base64. */
const unpack = (packed) => {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
};

/** Messages to a worker, or to the kernel, and promises of their answers. */
const connect = (model) => {
  const waiting = new Map();
  const settle = (answer) => {
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  };
  const source = model.get("worker");
  let post, close;
  if (source) {
    const started = unpack(source).then((text) => {
      const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      const worker = new Worker(url);
      worker.onmessage = ({ data }) => settle(data);
      return { url, worker };
    });
    post = (message) => started.then(({ worker }) => worker.postMessage(message));
    close = () => started.then(({ url, worker }) => (worker.terminate(), URL.revokeObjectURL(url)));
  } else {
    const receive = (answer, buffers) => {
      const arrays = buffers.map((view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
      if (answer.table !== undefined) answer.table = new Float32Array(arrays[answer.table]);
      for (const told of Object.values(answer.told ?? {})) {
        if (told.map !== null) told.map = new Uint8ClampedArray(arrays[told.map]);
      }
      settle(answer);
    };
    model.on("msg:custom", receive);
    post = (message) => model.send(message);
    close = () => model.off("msg:custom", receive);
  }
  let sent = 0;
  const prefix = Math.random().toString(36).slice(2);
  const ask = (message) =>
    new Promise((resolve) => {
      const id = `${prefix}${sent++}`;
      waiting.set(id, resolve);
      post({ ...message, id });
    });
  return { ask, close };
};

/** A canvas that knows its size in CSS pixels, and its device's pixels. */
class Sheet {
  constructor(canvas, draw) {
    Object.assign(this, { canvas, draw, context: canvas.getContext("2d"), width: 0, height: 0 });
    canvas.setAttribute("role", "img");
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(canvas);
  }
  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    if (!clientWidth) return;
    Object.assign(this, { width: clientWidth, height: clientHeight, ratio });
    Object.assign(this.canvas, { width: Math.round(clientWidth * ratio), height: Math.round(clientHeight * ratio) });
    this.draw();
  }
  clear() {
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    return this.context;
  }
}

const inks = (element) => {
  const style = getComputedStyle(element);
  const of = (name) => style.getPropertyValue(`--sx-${name}`).trim();
  return { ink: of("ink"), muted: of("muted"), line: of("line"), ground: of("ground"), font: style.fontFamily };
};

/** Curves over steps on a logarithmic axis; `curves` are {colour, values, faint, wide}. */
const drawChart = (sheet, ink, { curves, limit, line, marks, least = 0, most = 1e12 }) => {
  if (!sheet.width) return;
  const context = sheet.clear();
  const [left, right, top, bottom] = [40, sheet.width - 10, 8, sheet.height - 20];
  const finite = curves.flatMap((curve) => curve.values.filter((value) => value > 0 && value < 1e12).map((value) => Math.min(value, most)));
  if (line) finite.push(line);
  let low = Math.log10(finite.reduce((a, b) => Math.min(a, b), finite.length ? Infinity : 0.1));
  let high = Math.log10(finite.reduce((a, b) => Math.max(a, b), finite.length ? 0 : 10));
  const spread = Math.max(high - low, least);
  [low, high] = [(low + high - spread) / 2 - 0.08 * spread - 0.02, (low + high + spread) / 2 + 0.08 * spread + 0.02];
  const x = (step) => left + ((right - left) * step) / limit;
  const y = (value) => clamp(bottom - ((bottom - top) * (Math.log10(value) - low)) / (high - low), top, bottom);
  context.font = `11px ${ink.font}`;
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const value of ticks(low, high, bottom - top)) {
    context.strokeStyle = ink.line;
    context.beginPath();
    context.moveTo(left, y(value));
    context.lineTo(right, y(value));
    context.stroke();
    context.fillStyle = ink.muted;
    context.fillText(power(value), left - 5, y(value));
  }
  context.textBaseline = "alphabetic";
  for (let step = 0; step <= limit; step += limit / (sheet.width < 400 ? 2 : 4)) {
    context.textAlign = step === 0 ? "left" : step === limit ? "right" : "center";
    context.fillText(step === limit ? `${limit} steps` : String(step), x(step), sheet.height - 5);
  }
  if (line) {
    context.strokeStyle = ink.ink;
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(left, y(line));
    context.lineTo(right, y(line));
    context.stroke();
    context.setLineDash([]);
    context.textAlign = "right";
    context.fillStyle = ink.ink;
    context.fillText("threshold", right, y(line) > top + 16 ? y(line) - 5 : y(line) + 13);
  }
  context.save();
  context.beginPath();
  context.rect(left, top - 4, right - left + 4, bottom - top + 8);
  context.clip();
  context.lineJoin = "round";
  for (const { colour, values, faint, wide } of curves) {
    context.strokeStyle = colour;
    context.globalAlpha = faint ? 0.3 : 1;
    context.lineWidth = faint ? 1 : wide ? 2.5 : 2;
    context.beginPath();
    values.forEach((value, step) => {
      if (value > 0) context.lineTo(x(step + 1), y(value));
    });
    context.stroke();
  }
  context.restore();
  for (const { colour, step, value, text } of marks ?? []) {
    const [h, v] = [x(step), text ? top + 6 : y(value)];
    context.lineWidth = 2;
    if (text) {
      context.strokeStyle = colour;
      context.beginPath();
      for (const sign of [1, -1]) {
        context.moveTo(h - 5, v - 5 * sign);
        context.lineTo(h + 5, v + 5 * sign);
      }
      context.stroke();
      context.textAlign = h > (left + right) / 2 ? "right" : "left";
      context.fillStyle = ink.ink;
      context.fillText(text, h + (h > (left + right) / 2 ? -9 : 9), clamp(v + 4, top + 10, bottom - 4));
    } else {
      context.fillStyle = colour;
      context.strokeStyle = ink.ground;
      context.beginPath();
      context.arc(h, v, 5, 0, 7);
      context.fill();
      context.stroke();
    }
  }
};

const DIGITS = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 6, 8], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9]];
/** Round values for a logarithmic axis between two powers of ten, as many as `pixels` have room for. */
const ticks = (low, high, pixels) => {
  const room = pixels / 36; // a label needs about as much
  const decades = Math.max(1, Math.ceil((high - low) / room));
  const steps = DIGITS.findLast((digits) => digits.length * (high - low) <= room) ?? [1];
  const found = [];
  for (let decade = Math.floor(low); decade <= Math.ceil(high); decade++) {
    if (decade % decades) continue;
    for (const step of steps) {
      const value = step * 10 ** decade;
      if (Math.log10(value) >= low && Math.log10(value) <= high) found.push(value);
    }
  }
  return found;
};
const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const power = (value) => {
  if (value >= 1e-3 && value < 1e4) return number(value);
  const [digit, exponent] = value.toExponential(0).split("e");
  const raised = [...String(Number(exponent))].map((sign) => SUPERSCRIPT[sign]).join("");
  return (digit === "1" ? "" : digit + "·") + "10" + raised;
};

/** Points on the plane, over the class that the learner would give each place. */
const drawMap = (sheet, ink, { points, map, grid, classes, box, note }) => {
  if (!sheet.width || !points) return;
  const context = sheet.clear();
  const size = sheet.width;
  context.fillStyle = ink.ground;
  context.fillRect(0, 0, size, size);
  if (map) {
    const image = new ImageData(grid, grid);
    for (let pixel = 0; pixel < grid * grid; pixel++) {
      const mixed = [0, 0, 0];
      let total = 0;
      for (let c = 0; c < classes; c++) {
        const weight = map[pixel * classes + c] ** 3;
        total += weight;
        for (let channel = 0; channel < 3; channel++) mixed[channel] += weight * rgb(CLASSES[c])[channel];
      }
      for (let channel = 0; channel < 3; channel++) image.data[4 * pixel + channel] = total ? mixed[channel] / total : 128;
      image.data[4 * pixel + 3] = 130;
    }
    sheet.small ??= Object.assign(document.createElement("canvas"), { width: grid, height: grid });
    sheet.small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(sheet.small, 0, 0, size, size);
  }
  const [centre, middle, half] = box;
  const across = (x) => (size * (x - centre + half)) / (2 * half);
  const down = (y) => (size * (middle + half - y)) / (2 * half);
  const radius = size > 240 ? 2.2 : 1.5;
  context.strokeStyle = ink.ground;
  context.lineWidth = 0.8;
  for (let c = 0; c < classes; c++) {
    context.fillStyle = CLASSES[c];
    context.beginPath();
    for (let row = 0; row < points.length; row += 2 + classes) {
      if (!points[row + 2 + c]) continue;
      const [x, y] = [across(points[row]), down(points[row + 1])];
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 7);
    }
    context.stroke();
    context.fill();
  }
  /** Words that can be read over points. */
  const label = (words, x, y) => {
    context.lineWidth = 3;
    context.strokeStyle = ink.ground;
    context.strokeText(words, x, y);
    context.fillText(words, x, y);
  };
  // where task A's inputs lie: two standard deviations about the origin
  context.strokeStyle = ink.ink;
  context.fillStyle = ink.ink;
  context.font = `11px ${ink.font}`;
  context.lineWidth = 1.5;
  const [h, v] = [across(0), down(0)];
  const reach = size / half;
  if (h > -reach && h < size + reach && v > -reach && v < size + reach) {
    context.setLineDash([3, 3]);
    context.beginPath();
    context.arc(h, v, Math.max(reach, 2), 0, 7);
    context.stroke();
    context.setLineDash([]);
    if (reach < size * 0.3) {
      context.textAlign = h > size - 60 ? "right" : h < 60 ? "left" : "center";
      label("task A", clamp(h, 4, size - 4), clamp(v - reach - 4, 12, size - 20));
    }
  } else {
    const angle = Math.atan2(v - size / 2, h - size / 2);
    const away = size / 2 / Math.max(Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle)));
    const at = (distance, side = 0) => [
      size / 2 + Math.cos(angle) * distance - Math.sin(angle) * side,
      size / 2 + Math.sin(angle) * distance + Math.cos(angle) * side,
    ];
    context.beginPath();
    context.moveTo(...at(away - 2));
    context.lineTo(...at(away - 14, 5));
    context.lineTo(...at(away - 14, -5));
    context.fill();
    const [x, y] = at(away - 20);
    context.textAlign = x > size * 0.6 ? "right" : x < size * 0.4 ? "left" : "center";
    label("task A", clamp(x, 4, size - 4), clamp(y + 4, 26, size - 20));
  }
  context.font = `11px ${ink.font}`;
  context.fillStyle = ink.ink;
  context.textAlign = "right";
  label(`${Number((2 * half).toPrecision(2))} sd wide`, size - 6, size - 6);
  if (note) {
    context.fillStyle = ink.ground;
    context.globalAlpha = 0.72;
    context.fillRect(0, size / 2 - 18, size, 36);
    context.globalAlpha = 1;
    context.fillStyle = ink.ink;
    context.textAlign = "center";
    context.font = `600 ${size > 240 ? 14 : 12}px ${ink.font}`;
    context.fillText(note, size / 2, size / 2 + 5);
  }
};

/** The smallest square that holds nearly all points: centre and half width. */
const boxOf = (points, classes) => {
  const sides = [0, 1].map((axis) => {
    const values = [];
    for (let row = 0; row < points.length; row += 2 + classes) values.push(points[row + axis]);
    values.sort((a, b) => a - b);
    return [values[Math.floor(values.length * 0.004)], values[Math.ceil(values.length * 0.996) - 1]];
  });
  const half = (1.12 * Math.max(...sides.map(([low, high]) => high - low))) / 2;
  return [...sides.map(([low, high]) => (low + high) / 2), half];
};

function render({ model, el }) {
  const spec = model.get("spec");
  const hashed = Boolean(model.get("worker"));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  el.classList.add("sx");
  el.setAttribute("role", "region");
  el.setAttribute("aria-label", "Shift explorer: two rules train on the same instance");
  el.innerHTML = MARKUP;
  const find = (selector) => el.querySelector(selector);
  const out = (name) => find(`[data-out=${name}]`);
  const control = Object.fromEntries(NAMES.map((name) => [name, find(`[name=${name}]`)]));
  const button = Object.fromEntries([...el.querySelectorAll("[data-do]")].map((each) => [each.dataset.do, each]));

  const rivals = Object.keys(spec.rules).filter((key) => key !== "meta");
  control.shift.append(...Object.keys(spec.shifts).map((name) => new Option(spec.shifts[name].label, name)));
  control.rival.append(...rivals.map((key) => new Option(spec.rules[key].label, key)));

  // settings

  /** The settings nearest to what was asked for. */
  const legal = (wanted) => {
    const shift = wanted.shift in spec.shifts ? wanted.shift : Object.keys(spec.shifts)[0];
    const { stops, identity } = spec.shifts[shift];
    const given = (value, otherwise) => (value !== "" && Number.isFinite(Number(value)) ? Number(value) : otherwise);
    const severity = given(wanted.severity, identity);
    const nearest = stops.reduce((a, b) => (Math.abs(b - severity) < Math.abs(a - severity) ? b : a));
    const decades = Math.round(8 * Math.log10(Math.max(given(wanted.rate, 1), 1e-9))) / 8;
    return {
      shift,
      severity: nearest,
      rate: 10 ** clamp(decades, -2, 2),
      noise: clamp(Math.round(20 * given(wanted.noise, 0)) / 20, 0, 0.4),
      seed: clamp(Math.round(given(wanted.seed, 0)), 0, 9999),
      rival: rivals.includes(wanted.rival) ? wanted.rival : rivals[0],
    };
  };
  const fromHash = () => {
    const pairs = new URLSearchParams(location.hash.slice(1));
    return NAMES.some((name) => pairs.has(name)) ? Object.fromEntries(pairs) : null;
  };
  let settings = legal({ ...model.get("settings"), ...(hashed && fromHash()) });

  const show = () => {
    const { stops, told, unit } = spec.shifts[settings.shift];
    control.shift.value = settings.shift;
    control.severity.max = stops.length - 1;
    control.severity.value = stops.indexOf(settings.severity);
    control.severity.title = unit;
    control.rate.value = Math.log10(settings.rate);
    control.noise.value = settings.noise;
    control.rival.value = settings.rival;
    control.seed.value = settings.seed;
    const severity = told[stops.indexOf(settings.severity)];
    out("severity").textContent = severity;
    out("rate").textContent = `× ${number(settings.rate)}`;
    out("noise").textContent = `${Math.round(100 * settings.noise)} %`;
    control.severity.setAttribute("aria-valuetext", `${severity}, ${unit}`);
    control.rate.setAttribute("aria-valuetext", `${number(settings.rate)} times the rate tuned on task A`);
    const { tuned } = spec.rules[settings.rival];
    find("[data-weights]").replaceChildren(
      ...tuned.map(([factor, weight]) => {
        const mark = document.createElement("i");
        mark.style.setProperty("--at", (Math.log10(factor) + 2) / 4);
        mark.style.setProperty("--weight", weight);
        return mark;
      }),
    );
    const told_weights = tuned.map(([factor, weight]) => `× ${number(factor)} in ${Math.round(100 * weight)} %`);
    find("[data-weights]").title = tuned.length ? `tuning on task A gives ${told_weights.join(", ")}` : "";
    control.noise.setAttribute("aria-valuetext", `${Math.round(100 * settings.noise)} per cent of the training labels`);
    for (const which of ["rival", "meta"]) {
      const { label, colour } = spec.rules[which === "meta" ? "meta" : settings.rival];
      const caption = find(`[data-map=${which}] .sx-caption`);
      caption.querySelector("i").style.background = colour;
      caption.querySelector("b").textContent = label;
    }
  };

  const change = (wanted, { write = true } = {}) => {
    const before = settings;
    settings = legal({ ...settings, ...wanted });
    show();
    if (["shift", "severity", "rate", "noise", "rival"].some((name) => settings[name] !== before[name])) tally.clear();
    model.set("settings", settings);
    model.save_changes();
    if (hashed && write) {
      const pairs = NAMES.map((name) => `${name}=${name === "rate" ? number(settings.rate) : settings[name]}`);
      history.replaceState(null, "", `#${pairs.join("&")}`);
    }
    if (keen) setPlaying(true);
    open();
  };
  const bases = () =>
    Object.fromEntries(["meta", settings.rival].map((key) => [key, settings.rate * spec.rules[key].base]));

  // what has been computed

  const trainer = connect(model);
  const umpire = hashed ? connect(model) : trainer;
  const tally = new Map();
  let runs = { meta: null, rival: null };
  let points = null;
  let box = [0, 0, 1];
  let verdict = null;
  let epoch = 0;
  let playing = false;
  let keen = false;
  let visible = true;
  let busy = false;
  let judging = 0;

  const step = () => Math.max(runs.meta?.rows.length ?? 0, runs.rival?.rows.length ?? 0);
  const finished = () => step() >= spec.limit || ["meta", "rival"].every((which) => runs[which]?.over);

  /** Draw the instance of the settings; what is asked for meanwhile waits as one. */
  let opening = false;
  let again = false;
  const open = async () => {
    epoch++;
    again = opening;
    if (opening) return;
    opening = true;
    do {
      again = false;
      const asked = epoch;
      const answer = await trainer.ask({ kind: "open", settings, bases: bases() });
      if (asked !== epoch) continue;
      points = answer.table;
      box = boxOf(points, spec.classes);
      runs = { meta: { rows: [], map: null }, rival: { rows: [], map: null } };
      verdict = null;
    } while (again);
    opening = false;
    await advance(0);
    judge();
    run();
  };

  const advance = async (steps) => {
    const asked = epoch;
    busy = true;
    const { told } = await trainer.ask({ kind: "advance", steps: Math.min(steps, spec.limit - step()), box });
    busy = false;
    if (asked !== epoch) return;
    for (const which of ["meta", "rival"]) {
      const answer = told[which === "meta" ? "meta" : settings.rival];
      const run = runs[which];
      run.rows.push(...answer.rows);
      if (answer.map) run.map = answer.map;
      const last = run.rows.at(-1);
      run.over = last && !last.every(Number.isFinite);
      const blown = run.rows.findIndex((row) => !row.every(Number.isFinite) || row[WEIGHT] > BLOWN_UP);
      run.diverged = blown < 0 ? null : blown + 1;
    }
    redraw();
  };

  const judge = async (seed = settings.seed) => {
    const asked = epoch;
    const which = ++judging;
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (asked !== epoch || which !== judging) return;
    const answer = await umpire.ask({ kind: "judge", settings: { ...settings, seed }, bases: bases(), limit: spec.limit });
    if (asked !== epoch) return;
    verdict = answer;
    tally.set(seed, answer.crossed);
    redraw();
  };

  const judgeMore = async (count) => {
    const asked = { ...settings };
    button.tally.disabled = true;
    for (let seed = settings.seed; count > 0 && NAMES.every((n) => n === "seed" || settings[n] === asked[n]); seed++) {
      if (tally.has(seed)) continue;
      const message = { kind: "judge", settings: { ...asked, seed }, bases: bases(), limit: spec.limit };
      const { crossed } = await umpire.ask(message);
      if (NAMES.some((name) => name !== "seed" && settings[name] !== asked[name])) break;
      tally.set(seed, crossed);
      count--;
      tell();
    }
    button.tally.disabled = false;
  };

  // time

  const setPlaying = (on) => {
    playing = on;
    button.play.textContent = on ? "Pause" : "Play";
  };
  /** What the reader wants, until told otherwise: a new setting starts to train by itself, unless it was paused. */
  const play = (on) => {
    keen = on;
    if (on && finished()) open();
    setPlaying(on);
    if (!on) announce();
    run();
  };
  let scheduled = false;
  let lately = null;
  const run = () => {
    if (!playing || scheduled) return;
    scheduled = true;
    const next = () => requestAnimationFrame(tick);
    if (still) setTimeout(next, 400);
    else next();
  };
  const tick = async () => {
    scheduled = false;
    if (!playing || !visible || document.hidden || opening) return;
    if (finished()) {
      setPlaying(false);
      return announce();
    }
    if (!busy) {
      // sixty steps a second, whatever the frame rate
      const now = performance.now();
      const steps = clamp(Math.round((now - (lately ?? now)) * 0.06), 1, 4);
      lately = now;
      await advance(still ? 20 : steps);
    }
    run();
  };

  // words and drawings

  const name = (which) => spec.rules[which === "meta" ? "meta" : settings.rival].label;
  const colour = (which) => spec.rules[which === "meta" ? "meta" : settings.rival].colour;
  const crossing = (which) => {
    const crossed = verdict?.crossed[which === "meta" ? "meta" : settings.rival];
    return crossed != null && crossed <= step() ? crossed : null;
  };
  const fate = (which) => {
    if (!runs[which]) return "";
    if (runs[which].diverged) return `diverged at step ${runs[which].diverged}`;
    if (crossing(which) !== null) return `crossed at step ${crossing(which)}`;
    return step() >= spec.limit ? `not across in ${spec.limit} steps` : "";
  };
  const sentence = () => {
    const parts = ["rival", "meta"].map((which) => {
      const last = runs[which]?.rows.at(-1)?.[HELD_OUT];
      const level = Number.isFinite(last) ? `loss ${last.toFixed(2)}` : "no loss yet";
      const text = `${name(which)}: ${fate(which) || level}`;
      return text[0].toUpperCase() + text.slice(1);
    });
    return `Step ${step()}. ${parts.join(". ")}.`;
  };
  const announce = () => (out("spoken").textContent = sentence());

  const tell = () => {
    out("status").textContent = sentence();
    for (const which of ["rival", "meta"]) find(`[data-map=${which}] .sx-caption span`).textContent = fate(which);
    const pairs = [...tally.values()].map((crossed) => [crossed.meta, crossed[settings.rival]].map((at) => at ?? Infinity));
    const count = (test) => pairs.filter(([meta, rival]) => test(meta, rival)).length;
    out("tally").textContent = pairs.length
      ? `Sooner at the threshold: ${name("meta")} on ${count((a, b) => a < b)} of ${pairs.length} ` +
        `instance${pairs.length > 1 ? "s" : ""}, ${name("rival")} on ${count((a, b) => a > b)}; ` +
        `level on ${count((a, b) => a === b && a < Infinity)}, neither there on ${count((a, b) => a + b === Infinity && a === b)}.`
      : "Judging this instance …";
  };

  const charts = { loss: HELD_OUT, rate: RATE, grad: GRAD, weight: WEIGHT };
  const redraw = () => {
    const ink = inks(el);
    tell();
    for (const which of ["rival", "meta"]) {
      const { map, diverged } = runs[which] ?? {};
      const note = diverged ? `diverged at step ${diverged}` : "";
      drawMap(maps[which], ink, { points, map, grid: spec.grid, classes: spec.classes, box, note });
      maps[which].canvas.setAttribute("aria-label", `Data and decision boundary of ${name(which)}. ${fate(which)}`);
    }
    for (const [chart, column] of Object.entries(charts)) {
      const present = ["rival", "meta"].filter((which) => runs[which]);
      const values = (which, place) => runs[which].rows.map((row) => row[place]);
      const curves = present.map((which) => ({
        colour: colour(which), values: values(which, column), wide: which === "meta",
      }));
      const marks = [];
      if (chart === "loss") {
        curves.unshift(...present.map((which) => ({ colour: colour(which), values: values(which, LOSS), faint: true })));
        for (const which of present) {
          const { diverged } = runs[which];
          const crossed = crossing(which);
          if (diverged) marks.push({ colour: colour(which), step: diverged, text: `${name(which)} diverged` });
          else if (crossed !== null) marks.push({ colour: colour(which), step: crossed, value: verdict.threshold });
        }
      }
      drawChart(sheets[chart], ink, {
        curves, marks, limit: spec.limit, least: chart === "loss" ? 0.3 : 1, most: chart === "loss" ? 4 : 1e12,
        line: chart === "loss" ? verdict?.threshold : null,
      });
      const ends = present.map((which) => `${name(which)} ${number(values(which, column).at(-1) ?? NaN)}`);
      sheets[chart].canvas.setAttribute("aria-label", `${find(`[data-chart=${chart}] .sx-caption`).textContent}: ${ends.join(", ")}`);
    }
  };
  const maps = {};
  const sheets = {};
  for (const figure of el.querySelectorAll("[data-map]")) maps[figure.dataset.map] = new Sheet(figure.querySelector("canvas"), () => redraw());
  for (const figure of el.querySelectorAll("[data-chart]")) sheets[figure.dataset.chart] = new Sheet(figure.querySelector("canvas"), () => redraw());

  // events

  const stops = () => spec.shifts[settings.shift].stops;
  control.shift.onchange = () => change({ shift: control.shift.value, severity: spec.shifts[control.shift.value].identity });
  control.severity.oninput = () => change({ severity: stops()[control.severity.value] });
  control.rate.oninput = () => change({ rate: 10 ** control.rate.value });
  control.noise.oninput = () => change({ noise: control.noise.value });
  control.rival.onchange = () => change({ rival: control.rival.value });
  control.seed.onchange = () => change({ seed: control.seed.value });
  find("form").onsubmit = (event) => event.preventDefault();
  button.next.onclick = () => change({ seed: settings.seed + 1 });
  button.play.onclick = () => play(!playing);
  button.step.onclick = () => {
    play(false);
    if (!busy && !opening && !finished()) advance(1).then(announce);
  };
  button.reset.onclick = () => {
    play(false);
    open();
  };
  button.tally.onclick = () => judgeMore(20);

  const off = new AbortController();
  if (hashed) {
    const follow = () => {
      const wanted = fromHash();
      if (!wanted) return;
      change({ noise: "", ...wanted, ...(wanted.shift && !wanted.severity ? { severity: "" } : {}) }, { write: false });
      play(true);
      el.scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
    };
    addEventListener("hashchange", follow, { signal: off.signal });
  }
  model.on("change:settings", () => {
    if (NAMES.some((n) => model.get("settings")[n] !== settings[n])) change(model.get("settings"));
  });
  const seen = new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    if (visible) run();
  });
  seen.observe(el);
  document.addEventListener("visibilitychange", run, { signal: off.signal });
  const themes = new MutationObserver(() => redraw());
  for (const node of [document.documentElement, document.body]) {
    themes.observe(node, { attributes: true, attributeFilter: ["data-theme", "class", "data-jp-theme-light"] });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(), { signal: off.signal });

  show();
  open().then(() => {
    if (still) advance(60);
    else play(true);
  });

  return () => {
    play(false);
    off.abort();
    seen.disconnect();
    themes.disconnect();
    for (const sheet of [...Object.values(maps), ...Object.values(sheets)]) sheet.observer.disconnect();
    trainer.close();
    if (umpire !== trainer) umpire.close();
  };
}

export default { render };
